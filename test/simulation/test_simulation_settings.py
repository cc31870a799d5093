"""Settings of the simulator: the shipped files hold what they promise, and mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from lift3d_ros.errors import ConfigError
from lift3d_ros.simulation.settings import OBJECT_CLASSES, SimulationSettings, load_settings


@pytest.mark.parametrize("name", ["default", "train", "eval", "demo"])
def test_the_shipped_files_load(repository: Path, name: str) -> None:
    assert load_settings(repository / "config" / "simulation" / f"{name}.yaml").frames > 0


def test_the_default_file_changes_nothing(repository: Path) -> None:
    assert load_settings(repository / "config" / "simulation" / "default.yaml") == SimulationSettings()


def test_the_evaluation_protocol_is_the_fixed_one(repository: Path) -> None:
    settings = load_settings(repository / "config" / "simulation" / "eval.yaml")
    assert range(settings.seed, settings.seed + settings.scenes) == range(9000, 9020)
    assert (settings.frames, settings.interval_s, settings.width) == (10, (0.5, 0.5), 800)
    assert (settings.objects, settings.holds_objects) == ((15, 40), True)
    assert settings.dark_or_wet == 0.2
    assert settings.rig == ""
    assert settings.random_rigs == 0.0
    assert settings.library_share == 1.0
    assert all(settings.class_weights[name] > 0 for name in OBJECT_CLASSES)


def test_the_training_file_refuses_evaluation_seeds(repository: Path) -> None:
    settings = load_settings(repository / "config" / "simulation" / "train.yaml")
    settings.check_seed(8999)
    settings.check_seed(9020)
    with pytest.raises(ConfigError, match="not trained on"):
        settings.check_seed(9019)


def test_an_unknown_setting_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("frame: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="unknown name 'frame'; did you mean 'frames'"):
        load_settings(tmp_path / "mine.yaml")


def test_an_unknown_class_is_named_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="'pedestrain'; did you mean 'pedestrian'"):
        SimulationSettings(class_weights={"pedestrain": 1.0})


def test_a_range_the_wrong_way_round_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'objects' is \[40, 15\]; expected the smaller value first"):
        SimulationSettings(objects=(40, 15))


def test_a_number_of_objects_that_no_scene_can_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'objects' is \[20, 21\] with 'holds_objects'; expected at least 2"):
        SimulationSettings(objects=(20, 21), holds_objects=True)
    assert SimulationSettings(objects=(20, 22), holds_objects=True).objects == (20, 22)
    assert SimulationSettings(objects=(20, 20)).objects == (20, 20)


def test_classes_without_any_weight_are_refused() -> None:
    with pytest.raises(ConfigError, match="class_weights are all 0"):
        SimulationSettings(class_weights={"car": 0.0})
