"""Oriented boxes in space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import Lift3dError
from lift3d_ros.types.arrays import Float64Array, read_only


@dataclass(frozen=True, eq=False)
class Boxes3D:
    """Oriented boxes in one frame.

    Args:
        centers: (M, 3) float64 geometric centres, metres.
        sizes: (M, 3) float64 length (along heading), width, height, metres.
        yaws: (M,) float64 about +z, 0 along x.
        velocities: (M, 2) float64 over ground along the axes of `frame_id`, m/s; NaN where unknown.
        scores: (M,) float64 in 0..1.
        labels: (M,) int64 index into `class_names`.
        track_ids: (M,) int64, -1 where not tracked.
    """

    frame_id: str
    class_names: tuple[str, ...]
    centers: Float64Array
    sizes: Float64Array
    yaws: Float64Array
    velocities: Float64Array
    scores: Float64Array
    labels: NDArray[np.int64]
    track_ids: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count = np.asarray(self.yaws).shape[0]
        track_ids = np.full(count, -1) if self.track_ids is None else self.track_ids
        fields: tuple[tuple[str, Any, tuple[int, ...], type], ...] = (
            ("centers", self.centers, (count, 3), np.float64),
            ("sizes", self.sizes, (count, 3), np.float64),
            ("yaws", self.yaws, (count,), np.float64),
            ("velocities", self.velocities, (count, 2), np.float64),
            ("scores", self.scores, (count,), np.float64),
            ("labels", self.labels, (count,), np.int64),
            ("track_ids", track_ids, (count,), np.int64),
        )
        for name, value, shape, dtype in fields:
            array: NDArray[Any] = np.array(value, dtype=dtype)
            if array.shape != shape:
                raise Lift3dError(f"boxes: {name} must have shape {shape}, got {array.shape}")
            object.__setattr__(self, name, read_only(array))
        labels = np.asarray(self.labels)
        if count and (labels.min() < 0 or labels.max() >= len(self.class_names)):
            raise Lift3dError(
                f"boxes: labels must index the {len(self.class_names)} class names, got {labels.min()}..{labels.max()}"
            )

    def __len__(self) -> int:
        return int(self.yaws.shape[0])

    def select(self, index: NDArray[Any]) -> Boxes3D:
        """Return the boxes at `index` (boolean mask or integer positions)."""
        # Rows of boxes that were checked need no second check, and a tracker selects eight times in a frame.
        selected = object.__new__(Boxes3D)
        for name, value in vars(self).items():
            object.__setattr__(selected, name, read_only(value[index]) if isinstance(value, np.ndarray) else value)
        return selected

    @classmethod
    def empty(cls, frame_id: str, class_names: tuple[str, ...]) -> Boxes3D:
        """Return no boxes."""
        none = np.zeros((0, 3))
        return cls(
            frame_id=frame_id,
            class_names=class_names,
            centers=none,
            sizes=none,
            yaws=np.zeros(0),
            velocities=np.zeros((0, 2)),
            scores=np.zeros(0),
            labels=np.zeros(0, dtype=np.int64),
        )
