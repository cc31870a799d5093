"""Maps that surfaces take light from: what smooth ones mirror, and the light of lamps seen from above.

Lamplight is mapped at three heights with its mean direction, so that any number of lamps costs a surface the same.
Nothing casts a shadow in it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lift3d_ros.simulation import shaders
from lift3d_ros.types import Float64Array

_MIRROR_SIDE = 256
_LAMP_SIDE = 256


class LightMaps:
    """The textures and how they are drawn.

    Args:
        mirrored, lamps: programs.
    """

    def __init__(self, gl: Any, moderngl: Any, mirrored: Any, lamps: Any) -> None:
        self._gl, self._moderngl = gl, moderngl
        self._mirror = gl.texture((_MIRROR_SIDE, _MIRROR_SIDE), 4, dtype="f2")
        self._mirror_target = gl.framebuffer([self._mirror])
        self._mirrored, self._mirrored_triangle = mirrored, gl.vertex_array(mirrored, [])
        mirrored["side"].value = float(_MIRROR_SIDE)
        self._lit = [gl.texture((_LAMP_SIDE, _LAMP_SIDE), 4, dtype="f2") for _ in range(4)]
        for texture in self._lit:
            texture.repeat_x = texture.repeat_y = False
        self._lit_target = gl.framebuffer(self._lit)
        self._lamps, self._lamps_triangle = lamps, gl.vertex_array(lamps, [])
        self._table = gl.texture((shaders.MAX_MAPPED_LAMPS, 3), 4, dtype="f4")
        self._table.filter = moderngl.NEAREST, moderngl.NEAREST
        lamps["side"].value = float(_LAMP_SIDE)
        self.middle = np.zeros(2)

    def map_surroundings(self) -> None:
        """Draw what is mirrored, for the light that is set."""
        # llvmpipe keeps the old uniforms for a target that was also the last one drawn to.
        self._lit_target.use()
        self._begin(self._mirror_target)
        self._mirrored_triangle.render(self._moderngl.TRIANGLES, vertices=3)
        self._mirror.build_mipmaps()

    def map_lamps(self, lamps: Float64Array, place: Float64Array, strength: float) -> None:
        """Draw the light of lamps (L, 13), see `sprites`, around a place of the world (3,)."""
        self.middle = np.round(place[:2])
        if strength <= 0.0:
            return
        distance = np.linalg.norm(lamps[:, :2] - self.middle, axis=1)
        lamps = lamps[np.argsort(distance, kind="stable")[: shaders.MAX_MAPPED_LAMPS]]
        table = np.zeros((3, shaders.MAX_MAPPED_LAMPS, 4), dtype=np.float32)
        table[0, : len(lamps), :3], table[0, : len(lamps), 3] = lamps[:, :3], lamps[:, 9]
        table[1, : len(lamps), :3] = lamps[:, 3:6]
        table[1, : len(lamps), 3] = np.abs(lamps[:, 3:6]).sum(axis=1) > 0
        table[2, : len(lamps), :3] = lamps[:, 6:9] * lamps[:, 10:11] * strength
        self._table.write(table.tobytes())
        self._table.use(0)
        self._lamps["lamps"].value, self._lamps["count"].value = 0, len(lamps)
        self._lamps["middle"].value = tuple(self.middle.tolist())
        self._begin(self._lit_target)
        self._lamps_triangle.render(self._moderngl.TRIANGLES, vertices=3)

    def use(self, unit: int) -> None:
        """Bind the maps to units from `unit`: mirrored, then lamplight on the ground, low, its direction, and high."""
        for offset, texture in enumerate((self._mirror, *self._lit)):
            texture.use(unit + offset)

    def _begin(self, target: Any) -> None:
        target.use()
        self._gl.disable(self._moderngl.DEPTH_TEST)
        self._gl.disable(self._moderngl.BLEND)
