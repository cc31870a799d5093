"""What is drawn over the surfaces in one call for all of its kind: contact shadows and lamps that shine to the camera.

Lamps are rows of 13 numbers: position, direction, colour, focus, power, glare and radius; see `weather.Lamp`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from lift3d_ros.simulation.weather import Lamp
from lift3d_ros.types import Float64Array

_CONTACT_REACH_M = 0.30
_SPRITES = 512


def lamps_in_world(placed: Iterable[tuple[Float64Array, tuple[Lamp, ...]]]) -> Float64Array:
    """Return the lamps (L, 13) of all items, given as pose and lamps, in the world frame."""
    tables = []
    for T, lamps in placed:
        if lamps:
            table = _table(lamps).copy()
            table[:, :3] = table[:, :3] @ T[:3, :3].T + T[:3, 3]
            table[:, 3:6] = table[:, 3:6] @ T[:3, :3].T
            tables.append(table)
    return np.concatenate(tables) if tables else np.zeros((0, 13))


def strongest_lamps(lamps: Float64Array, eye: Float64Array, axis: Float64Array, count: int) -> Float64Array:
    """Return up to `count` lamps that matter most for what a camera sees."""
    offset = lamps[:, :3] - eye
    ahead = np.clip(offset @ axis, 2.0, 30.0)
    beside = np.linalg.norm(offset - ahead[:, None] * axis, axis=1)
    # What a beam lights lies some metres along it.
    reached = np.linalg.norm(offset + 8.0 * lamps[:, 3:6] - ahead[:, None] * axis, axis=1)
    weight = np.log(np.maximum(lamps[:, 10], 1e-3)) - 2.0 * np.log(np.minimum(beside, reached) + 4.0)
    weight -= 0.5 * np.log(ahead + 8.0)
    weight[(offset @ axis < -25.0) | (lamps[:, 10] < 0.2)] = -np.inf
    order = np.argsort(-weight, kind="stable")[:count]
    return np.asarray(lamps[order[np.isfinite(weight[order])]])


class Sprites:
    """Buffers and programs of contact shadows and lamps."""

    def __init__(self, gl: Any, moderngl: Any, contact: Any, glare: Any) -> None:
        self._gl, self._moderngl, self._contact = gl, moderngl, contact
        self._contacts = gl.buffer(reserve=_SPRITES * 18 * 4)
        self._glares = gl.buffer(reserve=_SPRITES * 8 * 4)
        self._contact_array = gl.vertex_array(contact, [(self._contacts, "16f4 2f4 /i", "model", "in_half_size")])
        self._glare_array = gl.vertex_array(glare, [(self._glares, "4f4 4f4 /i", "in_place", "in_light")])

    def draw_contacts(self, target: Any, places: list[tuple[Float64Array, tuple[float, float]]]) -> None:
        """Darken the ground where things stand on it; the sun's shadow alone leaves them floating.

        Args:
            places: pose, and half length and half width, of each.
        """
        if not places:
            return
        rows = np.array([[*T.T.reshape(-1), *half] for T, half in places[:_SPRITES]], dtype=np.float32)
        self._contacts.write(rows.tobytes())
        self._contact["reach"].value, self._contact["strength"].value = _CONTACT_REACH_M, 0.5
        self._gl.polygon_offset = -6.0, -400.0
        self._blend(target, self._contact_array, len(rows), (self._moderngl.ZERO, self._moderngl.SRC_COLOR))
        self._gl.polygon_offset = 0.0, 0.0

    def draw_glare(self, target: Any, lamps: Float64Array, eye: Float64Array, strength: float) -> None:
        """Draw the lamps themselves, as bright as they shine to the camera."""
        toward = eye - lamps[:, :3]
        toward /= np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-6)
        has_beam = np.abs(lamps[:, 3:6]).sum(axis=1) > 0
        facing = np.clip((toward * lamps[:, 3:6]).sum(axis=1), 0.0, 1.0)
        # Beside its beam a lamp is seen too, as its glass scatters light.
        seen = np.where(has_beam, facing ** np.clip(0.1 * lamps[:, 9], 0.5, 4.0), 1.0)
        rows = np.zeros((len(lamps), 8), dtype=np.float32)
        rows[:, :3], rows[:, 3] = lamps[:, :3], lamps[:, 12]
        rows[:, 4:7] = lamps[:, 6:9] * (lamps[:, 11] * seen * (0.3 + 0.7 * strength))[:, None]
        rows = rows[rows[:, 4:7].max(axis=1) > 0.01][:_SPRITES]
        if len(rows):
            self._glares.write(rows.tobytes())
            self._blend(target, self._glare_array, len(rows), (self._moderngl.ONE, self._moderngl.ONE))

    def _blend(self, target: Any, array: Any, count: int, how: tuple[int, int]) -> None:
        gl, moderngl = self._gl, self._moderngl
        target.depth_mask = False
        gl.enable(moderngl.BLEND)
        gl.blend_func = how
        array.render(moderngl.TRIANGLE_STRIP, vertices=4, instances=count)
        gl.disable(moderngl.BLEND)
        target.depth_mask = True


@lru_cache(maxsize=4096)
def _table(lamps: tuple[Lamp, ...]) -> Float64Array:
    table = np.array(
        [(*x.position, *x.direction, *x.color, x.focus, x.power, x.glare, x.radius) for x in lamps], dtype=np.float64
    )
    table.setflags(write=False)
    return table
