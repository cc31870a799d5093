"""A miniature nuScenes folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def nuscenes_root(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")
    spec = importlib.util.spec_from_file_location(
        "nuscenes_mini", repository / "test" / "datasets" / "nuscenes_mini.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    root = tmp_path_factory.mktemp("nuscenes")
    module.write_nuscenes(root)
    return root
