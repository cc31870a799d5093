"""A spinning LiDAR of 32 beams, from depth pictures rendered around it.

Points are taken along the rays of the pixels nearest to the beams, so that they lie on the surfaces exactly; range
noise is added after that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import yaw_matrix
from lift3d_ros.simulation.renderer import Item, Renderer
from lift3d_ros.types import CameraModel, Float32Array, Float64Array, UInt8Array

BEAMS = 32
ELEVATIONS_DEG = (-30.67, 10.67)
AZIMUTH_STEP_DEG = 0.33
RANGE_M = (1.0, 90.0)

_SIDES = 4
_NOISE_M = 0.02
_PIXEL = np.tan(np.deg2rad(0.25))


@dataclass(frozen=True, eq=False)
class LidarScan:
    """One turn of the LiDAR.

    Args:
        points: (P, 3) in the frame of the LiDAR (x forward, z up).
        intensities: (P,) uint8.
        instances: (P,) int32 number of the object, 0 for the surroundings.
    """

    points: Float32Array
    intensities: UInt8Array
    instances: NDArray[np.int32]


def scan(
    renderer: Renderer,
    T_world_lidar: Float64Array,
    items: Sequence[Item],
    rng: np.random.Generator,
    *,
    wet: float = 0.0,
) -> LidarScan:
    """Return what a LiDAR at `T_world_lidar` measures; items that are not visible to cameras are left out.

    Args:
        wet: of the ground, 0..1; wet roads return fewer points.
    """
    model, rows, columns, rays = _pattern()
    points, instances, distances = [], [], []
    for side in range(_SIDES):
        T_lidar_cam = make_transform(yaw_matrix(2 * np.pi * side / _SIDES) @ _OPTICAL, np.zeros(3))
        depth, ids = renderer.render_truth(model, T_world_lidar @ T_lidar_cam, items)
        along = depth[rows, columns].astype(np.float64)
        distance = along * np.linalg.norm(rays, axis=1)
        is_hit = (distance > RANGE_M[0]) & (distance < RANGE_M[1])
        points.append((rays[is_hit] * along[is_hit, None]) @ T_lidar_cam[:3, :3].T)
        instances.append(ids[rows, columns][is_hit])
        distances.append(distance[is_hit])
    places, numbers, reach = np.concatenate(points), np.concatenate(instances), np.concatenate(distances)
    # Far surfaces and wet ground, which mirrors the beam away, return too little light.
    lost = 0.02 + 0.25 * np.clip((reach - 40.0) / 50.0, 0.0, 1.0) + 0.6 * wet * (numbers == 0) * (places[:, 2] < -1.0)
    is_kept = rng.random(len(reach)) > lost
    places, numbers, reach = places[is_kept], numbers[is_kept], reach[is_kept]
    places *= (1.0 + _NOISE_M * rng.standard_normal(len(reach)) / reach)[:, None]
    strength = 12.0 + 30.0 * rng.random(int(numbers.max(initial=0)) + 1)[np.maximum(numbers, 0)]
    intensities = np.clip(strength + 6.0 * rng.standard_normal(len(reach)), 1, 255)
    return LidarScan(places.astype(np.float32), intensities.astype(np.uint8), numbers.astype(np.int32))


_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


@lru_cache(maxsize=1)
def _pattern() -> tuple[CameraModel, NDArray[np.int64], NDArray[np.int64], Float64Array]:
    """Return the camera of one side, and row, column and ray (N, 3; z = 1) of each of its beams."""
    focal = 1.0 / _PIXEL
    half = np.pi / _SIDES
    elevations = np.deg2rad(np.linspace(*ELEVATIONS_DEG, BEAMS))
    azimuths = np.arange(-half, half, np.deg2rad(AZIMUTH_STEP_DEG))
    azimuth, elevation = (grid.reshape(-1) for grid in np.meshgrid(azimuths, elevations))
    slope_x, slope_y = -np.tan(azimuth), -np.tan(elevation) / np.cos(azimuth)
    top, left = np.floor(slope_y.min() * focal), np.floor(slope_x.min() * focal)
    height = int(np.ceil(slope_y.max() * focal) - top) + 2
    width = int(np.ceil(slope_x.max() * focal) - left) + 2
    intrinsics = np.array([[focal, 0.0, 1.0 - left], [0.0, focal, 1.0 - top], [0.0, 0.0, 1.0]])
    model = CameraModel("lidar", "lidar", width, height, intrinsics)
    columns = np.clip(np.round(slope_x * focal + 1.0 - left), 0, width - 1).astype(np.int64)
    rows = np.clip(np.round(slope_y * focal + 1.0 - top), 0, height - 1).astype(np.int64)
    rays = np.stack([(columns - (1.0 - left)) / focal, (rows - (1.0 - top)) / focal, np.ones(len(rows))], axis=1)
    return model, rows, columns, rays
