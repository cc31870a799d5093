"""Published checkpoints are read in every form they come in, and nothing in them is run."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lift3d_ros.errors import WeightsError
from lift3d_ros.weights.checkpoint import read_checkpoint, shown

torch = pytest.importorskip("torch", reason="torch is not installed")

WEIGHTS = {"a.weight": (2, 3), "a.bias": (2,), "b.num_batches_tracked": ()}


def state_dict(prefix: str = "") -> OrderedDict[str, Any]:
    state = OrderedDict((prefix + name, torch.rand(shape)) for name, shape in WEIGHTS.items() if shape)
    state[f"{prefix}b.num_batches_tracked"] = torch.tensor(7)
    return state


def save(content: object, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


class Runs:
    """An object whose pickle calls a function when it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("is_legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("wrap", "prefix", "ignored"),
    [
        pytest.param(lambda state: state, "", (), id="bare state dict"),
        pytest.param(lambda state: dict(state), "module.", (), id="DataParallel"),
        pytest.param(
            lambda state: {
                "meta": {"config": "model = dict(...)", "CLASSES": ("car",), "epoch": 24, "best": np.float64(0.5)},
                "state_dict": state,
                "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.rand(2, 3)}}, "param_groups": [{"lr": 2e-4}]},
            },
            "module.",
            ("meta", "optimizer"),
            id="training run",
        ),
        pytest.param(
            lambda state: {"state_dict": OrderedDict((k, torch.nn.Parameter(v, False)) for k, v in state.items())},
            "",
            (),
            id="parameters",
        ),
    ],
)
def test_weights_are_read_whatever_they_are_wrapped_in(
    tmp_path: Path, is_legacy: bool, wrap: Any, prefix: str, ignored: tuple[str, ...]
) -> None:
    state = state_dict(prefix)
    path = save(wrap(state), tmp_path / "w.pth", _use_new_zipfile_serialization=not is_legacy)
    read: list[int] = []
    found = read_checkpoint(path, read.append)
    assert found.ignored == ignored
    assert list(found.tensors) == list(WEIGHTS)
    for name, tensor in found.tensors.items():
        assert torch.equal(tensor, state[prefix + name])
        assert tensor.dtype == state[prefix + name].dtype
        assert not tensor.requires_grad
    assert 0 < sum(read) <= path.stat().st_size


def test_reading_leaves_nothing_allowed_behind(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(save({"state_dict": state_dict(), "best": np.float64(1)}, tmp_path / "w.pth"))
    assert set(torch.serialization.get_safe_globals()) == before


def raw_pickle(content: object, path: Path, protocol: int) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def archive_with(pickled: bytes, path: Path, name: str = "w/data.pkl", **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, pickled)
        archive.writestr("w/data/0", bytes(16))
        archive.writestr("w/version", b"3\n")
        for member, content in members.items():
            archive.writestr(f"w/{member}", content)
    return path


NOT_RUN = "names Python objects .* Nothing of it was run"


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        pytest.param(lambda evil, path: save({"state_dict": {"a": evil}}, path), NOT_RUN, id="among the weights"),
        pytest.param(
            lambda evil, path: save({"state_dict": state_dict(), "meta": evil}, path), NOT_RUN, id="beside the weights"
        ),
        pytest.param(
            lambda evil, path: save({"a": evil}, path, _use_new_zipfile_serialization=False), NOT_RUN, id="old format"
        ),
        pytest.param(lambda evil, path: save(evil, path, pickle_protocol=4), NOT_RUN, id="protocol 4"),
        pytest.param(lambda evil, path: raw_pickle(evil, path, 2), NOT_RUN, id="plain pickle"),
        pytest.param(lambda evil, path: raw_pickle(evil, path, 5), NOT_RUN, id="plain pickle, protocol 5"),
        pytest.param(lambda evil, path: raw_pickle(evil, path, 0), "found text", id="plain pickle, protocol 0"),
        pytest.param(
            lambda evil, path: archive_with(pickle.dumps({}, 2), path, **{"DATA.PKL": pickle.dumps(evil, 2)}),
            "holds 2 .pkl files",
            id="second pickle",
        ),
        pytest.param(
            lambda evil, path: archive_with(pickle.dumps(evil, 2), path, "w/DATA.PKL"), "expected one", id="capitals"
        ),
    ],
)
def test_code_in_a_checkpoint_is_named_and_never_run(tmp_path: Path, write: Any, expected: str) -> None:
    side_effect = tmp_path / "was_run"
    evil = Runs(os.system, f"touch {side_effect}")
    with pytest.raises(WeightsError, match=rf"w\.pth: .*{expected}"):
        read_checkpoint(write(evil, tmp_path / "w.pth"))
    assert not side_effect.exists()
    pickle.loads(pickle.dumps(evil))
    assert side_effect.exists(), "this object does run when it is unpickled"


