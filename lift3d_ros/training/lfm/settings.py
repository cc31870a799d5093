"""How the skeleton lifter is trained: everything that a recipe in ``config/training`` can say."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lift3d_ros.config import flat_facts, group, setting
from lift3d_ros.models.lfm.config import PRESETS, LfmConfig, preset
from lift3d_ros.training.recipe import load_recipe_of
from lift3d_ros.training.settings import FREE_TO_CHANGE, RunSettings


@dataclass(frozen=True)
class LfmDataSettings:
    """Which sets are trained, and how much of each."""

    temperature: float = setting(0.5, "a set is drawn with its number of frames to this power", minimum=0, maximum=1)
    points_per_set: int = setting(320, "points of each set that a step draws", minimum=16)
    largest_padding: float = setting(0.2, "sets are joined until so much of a batch is padding", minimum=0, maximum=4)
    has_generated: bool = setting(True, "add the categories that the package makes itself")
    has_detector_layouts: bool = setting(True, "add COCO-17, MediaPipe-33, AP-10K and others, made from the sets")
    extra_weight: float = setting(0.5, "how often those two are drawn, next to a set of a folder", minimum=0, maximum=4)
    leaves_out: tuple[str, ...] = setting((), "sets that are not trained, nor what is derived from them")
    only: tuple[str, ...] = setting((), "only these sets are trained; empty for all")
    validation_frames: int = setting(100, "validated frames of each set; 0: all", minimum=0)


@dataclass(frozen=True)
class LfmAugmentationSettings:
    """Random cameras and random damage; shares are of samples, those of the skeleton of the sets that a step draws."""

    perspective: float = setting(0.3, "share that is seen from near", minimum=0, maximum=1)
    distance: tuple[float, float] = setting((3.0, 8.0), "of near cameras, in body sizes", minimum=1.5, maximum=100)
    roll_deg: float = setting(5.0, "standard deviation of the camera's roll", unit="deg", minimum=0, maximum=90)
    stretch: float = setting(0.05, "standard deviation of a stretch along each axis", minimum=0, maximum=0.3)
    mirror: float = setting(0.5, "share of mirrored bodies, for skeletons with sides", minimum=0, maximum=1)
    noisy: float = setting(0.5, "share with noise on the points", minimum=0, maximum=1)
    noise: float = setting(0.025, "largest noise, share of the half extent", minimum=0, maximum=0.5)
    gappy: float = setting(0.5, "share with missing points", minimum=0, maximum=1)
    missing: float = setting(0.4, "largest share of missing points", minimum=0, maximum=0.9)
    missing_limb: float = setting(
        0.3, "share of those with missing points that lose a whole limb", minimum=0, maximum=1
    )
    drops_side: float = setting(0.3, "share without sides", minimum=0, maximum=1)
    changes_skeleton: float = setting(0.6, "share with another skeleton made from this one", minimum=0, maximum=1)
    loses_ends: float = setting(
        0.2, "share of those that lose just their end points, all of them", minimum=0, maximum=1
    )
    contracted: float = setting(0.6, "largest share of points that are taken out", minimum=0, maximum=0.8)
    fewest_points: int = setting(5, "no skeleton becomes smaller", minimum=4)
    inserted: int = setting(3, "at most so many points are put on bones", minimum=0, maximum=20)
    drops_edges: float = setting(0.1, "share that loses some edges", minimum=0, maximum=1)


@dataclass(frozen=True)
class LfmLossSettings:
    """Losses and optimiser."""

    alignment: Literal["proper", "either", "sides"] = setting(
        "sides", "whether a mirrored shape counts as right: never, always, or for instances without sides"
    )
    has_procrustes: bool = setting(True, "false compares with the camera frame, only scale and place are free")
    relative: float = setting(
        0.0,
        "how much errors count by their ratio to the flat guess, as in the figures, and not in body sizes",
        minimum=0,
        maximum=1,
    )
    sign: float = setting(0.3, "of telling a shape from its mirror image", minimum=0)
    spread: float = setting(0.02, "of the expected error of each point", minimum=0)
    optimizer: Literal["muon", "adamw"] = setting("muon", "of the matrices of the blocks; AdamW has the rest")
    muon_rate: float = setting(6e-3, "highest learning rate of Muon", minimum=0, maximum=1)


@dataclass(frozen=True)
class LfmTraining:
    """A recipe; ``run.batch_size`` counts the sets that a step draws."""

    preset: str = setting("lift3d-lfm-small", "configuration of the model")
    network: LfmConfig = group(LfmConfig)
    run: RunSettings = group(RunSettings)
    data: LfmDataSettings = group(LfmDataSettings)
    augmentation: LfmAugmentationSettings = group(LfmAugmentationSettings)
    loss: LfmLossSettings = group(LfmLossSettings)

    @property
    def is_plain_preset(self) -> bool:
        """Whether the network is that of the preset, so that a manifest can name it."""
        return self.network == preset(self.preset)

    @property
    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint must agree with, dotted name -> plain value."""
        free = {f"run.{name}" for name in FREE_TO_CHANGE} | {"data.validation_frames"}
        return {name: value for name, value in flat_facts(dataclasses.asdict(self)).items() if name not in free}


def load_recipe(path: Path, changes: Sequence[str] = ()) -> LfmTraining:
    """Read a recipe.

    Args:
        changes: ``name=value`` with dotted names, as of ``--set``.

    Raises:
        ConfigError: the file or a change does not fit; names it and the nearest known name.
    """
    return load_recipe_of(LfmTraining, path, changes, preset, PRESETS)
