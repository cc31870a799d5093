"""Simulates drives: the pictures, points and labels of every frame, as a function of settings and a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.frames import CLASS_NAMES, SceneCamera
from lift3d_ros.errors import CalibrationError, ConfigError
from lift3d_ros.geometry.boxes import transform_boxes
from lift3d_ros.geometry.rig import Rig, load_rig
from lift3d_ros.geometry.rigid import invert, make_transform, transform_points
from lift3d_ros.images.preprocess import scaled_to
from lift3d_ros.resources import find_resource
from lift3d_ros.simulation import lidar, sensor, visibility
from lift3d_ros.simulation.frame import SimulatedFrame, SimulatedView
from lift3d_ros.simulation.lens import Lens
from lift3d_ros.simulation.mesh_library import MeshLibrary
from lift3d_ros.simulation.motion import boxes_at
from lift3d_ros.simulation.renderer import Renderer
from lift3d_ros.simulation.rigs import BodyMotion, body_motion, disturbed, random_rig
from lift3d_ros.simulation.settings import SimulationSettings
from lift3d_ros.simulation.stage import Stage
from lift3d_ros.simulation.weather import Kind, Weather, random_weather
from lift3d_ros.simulation.world import World, make_world
from lift3d_ros.types import Boxes3D, Float64Array

COUNTED_RANGE_M = 51.2
"""`SimulationSettings.objects` counts labelled objects up to this distance."""

_FIRST_STAMP_NS = 1_700_000_000_000_000_000
_WORLD, _CAMERAS, _WEATHER, _PICTURES, _POINTS = 1, 2, 3, 4, 5
_ATTEMPTS = 40
_TWIST_NS = 10_000_000
_T_BASE_LIDAR = make_transform(np.eye(3), [0.95, 0.0, 1.85])


class Simulator:
    """Simulates any number of drives on one graphics context; use as a context manager."""

    def __init__(self, settings: SimulationSettings, library: MeshLibrary | None) -> None:
        """Take the settings and the mesh folder, or None for parametric models alone.

        Raises:
            ConfigError, CalibrationError: the rig file cannot be used.
        """
        self.settings, self.library = settings, library
        self._renderer: Renderer | None = None
        rig = Path(settings.rig) if settings.rig else find_resource("config/rigs/nuscenes_like.yaml")
        self._fixed_rig = rig_cameras(load_rig(rig), settings.width)

    def __enter__(self) -> Simulator:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the graphics device."""
        if self._renderer is not None:
            self._renderer.close()

    @property
    def renderer(self) -> Renderer:
        """The renderer, made when it is first used.

        Raises:
            RenderingError: no OpenGL context can be made.
        """
        if self._renderer is None:
            self._renderer = Renderer()
        return self._renderer

    def drive(self, seed: int) -> Iterator[SimulatedFrame]:
        """Yield the frames of the drive of a seed, in order of time.

        Raises:
            ConfigError: the seed must not be used with these settings, or no world fits them.
            RenderingError: no OpenGL context can be made.
        """
        self.settings.check_seed(seed)
        setup = _Setup(seed, self.settings, self._fixed_rig)
        weather = scene_weather(seed, self.settings)
        with self._stage(seed, setup, weather) as stage:
            for index in range(self.settings.frames):
                yield self._frame(stage, setup, index)

    def _stage(self, seed: int, setup: _Setup, weather: Weather) -> Stage:
        """Return the world of a seed; where frames must hold a number of objects, the first of some that does."""
        settings = self.settings
        for attempt in range(_ATTEMPTS):
            rng = np.random.default_rng([seed, _WORLD, attempt])
            stage = Stage(self.renderer, make_world(rng, settings, self.library, setup.duration_s), weather)
            if not settings.holds_objects or self._holds_objects(stage, setup):
                return stage
            stage.close()
        low, high = settings.objects
        raise ConfigError(
            f"seed {seed}: none of {_ATTEMPTS} worlds has {low} to {high} labelled objects within "
            f"{COUNTED_RANGE_M:g} m in every frame; widen 'objects', or set 'holds_objects' to false"
        )

    def _holds_objects(self, stage: Stage, setup: _Setup) -> bool:
        """Return whether every frame has as many labelled objects as the settings say, by small pictures."""
        low, high = self.settings.objects
        for index in range(self.settings.frames):
            pixels: NDArray[np.int64] = np.zeros(len(stage.world.actors) + 1, dtype=np.int64)
            time_ns = setup.time_ns(index)
            for name, camera in setup.true_cameras.items():
                at_ns = time_ns + setup.offsets_ns[name]
                T_world_cam = setup.T_world_body(stage.world, at_ns) @ camera.T_base_cam
                items = stage.items(at_ns * 1e-9)
                instances = self.renderer.render_truth(setup.lenses[name].pinhole, T_world_cam, items)[1]
                pixels += visibility.visible_pixels(instances, len(stage.world.actors))
            boxes = _boxes_in_base(stage.world, time_ns)
            distances = np.linalg.norm(boxes.centers[:, :2], axis=1)
            seen = pixels[1:] >= self.settings.min_visible_px
            # A little room, as these pictures are sampled elsewhere in each pixel.
            count = int(np.count_nonzero(seen & (distances <= COUNTED_RANGE_M)))
            if not low + 1 <= count <= high - 1:
                return False
        return True

    def _frame(self, stage: Stage, setup: _Setup, index: int) -> SimulatedFrame:
        settings, world, time_ns = self.settings, stage.world, setup.time_ns(index)
        T_world_base, items = world.ego.T_world_base(time_ns * 1e-9), stage.items(time_ns * 1e-9)
        self.renderer.begin_frame(T_world_base, items)
        count = len(world.actors)
        shown, seen, whole = (np.zeros(count + 1, dtype=np.int64) for _ in range(3))
        views = {}
        for number, (name, camera) in enumerate(setup.true_cameras.items()):
            at_ns, lens = time_ns + setup.offsets_ns[name], setup.lenses[name]
            T_world_cam = np.asarray(setup.T_world_body(world, at_ns) @ camera.T_base_cam)
            at_items = stage.items(at_ns * 1e-9)
            ideal = self.renderer.render(lens.pinhole, T_world_cam, at_items)
            view = lens.distort(ideal)
            seen += visibility.visible_pixels(ideal.instances, count)
            shown += visibility.visible_pixels(view.instances, count)
            whole += visibility.full_pixels(self.renderer, lens.pinhole, T_world_cam, at_items, count)
            rgb = view.rgb
            if settings.sensor:
                rng = np.random.default_rng([setup.seed, _PICTURES, index, number])
                T_world_later = setup.T_world_body(world, at_ns + _TWIST_NS) @ camera.T_base_cam
                twist = sensor.camera_twist(T_world_cam, T_world_later, _TWIST_NS * 1e-9)
                rgb = sensor.expose(view, stage.weather, setup.sensors[name], rng, model=camera.model, twist=twist)
            depth = np.where(np.isfinite(view.depth), view.depth, np.float32(0.0))
            stamp_ns = _FIRST_STAMP_NS + at_ns
            views[name] = SimulatedView(rgb, depth, view.instances, stamp_ns, world.ego.T_world_base(at_ns * 1e-9))
        boxes = _boxes_in_base(world, time_ns)
        is_labelled = shown[1:] >= settings.min_visible_px
        is_labelled &= np.linalg.norm(boxes.centers[:, :2], axis=1) <= settings.range_m
        labelled = boxes.select(is_labelled)
        points, intensities = np.zeros((0, 3), np.float32), np.zeros(0, np.uint8)
        num_points: NDArray[np.int64] = np.full(len(labelled), -1)
        if settings.lidar:
            rng = np.random.default_rng([setup.seed, _POINTS, index])
            wet = stage.weather.lighting.wetness
            scan = lidar.scan(self.renderer, T_world_base @ _T_BASE_LIDAR, items, rng, wet=wet)
            points = transform_points(_T_BASE_LIDAR, scan.points).astype(np.float32)
            intensities = scan.intensities
            num_points = np.bincount(np.maximum(scan.instances, 0), minlength=count + 1)[1:][is_labelled]
        shares = visibility.shares(seen, whole)[1:][is_labelled]
        return SimulatedFrame(
            index, _FIRST_STAMP_NS + time_ns, T_world_base, setup.cameras, views, labelled, shares, num_points,
            points, intensities,
        )  # fmt: skip


