"""Variants of the skeleton lifter that are compared: parts of the network, losses, and which sets are trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lift3d_ros.training.lfm.settings import LfmTraining, load_recipe
from lift3d_ros.training.variants import Variant, check_equal_length

BASE = "lfm"

PARTS = (
    Variant(BASE, "both branches, sums normed first, Fourier encoding, Procrustes"),
    Variant("learned_encoding", "perceptron on x and y in place of Fourier features", ("network.encoding=learned",)),
    Variant("global_only", "attention between all points alone", ("network.branches=global",)),
    Variant("local_only", "attention along the skeleton alone", ("network.branches=local",)),
    Variant("block_equations", "block of the paper's equations", ("network.block=equations",)),
    Variant("block_figure", "block of the paper's figure", ("network.block=figure",)),
    Variant("wider", "width 128, as many weights as the block of the figure", ("network.width=128",)),
    Variant("no_procrustes", "compared in the camera frame", ("loss.has_procrustes=false",)),
    Variant("equal_sampling", "each set drawn alike", ("data.temperature=0",)),
    Variant("sampling_by_size", "sets drawn by their number of frames", ("data.temperature=1",)),
)

LEFT_OUT = ("human_actions21", "human_cmu31", "horse", "robot_quadruped", "couch")
"""Sets that one variant each is trained without, nor on what is derived from them; the first two are people."""

ALONE = ("human_actions21", "robot_hand_shadow")
"""Sets that one variant each is trained on alone."""


def variant_without(name: str) -> Variant:
    """Return the variant that has not seen a set."""
    return Variant(f"without_{name}", f"trained without {name}", (f"data.leaves_out=[{name}]",))


def variant_alone(name: str) -> Variant:
    """Return the variant that has seen one set only."""
    changes = (f"data.only=[{name}]", "data.has_detector_layouts=false", "data.has_generated=false")
    return Variant(f"only_{name}", f"trained on {name} alone", changes)


VARIANTS = (*PARTS, *map(variant_without, LEFT_OUT), *map(variant_alone, ALONE))


def variant_recipe(path: Path, variant: Variant, changes: Sequence[str], seed: int) -> LfmTraining:
    """Return the recipe of a variant with a seed.

    Args:
        changes: of all variants; those of this one come after them.

    Raises:
        ConfigError: the recipe or a change does not fit, or the length of the run depends on time.
    """
    recipe = load_recipe(path, (*changes, *variant.changes, f"run.seed={seed}"))
    check_equal_length(path, recipe.run)
    return recipe
