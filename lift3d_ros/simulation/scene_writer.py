"""Renders a drive through a street with a rig and writes it as a scene folder (`datasets.frames`).

Each picture is drawn from the pose at its own stamp, with moving objects where they are at that stamp; labels are
given at the stamp of the frame, for objects of which at least a few pixels are seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from lift3d_ros.datasets.frames import CLASS_NAMES, Scene, SceneCamera, SceneFrame, SceneImage, write_meta
from lift3d_ros.errors import CalibrationError
from lift3d_ros.geometry.boxes import transform_boxes
from lift3d_ros.geometry.rig import Rig
from lift3d_ros.geometry.rigid import invert
from lift3d_ros.images.preprocess import scaled_to
from lift3d_ros.simulation.cars import OFF_ROADER, car
from lift3d_ros.simulation.meshes import Mesh, placed
from lift3d_ros.simulation.renderer import Item, Lighting, RenderedView, Renderer
from lift3d_ros.simulation.street import Street, make_street
from lift3d_ros.simulation.tracks import EGO_LENGTH_M, EGO_REAR_OVERHANG_M, world_boxes
from lift3d_ros.types import Boxes3D, Float64Array, UInt8Array

SPREAD_NS = 45_000_000
"""Time between the first and the last camera of a frame; the last one fires at the stamp of the frame."""

_FIRST_STAMP_NS = 1_700_000_000_000_000_000
_GROUND, _EGO, _FIRST_MARKS = 0, 1, 2


@dataclass(frozen=True)
class DriveSettings:
    """How a drive is rendered.

    Args:
        width: of the pictures, px; the height follows from the rig.
        quality: of the JPEG files, 1..100.
        range_m: objects are labelled up to this distance from the base frame.
        min_visible_px: labelled objects show at least this many pixels in the pictures of the frame.
    """

    seed: int = 7
    frames: int = 12
    rate_hz: float = 2.0
    width: int = 704
    quality: int = 73
    range_m: float = 60.0
    min_visible_px: int = 12
    lighting: Lighting = field(default_factory=Lighting)

    @property
    def duration_s(self) -> float:
        """Time from the first frame to the last."""
        return (self.frames - 1) / self.rate_hz


@dataclass(frozen=True, eq=False)
class DriveFrame:
    """One rendered frame.

    Args:
        views: picture, depth and instances of each camera.
        times_s: when each camera fired.
        boxes: all objects in the base frame at `time_s`, near or far, seen or not.
        visible_px: (M,) pixels of each box over all pictures.
    """

    index: int
    time_s: float
    views: Mapping[str, RenderedView]
    times_s: Mapping[str, float]
    boxes: Boxes3D
    visible_px: Float64Array


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


def firing_offsets_ns(cameras: Mapping[str, SceneCamera]) -> dict[str, int]:
    """Return when each camera fires, relative to the frame: one after the other, clockwise from the left front.

    That is the order in which the sweep of a spinning lidar passes them.
    """
    # Clockwise angle from a direction just before the front left camera.
    start = np.deg2rad(90.0)
    angles = {
        name: float(np.mod(start - np.arctan2(camera.T_base_cam[1, 2], camera.T_base_cam[0, 2]), 2 * np.pi))
        for name, camera in cameras.items()
    }
    order = sorted(angles, key=lambda name: angles[name])
    step = SPREAD_NS / max(len(order) - 1, 1)
    return {name: round(step * i) - SPREAD_NS for i, name in enumerate(order)}


class DriveRenderer:
    """Draws the frames of one drive; use as a context manager."""

    def __init__(self, street: Street, cameras: Mapping[str, SceneCamera], settings: DriveSettings) -> None:
        """Upload the street.

        Raises:
            RenderingError: no OpenGL context can be made.
        """
        self.street, self.cameras, self.settings = street, cameras, settings
        self._offsets_ns = firing_offsets_ns(cameras)
        meshes = [self.street.ground, _ego_mesh(), *self.street.marks, *self.street.scenery]
        self._first_mesh: dict[int, int] = {}
        for track in self.street.tracks:
            self._first_mesh[track.instance] = len(meshes)
            meshes.extend(track.user.meshes)
        self.renderer = Renderer(meshes, settings.lighting)

    def __enter__(self) -> DriveRenderer:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the graphics device."""
        self.renderer.close()

    def frame(self, index: int) -> DriveFrame:
        """Draw all cameras of one frame."""
        time_s = index / self.settings.rate_hz
        times_s = {name: time_s + offset * 1e-9 for name, offset in self._offsets_ns.items()}
        views = {name: self.view(name, times_s[name]) for name in self.cameras}
        counts = sum(
            np.bincount(np.maximum(view.instances, 0).ravel(), minlength=len(self.street.tracks) + 1)
            for view in views.values()
        )
        boxes = self._boxes(time_s)
        assert boxes.track_ids is not None
        return DriveFrame(index, time_s, views, times_s, boxes, np.asarray(counts)[boxes.track_ids])

    def view(self, camera: str, time_s: float) -> RenderedView:
        """Draw one camera at a time."""
        entry = self.cameras[camera]
        T_world_cam = self.street.ego.T_world_base(time_s) @ entry.T_base_cam
        return self.renderer.render(entry.model, np.asarray(T_world_cam), self.items(time_s))

    def items(self, time_s: float) -> list[Item]:
        """Return everything there is to draw at a time."""
        fixed, layers = np.eye(4), len(self.street.marks)
        items = [
            Item(_GROUND, fixed),
            Item(_EGO, self.street.ego.T_world_base(time_s), is_visible=False),
            *(Item(_FIRST_MARKS + i, fixed, mark_layer=i + 1) for i in range(layers)),
            *(Item(_FIRST_MARKS + layers + i, fixed) for i in range(len(self.street.scenery))),
        ]
        for track in self.street.tracks:
            mesh = self._first_mesh[track.instance] + track.mesh_at(time_s)
            half = np.maximum(track.user.size[:2] / 2 - 0.12, 0.10)
            contact = (float(half[0]), float(half[1]))
            items.append(Item(mesh, track.T_world_object(time_s), track.instance, contact=contact))
        return items

    def labelled(self, frame: DriveFrame) -> Boxes3D:
        """Return the boxes of a frame that are near enough and seen."""
        distance = np.linalg.norm(frame.boxes.centers[:, :2], axis=1)
        is_seen = frame.visible_px >= self.settings.min_visible_px
        return frame.boxes.select(is_seen & (distance <= self.settings.range_m))

    def _boxes(self, time_s: float) -> Boxes3D:
        tracks = self.street.tracks
        in_world = world_boxes(tracks, time_s)
        labels = np.array([CLASS_NAMES.index(track.user.class_name) for track in tracks], dtype=np.int64)
        named = Boxes3D(
            in_world.frame_id, CLASS_NAMES, in_world.centers, in_world.sizes, in_world.yaws, in_world.velocities,
            in_world.scores, labels, in_world.track_ids,
        )  # fmt: skip
        return transform_boxes(invert(self.street.ego.T_world_base(time_s)), named, "base_link")


