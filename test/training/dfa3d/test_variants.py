"""Variants differ in what their name says and in nothing else, and every one of them trains and detects."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from dfa3d_recipe import RECIPE, SMALL
from painted_street import painted_pack

from lift3d_ros.errors import ConfigError
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.training.dfa3d.data import Dfa3dData
from lift3d_ros.training.dfa3d.module import Dfa3dModule
from lift3d_ros.training.dfa3d.network import build_trained_detector
from lift3d_ros.training.dfa3d.samples import PackedFrames
from lift3d_ros.training.dfa3d.sequences import detect_sequences
from lift3d_ros.training.dfa3d.settings import Dfa3dTraining
from lift3d_ros.training.dfa3d.train import open_frames
from lift3d_ros.training.dfa3d.variants import BASE, PAIRS, VARIANTS, variant_recipe
from lift3d_ros.training.variants import find_variant

CPU = torch.device("cpu")
COMPARISON = Path(__file__).resolve().parents[3] / "config" / "training" / "comparison.yaml"
# The small network starts at random, so nothing of its backbone is frozen.
CHANGES = (*SMALL, "run.seed=0", "loss.frozen_stages=0", "network.backbone.architecture=resnet", "preset=tiny")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return painted_pack(tmp_path_factory.mktemp("painted") / "pack", num_scenes=3, num_frames=3)


def small(name: str, *more: str) -> Dfa3dTraining:
    return variant_recipe(RECIPE, find_variant(name, VARIANTS), (*CHANGES, *more), 4)


def opened(pack: Path, recipe: Dfa3dTraining) -> PackedFrames:
    frames = open_frames([pack], recipe, CPU, None, grows=False, is_quiet=True)
    assert isinstance(frames, PackedFrames)
    return frames


def detector(recipe: Dfa3dTraining) -> Dfa3dModule:
    return Dfa3dModule(build_trained_detector(recipe.network, 0), recipe)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_variant_replaces_only_what_it_names(variant) -> None:  # type: ignore[no-untyped-def]
    base, other = (variant_recipe(COMPARISON, found, (), 7) for found in (find_variant(BASE, VARIANTS), variant))
    differing = {name for name in base.facts if base.facts[name] != other.facts[name]}
    assert differing == {change.partition("=")[0] for change in variant.changes}
    assert other.run == base.run


def test_questions_are_about_variants_that_exist() -> None:
    asked = {name for pair in PAIRS for name in (pair.variant, pair.other)}
    assert asked == {variant.name for variant in VARIANTS}
    with pytest.raises(ConfigError, match="did you mean 'lift_splat'"):
        find_variant("lift_spalt", VARIANTS)


def test_variants_are_not_compared_after_equal_times() -> None:
    for change in ("run.max_minutes=3", "run.max_steps=0"):
        with pytest.raises(ConfigError, match="equally many samples"):
            variant_recipe(COMPARISON, find_variant(BASE, VARIANTS), (change,), 0)


def test_variants_are_of_about_equal_size() -> None:
    def count(config: Dfa3dConfig) -> int:
        return sum(tensor.numel() for tensor in build_trained_detector(config, 0).parameters())

    sizes = {v.name: count(variant_recipe(COMPARISON, v, (), 0).network) for v in VARIANTS}
    assert max(sizes.values()) < 1.05 * min(sizes.values())


@pytest.mark.parametrize("name", [variant.name for variant in VARIANTS])
def test_every_variant_trains_and_detects(pack: Path, name: str) -> None:
    recipe = small(name)
    frames, module = opened(pack, recipe), detector(recipe)
    for number, batch in enumerate(Dfa3dData(frames, None, recipe, CPU).train_batches(0, 0, 1)):
        loss = module.training_step(batch, number)
        loss.backward()
        break
    assert bool(torch.isfinite(loss))
    found = list(detect_sequences(module, frames))
    assert len({(item.scene, item.stamp_ns) for item in found}) == frames.count == 9
    assert all(len(item.boxes) for item in found)
