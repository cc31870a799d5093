"""Pictures of one object from known cameras, and what the object frame of a model is when one of them is its picture.

Letters: V views, S side of the square pictures in px, P points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.rigid import invert
from lift3d_ros.models.lrm.cameras import orbit
from lift3d_ros.models.lrm.config import ViewConfig
from lift3d_ros.types import Float32Array, Float64Array, UInt8Array


@dataclass(frozen=True, eq=False)
class ObjectPoints:
    """Points in and around an object.

    Args:
        positions: (P, 3) object frame.
        is_inside: (P,) whether the object is there.
        colors: (P, 3) sRGB of the nearest surface.
        is_near: (P,) whether the surface is so near that its colour counts.
    """

    positions: Float32Array
    is_inside: NDArray[np.bool_]
    colors: UInt8Array
    is_near: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ObjectViews:
    """One object from V cameras, each of which has it in the middle of its picture.

    Args:
        rgba: (V, S, S, 4), colours not multiplied with alpha.
        T_object_cameras: (V, 4, 4) poses of optical frames.
        intrinsics: (V, 3, 3) in units of the picture's side.
        distances: (V,) of the middle of the object along the optical axis, units of the object frame.
        depths: (V, S, S) along the optical axis, 0 where nothing is; None where it is not known.
        points: None where the shape is not known.
    """

    rgba: UInt8Array
    T_object_cameras: Float64Array
    intrinsics: Float64Array
    distances: Float64Array
    depths: Float32Array | None = None
    points: ObjectPoints | None = None

    def __len__(self) -> int:
        return len(self.rgba)


def held_out_views(num_views: int, num_held_out: int) -> list[int]:
    """Return which views are never trained on; not the first one, and spread evenly, as cameras often go around.

    Args:
        num_held_out: at most half of the views.
    """
    return [int((place + 0.5) * num_views / num_held_out) for place in range(num_held_out)]


def model_frame(
    T_object_camera: Float64Array, intrinsics: Float64Array, distance: float, view: ViewConfig
) -> Float64Array:
    """Return the similarity (4, 4) from the frame of an object to that of a model which sees it by a camera.

    The camera gets the place where the model assumes it; the middle of the object gets to the origin, in a size that
    makes it look as large as the model's camera shows it.

    Args:
        T_object_camera, intrinsics, distance: of the view, as in :class:`ObjectViews`.

    Source: fact sheet LRM, section 4.2, with a size for cameras of other focal lengths.
    """
    assumed = orbit([np.deg2rad(view.azimuth_deg)], 0.0, view.distance)[0]
    scale = intrinsics[0, 0] * view.distance / (view.focal * distance)
    # Straight behind the middle of the picture lies the middle of the object.
    center = np.array([(0.5 - intrinsics[0, 2]) / intrinsics[0, 0], (0.5 - intrinsics[1, 2]) / intrinsics[1, 1], 1.0])
    resized = np.eye(4)
    resized[:3, :3] *= scale
    resized[:3, 3] = np.array([0.0, 0.0, view.distance]) - scale * distance * center
    return np.asarray(assumed @ resized @ invert(T_object_camera))
