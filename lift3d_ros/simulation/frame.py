"""One simulated frame: what the cameras deliver, what a user would know of them, and the truth behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.frames import SceneCamera
from lift3d_ros.types import Boxes3D, Float32Array, Float64Array, UInt8Array


@dataclass(frozen=True, eq=False)
class SimulatedView:
    """One picture with its truth.

    Args:
        rgb: (H, W, 3) uint8, with lens, sensor and weather.
        depth: (H, W) metres along the optical axis, for the same (distorted) pixels; 0 in the sky.
        instances: (H, W) int32 number of the object, 0 for the surroundings, -1 for the sky.
        stamp_ns: when this camera fired.
        T_world_base: (4, 4) pose of the vehicle at that time.
    """

    rgb: UInt8Array
    depth: Float32Array
    instances: NDArray[np.int32]
    stamp_ns: int
    T_world_base: Float64Array


@dataclass(frozen=True, eq=False)
class SimulatedFrame:
    """One frame of a drive.

    Args:
        cameras: calibration as a user would know it; the true one may differ a little.
        views: camera -> picture.
        boxes: labelled objects in the base frame at `stamp_ns`, classes of nuScenes, track ids are instances.
        visibility: (M,) share of each object's pixels that nothing hides, 0..1.
        num_points: (M,) simulated LiDAR points on each object.
        points: (P, 3) simulated LiDAR points in the base frame at `stamp_ns`.
        intensities: (P,) uint8.
    """

    index: int
    stamp_ns: int
    T_world_base: Float64Array
    cameras: Mapping[str, SceneCamera]
    views: Mapping[str, SimulatedView]
    boxes: Boxes3D
    visibility: Float64Array
    num_points: NDArray[np.int64]
    points: Float32Array
    intensities: UInt8Array
