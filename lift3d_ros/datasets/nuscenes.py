"""Reads nuScenes folders through the nuscenes-devkit.

A scene of nuScenes becomes the same :class:`~lift3d_ros.datasets.frames.Scene` as a folder of frames. nuScenes' ego
frame is our base frame; reference stamps are those of the lidar LIDAR_TOP; stamps in microseconds become nanoseconds.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lift3d_ros.datasets.frames import (
    BASE_FRAME,
    CLASS_NAMES,
    Scene,
    SceneCamera,
    SceneFrame,
    SceneImage,
    SceneLidar,
)
from lift3d_ros.errors import CalibrationError, DatasetError, nearest_name_hint
from lift3d_ros.geometry.rigid import invert, make_transform, transform_points
from lift3d_ros.geometry.rotations import quaternion_to_matrix, yaw_of
from lift3d_ros.types import Boxes3D, CameraModel, Float64Array

CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")
LIDAR = "LIDAR_TOP"
LICENCE = "nuScenes, (c) Motional AD Inc., CC BY-NC-SA 4.0: non-commercial use only"


def list_nuscenes_scenes(root: Path, version: str) -> dict[str, str]:
    """Return name -> description of the scenes in `root`, without reading the large tables.

    Raises:
        DatasetError: no such folder or version, or a damaged table.
    """
    table = _tables(root, version) / "scene.json"
    try:
        return {str(entry["name"]): str(entry["description"]) for entry in json.loads(table.read_text("utf-8"))}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{table}: not readable as a table of scenes ({error}); unpack the metadata again") from None


def read_nuscenes_scene(root: Path, version: str, scene_name: str, *, sweeps: bool = False) -> Scene:
    """Read one scene; see :class:`NuScenesFolder`, which is quicker for several."""
    return NuScenesFolder(root, version).scene(scene_name, sweeps=sweeps)


class NuScenesFolder:
    """A nuScenes folder with its tables read."""

    def __init__(self, root: Path, version: str) -> None:
        """Read the tables of `version` (a folder in `root`, for example ``v1.0-mini``).

        Raises:
            DatasetError: the devkit is not installed, or the folder lacks something; says what.
        """
        _tables(root, version)
        try:
            from nuscenes.nuscenes import NuScenes
        except ImportError as error:
            raise DatasetError(
                f"reading nuScenes needs the nuscenes-devkit, which cannot be imported ({error}); "
                "install it with 'pip install nuscenes-devkit'"
            ) from None
        self.root, self.version = root, version
        try:
            self._tables = NuScenes(version=version, dataroot=str(root), verbose=False)
        except (OSError, AssertionError, KeyError, ValueError) as error:
            raise DatasetError(
                f"{root}: the tables of {version} cannot be read ({error}); "
                "unpack the metadata archive and the maps again"
            ) from None

    @property
    def has_annotations(self) -> bool:
        """Whether this version has boxes; that of the test split has none."""
        return bool(self._tables.sample_annotation)

    @property
    def num_key_frames(self) -> dict[str, int]:
        """Scene -> its labelled frames."""
        return {str(entry["name"]): int(entry["nbr_samples"]) for entry in self._tables.scene}

    def scene(self, name: str, *, sweeps: bool = False) -> Scene:
        """Return one scene: six cameras, poses, boxes of the key frames and lidar.

        Args:
            sweeps: also the pictures between the key frames; they come as frames without boxes and lidar.

        Raises:
            DatasetError: no such scene, with the nearest name, or a file or record is missing.
        """
        names = [entry["name"] for entry in self._tables.scene]
        if name not in names:
            raise DatasetError(
                f"{self.root / self.version}: scene '{name}' is not in it{nearest_name_hint(name, names)} "
                f"({_some(names)}); 'lift3d bag from-nuscenes {self.root} --list' shows all"
            )
        record = self._tables.scene[names.index(name)]
        try:
            return self._scene(record, sweeps=sweeps)
        except CalibrationError as error:
            raise CalibrationError(f"{self.root / self.version}: scene '{name}': {error}") from None
        except (KeyError, ValueError, TypeError) as error:
            raise DatasetError(
                f"{self.root / self.version}: scene '{name}' has a missing or wrong record ({error!r}); "
                "unpack the metadata archive again"
            ) from None

    def _scene(self, record: Mapping[str, Any], *, sweeps: bool) -> Scene:
        samples = self._chain("sample", record["first_sample_token"])
        first = samples[0]["data"]
        present = [channel for channel in CAMERAS if channel in first]
        cameras = {channel.lower(): self._camera(first[channel]) for channel in present}
        frames = [self._key_frame(sample, present) for sample in samples]
        if sweeps:
            frames += self._sweep_frames(samples, present)
        frames.sort(key=lambda frame: frame.stamp_ns)
        frames = [replace(frame, index=index) for index, frame in enumerate(frames)]
        lidar = SceneLidar("lidar_top", self._mounting(self._tables.get("sample_data", first[LIDAR])))
        scene = Scene(record["name"], record["description"], LICENCE, cameras, tuple(frames), lidar)
        self._check_files(scene)
        return scene

    def _chain(self, table: str, token: str) -> list[dict[str, Any]]:
        """Return the record `token` and all that follow it."""
        records = []
        while token:
            records.append(self._tables.get(table, token))
            token = records[-1]["next"]
        return records

    def _camera(self, token: str) -> SceneCamera:
        data = self._tables.get("sample_data", token)
        sensor = self._tables.get("calibrated_sensor", data["calibrated_sensor_token"])
        name = data["channel"].lower()
        model = CameraModel(
            name, f"{name}_optical_frame", int(data["width"]), int(data["height"]), np.array(sensor["camera_intrinsic"])
        )
        return SceneCamera(model, self._mounting(data))

    def _mounting(self, data: Mapping[str, Any]) -> Float64Array:
        return _pose(self._tables.get("calibrated_sensor", data["calibrated_sensor_token"]))

    def _ego_pose(self, data: Mapping[str, Any]) -> Float64Array:
        return _pose(self._tables.get("ego_pose", data["ego_pose_token"]))

    def _image(self, data: Mapping[str, Any]) -> SceneImage:
        return SceneImage(self.root / data["filename"], _nanoseconds(data), self._ego_pose(data))

    def _key_frame(self, sample: Mapping[str, Any], cameras: Iterable[str]) -> SceneFrame:
        lidar = self._tables.get("sample_data", sample["data"][LIDAR])
        T_world_base = self._ego_pose(lidar)
        images = {
            channel.lower(): self._image(self._tables.get("sample_data", sample["data"][channel]))
            for channel in cameras
            if channel in sample["data"]
        }
        frame = SceneFrame(0, _nanoseconds(lidar), T_world_base, images, points_path=self.root / lidar["filename"])
        if not self._tables.sample_annotation:  # a version without annotations (test)
            return frame
        entries = [self._tables.get("sample_annotation", token) for token in sample["anns"]]
        return replace(
            frame,
            boxes=self._boxes(entries, T_world_base),
            visibility=np.array([self._visibility(entry) for entry in entries], dtype=np.float64),
            num_points=np.array([int(entry.get("num_lidar_pts", -1)) for entry in entries], dtype=np.int64),
        )

    def _visibility(self, entry: Mapping[str, Any]) -> float:
        """Return the middle of the range of visible shares that an annotation names, NaN where it names none."""
        token = entry.get("visibility_token")
        if not token:
            return float("nan")
        low, high = str(self._tables.get("visibility", token)["level"]).removeprefix("v").split("-")
        return (float(low) + float(high)) / 200.0

    def _sweep_frames(self, samples: list[dict[str, Any]], cameras: Iterable[str]) -> list[SceneFrame]:
        """Return the pictures between key frames; the n-th of each camera after a key frame form one frame."""
        frames = []
        for sample, following in itertools.pairwise(samples):
            sweeps = {}
            for channel in cameras:
                chain = self._between(sample["data"].get(channel, ""), following["data"].get(channel, ""))
                sweeps[channel.lower()] = [self._image(data) for data in chain]
            for number in range(max(map(len, sweeps.values()), default=0)):
                images = {name: chain[number] for name, chain in sweeps.items() if number < len(chain)}
                last = max(images.values(), key=lambda image: image.stamp_ns)
                assert last.T_world_base is not None
                frames.append(SceneFrame(0, last.stamp_ns, last.T_world_base, images))
        return frames

    def _between(self, token: str, end: str) -> list[dict[str, Any]]:
        records = []
        token = self._tables.get("sample_data", token)["next"] if token else ""
        while token and token != end:
            records.append(self._tables.get("sample_data", token))
            token = records[-1]["next"]
        return records

    def _boxes(self, entries: list[dict[str, Any]], T_world_base: Float64Array) -> Boxes3D:
        """Return the annotations of a sample in the base frame.

        Categories outside of the ten classes of the benchmark become `other`.
        """
        from nuscenes.eval.detection.utils import category_to_detection_name

        classes = [category_to_detection_name(entry["category_name"]) or "other" for entry in entries]
        T_base_world = invert(T_world_base)
        velocities = np.array([self._tables.box_velocity(entry["token"]) for entry in entries]).reshape(-1, 3)
        return Boxes3D(
            frame_id=BASE_FRAME,
            class_names=CLASS_NAMES,
            centers=transform_points(T_base_world, [entry["translation"] for entry in entries] or np.zeros((0, 3))),
            # nuScenes gives width, length, height.
            sizes=np.array([entry["size"] for entry in entries]).reshape(-1, 3)[:, [1, 0, 2]],
            yaws=np.array([yaw_of((T_base_world @ _pose(entry))[:3, :3]) for entry in entries]),
            velocities=(velocities @ T_base_world[:3, :3].T)[:, :2],
            scores=np.ones(len(entries)),
            labels=np.array([CLASS_NAMES.index(name) for name in classes], dtype=np.int64),
            track_ids=np.array([track_id(entry["instance_token"]) for entry in entries], dtype=np.int64),
        )

    def _check_files(self, scene: Scene) -> None:
        files = [image.path for frame in scene.frames for image in frame.images.values()]
        files += [frame.points_path for frame in scene.frames if frame.points_path is not None]
        if missing := [file for file in files if not file.is_file()]:
            raise DatasetError(
                f"{self.root}: {len(missing)} of {len(files)} files of scene '{scene.name}' are missing, the first is "
                f"{missing[0].relative_to(self.root)}; unpack the archive of its part (blob)"
            )


def track_id(instance_token: str) -> int:
    """Return a number for an object that is the same in every run; it fits a double, as JSON readers need."""
    return int.from_bytes(hashlib.sha256(instance_token.encode()).digest()[:8], "big") >> 11


def _tables(root: Path, version: str) -> Path:
    folder = root / version
    if not folder.is_dir():
        found = sorted(item.name for item in root.glob("v1.0-*")) if root.is_dir() else []
        state = f"tables found: {', '.join(found)}" if found else "no folder v1.0-... in it"
        raise DatasetError(
            f"{folder}: not found ({state if root.is_dir() else 'the folder above does not exist either'}); "
            "expected the folder that holds samples/, sweeps/, maps/ and v1.0-..., and --version as one of the latter"
        )
    return folder


def _pose(record: Mapping[str, Any]) -> Float64Array:
    """Return `translation` and `rotation` (w, x, y, z) of a record as a transform."""
    w, x, y, z = record["rotation"]
    return make_transform(quaternion_to_matrix([x, y, z, w]), record["translation"])


def _nanoseconds(data: Mapping[str, Any]) -> int:
    return int(data["timestamp"]) * 1000


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f", ... {len(names)} in all" if len(names) > 8 else "")
