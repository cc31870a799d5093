"""A world on the graphics device: what there is to draw at a time, with its lamps."""

from __future__ import annotations

from types import TracebackType

import numpy as np

from lift3d_ros.simulation.cars import OFF_ROADER, car
from lift3d_ros.simulation.meshes import Mesh, placed
from lift3d_ros.simulation.motion import EGO_LENGTH_M, EGO_REAR_OVERHANG_M, EGO_WIDTH_M, Actor
from lift3d_ros.simulation.renderer import Item, Renderer
from lift3d_ros.simulation.weather import Lamp, Weather, vehicle_lamps
from lift3d_ros.simulation.world import World

_FIXED = np.eye(4)
_WITH_LAMPS = ("car", "truck", "bus", "motorcycle")


class Stage:
    """Holds the meshes of one world in a renderer; use as a context manager, which frees them."""

    def __init__(self, renderer: Renderer, world: World, weather: Weather) -> None:
        self.renderer, self.world, self.weather = renderer, world, weather
        renderer.set_lighting(weather.lighting)
        self._ground = renderer.add(world.ground)
        self._ego = renderer.add(_ego_mesh())
        self._marks = [renderer.add(mesh) for mesh in world.marks]
        self._scenery = [renderer.add(mesh) for mesh in world.scenery]
        self._numbers: dict[int, int] = {}
        self._lamps = {actor.instance: self._lamps_of(actor) for actor in world.actors}
        size = np.array([EGO_LENGTH_M, EGO_WIDTH_M, 1.5])
        middle = np.array([EGO_LENGTH_M / 2 - EGO_REAR_OVERHANG_M, 0.0, 0.75])
        self._ego_lamps = vehicle_lamps(size, middle) if weather.has_headlights else ()

    def __enter__(self) -> Stage:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the meshes, unless the renderer has freed everything."""
        if self.renderer.is_closed:
            return
        for number in (self._ground, self._ego, *self._marks, *self._scenery, *self._numbers.values()):
            self.renderer.remove(number)

    def items(self, time_s: float) -> list[Item]:
        """Return everything there is to draw at a time."""
        world = self.world
        return [
            Item(self._ground, _FIXED, lamps=world.lamps),
            Item(self._ego, world.ego.T_world_base(time_s), is_visible=False, lamps=self._ego_lamps),
            *(Item(mesh, _FIXED, mark_layer=i + 1) for i, mesh in enumerate(self._marks)),
            *(Item(mesh, _FIXED) for mesh in self._scenery),
            *(self._item(actor, time_s) for actor in world.actors),
        ]

    def _item(self, actor: Actor, time_s: float) -> Item:
        # Objects may share a mesh, as the cones of a row do.
        mesh = actor.user.meshes[actor.mesh_at(time_s)]
        if id(mesh) not in self._numbers:
            self._numbers[id(mesh)] = self.renderer.add(mesh)
        half = np.maximum(actor.user.size[:2] / 2 - 0.12, 0.10)
        return Item(
            self._numbers[id(mesh)],
            actor.T_world_object(time_s),
            actor.instance,
            contact=(float(half[0]), float(half[1])),
            lamps=self._lamps[actor.instance],
        )

    def _lamps_of(self, actor: Actor) -> tuple[Lamp, ...]:
        user = actor.user
        is_driven = actor.is_in_traffic and user.class_name in _WITH_LAMPS
        if not self.weather.has_headlights or not is_driven:
            return ()
        return vehicle_lamps(user.size, user.center, is_single=user.class_name == "motorcycle")


def _ego_mesh() -> Mesh:
    """Return the ego vehicle in its base frame; it is not in the pictures, only its shadow is."""
    return placed(car(OFF_ROADER, (90, 92, 96)), [EGO_LENGTH_M / 2 - EGO_REAR_OVERHANG_M, 0.0, 0.0])
