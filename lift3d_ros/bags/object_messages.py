"""Turns messages about objects in pictures into the types of this package: requests, and boxes of 2D detectors.

As in `bags/messages.py`, anything with the fields of the message will do.
"""

from __future__ import annotations

from typing import Any

from lift3d_ros.bags.messages import camera_model_from_msg, image_from_msg, stamp_ns
from lift3d_ros.models.lrm.object_image import PixelBox
from lift3d_ros.pipelines.object_sets import ObjectRequest, StampedRegions
from lift3d_ros.pipelines.object_triggers import DetectedObject

VISION_DETECTIONS_2D = "vision_msgs/msg/Detection2DArray"

_LONGEST_TRACK_NUMBER = 18


def object_request_from_msg(msg: Any, source: str, *, is_rectified: bool = False) -> ObjectRequest:
    """Return what a request of the service or goal of the action asks for; it holds a picture.

    Args:
        source: name of the service or action, for error messages.

    Raises:
        CalibrationError: its CameraInfo is not all zero and cannot be used.
    """
    mask = image_from_msg(msg.mask, "mask", f"{source}, mask") if len(msg.mask.data) or msg.mask.width else None
    is_calibrated = any(msg.camera_info.k) or msg.camera_info.width
    camera = (
        camera_model_from_msg(msg.camera_info, "camera", f"{source}, camera_info", is_rectified=is_rectified)
        if is_calibrated
        else None
    )
    return ObjectRequest(
        image_from_msg(msg.image, "picture", f"{source}, image"),
        requested_box(msg.box),
        mask,
        camera=camera,
        resolution=int(msg.resolution),
    )


def requested_box(box: Any) -> PixelBox | None:
    """Return a RegionOfInterest as a box; None where it is all zero."""
    top, left, height, width = (int(getattr(box, name)) for name in ("y_offset", "x_offset", "height", "width"))
    if not (top or left or height or width):
        return None
    return PixelBox(top, left, top + height, left + width)


def regions_from_msg(msg: Any) -> StampedRegions:
    """Return a vision_msgs/Detection2DArray; the best hypothesis of each detection counts, and turned boxes do not."""
    objects = []
    for detection in msg.detections:
        hypotheses = [(float(result.hypothesis.score), str(result.hypothesis.class_id)) for result in detection.results]
        score, label = max(hypotheses, default=(1.0, ""))
        center, width, height = detection.bbox.center.position, detection.bbox.size_x, detection.bbox.size_y
        track = str(detection.id)
        is_number = track.isascii() and track.isdigit() and len(track) <= _LONGEST_TRACK_NUMBER
        objects.append(
            DetectedObject(
                float(center.x - 0.5 * width),
                float(center.y - 0.5 * height),
                float(center.x + 0.5 * width),
                float(center.y + 0.5 * height),
                label,
                score,
                int(track) if is_number else -1,
            )
        )
    return StampedRegions(stamp_ns(msg.header), tuple(objects))
