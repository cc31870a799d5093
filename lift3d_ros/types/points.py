"""Points of objects, and their features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import Lift3dError
from lift3d_ros.types.arrays import Float32Array, read_only
from lift3d_ros.types.model_identity import ModelIdentity


@dataclass(frozen=True, eq=False)
class PointCrop:
    """The points of one object, or of a whole cloud.

    Args:
        points: (N, 3) float32 in the frame of the cloud, metres.
        instance_id: number of the object; -1 for the whole cloud.

    Raises:
        Lift3dError: points of another shape.
    """

    points: Float32Array
    instance_id: int = -1

    def __post_init__(self) -> None:
        points = np.asarray(self.points, dtype=np.float32)
        if points.ndim != 2 or points.shape[1] != 3:
            raise Lift3dError(f"crop {self.instance_id}: points must have shape (points, 3), got {points.shape}")
        object.__setattr__(self, "points", points)

    def __len__(self) -> int:
        return int(self.points.shape[0])


@dataclass(frozen=True, eq=False)
class PointFeatures:
    """What the point encoder says of one crop.

    Args:
        descriptor: (C,) float32 of the whole crop.
        tokens: (T, D) float32 of its parts.
        token_centers: (T, 3) float32 points that the parts lie around, in the frame of the cloud, metres.
        label: class; empty where there is no classifier.
        score: probability of the class in 0..1; 0 where there is no classifier.
        instance_id: of the crop; -1 for the whole cloud.
        num_points: finite points of the crop, before it was reduced.

    Raises:
        Lift3dError: arrays whose shapes do not fit together.
    """

    descriptor: Float32Array
    tokens: Float32Array
    token_centers: Float32Array
    label: str = ""
    score: float = 0.0
    instance_id: int = -1
    num_points: int = 0

    def __post_init__(self) -> None:
        tokens: NDArray[Any] = np.array(self.tokens, dtype=np.float32)
        if tokens.ndim != 2:
            raise Lift3dError(
                f"features of crop {self.instance_id}: tokens must have shape (tokens, channels), got {tokens.shape}"
            )
        object.__setattr__(self, "tokens", read_only(tokens))
        for name, shape in (("descriptor", np.shape(self.descriptor)[:1]), ("token_centers", (len(tokens), 3))):
            array: NDArray[Any] = np.array(getattr(self, name), dtype=np.float32)
            if array.shape != shape:
                raise Lift3dError(
                    f"features of crop {self.instance_id}: {name} must have shape {shape}, got {array.shape}"
                )
            object.__setattr__(self, name, read_only(array))


@dataclass(frozen=True, eq=False)
class PointFeatureSet:
    """Features of all crops of one cloud.

    Args:
        frame_id: of the cloud.
        features: in the order of the boxes; boxes without points are left out and named in `problems`.
        timings_s: stage name -> seconds (``prepare``, ``inference``).
        problems: one sentence for each thing that was wrong with the input, for logs and diagnostics.
    """

    frame_id: str
    stamp_ns: int
    features: tuple[PointFeatures, ...]
    model: ModelIdentity
    timings_s: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
