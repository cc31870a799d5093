"""Finds the streams of a recording: cameras with their calibration, transforms, ego motion, ground truth."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from lift3d_ros.bags.messages import image_from_msg
from lift3d_ros.bags.motion import EgoSource, Transforms, base_frame_of, find_ego_motion, read_transforms
from lift3d_ros.bags.reader import BagMessage, BagReader
from lift3d_ros.errors import BagError, ImageError, nearest_name_hint
from lift3d_ros.geometry.rig import Rig, RigCamera
from lift3d_ros.images.decode import image_size

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
TF_MESSAGE = "tf2_msgs/msg/TFMessage"
TF_MESSAGE_ROS1 = "tf/msg/tfMessage"
DETECTIONS = "lift3d_ros/msg/BevDetectionArray"
GROUND_TRUTH_TOPIC = "/ground_truth/boxes"

# Parts of topic names that are not colour pictures; only whole words, so that `/air_camera` is one.
_NOT_COLOUR = re.compile(
    r"(^|[/_])(\w*depth\w*|disparity|mask|masks|\w*segmentation|ir|ir\d|infra\d?|theora)([/_]|$)", re.IGNORECASE
)
_GENERIC_SEGMENTS = {"", "camera", "cameras", "sensors", "sensor", "sensing", "driver", "rgb", "color", "image"}


@dataclass(frozen=True)
class CameraTopics:
    """Where one camera's pictures and calibration are."""

    image_topic: str
    info_topic: str | None
    frame_id: str

    @property
    def is_rectified(self) -> bool:
        """Whether the pictures are rectified, as the name of their topic tells; then P of CameraInfo holds."""
        return not {"rect", "rectified"}.isdisjoint(_picture_topic(self.image_topic).rsplit("/", 1)[-1].split("_"))


