"""Messages of clouds become views of their bytes, and messages of boxes boxes; a bad box costs no other."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cloud_layouts import LIDAR, START_NS, cloud_message

from lift3d_ros.bags.cloud_messages import cloud_boxes_from_msg, packed_cloud_from_msg

NAN = math.nan


def vector(x: float, y: float, z: float) -> SimpleNamespace:
    return SimpleNamespace(x=x, y=y, z=z)


def quaternion(x: float = 0.0, y: float = 0.0, z: float = 0.0, w: float = 1.0) -> SimpleNamespace:
    return SimpleNamespace(x=x, y=y, z=z, w=w)


def header(frame_id: str = "base_link") -> SimpleNamespace:
    return SimpleNamespace(stamp=SimpleNamespace(sec=5, nanosec=7), frame_id=frame_id)


def pose(position: Any = None, orientation: Any = None) -> SimpleNamespace:
    return SimpleNamespace(position=position or vector(1.0, 2.0, 3.0), orientation=orientation or quaternion())


def own(**changes: Any) -> SimpleNamespace:
    fields = {"position": None, "orientation": None, "size": vector(4.0, 2.0, 1.0), **changes}
    return SimpleNamespace(
        pose=pose(fields["position"], fields["orientation"]),
        size=fields["size"],
        velocity=vector(0.0, 0.0, 0.0),
        label="car",
        score=0.8,
        track_id=3,
    )


def vision(*hypotheses: tuple[str, float], frame_id: str = "base_link", **changes: Any) -> SimpleNamespace:
    box = own(**changes)
    results = [SimpleNamespace(hypothesis=SimpleNamespace(class_id=name, score=score)) for name, score in hypotheses]
    return SimpleNamespace(
        header=header(frame_id), results=results, bbox=SimpleNamespace(center=box.pose, size=box.size), id="3"
    )


def read(*detections: Any, frame_id: str = "base_link") -> Any:
    return cloud_boxes_from_msg(SimpleNamespace(header=header(frame_id), detections=list(detections)), "/boxes")


def test_a_cloud_is_a_view_of_the_bytes_of_its_message() -> None:
    message = cloud_message(np.zeros((4, 3)), height=2, frame_id="/lidar")
    cloud = packed_cloud_from_msg(message, "/lidar/points")
    assert (cloud.stamp_ns, cloud.frame_id, cloud.height, cloud.width) == (START_NS, LIDAR, 2, 2)
    assert np.shares_memory(cloud.data, message.data)
    assert cloud.label == "topic '/lidar/points'"


@pytest.mark.parametrize(
    "entry",
    [own(orientation=quaternion(z=1.0, w=1.0)), vision(("car", 0.8), orientation=quaternion(z=1.0, w=1.0))],
    ids=["lift3d_ros", "vision_msgs"],
)
def test_boxes_of_both_kinds_are_read(entry: Any) -> None:
    found = read(entry)
    assert (found.stamp_ns, found.count, found.problems) == (5_000_000_007, 1, ())
    assert found.boxes.frame_id == "base_link"
    assert found.boxes.centers.tolist() == [[1.0, 2.0, 3.0]]
    assert found.boxes.sizes.tolist() == [[4.0, 2.0, 1.0]]
    assert found.boxes.yaws.tolist() == pytest.approx([math.pi / 2])
    assert (found.boxes.class_names, found.boxes.scores.tolist()) == (("car",), [0.8])


def test_the_class_of_a_vision_box_is_that_of_its_best_hypothesis() -> None:
    found = read(vision(("car", 0.2), ("truck", 0.7)), vision())
    assert [found.boxes.class_names[label] for label in found.boxes.labels] == ["truck", ""]
    assert found.boxes.scores.tolist() == [0.7, 0.0]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (own(position=vector(1.0, NAN, 0.0)), "position is [1.0, nan, 0.0]; expected finite metres"),
        (own(size=vector(1.0, 0.0, 1.0)), "size is [1.0, 0.0, 1.0]; expected positive length, width and height"),
        (own(size=vector(1.0, math.inf, 1.0)), "expected positive length, width and height in metres"),
        (own(orientation=quaternion(w=0.0)), "quaternion [0.0, 0.0, 0.0, 0.0] is not a rotation"),
        (vision(frame_id="lidar"), "header.frame_id is 'lidar'; expected 'base_link' as in the header of the array"),
        (vision(size=vector(-1.0, 1.0, 1.0)), "size is [-1.0, 1.0, 1.0]"),
    ],
)
def test_a_bad_box_is_left_out_and_named_and_the_others_keep_their_places(entry: Any, words: str) -> None:
    kind = vision if hasattr(entry, "bbox") else own
    found = read(kind(), entry, kind())
    assert found.indices.tolist() == [0, 2]
    assert (len(found.boxes), found.count) == (2, 3)
    (problem,) = found.problems
    assert problem.startswith("topic '/boxes', detections[1]: ")
    assert words in problem
    assert problem.endswith("; it is left out")


def test_a_box_that_leans_is_taken_as_upright_and_that_is_said() -> None:
    leaning, upright = quaternion(x=math.sin(0.2), w=math.cos(0.2)), quaternion(x=math.sin(0.02), w=math.cos(0.02))
    found = read(own(orientation=leaning), own(orientation=upright))
    assert len(found.boxes) == 2
    assert found.problems == (
        "topic '/boxes', detections[0]: leans by 23 degrees; expected an upright box, and it is taken as one",
    )


def test_a_message_without_boxes_is_empty() -> None:
    found = read(frame_id="")
    assert (len(found.boxes), found.count, found.indices.shape) == (0, 0, (0,))
