"""Recipes of the lifter: those that are shipped, and what may change when a run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from lift3d_ros.errors import ConfigError
from lift3d_ros.training.lfm.settings import load_recipe


@pytest.mark.parametrize(("name", "preset"), [("lfm_cpu", "lift3d-lfm-small"), ("lfm_gpu", "lift3d-lfm-large")])
def test_the_shipped_recipes_train_a_preset(name: str, preset: str, repository: Path) -> None:
    recipe = load_recipe(repository / "config" / "training" / f"{name}.yaml")
    assert recipe.preset == preset
    assert recipe.is_plain_preset


def test_length_and_device_may_change_but_not_what_is_computed(repository: Path) -> None:
    path = repository / "config" / "training" / "lfm_cpu.yaml"
    facts = load_recipe(path).facts
    assert load_recipe(path, ["run.max_minutes=5", "run.device=cpu", "data.validation_frames=10"]).facts == facts
    assert load_recipe(path, ["augmentation.noise=0.1"]).facts != facts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("augmentation.nois=1", "did you mean 'noi"),
        ("loss.alignment=any", "expected one of"),
        ("network=3", "group"),
    ],
)
def test_a_wrong_recipe_is_explained(change: str, message: str, repository: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(repository / "config" / "training" / "lfm_cpu.yaml", [change])
