"""Turns ROS messages into the types of this package.

Works on anything with the fields of the message: what `rosbags` deserialises (ROS 1 and ROS 2) and what rclpy
delivers. So a node and a replay read messages through the same code, and no ROS is imported here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lift3d_ros.errors import CalibrationError, ImageError, TransformError
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import quaternion_to_matrix, yaw_of
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.types import Boxes3D, CameraImage, CameraModel, DistortionModel, EgoMotion, Float64Array, UInt8Array

_DISTORTION_NAMES: dict[str, DistortionModel] = {
    "": "none",
    "none": "none",
    "plumb_bob": "plumb_bob",
    "rational_polynomial": "rational_polynomial",
    "equidistant": "equidistant",
    "fisheye": "equidistant",
    "kannala_brandt4": "equidistant",
}


@dataclass(frozen=True, eq=False)
class StampedTransform:
    """One transform of a TFMessage."""

    parent: str
    child: str
    stamp_ns: int
    T_parent_child: Float64Array


def stamp_ns(header: Any) -> int:
    """Return the stamp of a header in nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def bytes_of(data: Any) -> UInt8Array:
    """Return message data (array, array.array or bytes) as a uint8 view without copying."""
    if isinstance(data, np.ndarray):
        return np.asarray(data.reshape(-1), dtype=np.uint8)
    return np.frombuffer(data, dtype=np.uint8)


def image_from_msg(msg: Any, camera: str, source: str) -> CameraImage:
    """Return an Image or CompressedImage message as an undecoded picture of `camera`.

    Raises:
        ImageError: a compressed picture whose kind can be told neither from its format nor from its data.
    """
    data = bytes_of(msg.data)
    common: dict[str, Any] = {
        "camera": camera,
        "stamp_ns": stamp_ns(msg.header),
        "frame_id": str(msg.header.frame_id).lstrip("/"),
        "data": data,
        "source": source,
    }
    if hasattr(msg, "format"):
        return CameraImage(**common, encoding=_compressed_kind(str(msg.format), data, source))
    return CameraImage(
        **common,
        encoding=str(msg.encoding),
        width=int(msg.width),
        height=int(msg.height),
        step=int(msg.step),
        is_bigendian=bool(msg.is_bigendian),
    )


def _compressed_kind(text: str, data: UInt8Array, source: str) -> str:
    """Return ``jpeg`` or ``png``; the first bytes decide, because format strings differ between publishers."""
    head = data[:8].tobytes()
    if head.startswith(b"\xff\xd8"):
        return "jpeg"
    if head.startswith(b"\x89PNG"):
        return "png"
    lowered = text.lower()
    if "compresseddepth" in lowered:
        raise ImageError(f"topic '{source}': format '{text}' is compressed depth; expected a colour picture")
    for word, kind in (("jpeg", "jpeg"), ("jpg", "jpeg"), ("png", "png")):
        if word in lowered:
            return kind
    raise ImageError(
        f"topic '{source}': compressed picture with format '{text}' starts with {head.hex(' ') or 'nothing'}; "
        "expected JPEG or PNG"
    )


def camera_model_from_msg(msg: Any, name: str, source: str, *, is_rectified: bool = False) -> CameraModel:
    """Return a CameraInfo message as the model of the camera called `name`.

    Args:
        is_rectified: the pictures are rectified: P without its last column is their K, and they have no distortion
            (K is taken where P is empty). The rotation R of stereo rectification is not applied.

    Raises:
        CalibrationError: not calibrated, unknown distortion model, or binning and region of interest, which
            are not supported; names the topic.
    """
    K = np.array(_field(msg, "k"), dtype=np.float64).reshape(3, 3)
    D = np.array(_field(msg, "d"), dtype=np.float64).reshape(-1)
    model = str(msg.distortion_model)
    if is_rectified:
        P = np.array(_field(msg, "p"), dtype=np.float64).reshape(3, 4)
        K, D, model = P[:, :3] if P[0, 0] > 0 else K, D[:0], "none"
    if model not in _DISTORTION_NAMES:
        raise CalibrationError(
            f"topic '{source}': distortion model '{model}' is not known; known: "
            f"{', '.join(filter(None, _DISTORTION_NAMES))}. Rectify upstream and publish the rectified image"
        )
    roi = msg.roi
    if max(int(msg.binning_x), int(msg.binning_y)) > 1 or int(roi.x_offset) or int(roi.y_offset):
        raise CalibrationError(
            f"topic '{source}': CameraInfo has binning {msg.binning_x}x{msg.binning_y} and a region of interest at "
            f"({roi.x_offset}, {roi.y_offset}); expected neither. Publish the CameraInfo of the delivered pictures"
        )
    distortion_model = _DISTORTION_NAMES[model] if D.any() else "none"
    if model in ("equidistant", "fisheye", "kannala_brandt4"):
        distortion_model = "equidistant"
    if distortion_model == "plumb_bob" and D.size >= 8:
        distortion_model = "rational_polynomial"  # some drivers keep the old name for the longer model
    if distortion_model == "none":
        D = D[:0]
    try:
        return CameraModel(
            name, str(msg.header.frame_id).lstrip("/"), int(msg.width), int(msg.height), K, distortion_model, D
        )
    except CalibrationError as error:
        raise CalibrationError(f"topic '{source}': {error}") from None


