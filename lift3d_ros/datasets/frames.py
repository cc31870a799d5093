"""A scene as a folder of frames: pictures, calibration, poses and labels described by one `meta.json`.

Layout: ``meta.json``, ``images/<camera>/<index>.jpg``, ``lidar/<index>.npz``. Poses ``T_world_base`` are given at
the frame stamp and, where known, at the stamp of each picture; boxes are in the base frame at the frame stamp.
Keys of `meta.json`: `scene`, `cameras` (`name`, `width`, `height`, `K`, `D`, `distortion_model`, `frame_id`,
`T_base_cam`) and `frames` (`index`, `stamp_ns`, `T_world_base`, `images`, and optionally `lidar` and `boxes`). A box
has `class`, `center`, `size`, `yaw`, `velocity` and, where known, `instance`, `visibility` and `num_lidar_pts`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.label_fields import numbers, whole_numbers
from lift3d_ros.datasets.trajectory import Trajectory
from lift3d_ros.errors import CalibrationError, DatasetError, Lift3dError
from lift3d_ros.geometry.motion import VELOCITY_BASELINE_NS, ego_motion
from lift3d_ros.geometry.rigid import invert
from lift3d_ros.types import (
    Boxes3D,
    CameraImage,
    CameraModel,
    CameraView,
    Float64Array,
    FrameSet,
)

CLASS_NAMES = (
    "car",
    "truck",
    "construction_vehicle",
    "bus",
    "trailer",
    "barrier",
    "motorcycle",
    "bicycle",
    "pedestrian",
    "traffic_cone",
    "other",
)
BASE_FRAME = "base_link"
WORLD_FRAME = "map"


@dataclass(frozen=True, eq=False)
class SceneCamera:
    """One camera of a scene: model and mounting."""

    model: CameraModel
    T_base_cam: Float64Array


@dataclass(frozen=True, eq=False)
class SceneImage:
    """One picture of a frame; `T_world_base` is the pose when this camera fired, None where not known."""

    path: Path
    stamp_ns: int
    T_world_base: Float64Array | None = None


@dataclass(frozen=True, eq=False)
class SceneFrame:
    """One frame; `boxes` is None where nothing was labelled, `points_path` where no lidar was recorded.

    Args:
        visibility: (M,) share of each box that the pictures show, 0..1, NaN where unknown; None for unlabelled frames.
        num_points: (M,) lidar points on each box, -1 where unknown; None for unlabelled frames.
    """

    index: int
    stamp_ns: int
    T_world_base: Float64Array
    images: Mapping[str, SceneImage]
    boxes: Boxes3D | None = None
    points_path: Path | None = None
    visibility: Float64Array | None = None
    num_points: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class SceneLidar:
    """The frame in which the lidar files of a scene give their points, and its mounting."""

    frame_id: str = "lidar_base"
    T_base_lidar: Float64Array = field(default_factory=lambda: np.eye(4))


@dataclass(frozen=True, eq=False)
class Scene:
    """A whole scene; cameras by name in the order of the file, frames in order of time."""

    name: str
    description: str
    licence: str
    cameras: Mapping[str, SceneCamera]
    frames: tuple[SceneFrame, ...]
    lidar: SceneLidar = field(default_factory=SceneLidar)

    def trajectory(self) -> Trajectory:
        """Return every pose of the vehicle that the scene knows: those of frames and those of pictures."""
        poses = {
            image.stamp_ns: image.T_world_base
            for frame in self.frames
            for image in frame.images.values()
            if image.T_world_base is not None
        }
        return Trajectory({**poses, **{frame.stamp_ns: frame.T_world_base for frame in self.frames}})


def read_scene(directory: Path, *, keeps_classes: bool = False, may_be_empty: bool = False) -> Scene:
    """Read the scene in `directory`.

    Args:
        keeps_classes: names of classes that are not among `CLASS_NAMES` are added behind them; they become `other`
            without it.
        may_be_empty: a scene without frames is none of the errors.

    Raises:
        DatasetError: a file or a field is missing or wrong; names both.
        CalibrationError: unusable intrinsics or poses.
    """
    path = directory / "meta.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(f"{path}: not found; expected a scene folder with meta.json and images/") from None
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path}: not readable as JSON ({error}); it is cut short or damaged, copy it again"
        ) from None
    try:
        cameras = {entry["name"]: _camera(entry) for entry in document["cameras"]}
        class_names = _class_names(document["frames"]) if keeps_classes else CLASS_NAMES
        unsorted = [_frame(directory, entry, cameras, class_names) for entry in document["frames"]]
        frames = tuple(sorted(unsorted, key=lambda frame: frame.stamp_ns))
        _check_stamps(frames)
        scene = Scene(
            str(document["scene"]), document.get("description", ""), document.get("licence", ""), cameras, frames
        )
    except KeyError as error:
        raise DatasetError(f"{path}: field {error} is missing; see the keys in lift3d_ros/datasets/frames.py") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{path}: a field has the wrong form ({error})") from None
    except CalibrationError as error:
        raise CalibrationError(f"{path}: {error}") from None
    except Lift3dError as error:
        raise DatasetError(f"{path}: {error}") from None
    if not scene.cameras or not (scene.frames or may_be_empty):
        raise DatasetError(f"{path}: {len(cameras)} cameras and {len(frames)} frames; expected at least one of each")
    for frame in scene.frames:
        files = [("picture", image.path) for image in frame.images.values()]
        files += [] if frame.points_path is None else [("lidar file", frame.points_path)]
        for kind, file in files:
            if not file.is_file():
                shown = file.relative_to(directory) if file.is_relative_to(directory) else file
                raise DatasetError(
                    f"{path}: {kind} '{shown}' of frame {frame.index} does not exist; copy the whole scene folder"
                )
    return scene


def frame_set(scene: Scene, frame: SceneFrame) -> FrameSet:
    """Return one frame as pipeline input, with the motion between the pictures compensated where it is known."""
    views = {}
    trajectory = scene.trajectory()
    T_base_world = invert(frame.T_world_base)
    for name, image in frame.images.items():
        camera = scene.cameras[name]
        T_world_capture = trajectory.at(image.stamp_ns) if image.T_world_base is None else image.T_world_base
        motion = np.asarray(T_base_world @ T_world_capture)
        views[name] = CameraView(camera_image(name, camera, image), camera.model, camera.T_base_cam, motion)
    missing = tuple(name for name in scene.cameras if name not in views)
    ego = None
    if len(scene.frames) > 1:
        T_world_before = trajectory.at(frame.stamp_ns - VELOCITY_BASELINE_NS)
        ego = ego_motion(frame.stamp_ns, frame.T_world_base, T_world_before, WORLD_FRAME)
    return FrameSet(frame.stamp_ns, views, missing, BASE_FRAME, ego, cameras=tuple(scene.cameras))


def camera_image(name: str, camera: SceneCamera, image: SceneImage) -> CameraImage:
    """Return a picture of a scene, undecoded.

    Raises:
        DatasetError: the file is missing or cannot be read.
    """
    try:
        data = np.fromfile(image.path, dtype=np.uint8)
    except OSError as error:
        raise DatasetError(f"{image.path}: picture of camera '{name}' cannot be read ({error.strerror})") from None
    encoding = "png" if data[:4].tobytes() == b"\x89PNG" else "jpeg"
    return CameraImage(name, image.stamp_ns, camera.model.frame_id, encoding, data, source=str(image.path))


def write_meta(scene: Scene, directory: Path, *, original_size: tuple[int, int]) -> None:
    """Write the `meta.json` of a scene whose pictures and lidar files already lie in `directory`."""
    document = {
        "scene": scene.name,
        "description": scene.description,
        "licence": scene.licence,
        "original_size": list(original_size),
        "cameras": [_camera_to_json(name, camera) for name, camera in scene.cameras.items()],
        "frames": [_frame_to_json(directory, frame) for frame in scene.frames],
    }
    (directory / "meta.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _camera(entry: Mapping[str, Any]) -> SceneCamera:
    distortion = np.array(entry.get("D", []), dtype=np.float64)
    model: Any = entry.get("distortion_model", "plumb_bob")
    if model == "equidistant":  # all zeros are an ideal fisheye lens, not a pinhole
        distortion = distortion if distortion.size else np.zeros(4)
    elif not distortion.any():
        model = "none"
    intrinsics = np.array(entry["K"], dtype=np.float64)
    camera = CameraModel(
        entry["name"], entry["frame_id"], int(entry["width"]), int(entry["height"]), intrinsics, model,
        distortion if model != "none" else np.zeros(0),
    )  # fmt: skip
    return SceneCamera(camera, _pose(entry["T_base_cam"], f"camera '{camera.name}', field 'T_base_cam'"))


def _frame(
    directory: Path, entry: Mapping[str, Any], cameras: Mapping[str, SceneCamera], class_names: tuple[str, ...]
) -> SceneFrame:
    images, where = {}, f"frame {entry['index']}"
    for name, image in entry["images"].items():
        if name not in cameras:
            raise DatasetError(
                f"{where} has a picture of camera '{name}', which is not in 'cameras' "
                f"({', '.join(cameras)}); add its calibration there"
            )
        field_name = f"{where}, picture of camera '{name}', field 'T_world_base'"
        pose = _pose(image["T_world_base"], field_name) if "T_world_base" in image else None
        images[name] = SceneImage(directory / image["file"], int(image["stamp_ns"]), pose)
    points = directory / entry["lidar"]["file"] if "lidar" in entry else None
    T_world_base = _pose(entry["T_world_base"], f"{where}, field 'T_world_base'")
    frame = SceneFrame(int(entry["index"]), int(entry["stamp_ns"]), T_world_base, images, points_path=points)
    if "boxes" not in entry:
        return frame
    labels = entry["boxes"]
    return replace(
        frame,
        boxes=_boxes(labels, class_names, where),
        visibility=numbers(labels, "visibility", where, default=np.nan),
        num_points=whole_numbers(labels, "num_lidar_pts", where),
    )


def _check_stamps(frames: tuple[SceneFrame, ...]) -> None:
    for first, second in pairwise(frames):
        if first.stamp_ns == second.stamp_ns:
            raise DatasetError(
                f"frames {first.index} and {second.index} have the same field 'stamp_ns' ({first.stamp_ns}); expected "
                "a time of its own for each frame. Correct the stamp, or remove one of the frames"
            )


def _class_names(frames: list[Mapping[str, Any]]) -> tuple[str, ...]:
    found = {str(label["class"]) for entry in frames for label in entry.get("boxes", [])}
    return (*CLASS_NAMES, *sorted(found - set(CLASS_NAMES)))


def _pose(matrix: Any, where: str) -> Float64Array:
    """Return a pose with its rotation made exact again: files keep only some digits."""
    T = np.array(matrix, dtype=np.float64)
    if T.shape != (4, 4):
        raise DatasetError(f"{where} has shape {T.shape}; expected 4x4")
    if not np.isfinite(T).all():
        raise DatasetError(f"{where} holds values that are not finite numbers (null or NaN); give the whole pose")
    u, _, vt = np.linalg.svd(T[:3, :3])
    rotation = u @ vt
    if np.abs(rotation - T[:3, :3]).max() > 1e-2:
        raise DatasetError(f"{where}: its upper-left 3x3 block is not a rotation; check for a scaled matrix")
    if np.linalg.det(rotation) < 0:
        raise DatasetError(
            f"{where}: its upper-left 3x3 block is mirrored (determinant -1); expected a rotation, with x forward, "
            "y left and z up in the base frame, and x right, y down and z forward in that of a camera"
        )
    if np.abs(T[3] - (0.0, 0.0, 0.0, 1.0)).max() > 1e-6:
        raise DatasetError(
            f"{where} has the last row {T[3].tolist()}; expected [0, 0, 0, 1]. Is the matrix transposed?"
        )
    T[:3, :3] = rotation
    return T


def _boxes(labels: list[Mapping[str, Any]], class_names: tuple[str, ...], where: str) -> Boxes3D:
    index_of = {name: i for i, name in enumerate(class_names)}
    return Boxes3D(
        frame_id=BASE_FRAME,
        class_names=class_names,
        centers=numbers(labels, "center", where, 3),
        sizes=numbers(labels, "size", where, 3),
        yaws=numbers(labels, "yaw", where),
        velocities=numbers(labels, "velocity", where, 2, default=np.nan),
        scores=np.ones(len(labels)),
        labels=np.array([index_of.get(str(label["class"]), index_of["other"]) for label in labels], dtype=np.int64),
        track_ids=whole_numbers(labels, "instance", where),
    )


def _camera_to_json(name: str, camera: SceneCamera) -> dict[str, Any]:
    model = camera.model
    return {
        "name": name,
        "width": model.width,
        "height": model.height,
        "K": model.intrinsics.tolist(),
        "D": model.distortion.tolist() or [0.0] * 5,
        "distortion_model": model.distortion_model if model.is_distorted else "plumb_bob",
        "frame_id": model.frame_id,
        "T_base_cam": camera.T_base_cam.tolist(),
    }


def _frame_to_json(directory: Path, frame: SceneFrame) -> dict[str, Any]:
    images = {}
    for name, image in frame.images.items():
        images[name] = {"file": image.path.relative_to(directory).as_posix(), "stamp_ns": image.stamp_ns}
        if image.T_world_base is not None:
            images[name]["T_world_base"] = np.round(image.T_world_base, 6).tolist()
    document: dict[str, Any] = {
        "index": frame.index,
        "stamp_ns": frame.stamp_ns,
        "T_world_base": np.round(frame.T_world_base, 6).tolist(),
        "images": images,
    }
    if frame.points_path is not None:
        file = frame.points_path.relative_to(directory).as_posix()
        document["lidar"] = {"file": file, "stamp_ns": frame.stamp_ns}
    if frame.boxes is not None:
        document["boxes"] = [_box_to_json(frame, frame.boxes, i) for i in range(len(frame.boxes))]
    return document


def _box_to_json(frame: SceneFrame, boxes: Boxes3D, i: int) -> dict[str, Any]:
    assert boxes.track_ids is not None
    velocity = boxes.velocities[i]
    known: dict[str, Any] = {}
    if frame.visibility is not None and np.isfinite(frame.visibility[i]):
        known["visibility"] = round(float(frame.visibility[i]), 3)
    if frame.num_points is not None and frame.num_points[i] >= 0:
        known["num_lidar_pts"] = int(frame.num_points[i])
    return {
        "class": boxes.class_names[boxes.labels[i]],
        "center": np.round(boxes.centers[i], 4).tolist(),
        "size": np.round(boxes.sizes[i], 3).tolist(),
        "yaw": round(float(boxes.yaws[i]), 5),
        "velocity": None if np.isnan(velocity).any() else np.round(velocity, 4).tolist(),
        "instance": int(boxes.track_ids[i]),
        **known,
    }
