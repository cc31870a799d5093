"""Cases of the evaluation of object reconstruction: a picture of a mesh, other views of it, and its true surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lift3d_ros.datasets.object_meshes import MeshEntry
from lift3d_ros.datasets.object_points import sample_surface
from lift3d_ros.datasets.object_renders import Framing, Light, ObjectRenderer, random_rotations, render_views
from lift3d_ros.datasets.object_views import model_frame
from lift3d_ros.evaluation.object_surfaces import NUM_POINTS
from lift3d_ros.geometry.rigid import transform_points
from lift3d_ros.models.lrm.config import LrmConfig
from lift3d_ros.models.lrm.object_image import composite
from lift3d_ros.simulation.meshes import Mesh
from lift3d_ros.types import Float64Array, UInt8Array


@dataclass(frozen=True, eq=False)
class ObjectCase:
    """One mesh, in the object frame of a model that sees its first view.

    Args:
        rgba: (S, S, 4) the picture that is reconstructed.
        T_model_cameras: (V, 4, 4) poses of all views in the frame of the model, the first that of the picture.
        pictures: V pictures (side, side, 3) over white.
        surface: (N, 3) points on the true surface.
        up: (3,) up axis of the mesh.
        longest_side: of the true object in the frame of the model.
    """

    name: str
    class_name: str
    mesh: Mesh
    T_model_object: Float64Array
    rgba: UInt8Array
    T_model_cameras: Float64Array
    pictures: tuple[UInt8Array, ...]
    surface: Float64Array
    up: Float64Array
    longest_side: float


def make_case(
    entry: MeshEntry, config: LrmConfig, renderers: tuple[ObjectRenderer, ObjectRenderer], num_views: int, seed: int
) -> ObjectCase:
    """Render a mesh of a folder as the model's camera sees it: one picture, and `num_views` others.

    Args:
        renderers: of the picture, and of the views it is compared with.
        seed: of the cameras; each mesh has its own by its name, so that leaving others out changes nothing.

    Raises:
        DatasetError: the mesh cannot be read.
    """
    mesh = entry.load()
    rng = np.random.default_rng((seed, *entry.name.encode()))
    corners = np.unique(mesh.positions, axis=0)
    rotations = random_rotations(rng, 1 + num_views, corners)
    framing, light = Framing(config.view.focal, config.image.fill), Light()
    source = render_views(renderers[0], mesh, rotations[:1], framing, light)
    views = render_views(renderers[1], mesh, rotations, framing, light)
    T = model_frame(source.T_object_cameras[0], source.intrinsics[0], source.distances[0], config.view)
    scale = float(np.cbrt(np.linalg.det(T[:3, :3])))
    poses = T @ views.T_object_cameras
    poses[:, :3, :3] /= scale
    up = T[:3, 2] / scale
    surface = transform_points(T, sample_surface(mesh, NUM_POINTS, rng)[0])
    return ObjectCase(
        entry.name,
        entry.class_name,
        mesh,
        T,
        source.rgba[0],
        poses,
        tuple(over_white(rgba) for rgba in views.rgba),
        surface,
        up,
        scale * float((corners.max(axis=0) - corners.min(axis=0)).max()),
    )


def over_white(rgba: UInt8Array) -> UInt8Array:
    """Return a picture (H, W, 3) over white."""
    return np.asarray(np.rint(255.0 * composite(rgba, 1.0)), dtype=np.uint8)


def spread_out(entries: Sequence[MeshEntry], most: int) -> list[MeshEntry]:
    """Return at most so many entries, evenly from the whole list."""
    if len(entries) <= most:
        return list(entries)
    return [entries[round(number)] for number in np.linspace(0, len(entries) - 1, most)]