def _field(msg: Any, name: str) -> Any:
    """Return a matrix of CameraInfo; ROS 1 writes their names in upper case."""
    return getattr(msg, name) if hasattr(msg, name) else getattr(msg, name.upper())


def pose_matrix(position: Any, orientation: Any, where: str) -> Float64Array:
    """Return position (x, y, z) and orientation (x, y, z, w) as a transform.

    Raises:
        TransformError: the orientation is not a rotation; `where` names topic and frames.
    """
    try:
        rotation = quaternion_to_matrix([orientation.x, orientation.y, orientation.z, orientation.w])
    except ValueError as error:
        raise TransformError(f"{where}: {error}; correct the publisher") from None
    return make_transform(rotation, [position.x, position.y, position.z])


def transforms_from_msg(msg: Any, source: str) -> list[StampedTransform]:
    """Return the transforms of a TFMessage.

    Raises:
        TransformError: an orientation is not a rotation; names topic and frames.
    """
    return [_stamped_transform(entry, source) for entry in msg.transforms]


def add_transforms(
    tree: TransformTree,
    msg: Any,
    source: str,
    *,
    is_static: bool,
    on_problem: Callable[[str], None],
    reported: set[tuple[str, str]] | None = None,
    except_child: str | None = None,
) -> None:
    """Add the transforms of a TFMessage to `tree`; one that cannot be used does not cost the others.

    Args:
        on_problem: called with a sentence, which names topic and frames, for each transform that cannot be used.
        reported: pairs of frames (parent, child) that were reported already and are not again; is added to.
        except_child: a frame whose place comes from elsewhere; its transforms are left out.
    """
    for entry in msg.transforms:
        if except_child is not None and str(entry.child_frame_id).lstrip("/") == except_child:
            continue
        try:
            found = _stamped_transform(entry, source)
        except TransformError as error:
            problem = str(error)
        else:
            try:
                tree.add(found.parent, found.child, found.stamp_ns, found.T_parent_child, is_static=is_static)
                continue
            except (TransformError, CalibrationError) as error:
                problem = f"topic '{source}': {error}"
        frames = (str(entry.header.frame_id), str(entry.child_frame_id))
        if reported is None or frames not in reported:
            on_problem(problem)
        if reported is not None:
            reported.add(frames)


def _stamped_transform(entry: Any, source: str) -> StampedTransform:
    parent, child = str(entry.header.frame_id).lstrip("/"), str(entry.child_frame_id).lstrip("/")
    where = f"topic '{source}', '{parent}' -> '{child}'"
    T = pose_matrix(entry.transform.translation, entry.transform.rotation, where)
    return StampedTransform(parent, child, stamp_ns(entry.header), T)


def ego_motion_from_msg(msg: Any, source: str) -> tuple[EgoMotion, str]:
    """Return an Odometry message as ego motion, and the frame that moves (``child_frame_id``).

    Raises:
        TransformError: the orientation is not a rotation; names the topic.
    """
    where = f"topic '{source}'"
    T = pose_matrix(msg.pose.pose.position, msg.pose.pose.orientation, where)
    linear, angular = msg.twist.twist.linear, msg.twist.twist.angular
    motion = EgoMotion(
        stamp_ns=stamp_ns(msg.header),
        T_world_base=T,
        world_frame=str(msg.header.frame_id).lstrip("/") or "odom",
        linear_velocity=np.array([linear.x, linear.y, linear.z]),
        angular_velocity=np.array([angular.x, angular.y, angular.z]),
    )
    return motion, str(msg.child_frame_id).lstrip("/")


def boxes_from_msg(msg: Any, class_names: tuple[str, ...]) -> Boxes3D:
    """Return a BevDetectionArray message as boxes; labels not among `class_names` are added behind them.

    Raises:
        TransformError: an orientation is not a rotation; names the box.
    """
    entries = list(msg.detections)
    names = list(class_names)
    for entry in entries:
        if entry.label not in names:
            names.append(str(entry.label))
    poses = [
        pose_matrix(entry.pose.position, entry.pose.orientation, f"box {i} ('{entry.label}')")
        for i, entry in enumerate(entries)
    ]
    return Boxes3D(
        frame_id=str(msg.header.frame_id).lstrip("/"),
        class_names=tuple(names),
        centers=np.array([T[:3, 3] for T in poses]).reshape(-1, 3),
        sizes=np.array([[e.size.x, e.size.y, e.size.z] for e in entries]).reshape(-1, 3),
        yaws=np.array([yaw_of(T[:3, :3]) for T in poses]),
        velocities=np.array([[e.velocity.x, e.velocity.y] for e in entries]).reshape(-1, 2),
        scores=np.array([e.score for e in entries], dtype=np.float64),
        labels=np.array([names.index(e.label) for e in entries], dtype=np.int64),
        track_ids=np.array([e.track_id for e in entries], dtype=np.int64),
    )