def write_drive(
    directory: Path, name: str, cameras: Mapping[str, SceneCamera], settings: DriveSettings
) -> Iterator[int]:
    """Render a drive into the folder `directory`; yields the index of each frame when it is written.

    Raises:
        RenderingError: no OpenGL context can be made.
    """
    frames = []
    street = make_street(settings.seed, settings.duration_s)
    with DriveRenderer(street, cameras, settings) as drive:
        for index in range(settings.frames):
            frame = drive.frame(index)
            frames.append(_write_frame(directory, drive, frame))
            yield index
    description = (
        f"Street rendered by lift3d_ros (seed {settings.seed}); no part of it is real. Boxes are exact bounds of the "
        f"meshes, labelled up to {settings.range_m:g} m when at least {settings.min_visible_px} px are seen."
    )
    scene = Scene(name, description, "Apache-2.0", cameras, tuple(frames))
    first = next(iter(cameras.values())).model
    write_meta(scene, directory, original_size=(first.width, first.height))


def encode_jpeg(rgb: UInt8Array, quality: int) -> UInt8Array:
    """Return the JPEG file of a picture; the same bytes for the same picture."""
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return np.asarray(cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), parameters)[1])


def _write_frame(directory: Path, drive: DriveRenderer, frame: DriveFrame) -> SceneFrame:
    images = {}
    for name, view in frame.views.items():
        path = directory / "images" / name / f"{frame.index:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_jpeg(view.rgb, drive.settings.quality).tobytes())
        T_world_base = drive.street.ego.T_world_base(frame.times_s[name])
        images[name] = SceneImage(path, _stamp_ns(frame.times_s[name]), T_world_base)
    pose = drive.street.ego.T_world_base(frame.time_s)
    return SceneFrame(frame.index, _stamp_ns(frame.time_s), pose, images, drive.labelled(frame))


def _stamp_ns(time_s: float) -> int:
    return _FIRST_STAMP_NS + round(time_s * 1e9)


def _ego_mesh() -> Mesh:
    """Return the ego vehicle in its base frame; it is not in the pictures, only its shadow is."""
    return placed(car(OFF_ROADER, (90, 92, 96)), [EGO_LENGTH_M / 2 - EGO_REAR_OVERHANG_M, 0.0, 0.0])
