"""Requests and boxes of 2D detectors as messages."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lift3d_ros.bags.object_messages import object_request_from_msg, regions_from_msg, requested_box
from lift3d_ros.errors import CalibrationError
from lift3d_ros.models.lrm.object_image import PixelBox


def header(frame_id: str = "front_optical") -> SimpleNamespace:
    return SimpleNamespace(stamp=SimpleNamespace(sec=3, nanosec=5), frame_id=frame_id)


def image(width: int = 4, height: int = 2, encoding: str = "rgb8", channels: int = 3) -> SimpleNamespace:
    data = np.zeros(width * height * channels, dtype=np.uint8)
    step = channels * width
    return SimpleNamespace(
        header=header(), width=width, height=height, step=step, encoding=encoding, is_bigendian=0, data=data
    )


def region(**values: int) -> SimpleNamespace:
    return SimpleNamespace(**{"x_offset": 0, "y_offset": 0, "width": 0, "height": 0} | values)


def info(focal: float = 0.0, model: str = "plumb_bob", size: int = 0) -> SimpleNamespace:
    K = [focal, 0.0, 0.0, 0.0, focal, 0.0, 0.0, 0.0, 1.0 if focal else 0.0]
    return SimpleNamespace(
        header=header(), width=size, height=size, k=K, d=[], p=[0.0] * 12, distortion_model=model, binning_x=0,
        binning_y=0, roi=region(),
    )  # fmt: skip


def request(**changes: Any) -> SimpleNamespace:
    values = {"image": image(), "camera_info": info(), "box": region(), "mask": image(0, 0, "", 1), "resolution": 0}
    return SimpleNamespace(**values | changes)


def test_what_is_all_zero_is_not_there() -> None:
    found = object_request_from_msg(request(), "service 'reconstruct'")
    assert (found.box, found.mask, found.camera, found.resolution, found.key) == (None, None, None, 0, "")
    assert found.stamp_ns == 3_000_000_005
    assert found.image.label == "service 'reconstruct', image"


def test_what_is_given_is_taken() -> None:
    given = request(
        camera_info=info(300.0, size=4),
        box=region(x_offset=1, width=3, height=2),
        mask=image(encoding="mono8", channels=1),
        resolution=64,
    )
    found = object_request_from_msg(given, "action 'reconstruct'")
    assert found.box == PixelBox(0, 1, 2, 4)
    assert found.mask is not None
    assert found.mask.encoding == "mono8"
    assert found.camera is not None
    assert found.camera.intrinsics[0, 0] == 300.0
    assert found.resolution == 64


def test_a_calibration_that_cannot_be_used_is_named() -> None:
    with pytest.raises(CalibrationError, match="service 'x', camera_info': distortion model 'dragon' is not known"):
        object_request_from_msg(request(camera_info=info(300.0, "dragon", 4)), "service 'x'")


def test_a_box_at_the_corner_counts() -> None:
    assert requested_box(region(width=5, height=6)) == PixelBox(0, 0, 6, 5)
    assert requested_box(region(x_offset=7)) == PixelBox(0, 7, 0, 7)


def detection(results: list[tuple[str, float]], track: str = "") -> SimpleNamespace:
    hypotheses = [SimpleNamespace(hypothesis=SimpleNamespace(class_id=name, score=score)) for name, score in results]
    center = SimpleNamespace(position=SimpleNamespace(x=100.0, y=50.0), theta=0.0)
    return SimpleNamespace(results=hypotheses, bbox=SimpleNamespace(center=center, size_x=40.0, size_y=20.0), id=track)


def test_boxes_of_vision_msgs_have_their_best_hypothesis_and_numbers_for_tracks() -> None:
    message = SimpleNamespace(
        header=header(),
        detections=[
            detection([("cup", 0.3), ("mug", 0.8)], "12"),
            detection([], "front-left"),
            detection([("mug", 0.5)], "9" * 40),
        ],
    )
    found = regions_from_msg(message)
    assert found.stamp_ns == 3_000_000_005
    mug, unknown, long = found.objects
    assert (mug.left, mug.top, mug.right, mug.bottom) == (80.0, 40.0, 120.0, 60.0)
    assert (mug.label, mug.score, mug.track_id) == ("mug", 0.8, 12)
    assert (unknown.label, unknown.score, unknown.track_id) == ("", 1.0, -1)
    assert long.track_id == -1
