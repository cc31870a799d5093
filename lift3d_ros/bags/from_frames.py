"""Turns a scene folder into a recording as a vehicle would have made it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lift3d_ros.bags.discover import GROUND_TRUTH_TOPIC
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.datasets.frames import Scene, SceneCamera, SceneFrame, SceneImage, camera_image, read_points, read_scene
from lift3d_ros.geometry.rigid import interpolate, invert
from lift3d_ros.geometry.rotations import matrix_to_quaternion
from lift3d_ros.types import Float64Array

_POSE_PERIOD_NS = 50_000_000
_POSE_MARGIN_NS = 200_000_000
_FIRST_DELAY_NS, _DELAY_STEP_NS = 25_000_000, 5_000_000
_POINTS_FRAME = "lidar_base"


def bag_from_frames(directory: Path, out: Path, *, storage: str = "mcap", overwrite: bool = False) -> int:
    """Write the scene in `directory` as a recording at `out`.

    Pictures and calibration of each camera, /tf_static, /tf and /odom at 20 Hz, /ground_truth/boxes where boxes are
    labelled and /points where lidar exists. Messages are logged 25 to 50 ms after their stamps, by camera.

    Returns:
        The number of messages.

    Raises:
        DatasetError, CalibrationError: the scene cannot be read.
        BagError: `out` exists already.
    """
    scene = read_scene(directory)
    events = [_static_event(scene), *_motion_events(scene), *_frame_events(scene)]
    with BagWriter(out, storage=storage, overwrite=overwrite) as writer:
        for _, write in tqdm(sorted(events, key=lambda event: event[0]), desc=f"writing {out.name}", unit="msg"):
            write(writer)
    return writer.count


# When a message is logged, and how it is written.
_Event = tuple[int, Callable[[BagWriter], None]]


def _static_event(scene: Scene) -> _Event:
    mountings = {("base_link", camera.model.frame_id): camera.T_base_cam for camera in scene.cameras.values()}
    mountings["base_link", _POINTS_FRAME] = np.eye(4)
    start_ns = _span(scene)[0]
    write = partial(BagWriter.transforms, entries=mountings, stamp_ns=start_ns, log_ns=start_ns, is_static=True)
    return start_ns, write


def _span(scene: Scene) -> tuple[int, int]:
    stamps = [image.stamp_ns for frame in scene.frames for image in frame.images.values()]
    stamps += [frame.stamp_ns for frame in scene.frames]
    return min(stamps) - _POSE_MARGIN_NS, max(stamps) + _POSE_MARGIN_NS


def _known_poses(scene: Scene) -> list[tuple[int, Float64Array]]:
    """Return every pose of the scene, relative to the first frame, in order of time."""
    poses = {frame.stamp_ns: frame.T_world_base for frame in scene.frames}
    for frame in scene.frames:
        for image in frame.images.values():
            if image.T_world_base is not None:
                poses.setdefault(image.stamp_ns, image.T_world_base)
    T_odom_world = invert(scene.frames[0].T_world_base)
    return [(stamp_ns, np.asarray(T_odom_world @ T)) for stamp_ns, T in sorted(poses.items())]


def _pose_at(poses: list[tuple[int, Float64Array]], stamp_ns: int) -> Float64Array:
    """Interpolate between known poses; outside of them the motion goes on in a straight line."""
    stamps = [stamp for stamp, _ in poses]
    if len(poses) == 1:
        return poses[0][1]
    after = min(max(int(np.searchsorted(stamps, stamp_ns)), 1), len(poses) - 1)
    (t0, T0), (t1, T1) = poses[after - 1], poses[after]
    fraction = (stamp_ns - t0) / (t1 - t0)
    if 0.0 <= fraction <= 1.0:
        return interpolate(T0, T1, fraction)
    # A short pair of poses must not be extended over a long time: take the mean motion of the whole end.
    first, last = (poses[0], poses[min(len(poses) - 1, 6)]) if fraction < 0 else (poses[-min(len(poses), 7)], poses[-1])
    anchor_ns, anchor = first if fraction < 0 else last
    T = anchor.copy()
    T[:3, 3] += (last[1][:3, 3] - first[1][:3, 3]) * ((stamp_ns - anchor_ns) / (last[0] - first[0]))
    return T


def _motion_events(scene: Scene) -> Iterator[_Event]:
    poses = _known_poses(scene)
    start_ns, stop_ns = _span(scene)
    for stamp_ns in range(start_ns, stop_ns + 1, _POSE_PERIOD_NS):
        T = _pose_at(poses, stamp_ns)
        step = invert(T) @ _pose_at(poses, stamp_ns + _POSE_PERIOD_NS)
        linear = step[:3, 3] / (_POSE_PERIOD_NS * 1e-9)
        angular = 2.0 * matrix_to_quaternion(step[:3, :3])[:3] / (_POSE_PERIOD_NS * 1e-9)
        entries = {("odom", "base_link"): T}
        yield stamp_ns, partial(BagWriter.transforms, entries=entries, stamp_ns=stamp_ns, log_ns=stamp_ns)
        yield (
            stamp_ns,
            partial(
                BagWriter.odometry, T_odom_base=T, linear=linear, angular=angular, stamp_ns=stamp_ns, log_ns=stamp_ns
            ),
        )


def _frame_events(scene: Scene) -> Iterator[_Event]:
    for frame in scene.frames:
        for number, (name, image) in enumerate(frame.images.items()):
            log_ns = image.stamp_ns + _FIRST_DELAY_NS + (number % 6) * _DELAY_STEP_NS
            yield log_ns, partial(_write_picture, name=name, camera=scene.cameras[name], image=image, log_ns=log_ns)
        yield frame.stamp_ns + _FIRST_DELAY_NS, partial(_write_labels, frame=frame)


def _write_picture(writer: BagWriter, name: str, camera: SceneCamera, image: SceneImage, log_ns: int) -> None:
    prefix = f"/{name.lower()}"
    writer.camera_info(f"{prefix}/camera_info", camera.model, image.stamp_ns, log_ns)
    writer.image(f"{prefix}/image_raw/compressed", camera_image(name, camera, image), log_ns)


def _write_labels(writer: BagWriter, frame: SceneFrame) -> None:
    log_ns = frame.stamp_ns + _FIRST_DELAY_NS
    if frame.boxes is not None:
        writer.boxes(GROUND_TRUTH_TOPIC, frame.boxes, frame.stamp_ns, log_ns)
    if frame.points_path is not None:
        xyz, intensity = read_points(frame.points_path)
        writer.points("/points", xyz, intensity, _POINTS_FRAME, frame.stamp_ns, log_ns)
