"""Skeletons: their joints and edges, their keypoints in pictures, and what the lifter makes of them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.types.arrays import Float64Array, read_only
from lift3d_ros.types.model_identity import ModelIdentity

TrackKey = tuple[str, int, int]
"""Name and number of joints of a skeleton, and track id: hands may be tracked under the id of their body."""


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Joints and edges of one kind of object.

    Args:
        name: for example ``coco17``.
        joint_names: J different names.
        edges: (E, 2) int64 pairs of different joints; each pair once, in either order.
        side: (J,) int8, +1 the object's own left, -1 its right, 0 middle or not known; zeros where not given.

    Raises:
        ConfigError: no joint, names that repeat, an edge out of range or from a joint to itself, an unknown side.
    """

    name: str
    joint_names: tuple[str, ...]
    edges: NDArray[np.int64]
    side: NDArray[np.int8] | None = None

    def __post_init__(self) -> None:
        where, count = f"skeleton '{self.name}'", len(self.joint_names)
        if not count:
            raise ConfigError(f"{where}: has no joints; expected at least one joint name")
        repeated = sorted({name for name in self.joint_names if self.joint_names.count(name) > 1})
        if repeated:
            raise ConfigError(f"{where}: joint name '{repeated[0]}' is given twice; give each joint its own name")
        edges: NDArray[Any] = np.array(self.edges) if np.size(self.edges) else np.zeros((0, 2), np.int64)
        if edges.dtype.kind not in "iu" or edges.ndim != 2 or edges.shape[1] != 2:
            raise ConfigError(
                f"{where}: edges have shape {edges.shape} and type {edges.dtype}; expected pairs of joint indices"
            )
        is_bad = ((edges < 0) | (edges >= count)).any(axis=1)
        if is_bad.any():
            first = int(np.argmax(is_bad))
            raise ConfigError(
                f"{where}: edge {first} joins {edges[first].tolist()}, but there are {count} joints; "
                f"expected indices 0 to {count - 1}"
            )
        is_loop = edges[:, 0] == edges[:, 1]
        if is_loop.any():
            first = int(np.argmax(is_loop))
            raise ConfigError(f"{where}: edge {first} joins joint {edges[first, 0]} to itself; remove it")
        side: NDArray[Any] = np.zeros(count) if self.side is None else np.array(self.side)
        if side.shape != (count,) or not np.isin(side, (-1, 0, 1)).all():
            raise ConfigError(
                f"{where}: side must hold {count} values, each -1 (right), 0 (middle or not known) or 1 (left); "
                f"got shape {side.shape}"
            )
        _, first_of = np.unique(np.sort(edges, axis=1), axis=0, return_index=True)
        object.__setattr__(self, "edges", read_only(edges[np.sort(first_of)].astype(np.int64)))
        object.__setattr__(self, "side", read_only(side.astype(np.int8)))

    def __len__(self) -> int:
        return len(self.joint_names)

    @property
    def sides(self) -> NDArray[np.int8]:
        """(J,) `side`, also where it was not given."""
        assert self.side is not None
        return self.side

    def track(self, track_id: int) -> TrackKey | None:
        """Return what tells an object with this skeleton from others over time; None where it is not tracked."""
        return (self.name, len(self), track_id) if track_id >= 0 else None

    @functools.cached_property
    def adjacency(self) -> NDArray[np.bool_]:
        """(J, J) symmetric, False on the diagonal."""
        matrix = np.zeros((len(self), len(self)), dtype=bool)
        matrix[self.edges[:, 0], self.edges[:, 1]] = True
        return read_only(matrix | matrix.T)


