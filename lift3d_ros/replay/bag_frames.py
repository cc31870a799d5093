"""Turns a recording into frame sets, through the same collector and assembler as the node.

Arrival times are the recording's log times, so the result depends on the recording alone.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from lift3d_ros.bags.discover import BagStreams, absent_calibration
from lift3d_ros.bags.messages import camera_model_from_msg, image_from_msg
from lift3d_ros.bags.reader import BagMessage, BagReader
from lift3d_ros.errors import BagError, CalibrationError, ImageError, Lift3dError, TransformError
from lift3d_ros.geometry.rig import Rig
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.pipelines.frame_sets import EGO_STREAM, FrameSetAssembler, SyncConfig, camera_collector
from lift3d_ros.pipelines.unused_pictures import dropped_pictures
from lift3d_ros.replay.bag_labels import read_labels
from lift3d_ros.replay.bag_motion import BagMotion
from lift3d_ros.replay.sets import RecordedSet, fill_sets
from lift3d_ros.replay.source import Labels
from lift3d_ros.sync.collector import StreamSet
from lift3d_ros.types import CameraImage, CameraModel, Float64Array, FrameSet

logger = logging.getLogger(__name__)

# A recording of a single camera, without any transform, is most often one of a hand-held or test camera.
LONE_CAMERA_HEIGHT_M = 1.5

# Optical axes of a camera that looks straight ahead.
_FORWARD = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


class BagFrames:
    """The frame sets of one recording."""

    def __init__(
        self,
        reader: BagReader,
        streams: BagStreams,
        sync: SyncConfig,
        rig: Rig | None = None,
        mount_height_m: float | None = None,
    ) -> None:
        """Read `streams` of an open recording.

        Args:
            rig: calibration and mounting that override those of the recording.
            mount_height_m: cameras without a mounting are taken to look straight ahead from this height
                over the origin of the base frame; None does that for a lone camera without transforms only.

        Raises:
            BagError: not one camera has both calibration and mounting; says for each what is missing.
        """
        self._reader, self._streams, self._sync, self._rig = reader, streams, sync, rig
        self._motion = BagMotion(streams, self._warn_of_transform, self._leave_out_pose)
        self._tree = self._motion.tree
        self._names = {camera.image_topic: name for name, camera in streams.cameras.items()}
        self._info_names: dict[str, list[str]] = {}
        for name, camera in streams.cameras.items():
            if camera.info_topic is not None:
                self._info_names.setdefault(camera.info_topic, []).append(name)
        self._models: dict[str, CameraModel] = {}
        self._mountings: dict[str, Float64Array] = {}
        self._left_out: Counter[str] = Counter()
        self._prepare_static(mount_height_m)
        self.labels: Mapping[int, Labels] = read_labels(reader, streams)

    @property
    def name(self) -> str:
        """Short name for titles: that of the recording."""
        return self._reader.path.stem

    @property
    def cameras(self) -> tuple[str, ...]:
        """Camera names in rig order."""
        return tuple(self._streams.cameras)

    @property
    def expected_sets(self) -> int:
        """About how many sets there will be: the pictures of the busiest camera."""
        counts = {topic.name: topic.count for topic in self._reader.topics}
        return max(counts[topic] for topic in self._names)

    def frame_sets(self) -> Iterator[FrameSet]:
        """Yield the frame sets in order; sets without any usable camera are reported and left out."""
        offsets = {name: 0.0 if self._rig is None else self._rig.cameras[name].offset_s for name in self.cameras}
        collector = camera_collector(offsets, self._sync, has_ego_motion=self._streams.world_frame is not None)
        assembler = FrameSetAssembler(
            self._tree,
            self._streams.base_frame,
            self._streams.world_frame,
            offsets_s=offsets,
            compensate_ego_motion=self._sync.compensate_ego_motion,
            mountings=self._mountings,
        )
        for message in self._reader.messages(self._streams.topics):
            now_ns, released, resets = message.log_ns, list[StreamSet](), collector.resets
            if message.topic in self._names:
                image = self._image(message)
                released = collector.expire(now_ns) if image is None else collector.add(image.camera, image, now_ns)
            elif self._motion.take(message):
                if (newest_ns := self._motion.newest_ns) is not None:
                    released = collector.cover(EGO_STREAM, newest_ns, now_ns)
            else:
                self._take_other(message)
                released = collector.expire(now_ns)
            if collector.resets > resets:
                logger.warning("topic '%s': stamps jump back; starting afresh", message.topic)
            yield from self._assemble(assembler, released)
        yield from self._assemble(assembler, collector.flush())
        topics = {name: camera.image_topic for name, camera in self._streams.cameras.items()}
        for sentence in dropped_pictures(collector, topics):
            logger.warning("%s", sentence)
        self._warn_of_left_out()

    def recorded_frame_sets(self, recorded: Iterable[RecordedSet]) -> Iterator[FrameSet]:
        """Yield exactly the sets that a node recorded: its stamps, cameras, calibrations and poses.

        Raises:
            BagError: a picture of a recorded set is not in the recording.
        """
        wanted = list(recorded)
        if unknown := {name for item in wanted for name in item.views} - set(self.cameras):
            raise BagError(
                f"{self._reader.path}: the recorded sets name cameras that are not here: {', '.join(sorted(unknown))}; "
                "give the recording, and the rig file, with which the sets were recorded"
            )
        images = (self._image(message) for message in self._reader.messages(self._names))
        yield from fill_sets(wanted, (image for image in images if image is not None), str(self._reader.path))
        self._warn_of_left_out()

    def _assemble(self, assembler: FrameSetAssembler, released: Iterable[StreamSet]) -> Iterator[FrameSet]:
        for item in released:
            images = {name: image for name, image in item.items.items() if isinstance(image, CameraImage)}
            try:
                yield assembler.assemble(item.stamp_ns, images, self._models, self.cameras)
            except CalibrationError as error:
                logger.warning("set at %d ns left out: %s", item.stamp_ns, error)
                self._left_out["sets without a usable camera"] += 1

    def _image(self, message: BagMessage) -> CameraImage | None:
        """Return the picture of a message, None where it carries none that can be used."""
        name = self._names[message.topic]
        try:
            image = image_from_msg(message.message, name, message.topic)
        except ImageError as error:
            self._leave_out(f"pictures of topic '{message.topic}'", error)
            return None
        frame_id = self._streams.cameras[name].frame_id
        if image.frame_id == frame_id:
            return image
        return CameraImage(**{**vars(image), "frame_id": frame_id})

    def _warn_of_transform(self, problem: str) -> None:
        logger.warning("transform left out: %s", problem)

    def _leave_out_pose(self, topic: str, error: Lift3dError) -> None:
        self._leave_out(f"poses of topic '{topic}'", error)

    def _leave_out(self, what: str, error: Lift3dError) -> None:
        """Report the first of its kind at once, all of them at the end."""
        if not self._left_out[what]:
            logger.warning("left out, and so are others like it: %s", error)
        self._left_out[what] += 1

    def _warn_of_left_out(self) -> None:
        for what, count in sorted(self._left_out.items()):
            logger.warning("left out: %d %s", count, what)
        self._left_out.clear()

    def _take_other(self, message: BagMessage) -> None:
        if message.topic in self._info_names:
            self._take_info(message)

    def _take_info(self, message: BagMessage) -> None:
        for name in self._info_names[message.topic]:
            if self._rig is not None and self._rig.cameras[name].calibration is not None:
                continue
            try:
                self._models[name] = camera_model_from_msg(
                    message.message, name, message.topic, is_rectified=self._streams.cameras[name].is_rectified
                )
            except CalibrationError as error:
                self._models.pop(name, None)
                logger.warning("%s", error)

    def _prepare_static(self, mount_height_m: float | None) -> None:
        """Take mountings and first calibrations before the first picture: they may be recorded after it."""
        for message in self._reader.messages(self._streams.tf_static_topics) if self._streams.tf_static_topics else ():
            self._motion.take(message)
        if mount_height_m is None and len(self._streams.cameras) == 1 and not self._streams.has_transforms:
            mount_height_m = LONE_CAMERA_HEIGHT_M
        for name, camera in self._streams.cameras.items():
            rig_camera = None if self._rig is None else self._rig.cameras[name]
            mounting = None if rig_camera is None else rig_camera.T_base_cam
            if mounting is None and mount_height_m is not None and not self._is_mounted(name):
                mounting = make_transform(_FORWARD, [0.0, 0.0, mount_height_m])
                logger.warning(
                    "camera '%s' (%s): no mounting in the recording; taken to look straight ahead from %.2f m over the "
                    "ground. Give the real one in a rig file (--rig), or another height with --mount-height",
                    name,
                    camera.image_topic,
                    mount_height_m,
                )
            if mounting is not None:
                self._mountings[name] = mounting
            model = None if rig_camera is None else rig_camera.model(name)
            if model is not None:
                self._models[name] = model
        self._take_first_infos()
        self._check_cameras()

    def _take_first_infos(self) -> None:
        pending = set(self._info_names)
        for message in self._reader.messages(pending) if pending else ():
            if message.topic in pending:
                self._take_info(message)
                pending.discard(message.topic)
                if not pending:
                    break

    def _is_mounted(self, name: str) -> bool:
        try:
            self._tree.lookup_static(self._streams.base_frame, self._streams.cameras[name].frame_id)
        except TransformError:
            return name in self._mountings
        return True

    def _check_cameras(self) -> None:
        """Refuse a recording in which no camera can be used, and warn of each one that cannot."""
        problems: dict[str, str] = {}
        for name, camera in self._streams.cameras.items():
            if name not in self._models:
                problems[name] = f"camera '{name}': " + (
                    absent_calibration(self._reader, camera)
                    if camera.info_topic is None
                    else f"no usable calibration on {camera.info_topic}; give its intrinsics in a rig file (--rig)"
                )
            elif not self._is_mounted(name) and not self._streams.tf_topics:
                problems[name] = (
                    f"camera '{name}' ({camera.image_topic}): no transform from '{self._streams.base_frame}' to its "
                    f"frame '{camera.frame_id}'; give the mounting in a rig file (--rig), or --mount-height METRES "
                    "if it looks straight ahead"
                )
        if len(problems) == len(self._streams.cameras):
            raise BagError(f"{self._reader.path}: no camera can be used. " + " ".join(problems.values()))
        for problem in (*problems.values(), *filter(None, [self._streams.ego.problem])):
            logger.warning("%s", problem)
