"""Pictures of a validation: true and found boxes on the cameras and from above."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.types import Boxes3D, CameraImage, CameraModel, CameraView, Float32Array, UInt8Array
from lift3d_ros.viz.bev import draw_bev
from lift3d_ros.viz.overlay import draw_overlay

_SCORE = 0.25
_BEV_PX = 640


def draw_sample(
    path: Path,
    name: str,
    images: UInt8Array,
    image_from_model: Float32Array,
    found: Boxes3D,
    true: Boxes3D,
    config: Dfa3dConfig,
) -> None:
    """Write one picture: the cameras (N, 3, H, W) in two columns, and the bird's-eye view beside them."""
    shown = found.select(np.flatnonzero(found.scores >= _SCORE))
    padded = [_view(matrix, config) for matrix in image_from_model]
    cameras = [
        draw_overlay(np.ascontiguousarray(image.transpose(1, 2, 0)), view, shown, true)
        for image, view in zip(images, padded, strict=True)
    ]
    if len(cameras) % 2:
        cameras.append(np.zeros_like(cameras[0]))
    rows = [np.hstack(cameras[start : start + 2]) for start in range(0, len(cameras), 2)]
    left = np.vstack(rows)
    reach = float(np.abs(np.array(config.point_range)[[0, 1, 3, 4]]).max())
    bev = draw_bev(shown, true, range_m=reach, size_px=_BEV_PX, caption=f"{name}, scores from {_SCORE}")
    height = max(left.shape[0], _BEV_PX)
    sheet = np.zeros((height, left.shape[1] + _BEV_PX, 3), dtype=np.uint8)
    sheet[: left.shape[0], : left.shape[1]] = left
    sheet[:_BEV_PX, left.shape[1] :] = bev
    cv2.imwrite(str(path), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])


def _view(image_from_model: NDArray[np.float32], config: Dfa3dConfig) -> CameraView:
    """Return the camera of a projection that is intrinsics times a rigid transform."""
    scaling = np.eye(4)
    scaling[:3, :3] = config.scaling_matrix
    matrix = np.linalg.inv(scaling) @ image_from_model.astype(np.float64)
    across, down, along = matrix[:3, :3]
    along = along / np.linalg.norm(along)
    center = np.array([across @ along, down @ along])
    across, down = across - center[0] * along, down - center[1] * along
    focal = np.array([np.linalg.norm(across), np.linalg.norm(down)])
    intrinsics = np.array([[focal[0], 0, center[0]], [0, focal[1], center[1]], [0, 0, 1]])
    left, _, right = np.linalg.svd(np.stack([across / focal[0], down / focal[1], along]))
    T_cam_model = np.eye(4)
    T_cam_model[:3, :3] = left @ right
    T_cam_model[:3, 3] = np.linalg.inv(intrinsics) @ matrix[:3, 3]
    empty = CameraImage("camera", 0, "camera", "rgb8", np.zeros(0, dtype=np.uint8))
    model = CameraModel("camera", "camera", config.image_width, config.image_height, intrinsics)
    return CameraView(empty, model, np.linalg.inv(T_cam_model))
