"""Parametric town houses: walls, rows of windows, shop fronts, doors, balconies and roofs.

Local frame: x along the front, origin at the foot of its middle; the front lies in the plane y = 0 and looks to -y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lift3d_ros.simulation.meshes import Color, Finish, Material, Mesh, box, combine, extruded, placed, quads
from lift3d_ros.types import Float64Array

_WALLS: tuple[Finish, ...] = (
    Finish((222, 208, 178), Material.PLASTER), Finish((206, 150, 112), Material.PLASTER),
    Finish((230, 224, 212), Material.PLASTER), Finish((196, 204, 206), Material.PLASTER),
    Finish((226, 196, 128), Material.PLASTER), Finish((176, 188, 170), Material.PLASTER),
    Finish((150, 78, 60), Material.BRICK), Finish((168, 110, 82), Material.BRICK),
    Finish((122, 76, 66), Material.BRICK),
)  # fmt: skip
_TRIMS: tuple[Color, ...] = ((236, 232, 222), (206, 200, 188), (110, 100, 92), (240, 240, 236))
_ROOFS: tuple[Color, ...] = ((142, 72, 52), (96, 62, 54), (84, 88, 96), (120, 84, 64))
_AWNINGS: tuple[Color, ...] = ((168, 40, 40), (36, 96, 76), (40, 70, 130), (214, 150, 50), (110, 50, 90))
_GLASS = Finish((44, 54, 62), Material.GLASS)
_CURTAIN = Finish((150, 146, 136), Material.GLASS)
_STOREY = 3.15

_Pane = list[list[float]]


@dataclass(frozen=True)
class _Facade:
    width: float
    storeys: int
    columns: int
    wall: Finish
    trim: Finish

    @property
    def height(self) -> float:
        return 0.7 + _STOREY * self.storeys

    def column_x(self) -> Float64Array:
        pitch = self.width / self.columns
        return (np.arange(self.columns) + 0.5) * pitch - self.width / 2


def building(width: float, depth: float, rng: np.random.Generator, storeys: int) -> Mesh:
    """Return a house of the given width, depth and number of storeys with a random look."""
    facade = _Facade(
        width=width,
        storeys=storeys,
        columns=max(2, round(width / rng.uniform(2.3, 3.1))),
        wall=_WALLS[int(rng.integers(len(_WALLS)))],
        trim=Finish(_TRIMS[int(rng.integers(len(_TRIMS)))], Material.PLASTER),
    )
    height = facade.height
    parts = [box([0.0, depth / 2, height / 2], [width, depth, height], facade.wall)]
    has_shop = bool(rng.random() < 0.5)
    window = (float(rng.uniform(1.0, 1.4)), float(rng.uniform(1.45, 1.9)))
    first = 1 if has_shop else 0
    parts += _windows(facade, window, first, rng)
    parts += _shop(facade, rng) if has_shop else _door(facade, rng)
    side = _Facade(depth, facade.storeys, max(1, round(depth / 5.0)), facade.wall, facade.trim)
    for x, yaw in ((-width / 2, -np.pi / 2), (width / 2, np.pi / 2)):
        parts += [placed(part, [x, depth / 2, 0.0], yaw) for part in _windows(side, window, 0, rng)]
    parts.append(box([0.0, -0.03, 0.28], [width + 0.04, 0.06, 0.56], Finish((128, 122, 114), Material.PLASTER)))
    for storey in range(1, facade.storeys):
        if rng.random() < 0.6:
            parts.append(box([0.0, -0.04, 0.62 + _STOREY * storey], [width, 0.08, 0.14], facade.trim))
    parts += _roof(facade, depth, rng)
    return combine(parts)


def _windows(facade: _Facade, size: tuple[float, float], first: int, rng: np.random.Generator) -> list[Mesh]:
    width, height = size
    frames, bars = list[_Pane](), list[_Pane]()
    panes, curtains = list[_Pane](), list[_Pane]()
    parts: list[Mesh] = []
    for storey in range(first, facade.storeys):
        z = 0.7 + _STOREY * storey + 0.85
        has_balconies = bool(rng.random() < 0.2) and storey > 0
        for x in facade.column_x():
            frames.append(_pane(x, z + height / 2, width + 0.24, height + 0.24, 0.012))
            (curtains if rng.random() < 0.25 else panes).append(_pane(x, z + height / 2, width, height, 0.024))
            bars.append(_pane(x, z + height / 2, 0.06, height, 0.034))
            bars.append(_pane(x, z + 0.68 * height, width, 0.05, 0.034))
            parts.append(box([x, -0.09, z - 0.15], [width + 0.3, 0.18, 0.08], facade.trim))
            if has_balconies and rng.random() < 0.7:
                parts += _balcony(x, z - 0.75, width + 0.9)
    parts += [quads(frames, facade.trim), quads(bars, facade.trim)]
    parts += [quads(group, finish) for group, finish in ((panes, _GLASS), (curtains, _CURTAIN)) if group]
    return parts


def _pane(x: float, z: float, width: float, height: float, proud: float) -> _Pane:
    """Return a rectangle on the front, `proud` metres before the wall."""
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    return [[x + sx * width / 2, -proud, z + sz * height / 2] for sx, sz in signs]


def _balcony(x: float, z: float, width: float) -> list[Mesh]:
    iron = Finish((44, 46, 50), Material.METAL)
    parts = [
        box([x, -0.45, z], [width, 0.9, 0.12], Finish((190, 186, 178), Material.PLASTER)),
        box([x, -0.88, z + 1.0], [width, 0.05, 0.05], iron),
    ]
    parts += [box([x + u * width, -0.88, z + 0.5], [0.035, 0.035, 1.0], iron) for u in np.linspace(-0.48, 0.48, 9)]
    return parts


def _shop(facade: _Facade, rng: np.random.Generator) -> list[Mesh]:
    frame = Finish(_AWNINGS[int(rng.integers(len(_AWNINGS)))], Material.PAINT)
    width = facade.width - 0.8
    parts = [
        box([0.0, -0.05, 1.75], [width, 0.10, 3.3], frame),
        box([0.0, -0.10, 3.32], [width, 0.14, 0.55], frame),
        box([0.0, -0.175, 3.32], [width * 0.5, 0.02, 0.24], Finish((240, 234, 214))),
    ]
    count = max(2, round(width / 2.6))
    pitch = width / count
    door = int(rng.integers(count))
    for i in range(count):
        x = (i + 0.5) * pitch - width / 2
        low = 0.15 if i == door else 0.75
        parts.append(quads([_pane(x, (low + 2.9) / 2, pitch - 0.22, 2.9 - low, 0.112)], _GLASS))
        if i == door:
            parts.append(quads([_pane(x, 1.2, 0.06, 2.2, 0.125)], frame))
    if rng.random() < 0.65:
        cloth = Finish(_AWNINGS[int(rng.integers(len(_AWNINGS)))])
        stripes = max(3, round(width / 0.9))
        for i in range(stripes):
            x0, x1 = (i / stripes - 0.5) * width, ((i + 1) / stripes - 0.5) * width
            finish = cloth if i % 2 else Finish((232, 228, 216))
            top, front = [[x0, -0.15, 3.05], [x1, -0.15, 3.05]], [[x1, -1.25, 2.62], [x0, -1.25, 2.62]]
            drop = [front[1], front[0], [x1, -1.25, 2.42], [x0, -1.25, 2.42]]
            parts.append(quads([[*top, *front], drop], finish))
    return parts


def _door(facade: _Facade, rng: np.random.Generator) -> list[Mesh]:
    columns = facade.column_x()
    x = float(columns[:-1].mean() if len(columns) % 2 == 0 else (columns[0] + columns[1]) / 2)
    leaf = Finish(_AWNINGS[int(rng.integers(len(_AWNINGS)))], Material.PAINT)
    return [
        box([x, -0.05, 1.35], [1.25, 0.10, 2.7], facade.trim),
        quads([_pane(x, 1.2, 0.98, 2.2, 0.11)], leaf),
        quads([_pane(x, 2.45, 0.98, 0.24, 0.11)], _GLASS),
        box([x, -0.35, 0.10], [1.5, 0.7, 0.2], Finish((150, 146, 138), Material.PLASTER)),
    ]


def _roof(facade: _Facade, depth: float, rng: np.random.Generator) -> list[Mesh]:
    width, height = facade.width, facade.height
    parts = [box([0.0, -0.10, height - 0.12], [width + 0.1, 0.36, 0.30], facade.trim)]
    if rng.random() < 0.55:
        tiles = Finish(_ROOFS[int(rng.integers(len(_ROOFS)))], Material.BRICK)
        rise = float(rng.uniform(0.22, 0.36)) * depth
        gable = extruded([[-0.35, 0.0], [depth + 0.35, 0.0], [depth / 2, rise]], width, tiles)
        parts.append(placed(gable, [0.0, 0.0, height], np.pi / 2))
        chimney = Finish((138, 80, 62), Material.BRICK)
        parts.append(box([width * rng.uniform(-0.4, 0.4), depth * 0.4, height + rise], [0.6, 0.9, 1.5], chimney))
    else:
        parts.append(box([0.0, 0.15, height + 0.25], [width, 0.3, 0.5], facade.wall))
        parts.append(box([0.0, 0.15, height + 0.53], [width + 0.1, 0.45, 0.08], facade.trim))
        parts.append(box([width * 0.2, depth * 0.5, height + 0.7], [2.2, 1.8, 1.4], Finish((150, 152, 154))))
    return parts
