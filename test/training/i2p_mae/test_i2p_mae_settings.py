"""Recipes of the point encoder: what they say is what is trained, and what does not fit is named."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

import torch

from lift3d_ros.errors import ConfigError
from lift3d_ros.models.i2p_mae.build import build
from lift3d_ros.training.i2p_mae.settings import classifier, encoder_only, guided, load_recipe
from lift3d_ros.training.i2p_mae.variants import VARIANTS, variant_recipe
from lift3d_ros.weights.published import network_shapes

SMALLER = "i2p_mae_comparison"  # its encoders are no models
RECIPES = ("i2p_mae_cpu", "i2p_mae_gpu", "i2p_mae_teacher", "i2p_mae_finetune", "i2p_mae_parts", SMALLER)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_read(name: str, repository: Path) -> None:
    recipe = load_recipe(repository / "config" / "training" / f"{name}.yaml")
    assert recipe.is_plain_preset == (name != SMALLER)
    assert recipe.run.max_steps > 0


@pytest.mark.parametrize(
    ("guidance", "masks", "dims"),
    [("none", "random", 0), ("masks", "saliency", 0), ("masks_and_features", "saliency", 8)],
)
def test_guidance_decides_masks_and_the_semantic_head(guidance: str, masks: str, dims: int, repository: Path) -> None:
    recipe = load_recipe(repository / "config" / "training" / "i2p_mae_cpu.yaml", [f"guidance={guidance}"])
    network = guided(recipe.network, recipe.guidance, 8)
    assert (network.masks.guidance, network.reconstruction.teacher_dims) == (masks, dims)
    assert encoder_only(network) == encoder_only(recipe.network)


def test_a_classifier_has_the_encoder_and_as_many_classes_as_the_data(repository: Path) -> None:
    recipe = load_recipe(repository / "config" / "training" / "i2p_mae_finetune.yaml")
    network = classifier(recipe.network, 7)
    assert (network.head, network.classification.num_classes) == ("classification", 7)
    assert encoder_only(network) == encoder_only(recipe.network)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("preset=lift3d-points-small", "has no decoder, which pre-training needs"),
        ("preset=huge", "preset 'huge' is not known"),
        ("guidance=all", "'guidance' is 'all'; expected one of none, masks, masks_and_features"),
        ("network.masks.temprature=0.5", "did you mean 'temperature'"),
        ("augmentation.scale=[1.5,0.5]", "expected the smaller one first"),
        ("teacher.patch_size=17", "expected a divisor of 224"),
        ("teacher.dims=97", "expected a multiple of 'teacher.num_heads'"),
    ],
)
def test_what_does_not_fit_is_named(change: str, words: str, repository: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        load_recipe(repository / "config" / "training" / "i2p_mae_cpu.yaml", [change])


def test_the_encoder_of_the_recipes_can_be_added_under_the_name_of_its_preset(repository: Path) -> None:
    recipe = load_recipe(repository / "config" / "training" / "i2p_mae_cpu.yaml")
    with torch.device("meta"):
        state = build(recipe.network).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items() if name.startswith("encoder.")}
    assert shapes == network_shapes("lift3d-points-small")


def test_variants_differ_in_guidance_alone_and_are_of_equal_length(repository: Path) -> None:
    path = repository / "config" / "training" / "i2p_mae_comparison.yaml"
    recipes = {variant.name: variant_recipe(path, variant, [], 3) for variant in VARIANTS}
    assert len({(r.run.max_steps, r.run.seed, r.run.batch_size) for r in recipes.values()}) == 1
    assert recipes["masks_sharp"].network.masks.temperature == 0.3
    assert not recipes["masks_as_published"].network.masks.normalises_saliency
    with pytest.raises(ConfigError, match="expected a number of steps"):
        variant_recipe(path, VARIANTS[1], ["run.max_minutes=5"], 0)
