"""Attaches to the keypoints of a picture what is known besides: calibration, gravity, depth, boxes.

The same code serves the node and replay. Nothing is waited for: keypoints go on at once, with what has arrived.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lift3d_ros.config import setting
from lift3d_ros.errors import CalibrationError, ImageError, TransformError, nearest_name_hint
from lift3d_ros.geometry.skeleton import SkeletonFacts, load_skeleton, skeleton_names
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.images.decode import decode_depth
from lift3d_ros.images.preprocess import scaled_to
from lift3d_ros.pipelines.skeleton_batches import KeypointFrame
from lift3d_ros.pipelines.skeleton_book import SkeletonBook
from lift3d_ros.pipelines.skeleton_lifting import LiftedShapes, SkeletonLifter
from lift3d_ros.pipelines.skeleton_scale import KnownLength
from lift3d_ros.sync.collector import StreamCollector, StreamSet
from lift3d_ros.sync.streams import StreamSpec
from lift3d_ros.types import Boxes3D, CameraImage, CameraModel, Float64Array, Keypoints2D, ModelIdentity, Skeletons3D

# The newest pose may be one period of its publisher older than the keypoints; at 10 m/s a frame goes half a metre in
# this time.
TRANSFORM_TOLERANCE_S = 0.05
# Direction of gravity changes slowly: a sample this much older or newer than the keypoints will do.
_GRAVITY_TOLERANCE_S = 0.5
TRANSFORM_HISTORY_S = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeypointInputConfig:
    """What keypoints mean, and what is known of the objects and the camera."""

    skeletons: tuple[str, ...] = setting((), "paths of skeleton files of your own, as those of config/skeletons")
    known_lengths: tuple[str, ...] = setting(
        (), "distances of joints that you measured, for scale, as in left_hip:left_knee=0.43 (m)"
    )
    gravity_frame: str = setting(
        "base_link", "frame whose z axis points up, for the direction of gravity where TF knows it; empty: do without"
    )
    is_rectified: bool = setting(
        False, "keypoints were found in rectified pictures: P of CameraInfo holds, without distortion"
    )
    yolo_skeleton: str = setting("coco17", "skeleton of keypoints of yolo_ros, which does not name it")

    def book(self, max_joints: int) -> SkeletonBook:
        """Return the skeletons; raises ConfigError where a file of `skeletons` is missing or damaged."""
        return SkeletonBook(self.skeletons, max_joints)

    def yolo_facts(self) -> SkeletonFacts:
        """Return the skeleton of yolo_ros; raises ConfigError where it is not known."""
        return load_skeleton(self.yolo_skeleton)

    def lengths(self) -> tuple[KnownLength, ...]:
        """Return the known lengths; raises ConfigError for one that is none."""
        return tuple(KnownLength.parse(text, "'input.known_lengths' holds") for text in self.known_lengths)

    def doubtful_lengths(self) -> list[str]:
        """Return a sentence for each known length whose joints no skeleton file has: is a name misspelt?"""
        lengths = self.lengths()
        if not lengths:
            return []
        files = [load_skeleton(name).skeleton.joint_names for name in (*skeleton_names(), *self.skeletons)]
        known = {name for names in files for name in names}
        sentences = []
        for length in lengths:
            pair = length.first, length.second
            if not any(set(pair) <= set(names) for names in files):
                hints = "".join(nearest_name_hint(name, known) for name in pair if name not in known)
                sentences.append(
                    f"'input.known_lengths' holds '{':'.join(pair)}', and no skeleton file has both joints{hints}; it "
                    "counts for skeletons that messages describe, and for no other"
                )
        return sentences


@dataclass(frozen=True)
class KeypointSyncConfig:
    """Which depth and boxes belong to keypoints, and what happens while the lifter is busy."""

    window_s: float = setting(
        0.1, "depth and boxes count for keypoints within this time of them", unit="s", minimum=0.001, maximum=2.0
    )
    drop: bool = setting(
        True, "only the newest keypoints wait for a busy lifter; false keeps up to 32, for paced runs; replay keeps all"
    )


@dataclass(frozen=True, eq=False)
class StampedKeypoints:
    """The keypoints of one picture, as a message brought them.

    Args:
        frame_id: optical frame of the picture; empty where the message does not tell.
        skeletons: name -> skeleton, for every instance.
        width, height: size of the picture, px; 0 where the message does not tell.
        problems: one sentence for each thing that is wrong with an instance.
        num_refused: instances that are left out for that.
    """

    stamp_ns: int
    frame_id: str
    instances: tuple[Keypoints2D, ...]
    skeletons: Mapping[str, SkeletonFacts]
    width: int = 0
    height: int = 0
    problems: tuple[str, ...] = ()
    num_refused: int = 0
    source: str = ""

    @property
    def num_instances(self) -> int:
        """Instances of the message, with those that are left out."""
        return len(self.instances) + self.num_refused


@dataclass(frozen=True, eq=False)
class StampedBoxes:
    """Detected boxes of one moment."""

    stamp_ns: int
    boxes: Boxes3D


@dataclass(frozen=True, eq=False)
class KeypointSet:
    """Keypoints with what belongs to them; `problems` are those of the keypoints and of what was attached."""

    keypoints: StampedKeypoints
    camera: CameraModel | None = None
    up: Float64Array | None = None
    depth: CameraImage | None = None
    boxes: Boxes3D | None = None
    T_cam_boxes: Float64Array = field(default_factory=lambda: np.eye(4))
    known_lengths: tuple[KnownLength, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def stamp_ns(self) -> int:
        """Stamp of the keypoints."""
        return self.keypoints.stamp_ns

    def frame(self) -> tuple[KeypointFrame, tuple[str, ...]]:
        """Return what the lifter takes, and a sentence for each thing that cannot be used; decodes depth."""
        keypoints, problems = self.keypoints, list(self.problems)
        camera = self.camera
        if camera is not None and keypoints.width and keypoints.height:
            try:
                camera = scaled_to(camera, keypoints.width, keypoints.height, f"topic '{keypoints.source}'")
            except CalibrationError as error:
                camera = None
                problems.append(f"{error}; skeletons are normalised, not in metres")
        frame = KeypointFrame(
            keypoints.stamp_ns,
            keypoints.instances,
            keypoints.skeletons,
            keypoints.frame_id or ("" if self.camera is None else self.camera.frame_id),
            camera,
            self.up,
            boxes=self.boxes,
            T_cam_boxes=self.T_cam_boxes,
            known_lengths=self.known_lengths,
        )
        depth = self.depth
        if depth is None or camera is None:
            return frame, tuple(problems)
        try:
            if depth.frame_id not in ("", frame.frame_id):
                raise ImageError(
                    f"{depth.label}: frame_id is '{depth.frame_id}', that of the keypoints is '{frame.frame_id}'; name "
                    "the topic of depth that is registered to the pictures of the keypoints"
                )
            frame = dataclasses.replace(frame, depth=decode_depth(depth))
        except (ImageError, CalibrationError) as error:
            problems.append(f"depth is not used: {error}")
        return frame, tuple(problems)


class KeypointSets:
    """Makes sets of keypoints; the owner fills the transform tree and sets `camera`."""

    def __init__(
        self,
        tree: TransformTree,
        config: KeypointInputConfig,
        sync: KeypointSyncConfig,
        *,
        has_depth: bool = False,
        has_boxes: bool = False,
    ) -> None:
        """Look up frames in `tree`; depth and boxes are attached where they are announced here."""
        optional = [name for name, is_there in (("depth", has_depth), ("boxes", has_boxes)) if is_there]
        specs = [StreamSpec("keypoints"), *(StreamSpec(name, "optional", is_shared=True) for name in optional)]
        # Keypoints are the only stream that is required, so they are released at once.
        self.collector = StreamCollector(specs, window_s=sync.window_s, deadline_s=sync.window_s)
        self.camera: CameraModel | None = None
        self.gravity_note = "no keypoints yet"
        self.attached: Counter[str] = Counter()
        self._tree, self._gravity_frame, self._lengths = tree, config.gravity_frame, config.lengths()
        for problem in config.doubtful_lengths():
            logger.warning(problem)

    def add_keypoints(self, keypoints: StampedKeypoints, now_ns: int) -> list[KeypointSet]:
        """Take keypoints and return the sets that they make: one, or none where their stamp goes back."""
        return [self._assemble(item) for item in self.collector.add("keypoints", keypoints, now_ns)]

    def add_depth(self, image: CameraImage, now_ns: int) -> None:
        """Hold a depth picture for the keypoints of its time."""
        self.collector.add("depth", image, now_ns)

    def add_boxes(self, boxes: StampedBoxes, now_ns: int) -> None:
        """Hold boxes for the keypoints of their time."""
        self.collector.add("boxes", boxes, now_ns)

    def _assemble(self, item: StreamSet) -> KeypointSet:
        keypoints, depth, boxes = (item.items.get(name) for name in ("keypoints", "depth", "boxes"))
        assert isinstance(keypoints, StampedKeypoints)
        problems = list(keypoints.problems)
        camera = self._camera_of(keypoints, problems)
        frame_id = keypoints.frame_id or ("" if camera is None else camera.frame_id)
        result = KeypointSet(
            keypoints,
            camera,
            self._up(frame_id, keypoints.stamp_ns),
            depth if isinstance(depth, CameraImage) else None,
            known_lengths=self._lengths,
        )
        if isinstance(boxes, StampedBoxes):
            try:
                T_cam_boxes = self._tree.lookup(frame_id, boxes.boxes.frame_id, keypoints.stamp_ns)
                result = dataclasses.replace(result, boxes=boxes.boxes, T_cam_boxes=T_cam_boxes)
            except TransformError as error:
                problems.append(f"boxes are not used: {error}")
        self.attached.update(name for name in ("depth", "boxes") if getattr(result, name) is not None)
        return dataclasses.replace(result, problems=tuple(problems))

    def _camera_of(self, keypoints: StampedKeypoints, problems: list[str]) -> CameraModel | None:
        """Return the calibration unless it is that of another camera."""
        camera = self.camera
        if camera is None or not keypoints.frame_id or camera.frame_id in ("", keypoints.frame_id):
            return camera
        problems.append(
            f"topic '{keypoints.source}': frame_id is '{keypoints.frame_id}', and that of the calibration is "
            f"'{camera.frame_id}'; expected one camera, so skeletons are normalised, not in metres. Name the "
            "CameraInfo of this camera in topics.camera_info, or correct a frame_id"
        )
        return None

    def _up(self, frame_id: str, stamp_ns: int) -> Float64Array | None:
        """Return the direction against gravity in the optical frame; None where TF does not tell it."""
        if not self._gravity_frame or not frame_id:
            self.gravity_note = "not used" if not self._gravity_frame else "not known: keypoints have no frame_id"
            return None
        try:
            T_cam_gravity = self._tree.lookup(frame_id, self._gravity_frame, stamp_ns, _GRAVITY_TOLERANCE_S)
        except TransformError as error:
            self.gravity_note = f"not known: {error}"
            return None
        self.gravity_note = f"z axis of '{self._gravity_frame}'"
        return np.asarray(T_cam_gravity[:3, 2])


class KeypointSetLifter:
    """A skeleton lifter that takes sets and reports what is wrong with them among the problems of the result."""

    def __init__(self, lifter: SkeletonLifter) -> None:
        """Run `lifter`."""
        self._lifter = lifter

    @property
    def identity(self) -> ModelIdentity:
        """Which model and weights are running."""
        return self._lifter.identity

    @property
    def notice(self) -> str:
        """What the engine says of itself; empty while all is well."""
        return self._lifter.notice

    def prepare(self, item: KeypointSet) -> LiftedShapes:
        """Decode depth, prepare the keypoints and run the network; stateless."""
        start = time.perf_counter()
        frame, problems = item.frame()
        decode_s = time.perf_counter() - start
        shapes = self._lifter.prepare(frame)
        prepared = dataclasses.replace(
            shapes.prepared,
            problems=(*problems, *shapes.prepared.problems),
            prepare_s=decode_s + shapes.prepared.prepare_s,
        )
        return dataclasses.replace(shapes, prepared=prepared)

    def infer(self, shapes: LiftedShapes) -> Skeletons3D:
        """Place and weigh; call in stamp order."""
        return self._lifter.infer(shapes)

    def reset(self) -> None:
        """Forget all tracks."""
        self._lifter.reset()
