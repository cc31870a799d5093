"""The mean of weights has the type and the facts of the first file; weights of other networks are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("safetensors", reason="safetensors is not installed")

from safetensors import safe_open
from safetensors.numpy import save_file

from lift3d_ros.cli.main import main
from lift3d_ros.errors import WeightsError
from lift3d_ros.weights.averaging import average_weights
from lift3d_ros.weights.manifest import sha256_of

FACTS = {"method": "lfm", "preset": "lift3d-lfm-small", "step": "7"}


def write(path: Path, scale: float, facts: dict[str, str] = FACTS, **more: np.ndarray) -> Path:
    tensors = {"weight": np.full((2, 3), scale, np.float16), "gain": np.array(scale, np.float16)}
    tensors |= {"count": np.array([int(scale)]), **more}
    save_file(tensors, path, metadata=facts)
    return path


def test_the_mean_has_type_and_facts_of_the_first_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [write(tmp_path / f"{scale}.safetensors", scale) for scale in (1.0, 2.0, 6.0)]
    out = tmp_path / "a folder" / "mean.safetensors"
    assert main(["weights", "average", *map(str, files), "--out", str(out)]) == 0
    assert "mean of 3 files, 2 tensors" in capsys.readouterr().out
    with safe_open(str(out), "numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("weight"), np.full((2, 3), 3.0, np.float16), strict=True)
        assert file.get_tensor("gain") == 3.0
        assert file.get_tensor("count") == 1
        assert file.metadata() == FACTS | {"mean_of": " ".join(map(sha256_of, files))}


def test_files_count_by_their_parts_which_the_mean_notes(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{scale}.safetensors", scale) for scale in (1.0, 5.0)]
    out = tmp_path / "mean.safetensors"
    assert main(["weights", "average", *map(str, files), "--parts", "3", "1", "--out", str(out)]) == 0
    with safe_open(str(out), "numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("weight"), np.full((2, 3), 2.0, np.float16), strict=True)
        hashes = " ".join(map(sha256_of, files))
        assert file.metadata() == FACTS | {"mean_of": hashes, "mean_parts": "0.75 0.25"}
    average_weights([out, files[0]], tmp_path / "next.safetensors")
    with safe_open(str(tmp_path / "next.safetensors"), "numpy") as file:
        assert "mean_parts" not in file.metadata()


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (["1"], "parts 1: 1 for 2 files; give one number for each file"),
        (["0.5", "0.3", "0.2"], "parts 0.5 0.3 0.2: 3 for 2 files"),
        (["1", "0"], "parts 1 0: expected positive numbers"),
        (["-1", "2"], "parts -1 2: expected positive numbers"),
        (["nan", "1"], "parts nan 1: expected positive numbers"),
        (["inf", "1"], "parts inf 1: expected positive numbers"),
    ],
)
def test_parts_that_do_not_fit_are_named(
    tmp_path: Path, parts: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(write(tmp_path / f"{scale}.safetensors", scale)) for scale in (1.0, 5.0)]
    out = tmp_path / "mean.safetensors"
    assert main(["weights", "average", *files, "--parts", *parts, "--out", str(out)]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_weights_of_other_networks_are_refused_by_what_differs(tmp_path: Path) -> None:
    first, out = write(tmp_path / "a.safetensors", 1.0), tmp_path / "mean.safetensors"
    other = write(tmp_path / "b.safetensors", 1.0, {**FACTS, "preset": "lift3d-lfm-medium"})
    with pytest.raises(WeightsError, match=r"b\.safetensors: preset is lift3d-lfm-medium, that of .*a\.safetensors "):
        average_weights([first, other], out)
    larger = write(tmp_path / "c.safetensors", 1.0, extra=np.zeros(4, np.float32))
    with pytest.raises(WeightsError, match=r"c\.safetensors: 'extra' has the shape \(4,\), in .* of nothing"):
        average_weights([first, larger], out)
    assert not out.exists()


def test_what_cannot_be_averaged_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write(tmp_path / "a.safetensors", 1.0)
    assert main(["weights", "average", str(first), "--out", str(tmp_path / "mean.safetensors")]) == 2
    assert "a mean needs two files" in capsys.readouterr().err
    (tmp_path / "broken.safetensors").write_bytes(first.read_bytes()[:20])
    for name, reason in (("broken", "cannot be read"), ("none", "file not found")):
        with pytest.raises(WeightsError, match=rf"{name}\.safetensors: {reason}"):
            average_weights([first, tmp_path / f"{name}.safetensors"], tmp_path / "mean.safetensors")
