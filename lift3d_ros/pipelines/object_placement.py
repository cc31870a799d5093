"""Stands a mesh in front of the camera that took its picture: pose and metres, by depth or by a box in space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import ImageError
from lift3d_ros.geometry.object_pose import ObjectPose, PictureSquare, fit_to_picture, pose_from_box, pose_from_depth
from lift3d_ros.models.lrm.cameras import view_intrinsics
from lift3d_ros.models.lrm.config import ViewConfig
from lift3d_ros.types import CameraModel, Float32Array, Float64Array

if TYPE_CHECKING:
    from lift3d_ros.pipelines.object_reconstruction import ObjectFrame

# Depth may be smaller than the picture, as long as it shows the same.
_SHAPE_TOLERANCE = 0.01


def place_object(
    frame: ObjectFrame,
    square: PictureSquare,
    vertices: Float64Array,
    is_seen: NDArray[np.bool_],
    T_object_view: Float64Array,
    view: ViewConfig,
) -> tuple[ObjectPose | None, tuple[str, ...]]:
    """Return pose and size of a mesh, None where nothing tells them, and a sentence for each thing that went wrong.

    Args:
        square: what of the picture the model was shown.
        vertices: (V, 3) object frame.
        is_seen: (V,) by the camera that the model assumes, at `T_object_view`.
    """
    depth, problems = frame.depth, []
    if frame.camera is None or (depth is None and frame.box_3d is None):
        return None, ()
    fit = fit_to_picture(vertices, is_seen, T_object_view, view_intrinsics(view), square, frame.camera)
    if fit is None:
        return None, ("too little of the mesh is seen to tell its pose; it has no size in metres",)
    if depth is not None:
        try:
            check_depth_shape(depth, frame.camera, "it")
        except ImageError as error:
            problems.append(f"depth is not used: {error}")
            depth = None
    pose = None if depth is None else pose_from_depth(fit, vertices, is_seen, frame.camera, depth)
    if pose is None and frame.box_3d is not None:
        pose = pose_from_box(fit, vertices, frame.box_3d, frame.T_cam_box)
    if pose is None and depth is not None:
        problems.append("hardly any depth was measured where the object is; it has no size in metres")
    return pose, tuple(problems)


def check_depth_shape(depth: Float32Array, camera: CameraModel, name: str) -> None:
    """Refuse depth (H, W) that cannot show the same as the pictures of a camera.

    Raises:
        ImageError: its aspect ratio is another one; `name` begins the sentence that says both sizes.
    """
    height, width = depth.shape
    if abs(width * camera.height / (height * camera.width) - 1.0) > _SHAPE_TOLERANCE:
        raise ImageError(
            f"{name} has {width}x{height} px, the picture {camera.width}x{camera.height}; expected the same shape. "
            "Give depth that is registered to the picture"
        )
