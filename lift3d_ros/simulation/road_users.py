"""The objects that carry labels: one model of each nuScenes class with a random look, and its exact box.

A model has one mesh, or several for the phases of a motion (walking); the box encloses all of them, so that the size
of an object is the same in every frame, as in the data set.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lift3d_ros.simulation.barriers import random_barrier, random_cone
from lift3d_ros.simulation.buses import bus, random_bus_paints, random_bus_shape
from lift3d_ros.simulation.cars import car, random_car_shape, random_extras
from lift3d_ros.simulation.construction import random_machine
from lift3d_ros.simulation.meshes import Color, Mesh
from lift3d_ros.simulation.people import STANCES, STRIDE_M, Look, Wear, pedestrian
from lift3d_ros.simulation.trucks import random_trailer, random_truck
from lift3d_ros.simulation.two_wheelers import BicycleParts, bicycle, motorcycle, scooter
from lift3d_ros.types import Float64Array

PAINTS: tuple[Color, ...] = (
    (232, 233, 230), (228, 229, 226), (176, 180, 184), (120, 125, 130), (62, 66, 70), (30, 31, 34), (34, 52, 92),
    (150, 24, 26), (44, 92, 128), (32, 74, 58), (198, 186, 160), (190, 96, 34), (92, 30, 40), (110, 146, 160),
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
_WALK_PHASES = 8


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
        look = _person(rng)
        if not is_moving:
            stance = STANCES[int(rng.choice(len(STANCES), p=(0.5, 0.16, 0.14, 0.1, 0.1)))]
            return _rigid(class_name, pedestrian(look, None, stance))
        phases = tuple(pedestrian(look, i / _WALK_PHASES) for i in range(_WALK_PHASES))
        return boxed(class_name, phases, STRIDE_M * look.height / 1.78)
    paint = _pick(rng, PAINTS)
    if class_name == "car":
        return _rigid(class_name, car(random_car_shape(rng), paint, random_extras(rng)))
    if class_name == "truck":
        return _rigid(class_name, random_truck(rng, paint, _pick(rng, PAINTS)))
    if class_name == "bus":
        return _rigid(class_name, bus(random_bus_shape(rng), *random_bus_paints(rng)))
    if class_name == "trailer":
        return _rigid(class_name, random_trailer(rng, paint))
    if class_name == "construction_vehicle":
        return _rigid(class_name, random_machine(rng))
    if class_name == "bicycle":
        rider = _rider_look(rng, helmet_share=0.5) if is_moving else None
        return _rigid(class_name, bicycle(paint, rider, _bicycle_parts(rng)))
    if class_name == "motorcycle":
        rider = _rider_look(rng, helmet_share=1.0) if is_moving else None
        if rng.random() < 0.45:
            return _rigid(class_name, scooter(paint, rider, bool(rng.random() < 0.4)))
        return _rigid(class_name, motorcycle(paint, rider, bool(rng.random() < 0.3)))
    if class_name == "traffic_cone":
        return _rigid(class_name, random_cone(rng))
    if class_name == "barrier":
        return _rigid(class_name, random_barrier(rng))
    raise ValueError(f"no model of class '{class_name}'")


def _pick(rng: np.random.Generator, colors: tuple[Color, ...]) -> Color:
    return colors[int(rng.integers(len(colors)))]


def _person(rng: np.random.Generator) -> Look:
    """Return someone on foot: adults of all sizes, some children, some workers."""
    look = _rider_look(rng, helmet_share=0.0)
    kind = rng.random()
    if kind < 0.12:
        look = replace(look, height=float(rng.uniform(1.05, 1.42)))
    elif kind < 0.22:
        vest: Color = (236, 120, 30) if rng.random() < 0.5 else (200, 230, 60)
        look = replace(look, top=vest, helmet=(240, 210, 60) if rng.random() < 0.6 else None)
    wear: tuple[Wear, ...] = ("trousers", "skirt", "coat")
    return replace(
        look,
        wear=wear[int(rng.choice(3, p=[0.68, 0.15, 0.17]))],
        bag=_pick(rng, _CLOTHES) if rng.random() < 0.18 else None,
        has_hat=look.helmet is None and bool(rng.random() < 0.15),
        has_backpack=bool(rng.random() < 0.25),
        girth=float(np.clip(rng.normal(1.02, 0.10), 0.86, 1.3)),
    )


def _rider_look(rng: np.random.Generator, helmet_share: float) -> Look:
    return Look(
        height=float(np.clip(rng.normal(1.72, 0.09), 1.5, 1.95)),
        skin=_pick(rng, _SKINS),
        hair=_pick(rng, _HAIRS),
        top=_pick(rng, _CLOTHES),
        trousers=_pick(rng, _TROUSERS),
        shoes=_pick(rng, _SHOES),
        has_backpack=bool(rng.random() < 0.3),
        helmet=_pick(rng, _HELMETS) if rng.random() < helmet_share else None,
    )


def _bicycle_parts(rng: np.random.Generator) -> BicycleParts:
    return BicycleParts(
        is_step_through=bool(rng.random() < 0.35),
        has_guards=bool(rng.random() < 0.5),
        basket=_pick(rng, _CLOTHES) if rng.random() < 0.25 else None,
        has_seat=bool(rng.random() < 0.1),
        radius=float(rng.uniform(0.30, 0.36)),
    )


def _rigid(class_name: str, mesh: Mesh) -> RoadUser:
    return boxed(class_name, (mesh,), 0.0)


def boxed(class_name: str, meshes: tuple[Mesh, ...], cycle_m: float) -> RoadUser:
    """Return an object with the box around all its meshes."""
    lower = np.min([mesh.bounds[0] for mesh in meshes], axis=0)
    upper = np.max([mesh.bounds[1] for mesh in meshes], axis=0)
    return RoadUser(class_name, meshes, (lower + upper) / 2, upper - lower, cycle_m)
