"""Files outside of the Python tree are found in the documented order, whatever way the package was installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from lift3d_ros.errors import Lift3dError
from lift3d_ros.resources import cache_dir, find_resource

RELATIVE = "models/manifest.yaml"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Every place that is searched, in order, none of them filled; the source tree is the last one."""
    prefix, first_ament, second_ament = tmp_path / "prefix", tmp_path / "overlay", tmp_path / "underlay"
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path / "own"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", os.pathsep.join([str(first_ament), str(second_ament)]))
    monkeypatch.setattr(sys, "prefix", str(prefix))
    return {
        "LIFT3D_MODELS_DIR": tmp_path / "own/manifest.yaml",
        "ament overlay": first_ament / "share/lift3d_ros" / RELATIVE,
        "ament underlay": second_ament / "share/lift3d_ros" / RELATIVE,
        "prefix": prefix / "share/lift3d_ros" / RELATIVE,
    }


def test_the_first_place_that_has_the_file_wins(places: dict[str, Path], repository: Path) -> None:
    assert find_resource(RELATIVE) == repository / RELATIVE
    for path in reversed(places.values()):
        path.parent.mkdir(parents=True)
        path.write_text("")
        assert find_resource(RELATIVE) == path


def test_the_folder_of_models_holds_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path))
    (tmp_path / "rigs").mkdir()
    (tmp_path / "rigs/nuscenes_like.yaml").write_text("")
    assert tmp_path not in find_resource("config/rigs/nuscenes_like.yaml").parents


def test_a_missing_file_names_every_place_in_order(places: dict[str, Path], repository: Path) -> None:
    with pytest.raises(Lift3dError) as caught:
        find_resource("models/absent.safetensors")
    message = str(caught.value)
    expected = [str(path.with_name("absent.safetensors")) for path in (*places.values(), repository / RELATIVE)]
    positions = [message.find(path) for path in expected]
    assert positions == sorted(positions)
    assert -1 not in positions
    assert message.startswith("'models/absent.safetensors' was not found; searched ")


def test_the_cache_folder_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("LIFT3D_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir().name == "lift3d_ros"