@pytest.mark.parametrize(
    ("evil", "name"),
    [
        pytest.param(Runs(os.system, "true"), "posix.system", id="shell"),
        pytest.param(Runs(eval, "1"), "eval", id="eval"),
        pytest.param(Runs(bytearray, 10**12), "bytearray", id="memory"),
        pytest.param(Runs(torch.load, "x.pth"), "torch.serialization.load", id="function of torch"),
        pytest.param(Path("x"), "pathlib", id="foreign class"),
    ],
)
def test_objects_other_than_weights_are_named(tmp_path: Path, evil: object, name: str) -> None:
    path = save({"state_dict": state_dict(), "meta": evil}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=rf"names Python objects .*{name}.*save its state dict alone"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"<!DOCTYPE html>\n<html>", "found text .*DOCTYPE html.*get it again", id="page"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", "found text .*git-lfs", id="pointer"),
        pytest.param(bytes(range(1, 60)), "found something else", id="noise"),
        pytest.param(b"PK\x03\x04" + bytes(200), "cut short or damaged", id="start of an archive"),
        pytest.param(b"\x80\x02" + bytes(3), "cut short or damaged", id="start of a pickle"),
        pytest.param(pickle.dumps({"a": 1}, 2), "cut short or damaged", id="pickle without weights"),
    ],
)
def test_files_that_are_no_checkpoint_say_what_they_are(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"w\.pth: .*{expected}"):
        read_checkpoint(path)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"not found; give the \.pth file"):
        read_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(WeightsError, match="is a folder"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("is_legacy", [False, True], ids=["zip", "legacy"])
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, is_legacy: bool) -> None:
    path = save({"state_dict": state_dict()}, tmp_path / "w.pth", _use_new_zipfile_serialization=not is_legacy)
    whole = path.read_bytes()
    for length in range(1, len(whole) - 1, 37):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=r"w\.pth: "):
            read_checkpoint(path)


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    path = save({"state_dict": {"a": torch.ones(1000)}}, tmp_path / "w.pth")
    content = bytearray(path.read_bytes())
    content[content.find(b"\x00\x00\x80\x3f" * 8) + 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"damaged .*CRC"):
        read_checkpoint(path)


class _Storage:
    pass


class _Tensor:
    """A tensor that claims what it does not have."""

    def __init__(self, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.arguments = (_Storage(), 0, size, stride, False, OrderedDict())

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor_v2, self.arguments


def claiming(numel: int, tensor: _Tensor) -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, item: object) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", numel) if isinstance(item, _Storage) else None

    stream = io.BytesIO()
    Pickler(stream, 2).dump({"state_dict": {"a": tensor}})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("numel", "size", "expected"),
    [
        pytest.param(10**15, (10**15,), "claim 1000000000000000 numbers", id="storage"),
        pytest.param(2**62, (2**62,), "claim", id="storage beyond any address"),
        pytest.param(4, (10**12,), "torch cannot read", id="tensor larger than its storage"),
        pytest.param(4, (2**62, 2**62), "torch cannot read", id="overflow"),
        pytest.param(-1, (4,), "torch cannot read", id="negative"),
    ],
)
def test_huge_claims_are_refused_without_memory(
    tmp_path: Path, numel: int, size: tuple[int, ...], expected: str
) -> None:
    path = archive_with(claiming(numel, _Tensor(size, (1,) * len(size))), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=expected):
        read_checkpoint(path)


def test_a_small_tensor_that_is_repeated_without_end_stays_small(tmp_path: Path) -> None:
    path = archive_with(claiming(4, _Tensor((10**12,), (0,))), tmp_path / "w.pth")
    (tensor,) = read_checkpoint(path).tensors.values()
    assert tensor.shape == (10**12,)
    assert tensor.untyped_storage().nbytes() == 16


def test_compressed_archives_are_refused_before_they_grow(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", bytes(50_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(WeightsError, match="compressed or claim 50000000 bytes in a file of"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param({"model": {}, "epoch": 3}, "found a dictionary of model, epoch", id="no state dict"),
        pytest.param({}, "found a dictionary of nothing", id="nothing"),
        pytest.param([torch.zeros(2)], "found <class 'list'>", id="list"),
        pytest.param(torch.zeros(2), "found <class 'torch.Tensor'>", id="tensor"),
        pytest.param({"state_dict": {"a": torch.zeros(2), "b": 3}}, "'b' is int, expected a plain tensor", id="number"),
        pytest.param({"a": torch.zeros(2), 3: torch.zeros(2)}, "'3' is Tensor, expected a plain tensor", id="key"),
    ],
)
def test_what_is_not_a_state_dict_is_described(tmp_path: Path, content: object, expected: str) -> None:
    with pytest.raises(WeightsError, match=expected):
        read_checkpoint(save(content, tmp_path / "w.pth"))


def test_other_archives_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(WeightsError, match="zip archive, but not a checkpoint"):
        read_checkpoint(tmp_path / "w.pth")


def test_names_out_of_a_file_are_printable_and_short() -> None:
    assert shown("a.weight") == "a.weight"
    assert "\x1b" not in shown("\x1b[2Ja")
    assert len(shown("a" * 10_000)) <= 120
