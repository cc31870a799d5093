"""How the BEV detector is trained: everything that a recipe in ``config/training`` can say."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lift3d_ros.config import flat_facts, group, setting
from lift3d_ros.models.dfa3d.config import PRESETS, Dfa3dConfig, preset
from lift3d_ros.training.recipe import load_recipe_of
from lift3d_ros.training.settings import FREE_TO_CHANGE, RunSettings


@dataclass(frozen=True)
class AugmentationSettings:
    """Random changes of pictures, of the vehicle's frame and of calibrations; ranges are drawn evenly."""

    is_used: bool = setting(True, "false trains on the data as it is")
    zoom: tuple[float, float] = setting(
        (0.85, 1.25), "scaling of each picture about its middle", minimum=0.2, maximum=5
    )
    shift: float = setting(0.06, "largest shift of a picture, as a share of its width and height", minimum=0, maximum=1)
    roll_deg: float = setting(2.0, "largest turn of a picture", unit="deg", minimum=0, maximum=45)
    picture_flip: float = setting(0.0, "chance that a single camera is mirrored", minimum=0, maximum=1)
    turn_deg: float = setting(22.5, "largest turn of the frame about z", unit="deg", minimum=0, maximum=180)
    scale: tuple[float, float] = setting((0.95, 1.05), "scaling of the world", minimum=0.5, maximum=2)
    flip_x: float = setting(0.5, "chance that front and back are swapped, pictures mirrored", minimum=0, maximum=1)
    flip_y: float = setting(0.5, "chance that left and right are swapped, pictures mirrored", minimum=0, maximum=1)
    drops_camera: float = setting(0.1, "chance that one camera of a sample is missing", minimum=0, maximum=1)
    calibration_px: float = setting(1.0, "standard deviation of wrong calibration", unit="px", minimum=0, maximum=50)
    calibration_focal: float = setting(0.003, "the same of focal lengths, as a share", minimum=0, maximum=0.2)
    brightness: float = setting(0.25, "largest relative change", minimum=0, maximum=1)
    contrast: float = setting(0.3, "largest relative change", minimum=0, maximum=1)
    saturation: float = setting(0.4, "largest relative change", minimum=0, maximum=1)
    hue_deg: float = setting(10.0, "largest turn of colours", unit="deg", minimum=0, maximum=180)
    tint: float = setting(0.06, "largest relative change of each colour channel", minimum=0, maximum=1)
    noise: float = setting(6.0, "largest standard deviation of pixel noise, 0..255", minimum=0, maximum=100)
    blur: float = setting(0.3, "chance of a blurred picture", minimum=0, maximum=1)
    grid_mask: float = setting(0.3, "chance that a grid of squares is cut out of a picture", minimum=0, maximum=1)


@dataclass(frozen=True)
class DataSettings:
    """What counts as target, and in which order samples come."""

    history_frames: int = setting(1, "earlier frames that run before the trained one", minimum=0, maximum=8)
    history_strides: tuple[int, ...] = setting(
        (1,),
        "steps from frame to frame of a sequence; one is drawn. [1] leads to the frame that is about "
        "network.history_s older, where that is set and the data are packed or simulated",
        minimum=1,
    )
    drops_one: bool = setting(False, "look one frame farther back, and leave a random one of the history out")
    max_gap_s: float = setting(2.5, "frames farther apart share no memory", unit="s", minimum=0, maximum=60)
    history_share: float = setting(1.0, "share of batches with earlier frames; others are faster", minimum=0, maximum=1)
    drops_history: float = setting(0.1, "chance that a sample has no history", minimum=0, maximum=1)
    min_visibility: float = setting(0.1, "less visible objects are no targets", minimum=0, maximum=1)
    balances_classes: bool = setting(False, "samples with rare classes come more often")
    memory_gb: float = setting(6.0, "pictures kept in memory", unit="GB", minimum=0.01, maximum=2000)
    keeps_on_gpu: bool = setting(True, "keep them in the memory of the GPU, where there is one")
    stream_samples: int = setting(
        300, "samples kept of scenes that are rendered while the network trains", minimum=1, maximum=1_000_000
    )
    follows: bool = setting(False, "look for new scenes of the pack at the end of each epoch")
    validation_samples: int = setting(200, "at most so many samples are validated; 0: all", minimum=0)


@dataclass(frozen=True)
class LossSettings:
    """Weights of the losses (those of the matching are fixed), and what of the backbone they change."""

    depth: float = setting(0.5, "of the predicted depth", minimum=0.0, maximum=100.0)
    proposals: float = setting(1.0, "of the dense heatmap and boxes, with heatmap queries", minimum=0.0, maximum=100.0)
    perspective: float = setting(0.5, "of the centres in the pictures; 0: not trained", minimum=0.0, maximum=100.0)
    free_heading: float = setting(
        0.0,
        "share of the heading that may point backwards, until the front is told from the back",
        minimum=0,
        maximum=1,
    )
    motion: float = setting(0.1, "of the velocities that a motion head reads", minimum=0.0, maximum=100.0)
    motion_rate: float = setting(10.0, "learning rate of the motion head, as a factor", minimum=0.0, maximum=100.0)
    refinement_rate: float = setting(2.0, "learning rate of the refinement, as a factor", minimum=0.0, maximum=100.0)
    backbone_rate: float = setting(1.0, "learning rate of the backbone, as a share", minimum=0.0, maximum=10.0)
    frozen_stages: int = setting(
        0, "so many first stages of the backbone, and its stem, keep their weights and statistics", minimum=0, maximum=4
    )


@dataclass(frozen=True)
class Dfa3dTraining:
    """A recipe; `network` holds the fields of the preset, and what the recipe replaces of them."""

    preset: str = setting("tiny", "configuration of the model")
    network: Dfa3dConfig = group(Dfa3dConfig)
    run: RunSettings = group(RunSettings)
    data: DataSettings = group(DataSettings)
    augmentation: AugmentationSettings = group(AugmentationSettings)
    loss: LossSettings = group(LossSettings)

    @property
    def is_plain_preset(self) -> bool:
        """Whether the network is that of the preset, so that a manifest can name it."""
        return self.network == preset(self.preset)

    @property
    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint must agree with, dotted name -> plain value."""
        free = {f"run.{name}" for name in FREE_TO_CHANGE} | _FREE_DATA_SETTINGS
        return {name: value for name, value in flat_facts(dataclasses.asdict(self)).items() if name not in free}


_FREE_DATA_SETTINGS = frozenset(
    {"data.memory_gb", "data.keeps_on_gpu", "data.validation_samples", "data.follows", "data.stream_samples"}
)


def load_recipe(path: Path, changes: Sequence[str] = ()) -> Dfa3dTraining:
    """Read a recipe.

    Args:
        changes: ``name=value`` with dotted names, as of ``--set``; values as in YAML.

    Raises:
        ConfigError: the file or a change does not fit; names it and the nearest known name.
    """
    return load_recipe_of(Dfa3dTraining, path, changes, preset, PRESETS)
