"""The sun's depth map of a part of the world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lift3d_ros.simulation.mesh_store import MeshStore
from lift3d_ros.simulation.placement import GROUND_RADIUS_M, Placed, columns
from lift3d_ros.types import Float64Array

HALF_M = 62.0
"""The map reaches this far from its middle across the light."""
_SIZE_PX, _DEPTH_M = 2048, 150.0


@dataclass(frozen=True, eq=False)
class Shadows:
    """What the map shows.

    Args:
        view: (4, 4) projection from the world.
        instances, origins: of each item, and (N, 3) where it was.
    """

    view: Float64Array
    instances: tuple[int, ...]
    origins: Float64Array

    def serves(self, placed: Placed) -> bool:
        """Return whether the items are those of the map, moved or not."""
        return self.instances == tuple(item.instance for item in placed.items)


class ShadowMap:
    """The texture and how it is drawn; `depth_only` is a program with the uniform `to_clip`."""

    def __init__(self, gl: Any, moderngl: Any, store: MeshStore, depth_only: Any) -> None:
        self._gl, self._moderngl, self._store, self._depth_only = gl, moderngl, store, depth_only
        self.texture = gl.depth_texture((_SIZE_PX, _SIZE_PX))
        self.texture.compare_func = "<="
        self.texture.repeat_x = self.texture.repeat_y = False
        self._target = gl.framebuffer(depth_attachment=self.texture)

    def draw(self, sun: Float64Array, middle: Float64Array, placed: Placed, *, has_sun: bool) -> Shadows:
        """Draw the map around a place of the world (3,) for light from the direction `sun` (3,)."""
        side = np.cross([0.0, 0.0, 1.0], sun)
        side /= max(float(np.linalg.norm(side)), 1e-9)
        rotation = np.stack([side, np.cross(sun, side), -sun])
        ground = middle * [1.0, 1.0, 0.0]
        view = np.eye(4)
        view[:3, :3] = rotation / [[HALF_M], [HALF_M], [_DEPTH_M]]
        view[:3, 3] = -view[:3, :3] @ ground
        shadows = Shadows(view, tuple(item.instance for item in placed.items), placed.poses[:, :3, 3])
        if not has_sun:
            return shadows
        self._target.use()
        self._target.clear()
        self._gl.enable(self._moderngl.DEPTH_TEST)
        self._gl.disable(self._moderngl.BLEND)
        self._gl.depth_func = "<="
        is_near = np.abs((placed.middles - ground) @ rotation[:2].T).max(axis=1, initial=0.0) < HALF_M + placed.radii
        matrices = columns(view @ placed.poses)
        for i in np.flatnonzero(is_near):
            # The ground casts no shadow worth drawing.
            if placed.items[i].mark_layer == 0 and placed.radii[i] < 2 * GROUND_RADIUS_M:
                self._depth_only["to_clip"].write(matrices[i])
                self._store.array(placed.meshes[i], "depth", self._depth_only, has_position_only=True).render()
        return shadows
