"""The objects that carry labels: one model of each nuScenes class with a random look, and its exact box.

A model has one mesh, or several for the phases of a motion (walking); the box encloses all of them, so that the size
of an object is the same in every frame, as in the data set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lift3d_ros.simulation.cars import CAR_SHAPES, car
from lift3d_ros.simulation.heavy_vehicles import bus, excavator, trailer, truck
from lift3d_ros.simulation.meshes import Color, Finish, Material, Mesh, box, combine, cylinder, extruded, mirrored
from lift3d_ros.simulation.people import STRIDE_M, Look, bicycle, motorcycle, pedestrian
from lift3d_ros.types import Float64Array

_PAINTS: tuple[Color, ...] = (
    (232, 233, 230), (228, 229, 226), (176, 180, 184), (120, 125, 130), (62, 66, 70), (30, 31, 34), (34, 52, 92),
    (150, 24, 26), (44, 92, 128), (32, 74, 58), (198, 186, 160), (190, 96, 34), (92, 30, 40), (110, 146, 160),
)  # fmt: skip
_BUS_PAINTS: tuple[tuple[Color, Color], ...] = (
    ((236, 236, 230), (30, 98, 158)), ((214, 176, 40), (70, 70, 74)), ((178, 34, 36), (230, 230, 226)),
    ((228, 232, 230), (36, 130, 92)),
)  # fmt: skip
_CLOTHES: tuple[Color, ...] = (
    (196, 60, 52), (40, 70, 120), (230, 226, 216), (62, 110, 84), (222, 170, 60), (90, 94, 102), (128, 60, 92),
    (70, 140, 160), (36, 38, 44), (170, 130, 96), (204, 110, 60),
)  # fmt: skip
_TROUSERS: tuple[Color, ...] = ((40, 52, 80), (38, 40, 44), (98, 92, 80), (70, 84, 110), (120, 104, 84), (56, 58, 64))
_SKINS: tuple[Color, ...] = ((232, 190, 160), (206, 158, 124), (164, 114, 82), (112, 76, 56), (240, 204, 178))
_HAIRS: tuple[Color, ...] = ((40, 28, 20), (22, 20, 20), (96, 66, 40), (176, 140, 90), (150, 150, 150))
_SHOES: tuple[Color, ...] = ((34, 32, 32), (226, 226, 224), (92, 60, 40), (60, 62, 70))
_HELMETS: tuple[Color, ...] = ((230, 230, 230), (30, 30, 34), (190, 40, 36), (40, 90, 160))
_WALK_PHASES = 12
_ORANGE, _WHITE = (236, 92, 24), (238, 238, 234)


@dataclass(frozen=True, eq=False)
class RoadUser:
    """One object: its class, its meshes and the box around them.

    Args:
        meshes: one, or the phases of a motion that repeats.
        center: (3,) middle of the box in the object frame.
        size: (3,) length, width, height of the box.
        cycle_m: distance after which the phases repeat; 0 for rigid objects.
    """

    class_name: str
    meshes: tuple[Mesh, ...]
    center: Float64Array
    size: Float64Array
    cycle_m: float = 0.0

    def mesh_at(self, distance_m: float) -> int:
        """Return the number of the mesh after the object has moved `distance_m`."""
        if len(self.meshes) == 1:
            return 0
        return int(np.floor(distance_m / self.cycle_m * len(self.meshes))) % len(self.meshes)


def make_road_user(class_name: str, rng: np.random.Generator, *, is_moving: bool) -> RoadUser:
    """Return a model of a class with a random look.

    Args:
        class_name: one of the ten nuScenes classes.
        is_moving: people walk, two-wheelers have a rider.

    Raises:
        ValueError: no such class.
    """
    if class_name == "pedestrian":
        look = _look(rng, has_helmet=False)
        if not is_moving:
            return _rigid(class_name, pedestrian(look, None))
        phases = tuple(pedestrian(look, i / _WALK_PHASES) for i in range(_WALK_PHASES))
        return _boxed(class_name, phases, STRIDE_M * look.height / 1.78)
    paint = _pick(rng, _PAINTS)
    if class_name == "car":
        shape = CAR_SHAPES[int(rng.choice(len(CAR_SHAPES), p=(0.36, 0.26, 0.26, 0.12)))]
        return _rigid(class_name, car(shape, paint))
    if class_name == "truck":
        return _rigid(class_name, truck(paint, _pick(rng, _PAINTS[:3]), float(rng.uniform(6.6, 8.2))))
    if class_name == "bus":
        first, second = _BUS_PAINTS[int(rng.integers(len(_BUS_PAINTS)))]
        return _rigid(class_name, bus(first, second, float(rng.uniform(10.8, 12.0))))
    if class_name == "trailer":
        return _rigid(class_name, trailer(_pick(rng, _PAINTS[:4]), float(rng.uniform(8.5, 11.0))))
    if class_name == "construction_vehicle":
        return _rigid(class_name, excavator((232, 170, 30)))
    if class_name in ("bicycle", "motorcycle"):
        look = _look(rng, has_helmet=class_name == "motorcycle" or bool(rng.random() < 0.5))
        model = bicycle if class_name == "bicycle" else motorcycle
        return _rigid(class_name, model(paint, look if is_moving else None))
    if class_name == "traffic_cone":
        return _rigid(class_name, _cone(float(rng.uniform(0.68, 0.80))))
    if class_name == "barrier":
        return _rigid(class_name, _concrete_barrier() if rng.random() < 0.5 else _board_barrier())
    raise ValueError(f"no model of class '{class_name}'")


def _pick(rng: np.random.Generator, colors: tuple[Color, ...]) -> Color:
    return colors[int(rng.integers(len(colors)))]


def _look(rng: np.random.Generator, *, has_helmet: bool) -> Look:
    return Look(
        height=float(np.clip(rng.normal(1.73, 0.08), 1.52, 1.92)),
        skin=_pick(rng, _SKINS),
        hair=_pick(rng, _HAIRS),
        top=_pick(rng, _CLOTHES),
        trousers=_pick(rng, _TROUSERS),
        shoes=_pick(rng, _SHOES),
        has_backpack=bool(rng.random() < 0.3),
        helmet=_pick(rng, _HELMETS) if has_helmet else None,
    )


def _rigid(class_name: str, mesh: Mesh) -> RoadUser:
    return _boxed(class_name, (mesh,), 0.0)


def _boxed(class_name: str, meshes: tuple[Mesh, ...], cycle_m: float) -> RoadUser:
    lower = np.min([mesh.bounds[0] for mesh in meshes], axis=0)
    upper = np.max([mesh.bounds[1] for mesh in meshes], axis=0)
    return RoadUser(class_name, meshes, (lower + upper) / 2, upper - lower, cycle_m)


def _cone(height: float) -> Mesh:
    edges = np.array([0.04, 0.36, 0.55, 0.68, 0.84, 1.0]) * height
    radii = np.interp(edges, [0.04 * height, height], [0.165, 0.028])
    colors = (_ORANGE, _WHITE, _ORANGE, _WHITE, _ORANGE)
    parts = [box([0.0, 0.0, 0.02], [0.40, 0.40, 0.04], Finish((40, 40, 42)), top=(0.92, 0.92))]
    for i, color in enumerate(colors):
        parts.append(
            cylinder([0, 0, edges[i]], [0, 0, edges[i + 1]], radii[i], Finish(color), tip=radii[i + 1], sides=14)
        )
    return combine(parts)


def _concrete_barrier() -> Mesh:
    """Return a barrier across +x: its long side lies along y, as in the data set."""
    half = [[0.30, 0.0], [0.30, 0.10], [0.17, 0.33], [0.10, 0.82]]
    profile = [*half, *[[-x, z] for x, z in reversed(half)]]
    parts = [extruded(profile, 2.0, Finish((176, 174, 168), Material.PLASTER))]
    parts += [box([0.0, y, 0.86], [0.09, 0.09, 0.08], Finish(_ORANGE)) for y in (-0.8, 0.8)]
    return combine(parts)


def _board_barrier() -> Mesh:
    """Return a red and white board fence across +x."""
    legs = mirrored(combine([
        box([0.0, 0.85, 0.03], [0.56, 0.20, 0.06], Finish((50, 50, 52))),
        box([0.0, 0.85, 0.52], [0.05, 0.05, 0.96], Finish((150, 152, 154), Material.METAL)),
    ]))  # fmt: skip
    parts = [legs]
    for z in (0.88, 0.50):
        for i in range(8):
            color = (196, 34, 30) if i % 2 else _WHITE
            parts.append(box([0.0, -0.875 + 0.25 * i, z], [0.035, 0.25, 0.22], Finish(color)))
    lamp = Finish((236, 160, 30), Material.LAMP)
    parts += [box([0.0, y, 1.06], [0.08, 0.14, 0.14], lamp) for y in (-0.85, 0.85)]
    return combine(parts)