class _Setup:
    """What is fixed for one drive beside the world: cameras, their errors, and times."""

    def __init__(self, seed: int, settings: SimulationSettings, fixed_rig: Mapping[str, SceneCamera]) -> None:
        rng = np.random.default_rng([seed, _CAMERAS])
        self.seed = seed
        self.interval_s = float(rng.uniform(*settings.interval_s))
        self.duration_s = self.interval_s * (settings.frames - 1)
        spread_s = float(rng.uniform(*settings.trigger_spread_s))
        is_random = rng.random() < settings.random_rigs
        self.cameras = random_rig(rng, settings.width) if is_random else fixed_rig
        self.true_cameras = (
            disturbed(self.cameras, rng) if _is_drawn(rng, settings.calibration_errors) else self.cameras
        )
        self._body: BodyMotion | None = body_motion(rng) if _is_drawn(rng, settings.body_motion) else None
        self.lenses = {name: Lens(camera.model) for name, camera in self.true_cameras.items()}
        self.sensors = {name: sensor.random_settings(rng) for name in self.cameras}
        self.offsets_ns = firing_offsets_ns(self.cameras, round(spread_s * 1e9))

    def time_ns(self, index: int) -> int:
        """Return the time of a frame from the first one."""
        return round(index * self.interval_s * 1e9)

    def T_world_body(self, world: World, time_ns: int) -> Float64Array:
        """Return the pose of the body, which carries the cameras."""
        T_world_base = world.ego.T_world_base(time_ns * 1e-9)
        return T_world_base if self._body is None else T_world_base @ self._body.T_base_body(time_ns * 1e-9)


