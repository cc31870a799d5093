"""A model is stored whole or not at all, under a name that is free."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from lift3d_ros.errors import ConfigError, WeightsError
from lift3d_ros.weights import store
from lift3d_ros.weights.manifest import (
    ModelEntry,
    find_model,
    package_manifest,
    read_manifest,
    verified_weights_path,
)
from lift3d_ros.weights.store import check_place, store_model

pytest.importorskip("safetensors", reason="safetensors is not installed")

ENTRY = ModelEntry("dfa3d", "bevformer-tiny", "non-commercial", "published.pth", source_sha256="ab" * 32)
TENSORS = {"a": np.ones((2, 3), np.float32), "b": np.array(7)}


def put(folder: Path, name: str = "mine", *, overwrite: bool = False, factor: float = 1.0, **options: Any) -> Path:
    tensors = {**TENSORS, "a": TENSORS["a"] * np.float32(factor)}
    return store_model(name, ENTRY, tensors, folder, overwrite=overwrite, **options)[1]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".manifest.lock")


def test_a_stored_model_is_found_with_its_hash_and_values(own_models: Path) -> None:
    from safetensors.numpy import load_file

    written: list[int] = []
    path = put(own_models, on_bytes=written.append)
    entry = find_model("mine")
    assert verified_weights_path("mine", entry) == path
    assert entry.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (entry.licence, entry.source, entry.source_sha256) == ("non-commercial", "published.pth", "ab" * 32)
    loaded = load_file(path)
    assert {name: array.dtype for name, array in loaded.items()} == {"a": np.float32, "b": np.int64}
    assert np.array_equal(loaded["a"], TENSORS["a"])
    assert loaded["b"] == 7
    assert sum(written) == path.stat().st_size
    assert path.stat().st_mode & 0o777 == 0o644
    assert (own_models / "manifest.yaml").stat().st_mode & 0o777 == 0o644
    assert files(own_models) == ["manifest.yaml", path.name]


def test_models_are_added_beside_each_other(own_models: Path) -> None:
    put(own_models)
    put(own_models, "other", factor=2)
    assert list(read_manifest(own_models / "manifest.yaml")) == ["mine", "other"]
    assert len(files(own_models)) == 3


def test_a_taken_name_is_replaced_only_on_demand(own_models: Path) -> None:
    first = put(own_models)
    with pytest.raises(WeightsError, match=r"has a model 'mine' already; .* --overwrite"):
        put(own_models, factor=2)
    assert verified_weights_path("mine", find_model("mine")) == first
    second = put(own_models, factor=2, overwrite=True)
    assert verified_weights_path("mine", find_model("mine")) == second
    assert files(own_models) == ["manifest.yaml", second.name]
    assert put(own_models, factor=2, overwrite=True) == second
    assert second.is_file()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("dfa3d_tiny", "belongs to a model of the package", id="package"),
        pytest.param("../evil", "expected up to 64 letters", id="path"),
        pytest.param(".hidden", "expected up to 64 letters", id="hidden"),
        pytest.param("", "expected up to 64 letters", id="empty"),
        pytest.param("x" * 65, "expected up to 64 letters", id="long"),
        pytest.param("bev.onnx", "not ending in .onnx", id="taken for a file"),
    ],
)
def test_names_that_cannot_be_used_are_refused_even_with_overwrite(own_models: Path, name: str, expected: str) -> None:
    with pytest.raises(WeightsError, match=expected):
        check_place(name, own_models, overwrite=True)
    assert not own_models.exists()


def test_the_folder_of_the_package_is_left_alone() -> None:
    folder = package_manifest().parent
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(WeightsError, match="is the folder of the package"):
        put(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match=rf"file/models: {tmp_path}/file is not a folder; .* --models-dir"):
        check_place("mine", tmp_path / "file" / "models", overwrite=False)
    with pytest.raises(WeightsError, match=r"file/models: .*is not a folder; .*--models-dir or LIFT3D_MODELS_DIR"):
        put(tmp_path / "file" / "models")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(WeightsError, match=rf"{tmp_path} may not be written"):
        check_place("mine", tmp_path / "models", overwrite=False)


def test_a_full_disk_is_told_before_anything_is_written(own_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(WeightsError, match="MB are needed and 0 MB are free"):
        put(own_models)
    assert files(own_models) == []


@pytest.mark.parametrize("moment", ["writing", "hashing", "manifest"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")], ids=["Ctrl-C", "full"])
def test_an_interrupted_write_leaves_everything_as_it_was(
    own_models: Path, monkeypatch: pytest.MonkeyPatch, moment: str, error: BaseException
) -> None:
    first = put(own_models)
    manifest = (own_models / "manifest.yaml").read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise error

    if moment == "writing":
        monkeypatch.setattr("safetensors.numpy.save_file", fail)
    elif moment == "manifest":
        monkeypatch.setattr(yaml, "safe_dump", fail)
    expected = WeightsError if isinstance(error, OSError) else KeyboardInterrupt
    for name in ("mine", "other"):
        with pytest.raises(expected, match=r"No space left|^$"):
            put(own_models, name, factor=2, overwrite=True, on_bytes=fail if moment == "hashing" else lambda _: None)
    assert files(own_models) == ["manifest.yaml", first.name]
    assert (own_models / "manifest.yaml").read_bytes() == manifest
    assert verified_weights_path("mine", find_model("mine")) == first


def test_the_half_file_of_a_killed_import_is_removed_by_the_next(own_models: Path) -> None:
    own_models.mkdir()
    (own_models / ".mine.abc.part").write_bytes(b"half")
    path = put(own_models)
    assert files(own_models) == ["manifest.yaml", path.name]


def test_a_damaged_manifest_is_not_replaced(own_models: Path) -> None:
    own_models.mkdir()
    (own_models / "manifest.yaml").write_text("models: [")
    with pytest.raises(ConfigError, match=r"manifest\.yaml: not valid YAML"):
        put(own_models)
    assert files(own_models) == ["manifest.yaml"]
