"""Writes recordings (rosbag2) of cameras, transforms, odometry, labels, keypoints and points."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer

from lift3d_ros.bags.cloud_messages import POINT_CLOUD
from lift3d_ros.bags.discover import CAMERA_INFO, COMPRESSED_IMAGE, DETECTIONS, IMAGE, TF_MESSAGE
from lift3d_ros.bags.keypoint_messages import KEYPOINTS
from lift3d_ros.bags.motion import ODOMETRY
from lift3d_ros.bags.reader import package_typestore
from lift3d_ros.bags.storage import METADATA
from lift3d_ros.errors import BagError, nearest_name_hint
from lift3d_ros.geometry.rotations import matrix_to_quaternion, yaw_matrix
from lift3d_ros.pipelines.keypoint_sets import StampedKeypoints
from lift3d_ros.types import Boxes3D, CameraImage, CameraModel, Float32Array, Float64Array, UInt8Array

_STORAGE = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_FOREVER = QosTime(0, 0)


def _qos(*, is_latched: bool = False, is_best_effort: bool = False) -> Qos:
    return Qos(
        QosHistory.KEEP_LAST,
        10,
        QosReliability.BEST_EFFORT if is_best_effort else QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if is_latched else QosDurability.VOLATILE,
        _FOREVER,
        _FOREVER,
        QosLiveliness.AUTOMATIC,
        _FOREVER,
        avoid_ros_namespace_conventions=False,
    )


class BagWriter:
    """A recording that appears at its path only when it is complete; use it as a context manager."""

    def __init__(self, path: Path, *, storage: str = "mcap", overwrite: bool = False) -> None:
        """Write to the folder `path`, with storage ``mcap`` or ``sqlite3``.

        Raises:
            BagError: something is there already and `overwrite` is False, or it is no recording; unknown storage.
        """
        if storage not in _STORAGE:
            raise BagError(
                f"storage '{storage}' is not known{nearest_name_hint(storage, _STORAGE)} (known: {', '.join(_STORAGE)})"
            )
        if path.exists():
            if not overwrite:
                raise BagError(f"{path}: exists already; give another --out, or --overwrite to replace it")
            if not _may_be_replaced(path):
                raise BagError(f"{path}: exists and is not a rosbag2 folder, so it is not replaced; give another --out")
        self._path, self._storage = path, _STORAGE[storage]
        self._store = package_typestore()
        self._connections: dict[str, Any] = {}
        self.count = 0

    def __enter__(self) -> BagWriter:
        with _writing_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Beside the final path, so that the last step is a rename within one file system.
            self._draft = Path(tempfile.mkdtemp(prefix=f".{self._path.name}.", dir=self._path.parent))
            self._writer = Writer(self._draft / self._path.name, version=8, storage_plugin=self._storage)
            self._writer.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
            else:
                with contextlib.suppress(Exception):  # the first error is the one to tell
                    self._writer.close()
        finally:
            shutil.rmtree(self._draft, ignore_errors=True)

    def _finish(self) -> None:
        with _writing_errors(self._path):
            self._writer.close()
            if self._path.is_dir():
                shutil.rmtree(self._path)
            (self._draft / self._path.name).rename(self._path)

    def image(self, topic: str, image: CameraImage, log_ns: int) -> None:
        """Write a picture: JPEG and PNG as CompressedImage, others as Image."""
        if image.is_compressed:
            message = self._new(
                COMPRESSED_IMAGE,
                header=self._header(image.stamp_ns, image.frame_id),
                format=f"rgb8; {image.encoding} compressed bgr8",
                data=np.asarray(image.data),
            )
            self._write(topic, COMPRESSED_IMAGE, message, log_ns, _qos(is_best_effort=True))
            return
        message = self._new(
            IMAGE,
            header=self._header(image.stamp_ns, image.frame_id),
            height=image.height,
            width=image.width,
            encoding=image.encoding,
            is_bigendian=int(image.is_bigendian),
            step=image.step,
            data=np.asarray(image.data),
        )
        self._write(topic, IMAGE, message, log_ns, _qos(is_best_effort=True))

    def camera_info(self, topic: str, model: CameraModel, stamp_ns: int, log_ns: int) -> None:
        """Write a calibration."""
        K = model.intrinsics
        is_distorted = model.is_distorted
        message = self._new(
            CAMERA_INFO,
            header=self._header(stamp_ns, model.frame_id),
            height=model.height,
            width=model.width,
            distortion_model=model.distortion_model if is_distorted else "plumb_bob",
            d=np.array(model.distortion) if is_distorted else np.zeros(5),
            k=np.array(K).reshape(-1),
            r=np.eye(3).reshape(-1),
            p=np.hstack([K, np.zeros((3, 1))]).reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=self._new(
                "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
            ),
        )
        self._write(topic, CAMERA_INFO, message, log_ns, _qos(is_best_effort=True))

    def transforms(
        self, entries: Mapping[tuple[str, str], Float64Array], stamp_ns: int, log_ns: int, *, is_static: bool = False
    ) -> None:
        """Write transforms (parent, child) -> T_parent_child to /tf, or to /tf_static."""
        transforms = [
            self._new(
                "geometry_msgs/msg/TransformStamped",
                header=self._header(stamp_ns, parent),
                child_frame_id=child,
                transform=self._new(
                    "geometry_msgs/msg/Transform",
                    translation=self._vector(T[:3, 3]),
                    rotation=self._quaternion(T[:3, :3]),
                ),
            )
            for (parent, child), T in entries.items()
        ]
        topic = "/tf_static" if is_static else "/tf"
        message = self._new(TF_MESSAGE, transforms=transforms)
        self._write(topic, TF_MESSAGE, message, log_ns, _qos(is_latched=is_static))

    def odometry(
        self,
        T_odom_base: Float64Array,
        linear: Float64Array,
        angular: Float64Array,
        stamp_ns: int,
        log_ns: int,
        *,
        topic: str = "/odom",
        base_frame: str = "base_link",
    ) -> None:
        """Write a pose of `base_frame` in `odom`, and the velocities (3,) in the base frame."""
        pose = self._new(
            "geometry_msgs/msg/Pose",
            position=self._new("geometry_msgs/msg/Point", **_xyz(T_odom_base[:3, 3])),
            orientation=self._quaternion(T_odom_base[:3, :3]),
        )
        twist = self._new("geometry_msgs/msg/Twist", linear=self._vector(linear), angular=self._vector(angular))
        message = self._new(
            ODOMETRY,
            header=self._header(stamp_ns, "odom"),
            child_frame_id=base_frame,
            pose=self._new("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36)),
            twist=self._new("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
        )
        self._write(topic, ODOMETRY, message, log_ns, _qos())

    def boxes(self, topic: str, boxes: Boxes3D, stamp_ns: int, log_ns: int) -> None:
        """Write labelled boxes as our detection array."""
        assert boxes.track_ids is not None
        detections = [
            self._new(
                "lift3d_ros/msg/BevDetection",
                pose=self._new(
                    "geometry_msgs/msg/Pose",
                    position=self._new("geometry_msgs/msg/Point", **_xyz(boxes.centers[i])),
                    orientation=self._quaternion(yaw_matrix(float(boxes.yaws[i]))),
                ),
                size=self._vector(boxes.sizes[i]),
                velocity=self._vector([*boxes.velocities[i], np.nan if np.isnan(boxes.velocities[i]).any() else 0.0]),
                label=boxes.class_names[boxes.labels[i]],
                score=float(boxes.scores[i]),
                track_id=int(boxes.track_ids[i]),
            )
            for i in range(len(boxes))
        ]
        message = self._new(
            DETECTIONS,
            header=self._header(stamp_ns, boxes.frame_id),
            detections=detections,
            cameras=[],
            model="",
            weights_sha256="",
            is_trained=False,
            temporal_state=0,
        )
        self._write(topic, DETECTIONS, message, log_ns, _qos())

    def keypoints(self, topic: str, keypoints: StampedKeypoints, log_ns: int) -> None:
        """Write keypoints as our array, with joint names, edges and sides; joints that are not visible have score 0."""
        instances = []
        for entry in keypoints.instances:
            skeleton = keypoints.skeletons[entry.skeleton].skeleton
            assert entry.confidence is not None
            assert entry.is_visible is not None
            instances.append(
                self._new(
                    "lift3d_ros/msg/Keypoints2D",
                    skeleton=skeleton.name,
                    joint_names=list(skeleton.joint_names),
                    points=entry.points.astype(np.float32).reshape(-1),
                    scores=np.where(entry.is_visible, entry.confidence, 0.0).astype(np.float32),
                    edges=skeleton.edges.astype(np.uint16).reshape(-1),
                    # SIDE_MIDDLE 0, SIDE_LEFT 1, SIDE_RIGHT 2
                    sides=np.where(skeleton.sides < 0, 2, skeleton.sides).astype(np.uint8),
                    category=entry.category,
                    instance_id=entry.instance_id,
                    track_id=entry.track_id,
                )
            )
        message = self._new(
            KEYPOINTS,
            header=self._header(keypoints.stamp_ns, keypoints.frame_id),
            width=keypoints.width,
            height=keypoints.height,
            instances=instances,
        )
        self._write(topic, KEYPOINTS, message, log_ns, _qos())

    def points(
        self, topic: str, xyz: Float32Array, intensity: UInt8Array, frame_id: str, stamp_ns: int, log_ns: int
    ) -> None:
        """Write a cloud with float32 fields x, y, z and intensity."""
        data = np.concatenate([xyz, intensity[:, None]], axis=1).astype("<f4")
        fields = [
            self._new("sensor_msgs/msg/PointField", name=name, offset=4 * i, datatype=7, count=1)
            for i, name in enumerate(("x", "y", "z", "intensity"))
        ]
        message = self._new(
            POINT_CLOUD,
            header=self._header(stamp_ns, frame_id),
            height=1,
            width=len(data),
            fields=fields,
            is_bigendian=False,
            point_step=16,
            row_step=16 * len(data),
            data=data.view(np.uint8).reshape(-1),
            is_dense=True,
        )
        self._write(topic, POINT_CLOUD, message, log_ns, _qos(is_best_effort=True))

    def _new(self, kind: str, **fields: Any) -> Any:
        return self._store.types[kind](**fields)

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        seconds, nanoseconds = divmod(int(stamp_ns), 1_000_000_000)
        stamp = self._new("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        return self._new("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def _vector(self, values: Any) -> Any:
        return self._new("geometry_msgs/msg/Vector3", **_xyz(values))

    def _quaternion(self, rotation: Float64Array) -> Any:
        x, y, z, w = matrix_to_quaternion(rotation).tolist()
        return self._new("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)

    def _write(self, topic: str, kind: str, message: Any, log_ns: int, qos: Qos) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=self._store, offered_qos_profiles=[qos]
            )
        data = bytes(self._store.serialize_cdr(message, kind))
        with _writing_errors(self._path):
            self._writer.write(self._connections[topic], log_ns, data)
        self.count += 1


@contextlib.contextmanager
def _writing_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise BagError(f"{path}: cannot be written ({error}); check permissions and free space") from None


def _may_be_replaced(path: Path) -> bool:
    """Whether a folder is a recording or empty: `--overwrite` must not delete anything else."""
    return path.is_dir() and ((path / METADATA).is_file() or not any(path.iterdir()))


def _xyz(values: Any) -> dict[str, float]:
    x, y, z = (float(value) for value in values)
    return {"x": x, "y": y, "z": z}
