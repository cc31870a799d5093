"""Labelled frame sets in time: what training and evaluation read, whatever the data came from.

A frame set is what the pipeline takes on the vehicle; the labels hold at its reference stamp, in its base frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import DatasetError
from lift3d_ros.geometry.rig import Polygon, Rig
from lift3d_ros.types import Boxes3D, Float32Array, Float64Array, FrameSet


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """One frame set with its labels.

    Args:
        boxes: objects in the base frame at the stamp of the set; NaN velocity where unknown.
        visibility: (M,) share of each object that the pictures show, 0..1, NaN where unknown.
        num_points: (M,) LiDAR points on each object, -1 where unknown.
        points: (P, 3) LiDAR points in the base frame at the stamp of the set; None without a LiDAR.
        depth_maps: camera -> (H, W) metres along the optical axis for the picture as it was taken, distorted where
            the camera is, 0 where unknown; known of simulated pictures only.
        own_vehicle: camera -> polygons of the own body in its picture, which the detector makes black.
    """

    scene: str
    frame_set: FrameSet
    boxes: Boxes3D
    visibility: Float64Array | None = None
    num_points: NDArray[np.int64] | None = None
    points: Float32Array | None = None
    depth_maps: Mapping[str, Float32Array] | None = None
    own_vehicle: Mapping[str, Sequence[Polygon]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.boxes)
        for name in ("visibility", "num_points"):
            values = getattr(self, name)
            if values is not None and values.shape != (count,):
                raise DatasetError(f"scene '{self.scene}': {name} has shape {values.shape}; expected ({count},)")


class LabelledData(Protocol):
    """A source of labelled frame sets, scene by scene."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes of the labels, after any mapping."""

    @property
    def scenes(self) -> Sequence[str]:
        """Names of the scenes; they need not share a clock, a place or a rig."""

    def num_frames(self, scene: str) -> int:
        """Return how many labelled frame sets a scene has."""

    def load(self, scene: str, index: int) -> LabelledSet:
        """Return one frame set; the sets of a scene are in order of time.

        Raises:
            DatasetError: a file is missing or damaged.
        """


class WithOwnVehicle:
    """Labelled data whose sets know where a rig's cameras see the own vehicle."""

    def __init__(self, data: LabelledData, rig: Rig) -> None:
        self._data = data
        self._own_vehicle = {name: camera.own_vehicle for name, camera in rig.cameras.items() if camera.own_vehicle}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes of the labels, after any mapping."""
        return self._data.class_names

    @property
    def scenes(self) -> Sequence[str]:
        """Names of the scenes."""
        return self._data.scenes

    def num_frames(self, scene: str) -> int:
        """Return how many labelled frame sets a scene has."""
        return self._data.num_frames(scene)

    def load(self, scene: str, index: int) -> LabelledSet:
        """Return one frame set.

        Raises:
            DatasetError: a file is missing or damaged, or none of the cameras with masks is among those of the scene.
        """
        found = self._data.load(scene, index)
        cameras = found.frame_set.cameras
        if self._own_vehicle and self._own_vehicle.keys().isdisjoint(cameras):
            raise DatasetError(
                f"scene '{scene}': its cameras are {', '.join(cameras)}, and the rig has masks of the own vehicle for "
                f"{', '.join(self._own_vehicle)} alone, so nothing would be masked; give the cameras of the rig file "
                "the names that they have here, or leave the rig out for these data"
            )
        return replace(found, own_vehicle=self._own_vehicle)
