"""Draws shaded surfaces: one program for each group of materials and each set of features of the light."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lift3d_ros.simulation import shaders
from lift3d_ros.simulation.mesh_store import MeshStore
from lift3d_ros.simulation.placement import Placed, columns
from lift3d_ros.simulation.shadows import Shadows
from lift3d_ros.simulation.weather import Lighting

SAMPLERS = (
    "shadow_map", "textures", "mirrored_map", "lamps_ground", "lamps_low", "lamps_way", "lamps_high",
)  # fmt: skip
"""Textures that surfaces read; each stands for the unit of its place."""


class Surfaces:
    """Programs that are made when they are first needed; `link` makes one from its two sources."""

    def __init__(self, gl: Any, store: MeshStore, link: Callable[[str, str], Any]) -> None:
        self._gl, self._store, self._link = gl, store, link
        self._programs: dict[tuple[int, frozenset[str]], _Program] = {}

    def draw(self, placed: Placed, shadows: Shadows, seen: Sequence[int], light: Lighting) -> None:
        """Draw the items of the numbers `seen`, in this order."""
        poses, layer = columns(placed.poses), 0
        moved = [row.tobytes() for row in (shadows.origins - placed.poses[:, :3, 3]).astype(np.float32)]
        states = (
            ("SHADOWS", light.has_shadows), ("LAMPS", light.lamps > 0.0), ("WINDOWS", light.lit_windows > 0.0),
            ("WET", light.wetness > 0.0),
        )  # fmt: skip
        features = frozenset(name for name, is_on in states if is_on)
        groups = range(len(shaders.GROUPS))
        plain = [self._program(group, features) for group in groups]
        textured = [self._program(group, features | {"TEXTURE"}) for group in groups]
        for i in seen:
            item, mesh = placed.items[i], placed.meshes[i]
            if item.mark_layer != layer:
                layer = item.mark_layer
                self._gl.polygon_offset = -1.0 * layer, -64.0 * layer
            programs = plain if mesh.layer < 0 else textured
            for group, first, count in mesh.ranges:
                program = programs[group]
                program.model.write(poses[i])
                program.instance.value = item.instance
                if program.moved is not None:
                    program.moved.write(moved[i])
                if program.layer is not None:
                    program.layer.value = mesh.layer
                self._store.array(mesh, program, program.linked).render(vertices=count, first=first)
        self._gl.polygon_offset = 0.0, 0.0

    def _program(self, group: int, features: frozenset[str]) -> _Program:
        key = (group, features)
        if key not in self._programs:
            self._programs[key] = _Program(self._link(*shaders.surface_programs(group, features)))
        return self._programs[key]


class _Program:
    """A linked program and its uniforms for each item; None where the compiler has removed one."""

    def __init__(self, linked: Any) -> None:
        self.linked = linked
        for unit, name in enumerate(SAMPLERS):
            if name in linked:
                linked[name].value = unit
        self.model, self.instance = linked["model"], linked["instance"]
        self.moved, self.layer = linked.get("moved", None), linked.get("layer", None)
