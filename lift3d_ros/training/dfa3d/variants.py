"""Variants of the detector that are compared: attention, depth, layers, memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lift3d_ros.training.dfa3d.settings import Dfa3dTraining, load_recipe
from lift3d_ros.training.variants import Pair, Variant, check_equal_length

BASE = "dfa3d"
_TRUE_DEPTH = "network.depth.source=lidar"
# Measured scores are one where they hit, and lift-splat sums all scores of a ray: neither needs a gain.
_NO_GAIN = "network.depth.score_gain=1.0"
# Queries look from the middle of cells wider than a bin, so they need the window that published models have; features
# that are spread need none.
_WINDOW = "network.depth.bin_tolerance=1"
_LIFT_SPLAT = "network.view_transform=lift_splat"

VARIANTS = (
    Variant(BASE, "3D deformable attention, predicted depth"),
    Variant("attention_2d", "2D deformable attention, no depth", ("network.depth.source=none",)),
    Variant("lift_splat", "lift-splat, predicted depth", (_LIFT_SPLAT, _NO_GAIN)),
    Variant("dfa3d_true_depth", "3D deformable attention, true depth", (_TRUE_DEPTH, _WINDOW, _NO_GAIN)),
    Variant("lift_splat_true_depth", "lift-splat, true depth", (_LIFT_SPLAT, _TRUE_DEPTH, _NO_GAIN)),
    Variant("layers_1", "one encoder layer", ("network.num_encoder_layers=1",)),
    Variant("layers_3", "three encoder layers", ("network.num_encoder_layers=3",)),
    Variant("no_history", "no memory of earlier frames", ("data.history_frames=0",)),
)

PAIRS = (
    Pair("3D over 2D attention, predicted depth", BASE, "attention_2d"),
    Pair("3D over 2D attention, true depth", "dfa3d_true_depth", "attention_2d"),
    Pair("3D attention over lift-splat, predicted depth", BASE, "lift_splat"),
    Pair("3D attention over lift-splat, true depth", "dfa3d_true_depth", "lift_splat_true_depth"),
    Pair("true over predicted depth, 3D attention", "dfa3d_true_depth", BASE),
    Pair("two encoder layers over one", BASE, "layers_1"),
    Pair("three encoder layers over two", "layers_3", BASE),
    Pair("memory of earlier frames over none", BASE, "no_history"),
)


def variant_recipe(path: Path, variant: Variant, changes: Sequence[str], seed: int) -> Dfa3dTraining:
    """Return the recipe of a variant with a seed.

    Args:
        changes: of all variants; those of this one come after them.

    Raises:
        ConfigError: the recipe or a change does not fit, or the length of the run depends on time.
    """
    recipe = load_recipe(path, (*changes, *variant.changes, f"run.seed={seed}"))
    check_equal_length(path, recipe.run)
    return recipe
