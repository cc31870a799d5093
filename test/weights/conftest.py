"""A folder of models of one's own, and checkpoints that are complete but hold next to nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

PRESET_OF_TABLE = {
    "dfa3d_keys_small.json": "dfa3d-small",
    "dfa3d_keys_base.json": "dfa3d-base",
    "dfa3d_keys_base_gtdepth.json": "dfa3d-base-gtdepth",
    "bevformer_keys_tiny.json": "bevformer-tiny",
    "bevformer_keys_small.json": "bevformer-small",
    "bevformer_keys_base.json": "bevformer-base",
}
TABLE_OF_PRESET = {preset: table for table, preset in PRESET_OF_TABLE.items()}


@pytest.fixture
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of models, which does not exist yet."""
    folder = tmp_path / "models"
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(folder))
    return folder


@pytest.fixture
def key_table(shared_dir: Path) -> Callable[[str], Mapping[str, tuple[int, ...]]]:
    """Published names and shapes of a published configuration."""

    def read(preset: str) -> Mapping[str, tuple[int, ...]]:
        table = json.loads((shared_dir / "reference" / TABLE_OF_PRESET[preset]).read_text())
        return {name: tuple(shape) for name, shape in table["keys"].items()}

    return read


def zeros(name: str, shape: tuple[int, ...]) -> Any:
    """Return a tensor of any shape that takes a few bytes in a file."""
    import torch

    dtype = torch.int64 if name.endswith("num_batches_tracked") else torch.float32
    return torch.zeros((), dtype=dtype).expand(shape)


@pytest.fixture
def write_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Write a checkpoint with the given names and shapes, all zeros unless `values` has something else."""

    def write(
        shapes: Mapping[str, tuple[int, ...]], values: Mapping[str, Any] | None = None, name: str = "published.pth"
    ) -> Path:
        import torch

        state = {key: zeros(key, shape) for key, shape in shapes.items()}
        torch.save({"meta": {"epoch": 24}, "state_dict": {**state, **(values or {})}}, tmp_path / name)
        return tmp_path / name

    return write
