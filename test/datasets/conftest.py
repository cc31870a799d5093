"""A small scene folder, and a miniature nuScenes folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _helper(name: str) -> ModuleType:
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"test_datasets_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def small_scene() -> ModuleType:
    return _helper("small_scene")


@pytest.fixture
def scene_folder(small_scene: ModuleType, tmp_path: Path) -> Path:
    folder = tmp_path / "small_scene"
    folder.mkdir()
    small_scene.write_scene_folder(folder)
    return folder


@pytest.fixture(scope="session")
def nuscenes_mini(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[dict[str, Any]]]]:
    """The root of a nuScenes folder and its tables."""
    pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")
    root = tmp_path_factory.mktemp("nuscenes")
    return root, _helper("nuscenes_mini").write_nuscenes(root)
