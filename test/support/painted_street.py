"""Prepared samples of a made-up street: boxes painted into the pictures of cameras all around, with exact labels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from lift3d_ros.datasets.pack import PackFacts, create_pack, write_pack
from lift3d_ros.datasets.prepared import PreparedSample
from lift3d_ros.geometry.boxes import corners
from lift3d_ros.geometry.project import image_from_base, project_points
from lift3d_ros.models.dfa3d.config import NUSCENES_CLASSES
from lift3d_ros.types import Boxes3D, Float64Array

WIDTH, HEIGHT = 192, 96
_COLORS = {0: (220, 60, 40), 8: (60, 90, 230)}


def camera_matrices(num_cameras: int, width: int = WIDTH, height: int = HEIGHT) -> Float64Array:
    """Return (N, 4, 4) projections of cameras that look outwards from 1.6 m above the origin."""
    focal = 0.7 * width
    K = np.array([[focal, 0, width / 2 - 3.0], [0, focal, height / 2 + 2.0], [0, 0, 1]])
    matrices = []
    for yaw in np.linspace(0, 2 * np.pi, num_cameras, endpoint=False):
        c, s = np.cos(yaw), np.sin(yaw)
        T_cam_base = np.array([[s, -c, 0, 0], [0, 0, -1, 1.6], [c, s, 0, -0.4], [0, 0, 0, 1]])
        matrices.append(image_from_base(K, T_cam_base))
    return np.stack(matrices)


def painted_sample(
    scene: str = "painted",
    index: int = 0,
    seed: int = 0,
    num_cameras: int = 4,
    num_boxes: int = 5,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    reach: float = 18.0,
) -> PreparedSample:
    """Return a sample; boxes and colours follow from `seed`, and cars move with the index."""
    rng = np.random.default_rng(seed)
    width, height = size
    angles, distances = rng.uniform(0, 2 * np.pi, num_boxes), rng.uniform(7.0, reach, num_boxes)
    labels = np.array([0, 8])[rng.integers(0, 2, num_boxes)]
    sizes = np.where(labels[:, None] == 0, [4.4, 1.9, 1.6], [0.7, 0.7, 1.8])
    velocities = rng.uniform(-2, 2, (num_boxes, 2))
    centers = np.stack([distances * np.cos(angles), distances * np.sin(angles), sizes[:, 2] / 2], axis=1)
    centers[:, :2] += 0.5 * index * velocities
    boxes = Boxes3D(
        "base_link", NUSCENES_CLASSES, centers, sizes, rng.uniform(-3, 3, num_boxes), velocities,
        np.ones(num_boxes), labels,
    )  # fmt: skip
    matrices = camera_matrices(num_cameras, width, height)
    images = np.full((num_cameras, height, width, 3), 90, dtype=np.uint8)
    depths = np.full((num_cameras, -(-height // 16), -(-width // 16)), np.inf, dtype=np.float16)
    for matrix, image, cells in zip(matrices, images, depths, strict=True):
        image[: height // 2] = (150, 170, 200)
        for number in np.argsort(-np.linalg.norm(centers, axis=1)):
            pixels, depth = project_points(matrix, corners(boxes)[number])
            if depth.min() > 0.5:
                hull = cv2.convexHull(pixels.astype(np.float32)).round().astype(np.int32)
                cv2.fillPoly(image, [hull], _COLORS[int(labels[number])])
                column, row = (pixels.mean(axis=0) // 16).astype(int)
                if 0 <= row < cells.shape[0] and 0 <= column < cells.shape[1]:
                    cells[row, column] = depth.min()
    return PreparedSample(
        scene=scene,
        index=index,
        stamp_ns=1_000_000_000 + 500_000_000 * index,
        has_pose=True,
        T_world_base=np.eye(4),
        linear_velocity=np.full(3, np.nan),
        angular_velocity=np.full(3, np.nan),
        cameras=tuple(f"camera{number}" for number in range(num_cameras)),
        images=np.ascontiguousarray(images.transpose(0, 3, 1, 2)),
        image_from_base=matrices.astype(np.float32),
        cell_depths=depths,
        centers=centers.astype(np.float32),
        sizes=sizes.astype(np.float32),
        yaws=boxes.yaws.astype(np.float32),
        velocities=velocities.astype(np.float32),
        labels=labels,
        visibility=np.full(num_boxes, np.nan, dtype=np.float32),
        num_points=np.full(num_boxes, -1),
    )


def painted_pack(folder: Path, num_scenes: int = 2, num_frames: int = 2, num_cameras: int = 4) -> Path:
    """Write a pack of painted scenes."""
    create_pack(folder, PackFacts(WIDTH, HEIGHT, NUSCENES_CLASSES, "painted", None))
    for seed in range(num_scenes):
        scene = f"scene{seed}"
        frames = [painted_sample(scene, index, seed, num_cameras) for index in range(num_frames)]
        write_pack(folder, scene, frames, None)
    return folder


def fast_pack(folder: Path, num_frames: int) -> Path:
    """Write a pack of one scene whose frames are a tenth of a second apart."""
    create_pack(folder, PackFacts(WIDTH, HEIGHT, NUSCENES_CLASSES, "painted", None))
    frames = [painted_sample("fast", index) for index in range(num_frames)]
    frames = [dataclasses.replace(one, stamp_ns=1_000_000_000 + 100_000_000 * one.index) for one in frames]
    write_pack(folder, "fast", frames, None)
    return folder
