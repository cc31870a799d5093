"""How scenes are simulated; loaded from YAML like other configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lift3d_ros.config import load_yaml, setting
from lift3d_ros.datasets.frames import CLASS_NAMES
from lift3d_ros.errors import ConfigError, nearest_name_hint

EVALUATION_SEEDS = range(9000, 9020)
"""Seeds of the evaluation protocol; training never uses them."""

SCENES_VERSION = 3
"""Counted up whenever a seed gives another scene than before: folders and packs hold scenes of one version."""

OBJECT_CLASSES = CLASS_NAMES[:-1]
_DEFAULT_WEIGHTS = {
    "car": 0.34, "truck": 0.08, "construction_vehicle": 0.04, "bus": 0.05, "trailer": 0.05,
    "barrier": 0.08, "motorcycle": 0.07, "bicycle": 0.07, "pedestrian": 0.15, "traffic_cone": 0.07,
}  # fmt: skip


@dataclass(frozen=True)
class SimulationSettings:
    """Settings of the simulator; a scene follows from them and its seed."""

    seed: int = setting(0, "seed of the first scene; the others follow it", minimum=0)
    scenes: int = setting(10, "number of scenes", minimum=1, maximum=1_000_000)
    frames: int = setting(10, "frames of a scene", minimum=1, maximum=1000)
    interval_s: tuple[float, float] = setting(
        (0.5, 0.5), "time between frames, drawn for each scene", unit="s", minimum=0.02, maximum=2.0
    )
    objects: tuple[int, int] = setting(
        (15, 40), "labelled objects within 51.2 m that a scene aims at", minimum=0, maximum=150
    )
    holds_objects: bool = setting(
        False, "draw a scene anew until every frame has as many labelled objects as `objects` says"
    )
    class_weights: Mapping[str, float] = field(
        default_factory=lambda: dict(_DEFAULT_WEIGHTS),
        metadata={"help": "relative frequency of each class; what is left out does not occur", "minimum": 0.0},
    )
    ego_speed: tuple[float, float] = setting((0.0, 15.0), "speed of the ego vehicle", unit="m/s", minimum=0.0)
    width: int = setting(800, "width of the pictures", unit="px", minimum=64, maximum=4096)
    quality: int = setting(80, "JPEG quality of written pictures", minimum=1, maximum=100)
    rig: str = setting("", "rig file; empty for six cameras as on the vehicles of nuScenes")
    random_rigs: float = setting(0.0, "share of scenes with a random rig instead", minimum=0.0, maximum=1.0)
    trigger_spread_s: tuple[float, float] = setting(
        (0.045, 0.045), "time between the first and the last camera of a frame", unit="s", minimum=0.0, maximum=0.2
    )
    calibration_errors: float = setting(
        0.0,
        "share of scenes whose true cameras differ a little from the calibration that is given",
        minimum=0.0,
        maximum=1.0,
    )
    body_motion: float = setting(
        0.0, "share of scenes in which the body pitches and rolls on its springs", minimum=0.0, maximum=1.0
    )
    sensor: bool = setting(True, "lens, exposure, noise and sharpening of a real camera")
    dark_or_wet: float = setting(0.2, "share of scenes at night or in rain", minimum=0.0, maximum=1.0)
    other_weather: float = setting(0.4, "share of scenes overcast, at dusk or in fog", minimum=0.0, maximum=1.0)
    library_share: float = setting(
        0.5, "share of the road users that come from the mesh folder where it has their class", minimum=0.0, maximum=1.0
    )
    inferred_licences: bool = setting(False, "also use meshes whose licence is only inferred")
    range_m: float = setting(60.0, "objects are labelled up to this distance", unit="m", minimum=1.0, maximum=120.0)
    min_visible_px: int = setting(12, "least pixels of a labelled object over all cameras of a frame", minimum=1)
    lidar: bool = setting(True, "simulate LiDAR points")
    purpose: Literal["training", "evaluation", "any"] = setting(
        "any", "training refuses the seeds of the evaluation protocol"
    )

    def __post_init__(self) -> None:
        for name in ("interval_s", "objects", "ego_speed", "trigger_spread_s"):
            low, high = getattr(self, name)
            if low > high:
                raise ConfigError(f"simulation: '{name}' is [{low}, {high}]; expected the smaller value first")
        low, high = self.objects
        if self.holds_objects and high - low < 2:
            raise ConfigError(
                f"simulation: 'objects' is [{low}, {high}] with 'holds_objects'; expected at least 2 between them, as "
                "scenes are kept that stay off both ends in a preview. Widen 'objects', or set 'holds_objects' to false"
            )
        for name, weight in self.class_weights.items():
            if name not in OBJECT_CLASSES:
                raise ConfigError(
                    f"simulation: class_weights names '{name}'{nearest_name_hint(name, OBJECT_CLASSES)}; "
                    f"known: {', '.join(OBJECT_CLASSES)}"
                )
            if not weight >= 0:
                raise ConfigError(f"simulation: class_weights.{name} is {weight}; expected 0 or more")
        if not sum(self.class_weights.values()) > 0:
            raise ConfigError("simulation: class_weights are all 0; give at least one class a positive weight")

    def check_seed(self, seed: int) -> None:
        """Refuse a negative seed, and the seeds of the evaluation protocol where the scenes are for training.

        Raises:
            ConfigError: the seed must not be used.
        """
        if seed < 0:
            raise ConfigError(f"seed {seed} is negative; expected 0 or more")
        if self.purpose == "training" and seed in EVALUATION_SEEDS:
            raise ConfigError(
                f"seed {seed} belongs to the evaluation protocol ({EVALUATION_SEEDS.start}-{EVALUATION_SEEDS.stop - 1})"
                " and is not trained on; choose other seeds"
            )


def load_settings(path: Path) -> SimulationSettings:
    """Read settings from a YAML file.

    Raises:
        ConfigError: the file is missing or a value does not fit.
    """
    return load_yaml(SimulationSettings, path)
