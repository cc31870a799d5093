"""How the point encoder is trained: everything that a recipe in ``config/training`` can say."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lift3d_ros.config import flat_facts, group, setting
from lift3d_ros.errors import ConfigError
from lift3d_ros.models.i2p_mae.config import PRESETS, I2pMaeConfig, TeacherConfig, preset
from lift3d_ros.training.recipe import load_recipe_of
from lift3d_ros.training.settings import FREE_TO_CHANGE, RunSettings

Stage = Literal["pretrain", "teacher", "finetune", "parts"]
Guidance = Literal["none", "masks", "masks_and_features"]


@dataclass(frozen=True)
class I2pMaeDataSettings:
    """How clouds are read."""

    normalises: bool = setting(True, "bring every cloud to the unit sphere; ScanObjectNN is used as stored")
    validation_clouds: int = setting(0, "validated clouds, evenly spread; 0: all", minimum=0)


@dataclass(frozen=True)
class I2pMaeAugmentationSettings:
    """Random changes of each cloud; the defaults are those of the published pre-training."""

    scale: tuple[float, float] = setting((2 / 3, 3 / 2), "factor along each axis", minimum=0.01, maximum=100)
    shift: float = setting(0.2, "largest shift along each axis, radii of the cloud", minimum=0, maximum=10)
    turn_deg: float = setting(0.0, "largest turn about the up axis, to each side", unit="deg", minimum=0, maximum=180)
    noise: float = setting(0.0, "standard deviation of noise on each coordinate, radii", minimum=0, maximum=1)
    fewest_points: int = setting(
        0, "draw also clouds of fewer points, down to this many; 0: always as many as the network takes", minimum=0
    )
    harder_share: float = setting(
        1.0, "share of the clouds that are turned, drawn with fewer points and noisy", minimum=0, maximum=1
    )


@dataclass(frozen=True)
class I2pMaeLossSettings:
    """Weights of the losses."""

    points: float = setting(1.0, "of the hidden points, in pre-training", minimum=0)
    features: float = setting(1.0, "of the teacher's features, in pre-training", minimum=0)
    likeness: float = setting(25.0, "teacher: both pictures of a cloud look alike", minimum=0)
    spread: float = setting(25.0, "teacher: clouds differ in every dimension", minimum=0)
    covariance: float = setting(1.0, "teacher: dimensions do not repeat each other", minimum=0)
    expanded_dims: int = setting(256, "teacher: dimensions in which pictures are compared", minimum=2, maximum=8192)


@dataclass(frozen=True)
class I2pMaePartSettings:
    """Shapes with parts that are made for part segmentation."""

    training_shapes: int = setting(600, "made shapes to train on", minimum=1, maximum=1_000_000)
    validation_shapes: int = setting(240, "other made shapes to validate on", minimum=1, maximum=1_000_000)


@dataclass(frozen=True)
class I2pMaeTraining:
    """A recipe.

    A step of the teacher sees two pictures of each of ``run.batch_size`` clouds.
    """

    stage: Stage = setting("pretrain", "masked pre-training, its 2D teacher, classification, or part segmentation")
    guidance: Guidance = setting(
        "masks_and_features",
        "what the 2D teacher decides in pre-training: nothing (a plain masked autoencoder), which tokens are hidden, "
        "or also features that are learned",
    )
    preset: str = setting("lift3d-points-small-pretrain", "configuration of the model")
    network: I2pMaeConfig = group(I2pMaeConfig)
    teacher: TeacherConfig = group(TeacherConfig)
    run: RunSettings = group(RunSettings)
    data: I2pMaeDataSettings = group(I2pMaeDataSettings)
    augmentation: I2pMaeAugmentationSettings = group(I2pMaeAugmentationSettings)
    loss: I2pMaeLossSettings = group(I2pMaeLossSettings)
    parts: I2pMaePartSettings = group(I2pMaePartSettings)

    @property
    def is_plain_preset(self) -> bool:
        """Whether the encoder is that of the preset, so that a manifest can name it."""
        base = preset(self.preset)
        return base is not None and encoder_only(self.network) == encoder_only(base)

    @property
    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint must agree with, dotted name -> plain value."""
        free = {f"run.{name}" for name in FREE_TO_CHANGE} | {"data.validation_clouds"}
        return {name: value for name, value in flat_facts(dataclasses.asdict(self)).items() if name not in free}


def load_recipe(path: Path, changes: Sequence[str] = ()) -> I2pMaeTraining:
    """Read a recipe.

    Args:
        changes: ``name=value`` with dotted names, as of ``--set``.

    Raises:
        ConfigError: the file or a change does not fit; names it and the nearest known name.
    """
    recipe = load_recipe_of(I2pMaeTraining, path, changes, preset, PRESETS)
    if recipe.augmentation.scale[0] > recipe.augmentation.scale[1]:
        low, high = recipe.augmentation.scale
        raise ConfigError(f"{path}: 'augmentation.scale' is [{low:g}, {high:g}]; expected the smaller one first")
    if recipe.stage == "pretrain" and recipe.network.head != "reconstruction":
        raise ConfigError(
            f"{path}: preset '{recipe.preset}' has no decoder, which pre-training needs; expected a preset whose name "
            "ends in -pretrain"
        )
    return recipe


def guided(network: I2pMaeConfig, guidance: Guidance, teacher_dims: int) -> I2pMaeConfig:
    """Return the network of pre-training with a guidance.

    Args:
        teacher_dims: channels of the teacher's features; not looked at where they are not learned.
    """
    masks = dataclasses.replace(network.masks, guidance="random" if guidance == "none" else "saliency")
    dims = teacher_dims if guidance == "masks_and_features" else 0
    reconstruction = dataclasses.replace(network.reconstruction, teacher_dims=dims)
    return dataclasses.replace(network, masks=masks, reconstruction=reconstruction)


def classifier(network: I2pMaeConfig, num_classes: int) -> I2pMaeConfig:
    """Return the network with a classifier on its encoder."""
    head = dataclasses.replace(network.classification, num_classes=num_classes)
    return dataclasses.replace(network, head="classification", classification=head)


def part_segmenter(network: I2pMaeConfig, num_parts: int, num_categories: int) -> I2pMaeConfig:
    """Return the network with part segmentation on its encoder."""
    head = dataclasses.replace(network.segmentation, num_parts=num_parts, num_categories=num_categories)
    return dataclasses.replace(network, head="part_segmentation", segmentation=head)


def encoder_only(network: I2pMaeConfig) -> I2pMaeConfig:
    """Return the configuration of the encoder alone; the groups of all heads have their defaults."""
    plain = I2pMaeConfig()
    return dataclasses.replace(
        network,
        head="none",
        masks=plain.masks,
        reconstruction=plain.reconstruction,
        classification=plain.classification,
        segmentation=plain.segmentation,
    )
