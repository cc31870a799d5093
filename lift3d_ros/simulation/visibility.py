"""How much of each object the cameras see: pixels seen, against pixels when nothing hides the object.

The graphics device counts. Each object is drawn twice on its own, first for its depth, then for the pixels of equal
depth: one drawing would count front and back. Both counts end at the border of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.simulation.renderer import Item, Renderer, projection_matrix
from lift3d_ros.types import CameraModel, Float64Array


def visible_pixels(instances: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Return how many pixels show each instance, (count + 1,); entry 0 is 0.

    Args:
        instances: (H, W) of a rendered view.
    """
    pixels = np.bincount(np.maximum(instances, 0).reshape(-1), minlength=count + 1)[: count + 1]
    pixels[0] = 0
    return pixels


def full_pixels(
    renderer: Renderer, model: CameraModel, T_world_cam: Float64Array, items: Sequence[Item], count: int
) -> NDArray[np.int64]:
    """Return how many pixels each instance would show with nothing before it, (count + 1,); entry 0 is 0.

    Args:
        model: the pinhole camera that was rendered.
    """
    gl, moderngl = renderer.gl, renderer.moderngl
    clip = projection_matrix(_at_samples(model, renderer.sample_offset_px)) @ invert(T_world_cam)
    parts: dict[int, list[Item]] = {}
    for item in items:
        if 0 < item.instance <= count and item.is_visible:
            parts.setdefault(item.instance, []).append(item)
    pixels = np.zeros(count + 1, dtype=np.int64)
    queries = {}
    target = renderer.depth_target((model.width, model.height))
    target.use()
    target.viewport = (0, 0, model.width, model.height)
    gl.enable(moderngl.DEPTH_TEST)
    gl.disable(moderngl.BLEND)
    for instance, own in parts.items():
        window = _window(renderer, model, clip, own)
        if window is None:
            continue
        target.scissor = window
        target.depth_mask = True
        target.clear(viewport=window)
        gl.depth_func = "<="
        for item in own:
            renderer.draw_depth(item.mesh, clip @ item.T_world_mesh)
        gl.depth_func = "=="
        target.depth_mask = False
        query = gl.query(samples=True)
        with query:
            for item in own:
                renderer.draw_depth(item.mesh, clip @ item.T_world_mesh)
        queries[instance] = query
    target.depth_mask = True
    gl.depth_func = "<="
    for instance, query in queries.items():  # only now: each answer waits for the device
        pixels[instance] = query.samples
    return pixels


def shares(visible: NDArray[np.int64], full: NDArray[np.int64]) -> Float64Array:
    """Return the share of each object that is seen, 0..1, from counts summed over all cameras; 0 where none can be."""
    return np.asarray(np.clip(visible / np.maximum(full, 1), 0.0, 1.0))


def _at_samples(model: CameraModel, offset_px: float) -> CameraModel:
    """Return the camera whose pixel centres are where the instances of a rendered view are taken."""
    intrinsics = model.intrinsics.copy()
    intrinsics[:2, 2] -= offset_px
    return replace(model, intrinsics=intrinsics)


def _window(
    renderer: Renderer, model: CameraModel, clip: Float64Array, items: Sequence[Item]
) -> tuple[int, int, int, int] | None:
    """Return x, y, width and height of the part of the picture that can show the items; None for none."""
    low, high = np.array([np.inf, np.inf]), np.array([-np.inf, -np.inf])
    size = np.array([model.width, model.height])
    for item in items:
        mesh = renderer.store[item.mesh]
        middle = transform_points(item.T_world_mesh, mesh.middle[None])[0]
        signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
        corners = np.concatenate([middle + mesh.radius * signs, np.ones((8, 1))], axis=1) @ clip.T
        if (corners[:, 3] < 0.01).all():
            continue
        if (corners[:, 3] < 0.01).any():
            low, high = np.zeros(2), size.astype(float)
            continue
        places = (corners[:, :2] / corners[:, 3:] * 0.5 + 0.5) * size
        low, high = np.minimum(low, places.min(axis=0)), np.maximum(high, places.max(axis=0))
    low, high = np.clip(np.floor(low), 0, size), np.clip(np.ceil(high), 0, size)
    if (high <= low).any():
        return None
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])
