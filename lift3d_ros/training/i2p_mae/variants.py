"""Variants of the pre-training that are compared, and what they are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lift3d_ros.training.i2p_mae.settings import I2pMaeTraining, load_recipe
from lift3d_ros.training.variants import Pair, Variant, check_equal_length

UNTRAINED = "untrained"
DESCRIPTORS = "descriptors"
POINTNET = "pointnet"
NOT_PRETRAINED = (UNTRAINED, DESCRIPTORS, POINTNET)

VARIANTS = (
    Variant(UNTRAINED, "random encoder"),
    Variant("plain", "masked autoencoder without 2D guidance", ("guidance=none",)),
    Variant("masks", "guided masking", ("guidance=masks",)),
    Variant("masks_and_features", "guided masking and learned features", ("guidance=masks_and_features",)),
    Variant(
        "masks_as_published",
        "guided masking by raw saliency, nearly uniform",
        ("guidance=masks", "network.masks.normalises_saliency=false"),
    ),
    Variant("masks_sharp", "guided masking, temperature 0.3", ("guidance=masks", "network.masks.temperature=0.3")),
    Variant(DESCRIPTORS, "classic descriptors, no learning"),
    Variant(POINTNET, "PointNet, trained with labels from random weights"),
)

PAIRS = (
    Pair("pre-training", "plain", UNTRAINED),
    Pair("guided masking", "masks", "plain"),
    Pair("learned features", "masks_and_features", "masks"),
    Pair("all guidance", "masks_and_features", "plain"),
    Pair("normalised saliency", "masks", "masks_as_published"),
    Pair("low temperature", "masks_sharp", "masks"),
    Pair("learning", "masks_and_features", DESCRIPTORS),
    Pair("without labels", "masks_and_features", POINTNET),
)


def variant_recipe(path: Path, variant: Variant, changes: Sequence[str], seed: int) -> I2pMaeTraining:
    """Return the recipe of a variant with a seed.

    Args:
        changes: of all variants; those of this one come after them.

    Raises:
        ConfigError: the recipe or a change does not fit, or the length of the run depends on time.
    """
    recipe = load_recipe(path, (*changes, *variant.changes, f"run.seed={seed}"))
    check_equal_length(path, recipe.run)
    return recipe