@dataclass(frozen=True, eq=False)
class Keypoints2D:
    """2D keypoints of one object.

    Args:
        points: (J, 2) float64 pixels; anything where the joint was not seen.
        confidence: (J,) float64 in 0..1; NaN counts as 0, ones where not given.
        is_visible: (J,) bool, the place of the joint is known; a joint whose point is not finite is never visible.
            Not given: every joint with a finite point and a confidence above 0.
        skeleton: name of the skeleton.
        category: for example ``person``; empty where not known.
        instance_id: number of the object within its picture.
        track_id: stays with the object over time; -1 where not tracked.

    Raises:
        Lift3dError: arrays of different lengths.
    """

    points: Float64Array
    confidence: Float64Array | None = None
    is_visible: NDArray[np.bool_] | None = None
    skeleton: str = ""
    category: str = ""
    instance_id: int = 0
    track_id: int = -1

    def __post_init__(self) -> None:
        points = np.array(self.points, dtype=np.float64)
        where = f"keypoints of instance {self.instance_id}"
        if points.ndim != 2 or points.shape[1] != 2:
            raise Lift3dError(f"{where}: points must have shape (joints, 2), got {points.shape}")
        count = len(points)
        confidence = np.ones(count) if self.confidence is None else np.array(self.confidence, dtype=np.float64)
        confidence = np.clip(np.where(np.isnan(confidence), 0.0, confidence), 0.0, 1.0)
        is_visible = confidence > 0.0 if self.is_visible is None else np.array(self.is_visible, dtype=bool)
        for name, array in (("confidence", confidence), ("is_visible", is_visible)):
            if array.shape != (count,):
                raise Lift3dError(f"{where}: {name} must have shape ({count},), one for each point, got {array.shape}")
        object.__setattr__(self, "points", read_only(points))
        object.__setattr__(self, "confidence", read_only(confidence))
        object.__setattr__(self, "is_visible", read_only(is_visible & np.isfinite(points).all(axis=1)))

    def __len__(self) -> int:
        return int(self.points.shape[0])

    def seen(self, min_confidence: float = 0.0) -> NDArray[np.bool_]:
        """Return (J,) whether the joint is visible with at least this confidence."""
        assert self.confidence is not None
        assert self.is_visible is not None
        return np.asarray(self.is_visible & (self.confidence >= min_confidence))


MirrorCue = Literal["model", "perspective", "gravity", "track", "undecided"]
ScaleSource = Literal["none", "category_size", "bone_length", "depth", "box"]


@dataclass(frozen=True, eq=False)
class Skeleton3D:
    """One lifted skeleton.

    Args:
        hypotheses: (H, J, 3) float64, best first; metres in the optical frame where `is_metric`, else with the axes of
            the picture (x right, y down, z away), centred on the visible joints, largest of their |x|, |y| = 1.
        probabilities: (H,) float64, falling, sum 1.
        is_observed: (J,) bool; False where the joint was not seen and is only completed.
        uncertainty: (J,) float64 standard deviation of the place within the skeleton, in the unit of `hypotheses`.
        mirror_cue: what decided between a shape and its depth-reversed copy; ``undecided``: nothing did.
        scale_source: where metres come from; ``none`` where not metric.
        scale_std: relative standard deviation of the scale, and so of the distance; NaN where not metric.
        residual: root mean square of the placed model against the keypoints, in units of half the extent in 2D.
        score: mean confidence of the 2D keypoints, 0..1; those that were not seen count as 0.
        input_index: place of its keypoints among those of the picture; ids may repeat.
    """

    skeleton: Skeleton
    hypotheses: Float64Array
    probabilities: Float64Array
    is_observed: NDArray[np.bool_]
    uncertainty: Float64Array
    is_metric: bool = False
    mirror_cue: MirrorCue = "undecided"
    scale_source: ScaleSource = "none"
    scale_std: float = float("nan")
    residual: float = 0.0
    score: float = 1.0
    category: str = ""
    instance_id: int = 0
    track_id: int = -1
    input_index: int = 0

    def __post_init__(self) -> None:
        joints, count = len(self.skeleton), np.asarray(self.probabilities).shape[0]
        fields: tuple[tuple[str, tuple[int, ...], type], ...] = (
            ("hypotheses", (count, joints, 3), np.float64),
            ("probabilities", (count,), np.float64),
            ("is_observed", (joints,), np.bool_),
            ("uncertainty", (joints,), np.float64),
        )
        for name, shape, dtype in fields:
            array: NDArray[Any] = np.array(getattr(self, name), dtype=dtype)
            if array.shape != shape or not count:
                raise Lift3dError(
                    f"3D skeleton of instance {self.instance_id}: {name} must have shape {shape}, got {array.shape}"
                )
            object.__setattr__(self, name, read_only(array))
        if self.is_metric == (self.scale_source == "none"):
            raise Lift3dError(f"3D skeleton of instance {self.instance_id}: metric joints need a source of scale")

    @property
    def joints(self) -> Float64Array:
        """(J, 3) the best hypothesis."""
        return np.asarray(self.hypotheses[0])


@dataclass(frozen=True, eq=False)
class Skeletons3D:
    """All skeletons lifted from the keypoints of one picture.

    Args:
        frame_id: optical frame of metric joints.
        skeletons: in the order of the input; instances that cannot be lifted are left out and named in `problems`.
        timings_s: stage name -> seconds.
        problems: one sentence for each thing that was wrong with the input, for logs and diagnostics.
    """

    stamp_ns: int
    frame_id: str
    skeletons: tuple[Skeleton3D, ...]
    model: ModelIdentity
    timings_s: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