def _is_drawn(rng: np.random.Generator, share: float) -> bool:
    """Tell by lot; nothing is drawn for a share of 0 or 1, so that such scenes stay what they were."""
    return share >= 1.0 or (share > 0.0 and bool(rng.random() < share))


def scene_weather(seed: int, settings: SimulationSettings) -> Weather:
    """Return the weather of a scene; of any 20 seeds in a row, the share of each kind is as set."""
    rng = np.random.default_rng([seed, _WEATHER])
    rank = (7 * seed) % 20
    share = (rank + float(rng.random())) / 20
    kinds: tuple[Kind, ...] = ("clear",)
    if share < settings.dark_or_wet:
        kinds = ("night", "rain")
    elif share < settings.dark_or_wet + settings.other_weather:
        kinds = ("overcast", "dusk", "overcast", "fog")
    return random_weather(rng, (kinds[rank % len(kinds)],))


def rig_cameras(rig: Rig, width: int) -> dict[str, SceneCamera]:
    """Return the cameras of a rig for pictures of the given width.

    Raises:
        CalibrationError: a camera has no calibration or no mounting.
    """
    cameras = {}
    for name, entry in rig.cameras.items():
        model, T_base_cam = entry.model(name), entry.T_base_cam
        if model is None or T_base_cam is None:
            raise CalibrationError(
                f"camera '{name}' of the rig has no calibration or no mounting; rendering needs both in the rig file"
            )
        scaled = scaled_to(model, width, round(model.height * width / model.width), f"camera '{name}'")
        cameras[name] = SceneCamera(scaled, T_base_cam)
    return cameras


def firing_offsets_ns(cameras: Mapping[str, SceneCamera], spread_ns: int) -> dict[str, int]:
    """Return when each camera fires, relative to the frame: one after the other, clockwise from the left front.

    That is the order in which the sweep of a spinning lidar passes them; the last one fires at the frame's stamp.
    """
    # Clockwise angle from a direction just before the front left camera.
    start = np.deg2rad(90.0)
    angles = {
        name: float(np.mod(start - np.arctan2(camera.T_base_cam[1, 2], camera.T_base_cam[0, 2]), 2 * np.pi))
        for name, camera in cameras.items()
    }
    order = sorted(angles, key=lambda name: angles[name])
    step = spread_ns / max(len(order) - 1, 1)
    return {name: round(step * i) - spread_ns for i, name in enumerate(order)}


def _boxes_in_base(world: World, time_ns: int) -> Boxes3D:
    """Return the boxes of all objects, seen or not, in the order of their numbers."""
    T_base_world = invert(world.ego.T_world_base(time_ns * 1e-9))
    return transform_boxes(T_base_world, boxes_at(world.actors, time_ns * 1e-9, CLASS_NAMES), "base_link")
