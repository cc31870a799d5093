"""Stored weights are verified against their hash and against the network of their model."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.weights import verify
from lift3d_ros.weights.manifest import ModelEntry, known_models
from lift3d_ros.weights.store import store_model
from lift3d_ros.weights.verify import Verification, verify_model

pytest.importorskip("safetensors", reason="safetensors is not installed")

EXPECTED = {"a": (2, 3), "b": (), "c": (4,)}


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of three weights in place of a published one."""
    monkeypatch.setattr(verify, "network_shapes", lambda preset: EXPECTED)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def stored(folder: Path, shapes: Mapping[str, tuple[int, ...]], method: str = "dfa3d") -> Path:
    entry = ModelEntry(method, "bevformer-tiny", "none", "published.pth", source_sha256="ab")
    tensors = {name: np.zeros(shape, np.float16) for name, shape in shapes.items()}
    return store_model("mine", entry, tensors, folder, overwrite=True)[1]


def verified() -> Verification:
    (model,) = [model for model in known_models() if model.name == "mine"]
    return verify_model(model)


def test_weights_that_fit_are_counted(own_models: Path) -> None:
    stored(own_models, EXPECTED)
    assert verified() == Verification("mine", True, "hash ok, 3 tensors fit the network")


def test_every_kind_of_misfit_is_named(own_models: Path) -> None:
    path = stored(own_models, {"a": (3, 2), "b": (), "d": (1,)})
    result = verified()
    assert not result.is_ok
    assert result.text.startswith(f"{path}: does not fit the network: c is missing, d is unexpected, a is [3, 2]")


def test_a_changed_file_fails_by_its_hash(own_models: Path) -> None:
    path = stored(own_models, EXPECTED)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    result = verified()
    assert not result.is_ok
    assert "SHA-256 is" in result.text
    assert "import published.pth again" in result.text


def test_a_missing_file_fails(own_models: Path) -> None:
    stored(own_models, EXPECTED).unlink()
    assert "was not found; import published.pth again" in verified().text


def test_a_file_with_the_right_hash_that_is_no_safetensors_fails(own_models: Path) -> None:
    import hashlib

    path = stored(own_models, EXPECTED)
    text = (own_models / "manifest.yaml").read_text()
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"\xff" * 64)
    (own_models / "manifest.yaml").write_text(text.replace(old, hashlib.sha256(b"\xff" * 64).hexdigest()))
    assert f"{path}: not a safetensors file" in verified().text


def test_without_torch_only_the_hash_is_verified_and_that_is_said(
    own_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(own_models, {"other": (1,)})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else object())
    assert verified() == Verification("mine", True, "hash ok; names and shapes not verified, which needs torch")


def test_models_of_other_methods_are_verified_by_hash(own_models: Path) -> None:
    stored(own_models, {"other": (1,)}, "unheard_of")
    result = verified()
    assert result.is_ok
    assert "no network of method 'unheard_of' is known" in result.text


def test_an_untrained_model_has_nothing_to_verify() -> None:
    model = next(model for model in known_models() if model.entry.weights is None)
    assert verify_model(model) == Verification(model.name, True, "untrained, no weights file to verify")
