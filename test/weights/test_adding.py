"""Weights of a training become a model only where their network is that of the preset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lift3d_ros.errors import WeightsError
from lift3d_ros.weights import adding
from lift3d_ros.weights.adding import add_weights
from lift3d_ros.weights.published import network_facts

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

NAME = "lift3d-bev-tiny"


@pytest.fixture
def one_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of one weight, so that only what a file says of itself tells them apart."""
    monkeypatch.setattr(adding, "network_shapes", lambda preset: {"a": (2,)})


def weights(path: Path, preset: str = NAME, **changes: Any) -> Path:
    from safetensors.numpy import save_file

    facts = {f"network.{name}": value for name, value in {**network_facts(NAME), **changes}.items()}
    header = {"method": "dfa3d", "preset": preset, "step": "7", "facts": json.dumps(facts)}
    save_file({"a": np.ones(2, np.float32)}, path, metadata=header)
    return path


def header_of(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(str(path), "numpy") as file:
        return dict(file.metadata())


@pytest.mark.usefixtures("one_tensor")
def test_another_network_of_the_same_shapes_is_refused(tmp_path: Path, own_models: Path) -> None:
    forklifts = [f"forklift_{number}" for number in range(10)]
    path = weights(tmp_path / "own.safetensors", class_names=forklifts)
    with pytest.raises(WeightsError, match=r"network\.class_names is \['forklift_0'.*; .* expects \['car'.*train it"):
        add_weights(path, NAME, "mine", "own", own_models)
    path = weights(tmp_path / "own.safetensors", "tiny", history_s=0.1)
    with pytest.raises(WeightsError, match=r"history_s is 0\.1; .* expects 0\.5; .* preset 'tiny': give that as --as"):
        add_weights(path, NAME, "mine", "own", own_models)
    assert not own_models.exists()


@pytest.mark.usefixtures("one_tensor")
def test_what_only_a_training_looks_at_may_differ_and_the_header_is_kept(tmp_path: Path, own_models: Path) -> None:
    path = weights(tmp_path / "own.safetensors", dropout=0.3)
    _, stored = add_weights(path, NAME, "mine", "own", own_models)
    assert header_of(stored) == {**header_of(path), "format": "pt"}


@pytest.mark.parametrize(
    ("file", "preset"),
    [
        ("lift3d-bev-tiny", "lift3d-bev-tiny"),
        ("lift3d-lfm", "lift3d-lfm-medium"),
        ("lift3d-lrm-tiny", "lift3d-lrm-tiny"),
        ("lift3d-points-small", "lift3d-points-small"),
        ("lift3d-depth-teacher", "lift3d-depth-teacher"),
    ],
)
def test_weights_of_every_method_are_added(file: str, preset: str, repository: Path, own_models: Path) -> None:
    entry, path = add_weights(repository / "models" / f"{file}.safetensors", preset, "mine", "own", own_models)
    assert entry.preset == preset
    assert header_of(path)["method"] == header_of(repository / "models" / f"{file}.safetensors")["method"]
