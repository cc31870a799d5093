"""How the object reconstructor is trained: everything that a recipe in ``config/training`` can say."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lift3d_ros.config import flat_facts, group, setting
from lift3d_ros.datasets.object_packing import RenderSettings
from lift3d_ros.models.lrm.config import PRESETS, LrmConfig, preset
from lift3d_ros.training.recipe import load_recipe_of
from lift3d_ros.training.settings import FREE_TO_CHANGE, RunSettings


@dataclass(frozen=True)
class LrmDataSettings:
    """What a step draws of each object, and random changes of it."""

    source_views: int = setting(
        0, "only so many first views of an object become the picture that the network sees; 0: all", minimum=0
    )
    held_out_views: int = setting(
        0, "so many views of an object, spread evenly, are never trained on, and a validation compares them", minimum=0
    )
    mirrored: float = setting(0.5, "share of mirrored objects", minimum=0, maximum=1)
    tinted: float = setting(0.7, "share whose colours are exchanged and made stronger or weaker", minimum=0, maximum=1)
    noise: float = setting(2.0, "standard deviation of noise on the picture, 0..255", minimum=0, maximum=64)
    validation_rays: int = setting(512, "rays to each compared view of a validated object", minimum=1)


@dataclass(frozen=True)
class LrmLossSettings:
    """What the field is compared with, and how much of it in each step.

    Labelled points cost a tenth of rays: one query says what a ray needs dozens for, and they reach inside and behind.
    Rays say how things look, which is what pictures without a known shape can teach.
    """

    supervision: Literal["points", "rays", "both"] = setting("both", "what the loss is made of")
    points: int = setting(1024, "labelled points of each object", minimum=1)
    empty_points: int = setting(
        512,
        "points away from the object: half of them anywhere, half before and behind what the picture shows",
        minimum=0,
    )
    rays: int = setting(96, "rays of each object, to any of its views", minimum=1)
    patch_side: int = setting(
        0, "rays through a random square of so many px of a view, in place of `rays` scattered ones; 0: scattered",
        minimum=0, maximum=1024,
    )  # fmt: skip
    ray_samples: int = setting(24, "first samples of a ray", minimum=4)
    ray_importance: int = setting(0, "samples placed where the first ones found matter", minimum=0)
    occupancy: float = setting(1.0, "of inside or outside, at points", minimum=0)
    color: float = setting(2.0, "of squared errors of colour, at points near the surface", minimum=0)
    ray_color: float = setting(2.0, "of squared errors of colour, along rays", minimum=0)
    mask: float = setting(1.0, "of squared errors of opacity, along rays", minimum=0)
    perceptual_weight: float = setting(
        0.0, "of the distance of patches in the eyes of `perceptual_network`; needs `patch_side`", minimum=0
    )
    perceptual_network: str = setting(
        "", "file with the published weights of EfficientNet-Lite0, a ResNet, DINO or DINOv2; see docs/lrm.md"
    )
    variation: float = setting(0.0, "of steps between texels of the planes; OpenLRM has 5e-4", minimum=0)
    optimizer: Literal["muon", "adamw"] = setting("muon", "of the matrices of the blocks; AdamW has the rest")
    muon_rate: float = setting(1.5e-3, "highest learning rate of Muon", minimum=0, maximum=1)


@dataclass(frozen=True)
class LrmTraining:
    """A recipe; ``run.batch_size`` counts the objects that a step draws."""

    preset: str = setting("lift3d-lrm-tiny", "configuration of the model")
    network: LrmConfig = group(LrmConfig)
    run: RunSettings = group(RunSettings)
    render: RenderSettings = group(RenderSettings)
    data: LrmDataSettings = group(LrmDataSettings)
    loss: LrmLossSettings = group(LrmLossSettings)

    @property
    def is_plain_preset(self) -> bool:
        """Whether the network is that of the preset, so that a manifest can name it."""
        return self.network == preset(self.preset)

    @property
    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint must agree with, dotted name -> plain value."""
        free = {f"run.{name}" for name in FREE_TO_CHANGE} | {"data.validation_rays", "loss.perceptual_network"}
        facts = flat_facts(dataclasses.asdict(self))
        return {name: value for name, value in facts.items() if name not in free and not name.startswith("render.")}


def load_recipe(path: Path, changes: Sequence[str] = ()) -> LrmTraining:
    """Read a recipe.

    Args:
        changes: ``name=value`` with dotted names, as of ``--set``.

    Raises:
        ConfigError: the file or a change does not fit; names it and the nearest known name.
    """
    return load_recipe_of(LrmTraining, path, changes, preset, PRESETS)
