"""Turns a folder of pictures, or a scene folder with `meta.json`, into frame sets.

Plain folders hold one sub-folder for each camera of the rig (or, for a rig of one camera, the pictures
themselves). Pictures of one set have the same file name. A name of 13 or more digits is a stamp in nanoseconds;
otherwise the sets are numbered in the order of their names (2 before 10) and `period_s` apart.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from lift3d_ros.datasets.frames import Scene, frame_set, read_scene
from lift3d_ros.errors import BagError, CalibrationError, DatasetError
from lift3d_ros.geometry.rig import Rig
from lift3d_ros.natural_order import natural_order
from lift3d_ros.replay.sets import RecordedSet
from lift3d_ros.replay.source import Labels
from lift3d_ros.types import CameraImage, CameraModel, CameraView, Float64Array, FrameSet

_ENCODINGS = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png"}
_STAMP_DIGITS = 13
_NS = 1_000_000_000


class SceneFrames:
    """The frame sets of a scene folder with calibration, poses and labels."""

    def __init__(self, scene: Path | Scene) -> None:
        """Take a scene, or read the one in a folder; raises DatasetError or CalibrationError."""
        self._scene = scene if isinstance(scene, Scene) else read_scene(scene)
        self.name = self._scene.name
        self.cameras = tuple(self._scene.cameras)
        self.expected_sets = len(self._scene.frames)
        self.labels: Mapping[int, Labels] = {
            frame.stamp_ns: Labels(frame.boxes) for frame in self._scene.frames if frame.boxes is not None
        }

    @property
    def identity(self) -> Mapping[str, str]:
        """What tells the pictures, their calibration and poses from others under the same names."""
        trajectory = self._scene.trajectory()
        numbers = [(camera.model.intrinsics, camera.model.distortion) for camera in self._scene.cameras.values()]
        mounting = [camera.T_base_cam for camera in self._scene.cameras.values()]
        poses = [trajectory.at(frame.stamp_ns) for frame in self._scene.frames]
        calibration = [array.tolist() for array in (*itertools.chain(*numbers), *mounting, *poses)]
        files = [image.path for frame in self._scene.frames for image in frame.images.values()]
        return {"pictures": _digest(_names_and_sizes(files)), "calibration": _digest(calibration)}

    def frame_sets(self) -> Iterator[FrameSet]:
        """Yield one set for each frame."""
        for frame in self._scene.frames:
            yield frame_set(self._scene, frame)

    def recorded_frame_sets(self, recorded: Iterable[RecordedSet]) -> Iterator[FrameSet]:
        """Yield the recorded sets with their pictures; raises BagError where one is not here."""
        sets = {frame.stamp_ns: frame for frame in self._scene.frames}
        for item in recorded:
            frame = sets.get(item.stamp_ns)
            views = {} if frame is None else frame_set(self._scene, frame).views
            yield item.with_images(_images_of(item, {name: view.image for name, view in views.items()}, self.name))


class FolderFrames:
    """The frame sets of a folder of pictures; the rig file gives calibration and mounting."""

    def __init__(self, directory: Path, rig: Rig, period_s: float) -> None:
        """List the pictures of `directory`.

        Raises:
            DatasetError: no folder for a camera of the rig, or no pictures.
            CalibrationError: the rig file lacks the calibration or mounting of a camera.
        """
        self.name = directory.resolve().name
        self._base_frame = rig.base_frame
        self.cameras = tuple(rig.cameras)
        self.labels: Mapping[int, Labels] = {}
        self._own: dict[str, tuple[CameraModel, Float64Array]] = {}
        for name, camera in rig.cameras.items():
            model, T_base_cam = camera.model(name), camera.T_base_cam
            if model is None or T_base_cam is None:
                lacking = "calibration" if model is None else "mounting"
                raise CalibrationError(
                    f"camera '{name}': the rig file gives no '{lacking}'; pictures in a folder carry none, so add it"
                )
            self._own[name] = model, T_base_cam
        self._sets = _group_pictures(directory, self.cameras, period_s)
        self.expected_sets = len(self._sets)

    @property
    def identity(self) -> Mapping[str, str]:
        """What tells the pictures from others under the same names."""
        return {"pictures": _digest(_names_and_sizes(path for paths in self._sets.values() for path in paths.values()))}

    def frame_sets(self) -> Iterator[FrameSet]:
        """Yield one set for each picture name."""
        for stamp_ns, paths in self._sets.items():
            views = {}
            for name, path in paths.items():
                model, T_base_cam = self._own[name]
                views[name] = CameraView(_read_picture(name, path, stamp_ns, model.frame_id), model, T_base_cam)
            missing = tuple(name for name in self.cameras if name not in views)
            yield FrameSet(stamp_ns, views, missing, self._base_frame, cameras=self.cameras)

    def recorded_frame_sets(self, recorded: Iterable[RecordedSet]) -> Iterator[FrameSet]:
        """Yield the recorded sets with their pictures; raises BagError where one is not here."""
        for item in recorded:
            images = {
                name: _read_picture(name, path, item.stamp_ns, self._own[name][0].frame_id)
                for name, path in self._sets.get(item.stamp_ns, {}).items()
            }
            yield item.with_images(_images_of(item, images, self.name))


def _names_and_sizes(files: Iterable[Path]) -> list[tuple[str, int]]:
    """Return what is known of files without reading them: other pictures seldom have the same numbers of bytes."""
    return [(path.name, path.stat().st_size) for path in files]


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _group_pictures(directory: Path, cameras: tuple[str, ...], period_s: float) -> dict[int, dict[str, Path]]:
    """Return stamp -> camera -> file, in order of time."""
    if not directory.is_dir():
        raise DatasetError(f"{directory}: no such folder; expected one sub-folder of pictures for each camera")
    by_stem: dict[str, dict[str, Path]] = {}
    for name in cameras:
        folder = directory / name
        if not folder.is_dir() and len(cameras) == 1:
            folder = directory
        if not folder.is_dir():
            found = ", ".join(sorted(p.name for p in directory.iterdir() if p.is_dir())) or "none"
            raise DatasetError(
                f"{folder}: no such folder; expected one sub-folder for each camera of the rig (found: {found}). "
                "Rename the folders or the cameras of the rig file"
            )
        pictures = [path for path in folder.iterdir() if path.suffix.lower() in _ENCODINGS]
        if not pictures:
            raise DatasetError(f"{folder}: no pictures; expected files ending in {', '.join(_ENCODINGS)}")
        for path in pictures:
            by_stem.setdefault(path.stem, {})[name] = path
    stems = sorted(by_stem, key=natural_order)
    are_stamps = all(stem.isdecimal() and len(stem) >= _STAMP_DIGITS for stem in stems)
    if are_stamps:
        return {stamp_ns: by_stem[stem] for stamp_ns, stem in sorted((int(stem), stem) for stem in stems)}
    period_ns = round(period_s * _NS)
    return {(index + 1) * period_ns: by_stem[stem] for index, stem in enumerate(stems)}


def _read_picture(camera: str, path: Path, stamp_ns: int, frame_id: str) -> CameraImage:
    data = np.fromfile(path, dtype=np.uint8)
    return CameraImage(camera, stamp_ns, frame_id, _ENCODINGS[path.suffix.lower()], data, source=str(path))


def _images_of(item: RecordedSet, images: Mapping[str, CameraImage], name: str) -> Mapping[str, CameraImage]:
    if absent := [camera for camera in item.views if camera not in images]:
        raise BagError(
            f"{name}: the set at {item.stamp_ns} ns needs pictures of {', '.join(absent)} that are not here; "
            "give the folder that was used when the sets were recorded"
        )
    return {camera: images[camera] for camera in item.views}