@dataclass(frozen=True)
class BagStreams:
    """The streams of a recording that the BEV detector uses, and the transforms that were read to find them."""

    cameras: Mapping[str, CameraTopics]
    base_frame: str
    ego: EgoSource
    tf_topics: tuple[str, ...]
    tf_static_topics: tuple[str, ...]
    ground_truth_topic: str | None
    transforms: Transforms

    @property
    def world_frame(self) -> str | None:
        """Frame in which the base moves; None where the recording has no ego motion."""
        return self.ego.world_frame

    @property
    def odometry_topic(self) -> str | None:
        """Where the ego motion is, if the transforms do not carry it."""
        return self.ego.odometry_topic

    @property
    def has_transforms(self) -> bool:
        """Whether the recording has /tf or /tf_static at all."""
        return bool(self.tf_topics or self.tf_static_topics)

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic that replay reads."""
        infos = (camera.info_topic for camera in self.cameras.values())
        images = (camera.image_topic for camera in self.cameras.values())
        return tuple(dict.fromkeys(filter(None, (*self.motion_topics, *infos, self.ground_truth_topic, *images))))

    @property
    def motion_topics(self) -> tuple[str, ...]:
        """Transforms and the odometry that carries the ego motion."""
        return tuple(filter(None, (*self.tf_static_topics, *self.tf_topics, self.odometry_topic)))

    def _rows(self) -> list[tuple[str, str, str, str]]:
        head = ("name", "pictures", "calibration", "frame")
        return [head] + [(n, c.image_topic, c.info_topic or "none", c.frame_id) for n, c in self.cameras.items()]

    def describe(self) -> str:
        """Return a table of what was found."""
        widths = [max(map(len, column)) for column in zip(*self._rows(), strict=True)]
        lines = ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in self._rows()]
        ego = self.odometry_topic or ", ".join(self.tf_topics)
        motion = f"{self.world_frame} -> {self.base_frame} from {ego}" if self.world_frame else "none"
        truth = self.ground_truth_topic or "none"
        return "\n".join(["cameras:", *lines, f"ego motion: {motion}", f"ground truth: {truth}"])


def discover(reader: BagReader, rig: Rig | None = None) -> BagStreams:
    """Find the streams of a recording; a rig overrides topics, frames and the choice of cameras.

    Raises:
        BagError: no camera found, or the rig names a topic that is not in the recording.
    """
    found = _find_cameras(reader)
    cameras = found if rig is None else _rig_cameras(reader, rig, found)
    if not cameras:
        listed = "\n".join(f"  {topic.name}  {topic.type}  {topic.count}" for topic in reader.topics) or "  none"
        raise BagError(
            f"{reader.path}: no camera found; expected colour pictures ({IMAGE} or {COMPRESSED_IMAGE}). "
            f"Name the topics in a rig file (--rig). Topics of the recording:\n{listed}"
        )
    first = reader.first_messages(camera.image_topic for camera in cameras.values())
    frames = {topic: str(message.message.header.frame_id).lstrip("/") for topic, message in first.items()}
    rig_frames = {} if rig is None else {name: camera.frame_id for name, camera in rig.cameras.items()}
    cameras = {
        name: replace(
            camera, frame_id=rig_frames.get(name) or frames.get(camera.image_topic) or f"{name}_optical_frame"
        )
        for name, camera in cameras.items()
    }
    calibrated = [] if rig is None else [name for name, camera in rig.cameras.items() if camera.calibration]
    cameras |= _with_info_of_their_frame(reader, {n: c for n, c in cameras.items() if n not in calibrated}, first)
    tf = [topic.name for topic in reader.topics_of(TF_MESSAGE, TF_MESSAGE_ROS1)]
    tf_static = tuple(name for name in tf if name.endswith("tf_static"))
    tf_moving = tuple(name for name in tf if name not in tf_static)
    camera_frames = [camera.frame_id for camera in cameras.values()]
    named_base = None if rig is None else rig.base_frame
    transforms = read_transforms(reader, tf_static, tf_moving, named_base, camera_frames)
    base_frame = named_base or base_frame_of(transforms.tree, camera_frames)
    ego = find_ego_motion(reader, transforms.tree, base_frame, rig)
    truth = [topic.name for topic in reader.topics_of(DETECTIONS) if topic.name == GROUND_TRUTH_TOPIC]
    return BagStreams(cameras, base_frame, ego, tf_moving, tf_static, truth[0] if truth else None, transforms)


def _find_cameras(reader: BagReader) -> dict[str, CameraTopics]:
    """Return one colour stream for each camera; compressed before raw, raw before rectified."""
    infos = {topic.name for topic in reader.topics_of(CAMERA_INFO)}
    variants: dict[str, list[str]] = {}
    for topic in reader.topics_of(IMAGE, COMPRESSED_IMAGE):
        if not _NOT_COLOUR.search(topic.name):
            variants.setdefault(_namespace(topic.name), []).append(topic.name)
    info_of = {namespace: _info_topic(namespace, infos, variants) for namespace in variants}
    if any(info_of.values()):
        # Drawn pictures, such as those of a detector that ran while recording, have neither calibration nor this name.
        variants = {key: topics for key, topics in variants.items() if info_of[key] or _is_plainly_named(topics[0])}
    names = _camera_names(list(variants))
    cameras = {}
    for namespace, topics in variants.items():
        chosen = min(topics, key=lambda name: ("rect" in name, not name.endswith("/compressed"), len(name), name))
        cameras[names[namespace]] = CameraTopics(chosen, info_of[namespace], "")
    return cameras


def _picture_topic(topic: str) -> str:
    return topic.removesuffix("/compressed")


def _is_plainly_named(topic: str) -> bool:
    """Whether the last part of the name is that of image_transport: ``image_raw``, ``image_rect_color``, ..."""
    return _picture_topic(topic).rsplit("/", 1)[-1].startswith("image")


def _namespace(topic: str) -> str:
    """Return what names the camera: ``/front`` of ``/front/image_raw/compressed``, all of ``/cameras/front``."""
    picture = _picture_topic(topic)
    return picture.rsplit("/", 1)[0] if _is_plainly_named(topic) else picture


def _info_topic(namespace: str, infos: Collection[str], namespaces: Collection[str] = ()) -> str | None:
    """Return the calibration of a camera: below its name, or next to it where no other camera is."""
    parent = namespace.rsplit("/", 1)[0]
    candidates = [f"{namespace}/camera_info", f"{namespace}_info"]
    if [other for other in namespaces if other.rsplit("/", 1)[0] == parent] == [namespace]:
        candidates.append(f"{parent}/camera_info")
    return next((name for name in candidates if name in infos), None)


def _with_info_of_their_frame(
    reader: BagReader, cameras: Mapping[str, CameraTopics], first: Mapping[str, BagMessage]
) -> dict[str, CameraTopics]:
    """Return cameras whose calibration has another name: the only other one with frame and size of the pictures."""
    lacking = {name: camera for name, camera in cameras.items() if camera.info_topic is None}
    claimed = {camera.info_topic for camera in cameras.values()}
    others = [topic.name for topic in reader.topics_of(CAMERA_INFO) if topic.name not in claimed]
    infos = reader.first_messages(others) if lacking else {}
    found = {}
    for name, camera in lacking.items():
        if camera.image_topic not in first:
            continue
        picture = first[camera.image_topic].message
        frame_id = str(picture.header.frame_id)
        try:
            size = image_size(image_from_msg(picture, name, camera.image_topic))
        except ImageError:
            continue
        same = [
            topic
            for topic, info in infos.items()
            if frame_id and info.message.header.frame_id == frame_id
            if (info.message.width, info.message.height) == size
        ]
        if len(same) == 1:
            found[name] = replace(camera, info_topic=same[0])
    return found


def absent_calibration(reader: BagReader, camera: CameraTopics) -> str:
    """Return a sentence about a camera for which no calibration was found."""
    infos = ", ".join(topic.name for topic in reader.topics_of(CAMERA_INFO)) or "none"
    return (
        f"no calibration: no CameraInfo beside {camera.image_topic}, nor a single one with its frame and size "
        f"(CameraInfo topics: {infos}); give its intrinsics, or its camera_info_topic, in a rig file (--rig)"
    )


def _camera_names(namespaces: list[str]) -> dict[str, str]:
    """Return a short unique name for each namespace: its last telling part, or all of it where that repeats."""
    short = {}
    for namespace in namespaces:
        parts = namespace.strip("/").split("/")
        telling = [part for part in parts if part not in _GENERIC_SEGMENTS]
        short[namespace] = telling[-1] if telling else "_".join(filter(None, parts)) or "camera"
    names = list(short.values())
    return {
        namespace: name if names.count(name) == 1 else namespace.strip("/").replace("/", "_")
        for namespace, name in short.items()
    }


def _rig_cameras(reader: BagReader, rig: Rig, found: dict[str, CameraTopics]) -> dict[str, CameraTopics]:
    topics = {topic.name for topic in reader.topics_of(IMAGE, COMPRESSED_IMAGE)}
    cameras = {}
    for name, camera in rig.cameras.items():
        if camera.topic is not None:
            if camera.topic not in topics:
                hint, listed = nearest_name_hint(camera.topic, topics), ", ".join(sorted(topics)) or "none"
                raise BagError(
                    f"{reader.path}: camera '{name}' of the rig has topic '{camera.topic}', which is not in the "
                    f"recording{hint} (pictures: {listed})"
                )
            cameras[name] = CameraTopics(camera.topic, _rig_info_topic(reader, name, camera), "")
        elif name in found:
            cameras[name] = found[name]
        else:
            raise BagError(
                f"{reader.path}: camera '{name}' of the rig names no topic and is not found by its name"
                f"{nearest_name_hint(name, found)} (found: {', '.join(found) or 'none'}); add 'topic' to the rig file"
            )
    return cameras


def _rig_info_topic(reader: BagReader, name: str, camera: RigCamera) -> str | None:
    infos = {topic.name for topic in reader.topics_of(CAMERA_INFO)}
    wanted = camera.camera_info_topic
    if wanted is None:
        return _info_topic(_namespace(camera.topic or ""), infos)
    if wanted in infos:
        return wanted
    if camera.calibration is None:
        raise BagError(
            f"{reader.path}: camera '{name}' of the rig has camera_info_topic '{wanted}', which is not in the "
            f"recording{nearest_name_hint(wanted, infos)} (calibrations: {', '.join(sorted(infos)) or 'none'})"
        )
    return None
