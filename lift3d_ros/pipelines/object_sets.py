"""Brings detected objects and the picture that they were found in together: a request for each object that is due.

The same code serves the node and replay. A detector takes a while, so boxes come after their picture: the last few
pictures are kept for them. Boxes that come before their picture wait for it, the newest ones alone.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.config import setting
from lift3d_ros.errors import CalibrationError, ImageError, TransformError
from lift3d_ros.geometry.boxes import corners
from lift3d_ros.geometry.camera import project
from lift3d_ros.geometry.rigid import transform_points
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.images.decode import decode, decode_depth, image_size
from lift3d_ros.images.preprocess import scaled_to
from lift3d_ros.models.lrm.object_image import PixelBox
from lift3d_ros.pipelines.keypoint_sets import StampedBoxes
from lift3d_ros.pipelines.object_foreground import BoxCutting
from lift3d_ros.pipelines.object_reconstruction import ObjectFrame
from lift3d_ros.pipelines.object_triggers import DetectedObject, ObjectTriggers, TriggerConfig, TriggeredObject
from lift3d_ros.sync.streams import Stamped
from lift3d_ros.types import Boxes3D, CameraImage, CameraModel, Float64Array

# How far the time of a picture may lie outside of the samples of a moving frame.
TRANSFORM_TOLERANCE_S = 0.5
_NS = 1_000_000_000
_JUMP_NS = _NS
_MASK_ENCODINGS = ("mono8", "8UC1")

StampedT = TypeVar("StampedT", bound=Stamped)


@dataclass(frozen=True)
class ObjectInputConfig:
    """What pictures and boxes mean."""

    box_cutting: BoxCutting = setting(
        "grabcut",
        "without a mask, grabcut finds the object in its box by colours, rembg by the network of that package, and box "
        "takes all of the box",
    )
    is_rectified: bool = setting(False, "the pictures are rectified: P of CameraInfo holds, without distortion")


@dataclass(frozen=True)
class ObjectSyncConfig:
    """Which picture, mask and depth belong to boxes."""

    window_s: float = setting(
        0.05, "picture, mask and depth are those within this time", unit="s", minimum=0.001, maximum=2.0
    )
    history: int = setting(
        8, "pictures, masks and depth pictures kept for boxes that come later; bounds the memory", minimum=1, maximum=64
    )


@dataclass(frozen=True, eq=False)
class StampedRegions:
    """What a detector found in one picture, as boxes in the picture."""

    stamp_ns: int
    objects: tuple[DetectedObject, ...]


@dataclass(frozen=True, eq=False)
class ObjectRequest:
    """One object of one picture that shall be reconstructed; nothing is decoded yet.

    Args:
        box: its pixels; None: the object is what stands out in the whole picture, or the mask.
        camera: of the picture; with `depth` or `box_3d` the result is in metres.
        resolution: cells along a side of the model's cube, 0 takes that of the configuration.
        key: the same for the same object in another picture; empty for what somebody asked for.
        track: its number for names of files, be it tracked or not.
        problems: one sentence for each thing that cannot be used.
    """

    image: CameraImage
    box: PixelBox | None = None
    mask: CameraImage | None = None
    depth: CameraImage | None = None
    camera: CameraModel | None = None
    box_3d: Boxes3D | None = None
    T_cam_box: Float64Array = field(default_factory=lambda: np.eye(4))
    resolution: int = 0
    label: str = ""
    track_id: int = -1
    key: str = ""
    track: str = "asked"
    problems: tuple[str, ...] = ()

    @property
    def stamp_ns(self) -> int:
        """Stamp of the picture."""
        return self.image.stamp_ns

    @property
    def name(self) -> str:
        """What the object is called in sentences."""
        return " ".join(filter(None, (self.label, str(self.track_id) if self.track_id >= 0 else ""))) or "object"

    def frame(self, box_cutting: BoxCutting) -> tuple[ObjectFrame, tuple[str, ...]]:
        """Decode, and return what the reconstructor takes and a sentence for each thing that cannot be used.

        Raises:
            ImageError: picture or mask cannot be decoded.
        """
        problems = list(self.problems)
        picture = decode(self.image)
        height, width = picture.shape[:2]
        camera = self.camera
        if camera is not None:
            try:
                camera = scaled_to(camera, width, height, self.image.label)
            except CalibrationError as error:
                camera = None
                problems.append(f"{error}; the mesh has no size in metres")
        depth = None
        if self.depth is not None and camera is not None:
            try:
                if self.depth.frame_id not in ("", self.image.frame_id):
                    raise ImageError(
                        f"{self.depth.label}: frame_id is '{self.depth.frame_id}', that of the picture is "
                        f"'{self.image.frame_id}'; name the topic of depth that is registered to the pictures"
                    )
                depth = decode_depth(self.depth)
            except ImageError as error:
                problems.append(f"depth is not used: {error}")
        frame = ObjectFrame(
            picture,
            None if self.mask is None else _decode_mask(self.mask),
            self.box,
            box_cutting,
            self.image.label,
            self.stamp_ns,
            camera,
            depth,
            self.box_3d,
            self.T_cam_box,
        )
        return frame, tuple(problems)


class ObjectSets:
    """Makes requests of pictures and boxes; the owner fills the transform tree and sets `camera`."""

    def __init__(
        self,
        tree: TransformTree,
        sync: ObjectSyncConfig,
        trigger: TriggerConfig,
        on_problem: Callable[[str], None],
    ) -> None:
        """Look up frames in `tree`; `on_problem` is called with a sentence for boxes that cannot be used."""
        self.camera: CameraModel | None = None
        self.counts: Counter[str] = Counter()
        self.resets = 0
        self._tree, self._on_problem = tree, on_problem
        self._window_ns = round(sync.window_s * _NS)
        self._triggers = ObjectTriggers(trigger)
        self._images: deque[CameraImage] = deque(maxlen=sync.history)
        self._masks: deque[CameraImage] = deque(maxlen=sync.history)
        self._depths: deque[CameraImage] = deque(maxlen=sync.history)
        self._waiting: StampedBoxes | StampedRegions | None = None

    @property
    def skipped(self) -> Counter[str]:
        """How many detected objects were left out, by reason."""
        return self._triggers.skipped

    def reset(self) -> None:
        """Forget pictures, boxes, and when objects were reconstructed; counters stay."""
        for held in (self._images, self._masks, self._depths):
            held.clear()
        self._waiting = None
        self._triggers.reset()

    def add_image(self, image: CameraImage) -> list[ObjectRequest]:
        """Keep a picture; return the requests that boxes waited for it to make."""
        self.counts["pictures"] += 1
        if self._images and image.stamp_ns < self._images[-1].stamp_ns - _JUMP_NS:
            self.resets += 1
            self.reset()
        self._images.append(image)
        waiting = self._waiting
        if waiting is None:
            return []
        if image.stamp_ns >= waiting.stamp_ns - self._window_ns:
            self._waiting = None
        return self.add_boxes(waiting) if self._waiting is None else []

    def add_mask(self, mask: CameraImage) -> None:
        """Keep a mask for the picture of its time."""
        self.counts["masks"] += 1
        self._masks.append(mask)

    def add_depth(self, depth: CameraImage) -> None:
        """Keep a depth picture for the picture of its time."""
        self.counts["depth pictures"] += 1
        self._depths.append(depth)

    def add_boxes(self, boxes: StampedBoxes | StampedRegions) -> list[ObjectRequest]:
        """Return a request for each object that is due; none yet where the picture is still to come."""
        image = self._nearest(self._images, boxes.stamp_ns)
        if image is None:
            if self._images and self._images[-1].stamp_ns > boxes.stamp_ns + self._window_ns:
                self.skipped["no picture of that time"] += 1
            else:
                self._waiting = boxes
            return []
        try:
            width, height = image_size(image)
        except ImageError as error:
            self._on_problem(str(error))
            return []
        problems: list[str] = []
        camera = self._camera_of(image, problems)
        if isinstance(boxes, StampedBoxes):
            objects = self._projected(boxes.boxes, image, camera, width, height, problems)
        else:
            objects = list(boxes.objects)
        chosen = self._triggers.choose(objects, image.stamp_ns, width, height)
        return [self._request(image, one, camera, tuple(problems)) for one in chosen]

    def newest_request(self, box: PixelBox | None = None, resolution: int = 0) -> ObjectRequest:
        """Return a request for an object of the newest picture, with mask and depth of its time; from any thread.

        Raises:
            ImageError: no picture has arrived.
        """
        images = list(self._images)
        if not images:
            raise ImageError(
                "the request holds no picture, and none has arrived on the topic; send one with the request, or see "
                "the status 'inputs' in /diagnostics"
            )
        problems: list[str] = []
        camera = self._camera_of(images[-1], problems)
        return self._with_streams(
            ObjectRequest(images[-1], box, camera=camera, resolution=resolution, problems=tuple(problems))
        )

    def _request(
        self, image: CameraImage, one: TriggeredObject, camera: CameraModel | None, problems: tuple[str, ...]
    ) -> ObjectRequest:
        found = one.found
        return self._with_streams(
            ObjectRequest(
                image,
                one.box,
                camera=camera,
                box_3d=found.box_3d,
                T_cam_box=found.T_cam_box,
                label=found.label,
                track_id=found.track_id,
                key=one.key,
                track=one.track,
                problems=problems,
            )
        )

    def _with_streams(self, request: ObjectRequest) -> ObjectRequest:
        mask, depth = (self._nearest(held, request.stamp_ns) for held in (self._masks, self._depths))
        return dataclasses.replace(request, mask=mask, depth=depth)

    def _nearest(self, held: deque[StampedT], stamp_ns: int) -> StampedT | None:
        """Return the item nearest to a stamp, None where none lies in the window; of two the newer one."""
        nearest = min(reversed(list(held)), key=lambda item: abs(item.stamp_ns - stamp_ns), default=None)
        return nearest if nearest is not None and abs(nearest.stamp_ns - stamp_ns) <= self._window_ns else None

    def _camera_of(self, image: CameraImage, problems: list[str]) -> CameraModel | None:
        """Return the calibration unless it is that of another camera."""
        camera = self.camera
        if camera is None or not image.frame_id or camera.frame_id in ("", image.frame_id):
            return camera
        problems.append(
            f"{image.label}: frame_id is '{image.frame_id}', and that of the calibration is '{camera.frame_id}'; "
            "expected one camera, so the mesh has no size in metres. Name the CameraInfo of this camera in "
            "topics.camera_info, or correct a frame_id"
        )
        return None

    def _projected(
        self,
        boxes: Boxes3D,
        image: CameraImage,
        camera: CameraModel | None,
        width: int,
        height: int,
        problems: list[str],
    ) -> list[DetectedObject]:
        """Return the boxes that lie in front of the camera, as boxes in its picture."""
        if not len(boxes):
            return []
        try:
            if camera is None:
                raise CalibrationError(problems[-1] if problems else f"{image.label}: its calibration is not known yet")
            camera = scaled_to(camera, width, height, image.label)
            T_cam_boxes = self._tree.lookup(image.frame_id or camera.frame_id, boxes.frame_id, image.stamp_ns)
        except (CalibrationError, TransformError) as error:
            self._on_problem(f"3D boxes cannot be placed in the picture: {error}")
            self.skipped["not placed in the picture"] += len(boxes)
            return []
        assert boxes.track_ids is not None
        points = transform_points(T_cam_boxes, corners(boxes).reshape(-1, 3))
        pixels, is_valid = project(camera, points)
        pixels, is_whole = pixels.reshape(-1, 8, 2), is_valid.reshape(-1, 8).all(axis=1)
        self.skipped["not in front of the camera"] += int((~is_whole).sum())
        objects = []
        for index in np.flatnonzero(is_whole):
            # Pixels count from the centre of the first one, edges from its border.
            (left, top), (right, bottom) = pixels[index].min(axis=0) + 0.5, pixels[index].max(axis=0) + 0.5
            one = boxes.select(np.array([index]))
            label = boxes.class_names[boxes.labels[index]]
            score, track_id = float(boxes.scores[index]), int(boxes.track_ids[index])
            objects.append(DetectedObject(left, top, right, bottom, label, score, track_id, one, T_cam_boxes))
        return objects


def _decode_mask(mask: CameraImage) -> NDArray[np.bool_]:
    """Return where a mask (H, W) is above 0; raises ImageError for another encoding."""
    if mask.encoding not in _MASK_ENCODINGS:
        raise ImageError(
            f"{mask.label}: encoding '{mask.encoding}' is no mask; expected {' or '.join(_MASK_ENCODINGS)}, above 0 "
            "where the object is. Convert it"
        )
    return np.asarray(decode(mask)[..., 0] > 0)
