"""Writes a scene as the recording that a vehicle would have made of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from lift3d_ros.bags.discover import GROUND_TRUTH_TOPIC
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.datasets.frames import BASE_FRAME, Scene, SceneCamera, SceneFrame, SceneImage, SceneLidar, camera_image
from lift3d_ros.datasets.points import read_points
from lift3d_ros.datasets.trajectory import Trajectory
from lift3d_ros.errors import DatasetError
from lift3d_ros.geometry.rigid import invert
from lift3d_ros.geometry.rotations import matrix_to_quaternion
from lift3d_ros.pipelines.keypoint_sets import StampedKeypoints

ODOM_FRAME = "odom"
POINTS_TOPIC = "/points"

_POSE_PERIOD_NS = 50_000_000
_POSE_MARGIN_NS = 200_000_000
_FIRST_DELAY_NS, _DELAY_STEP_NS, _KEYPOINTS_DELAY_NS = 25_000_000, 5_000_000, 50_000_000


def write_scene(
    scene: Scene,
    out: Path,
    *,
    storage: str = "mcap",
    overwrite: bool = False,
    keypoints: Mapping[str, Sequence[StampedKeypoints]] | None = None,
) -> int:
    """Write `scene` as a recording at `out`.

    Pictures and calibration of each camera, /tf_static, /tf and /odom at 20 Hz (/tf also at each stamp at which the
    pose is known), /ground_truth/boxes where boxes are labelled and /points where lidar exists. The frame `odom` has
    its origin at the first frame. Messages are logged 25 to 50 ms after their stamps, by camera.

    Args:
        keypoints: camera -> what a keypoint detector found in its pictures, for ``<camera>/keypoints``; they are logged
            50 ms after their stamps.

    Returns:
        The number of messages.

    Raises:
        DatasetError: a file of the scene cannot be read, or two cameras would share a topic.
        BagError: `out` exists already or cannot be written; then nothing is left of a part.
    """
    topics = _camera_topics(scene)
    trajectory = _odometry(scene)
    events = [_static_event(scene), *_motion_events(scene, trajectory), *_frame_events(scene, topics)]
    for camera, found in (keypoints or {}).items():
        events += [_keypoint_event(f"{topics[camera]}/keypoints", one) for one in found]
    with BagWriter(out, storage=storage, overwrite=overwrite) as writer:
        for _, write in tqdm(sorted(events, key=lambda event: event[0]), desc=f"writing {out.name}", unit="msg"):
            write(writer)
    return writer.count


# When a message is logged, and how it is written.
_Event = tuple[int, Callable[[BagWriter], None]]


def _camera_topics(scene: Scene) -> dict[str, str]:
    """Return the namespace of each camera: its name in lower case, with ``_`` for what ROS does not allow."""
    topics = {name: "/" + re.sub(r"[^a-z0-9_]", "_", name.lower()) for name in scene.cameras}
    for name, topic in topics.items():
        if same := [other for other in topics if other != name and topics[other] == topic]:
            raise DatasetError(
                f"scene '{scene.name}': cameras '{name}' and '{same[0]}' would both be written to '{topic}'; rename one"
            )
    return topics


def _odometry(scene: Scene) -> Trajectory:
    """Return the path of the vehicle relative to its first frame."""
    T_odom_world = invert(scene.frames[0].T_world_base)
    trajectory = scene.trajectory()
    return Trajectory({stamp_ns: T_odom_world @ trajectory.at(stamp_ns) for stamp_ns in trajectory.stamps_ns})


def _span(scene: Scene) -> tuple[int, int]:
    stamps = [image.stamp_ns for frame in scene.frames for image in frame.images.values()]
    stamps += [frame.stamp_ns for frame in scene.frames]
    return min(stamps) - _POSE_MARGIN_NS, max(stamps) + _POSE_MARGIN_NS


def _static_event(scene: Scene) -> _Event:
    mountings = {(BASE_FRAME, camera.model.frame_id): camera.T_base_cam for camera in scene.cameras.values()}
    mountings[BASE_FRAME, scene.lidar.frame_id] = scene.lidar.T_base_lidar
    start_ns = _span(scene)[0]
    write = partial(BagWriter.transforms, entries=mountings, stamp_ns=start_ns, log_ns=start_ns, is_static=True)
    return start_ns, write


def _motion_events(scene: Scene, trajectory: Trajectory) -> Iterator[_Event]:
    start_ns, stop_ns = _span(scene)
    regular = range(start_ns, stop_ns + 1, _POSE_PERIOD_NS)
    for stamp_ns in {*regular, *trajectory.stamps_ns}:
        entries = {(ODOM_FRAME, BASE_FRAME): trajectory.at(stamp_ns)}
        yield stamp_ns, partial(BagWriter.transforms, entries=entries, stamp_ns=stamp_ns, log_ns=stamp_ns)
    for stamp_ns in regular:
        yield stamp_ns, partial(_write_odometry, trajectory=trajectory, stamp_ns=stamp_ns)


def _write_odometry(writer: BagWriter, trajectory: Trajectory, stamp_ns: int) -> None:
    T = trajectory.at(stamp_ns)
    step = invert(T) @ trajectory.at(stamp_ns + _POSE_PERIOD_NS)
    seconds = _POSE_PERIOD_NS * 1e-9
    # The vector part of a small rotation's quaternion is half its rotation vector.
    angular = 2.0 * matrix_to_quaternion(step[:3, :3])[:3] / seconds
    writer.odometry(T, step[:3, 3] / seconds, angular, stamp_ns=stamp_ns, log_ns=stamp_ns)


def _frame_events(scene: Scene, topics: Mapping[str, str]) -> Iterator[_Event]:
    for frame in scene.frames:
        for number, (name, image) in enumerate(frame.images.items()):
            log_ns = image.stamp_ns + _FIRST_DELAY_NS + (number % 6) * _DELAY_STEP_NS
            write = partial(
                _write_picture, topic=topics[name], name=name, camera=scene.cameras[name], image=image, log_ns=log_ns
            )
            yield log_ns, write
        yield frame.stamp_ns + _FIRST_DELAY_NS, partial(_write_labels, frame=frame, lidar=scene.lidar)


def _keypoint_event(topic: str, keypoints: StampedKeypoints) -> _Event:
    log_ns = keypoints.stamp_ns + _KEYPOINTS_DELAY_NS
    return log_ns, partial(BagWriter.keypoints, topic=topic, keypoints=keypoints, log_ns=log_ns)


def _write_picture(
    writer: BagWriter, topic: str, name: str, camera: SceneCamera, image: SceneImage, log_ns: int
) -> None:
    writer.camera_info(f"{topic}/camera_info", camera.model, image.stamp_ns, log_ns)
    writer.image(f"{topic}/image_raw/compressed", camera_image(name, camera, image), log_ns)


def _write_labels(writer: BagWriter, frame: SceneFrame, lidar: SceneLidar) -> None:
    log_ns = frame.stamp_ns + _FIRST_DELAY_NS
    if frame.boxes is not None:
        writer.boxes(GROUND_TRUTH_TOPIC, frame.boxes, frame.stamp_ns, log_ns)
    if frame.points_path is not None:
        xyz, intensity = read_points(frame.points_path)
        writer.points(POINTS_TOPIC, xyz, intensity, lidar.frame_id, frame.stamp_ns, log_ns)
