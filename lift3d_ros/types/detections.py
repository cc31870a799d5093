"""Results of the BEV detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lift3d_ros.types.boxes import Boxes3D
from lift3d_ros.types.model_identity import ModelIdentity


@dataclass(frozen=True)
class CameraUse:
    """How one camera took part in a result: the stamp of its picture, and reference stamp minus time of capture."""

    name: str
    is_used: bool
    stamp_ns: int = 0
    age_s: float = 0.0


TemporalState = Literal["fused", "first_frame", "no_ego_motion", "gap"]


@dataclass(frozen=True, eq=False)
class BevDetections:
    """Result of the BEV detector for one frame set.

    Args:
        temporal_state: ``fused`` when BEV memory was used; otherwise why it was not.
        timings_s: stage name -> seconds (``prepare``, ``inference``, ``decoding``, ...).
        problems: one sentence for each thing that was wrong with the input, for logs and diagnostics.
    """

    stamp_ns: int
    boxes: Boxes3D
    cameras: tuple[CameraUse, ...]
    model: ModelIdentity
    temporal_state: TemporalState
    timings_s: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
