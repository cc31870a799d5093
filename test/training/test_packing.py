"""Labelled data of any kind is prepared into a pack, and a second call goes on where the first one ended."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from painted_scenes import PaintedSource
from painted_street import HEIGHT, WIDTH

from lift3d_ros.datasets.pack import PackFacts, PackReader
from lift3d_ros.errors import ConfigError, DatasetError
from lift3d_ros.geometry.rig import Rig, RigCamera
from lift3d_ros.models.dfa3d.config import NUSCENES_CLASSES
from lift3d_ros.replay.labelled_data import LabelledChoice
from lift3d_ros.training.packing import RecordedSource, SimulatorSource, pack_scenes

FACTS = PackFacts(96, 64, NUSCENES_CLASSES, "folders")
SETTINGS = Path(__file__).resolve().parents[2] / "config" / "simulation" / "train.yaml"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    path = Path(__file__).parents[1] / "datasets" / "small_scene.py"
    spec = importlib.util.spec_from_file_location("small_scene_for_packing", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("first", "second", "third"):
        (tmp_path / "data" / name).mkdir(parents=True)
        module.write_scene_folder(tmp_path / "data" / name)
    (tmp_path / "classes.yaml").write_text("animal: ignore\n")
    return tmp_path / "data"


@pytest.mark.parametrize("workers", [1, 2])
def test_scenes_are_prepared_once_by_any_number_of_processes(folders: Path, tmp_path: Path, workers: int) -> None:
    pack, seen = tmp_path / "pack", []

    def note(done: int, total: int) -> None:
        seen.append((done, total))

    source = RecordedSource(folders, tmp_path / "classes.yaml")
    assert pack_scenes(source, pack, FACTS, quality=80, workers=workers, on_scene=note) == 3
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    reader = PackReader(pack)
    assert len(reader.scenes) == 3
    assert [sample.index for sample in reader.load(reader.scenes[0])] == [0, 1, 2]
    next(pack.glob("*.safetensors")).unlink()
    assert pack_scenes(source, pack, FACTS, quality=80, workers=workers) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_the_own_vehicle_is_black_in_a_pack_as_for_the_detector(folders: Path, tmp_path: Path, workers: int) -> None:
    whole = ((0.0, 0.0), (48.0, 0.0), (48.0, 32.0), (0.0, 32.0))
    choice = LabelledChoice(rig=Rig(cameras={"left": RigCamera(own_vehicle=(whole,)), "front": RigCamera()}))
    pack_scenes(
        RecordedSource(folders, tmp_path / "classes.yaml", choice),
        tmp_path / "pack",
        FACTS,
        quality=None,
        workers=workers,
    )
    (sample, *_) = PackReader(tmp_path / "pack").load("second")
    is_black = [not pixels.any() for pixels in sample.images]
    assert dict(zip(sample.cameras, is_black, strict=True)) == {"front": False, "left": True, "back": False}


def test_masks_of_cameras_that_are_not_there_are_refused(folders: Path, tmp_path: Path) -> None:
    whole = ((0.0, 0.0), (48.0, 0.0), (48.0, 32.0))
    choice = LabelledChoice(rig=Rig(cameras={"cam_left": RigCamera(own_vehicle=(whole,)), "left": RigCamera()}))
    source = RecordedSource(folders, tmp_path / "classes.yaml", choice)
    with pytest.raises(
        DatasetError, match=r"'first': its cameras are front, left, back, .* masks .* for cam_left alone"
    ):
        pack_scenes(source, tmp_path / "pack", FACTS, quality=None, workers=1)


def test_a_scene_that_is_wrong_is_named(folders: Path, tmp_path: Path) -> None:
    next((folders / "second").rglob("*.jpg"), next((folders / "second").rglob("*.png"), folders)).unlink()
    with pytest.raises(DatasetError, match="second"):
        pack_scenes(RecordedSource(folders, tmp_path / "classes.yaml"), tmp_path / "pack", FACTS, quality=80, workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_any_kind_is_told_with_the_scene_and_without_traceback(tmp_path: Path, workers: int) -> None:
    source = PaintedSource(num_scenes=3, faults=(("painted-1", "the lamp is broken"),))
    facts = PackFacts(WIDTH, HEIGHT, NUSCENES_CLASSES, "painted")
    with pytest.raises(DatasetError, match=r"scene 'painted-1'.*RuntimeError: the lamp is broken") as caught:
        pack_scenes(source, tmp_path / "pack", facts, quality=None, workers=workers)  # type: ignore[arg-type]
    assert "Traceback" not in str(caught.value)


def test_changed_settings_or_a_changed_rig_are_noticed_and_comments_are_not(tmp_path: Path) -> None:
    settings, rig = tmp_path / "streets.yaml", tmp_path / "car.yaml"
    source, seen = SimulatorSource(settings, range(3)), []
    for text, mounting in (
        ("objects: [1, 2]", "width: 640"),
        ("# few\nobjects: [1, 2]", "width: 640  # px"),
        ("objects: [1, 3]", "width: 640"),
        ("objects: [1, 3]", "width: 800"),
    ):
        settings.write_text(f"{text}\nrig: {rig}\n")
        rig.write_text(f"cameras:\n  front:\n    {mounting}\n")
        seen.append(source.made_with)
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3
    settings.write_text("rig: absent.yaml\n")
    with pytest.raises(ConfigError, match=r"absent.yaml: file not found"):
        source.made_with  # noqa: B018


def test_a_changed_list_of_meshes_is_noticed_and_one_that_is_not_there_named(tmp_path: Path) -> None:
    source = SimulatorSource(SETTINGS, range(3), meshes=tmp_path)
    with pytest.raises(DatasetError, match=r"manifest.json: not found; expected a folder of meshes"):
        source.made_with  # noqa: B018
    entry = {"name": "a", "file": "a.glb", "class": "car", "licence": "CC0 1.0", "split": "train"}
    seen = []
    for entries in ([entry], [entry, {**entry, "name": "b"}]):
        (tmp_path / "manifest.json").write_text(json.dumps(entries))
        seen.append(source.made_with)
    assert seen[0] != seen[1]


def test_a_changed_table_of_classes_is_noticed(folders: Path, tmp_path: Path) -> None:
    table = tmp_path / "classes.yaml"
    source = RecordedSource(folders, table)
    assert RecordedSource(folders).made_with is None
    first = source.made_with
    table.write_text("animal: pedestrian\n")
    assert source.made_with != first


def test_seeds_of_the_evaluation_are_not_trained_on(tmp_path: Path) -> None:
    source = SimulatorSource(SETTINGS, range(8999, 9002))
    with pytest.raises(ConfigError, match="9000"):
        pack_scenes(source, tmp_path / "pack", FACTS, quality=80, workers=1)
    assert not (tmp_path / "pack").exists()
