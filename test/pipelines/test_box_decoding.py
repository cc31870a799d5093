"""Boxes from network outputs: units, the model's own frame, ranges, repeatable bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lift3d_ros.models.dfa3d.config import Dfa3dConfig, MotionConfig, preset
from lift3d_ros.pipelines.box_decoding import base_from_model, decode_boxes, decode_model_boxes

TWO_CLASSES = Dfa3dConfig(class_names=("car", "bus"))
CODE = [12.0, -3.0, np.log(1.9), np.log(4.5), 0.7, np.log(1.6), np.sin(2.5), np.cos(2.5), 4.0, -1.0]


def outputs(*codes: list[float], label: int = 1) -> dict[str, Any]:
    logits = np.full((1, len(codes), 2), -9.0, np.float32)
    logits[0, :, label] = np.linspace(0.0, -1.0, len(codes))
    return {"class_logits": logits, "box_codes": np.array([codes], np.float32)}


def test_boxes_are_decoded_in_metres_and_radians() -> None:
    boxes = decode_boxes(outputs(CODE), TWO_CLASSES, "base")
    assert (boxes.frame_id, boxes.class_names[boxes.labels[0]]) == ("base", "bus")
    np.testing.assert_allclose(boxes.centers[0], [12.0, -3.0, 0.7], atol=1e-6)
    np.testing.assert_allclose(boxes.sizes[0], [4.5, 1.9, 1.6], atol=1e-6)
    np.testing.assert_allclose(boxes.velocities[0], [4.0, -1.0], atol=1e-6)
    assert boxes.yaws[0] == pytest.approx(2.5)
    assert boxes.scores[0] == pytest.approx(0.5)


def test_boxes_of_published_weights_come_from_their_lidar_frame_to_the_base_frame() -> None:
    """10 m ahead of the nuScenes LiDAR, which has x to the right: its heading code 0 looks along -y, to the rear."""
    facts = preset("dfa3d-small")
    assert facts is not None
    facts = replace(facts, class_names=("car", "bus"))
    code = [2.0, 10.0, np.log(1.9), np.log(4.5), -1.0, np.log(1.6), 0.0, 1.0, 0.0, 5.0]
    boxes = decode_boxes(outputs(code), facts, "base_link")
    np.testing.assert_allclose(boxes.centers[0], [10.0 + 0.943713, -2.0, 1.84023 - 1.0], atol=1e-5)
    np.testing.assert_allclose(boxes.velocities[0], [5.0, 0.0], atol=1e-5)
    assert abs(boxes.yaws[0]) == pytest.approx(np.pi, abs=1e-6)
    np.testing.assert_allclose(base_from_model(facts)[:3, :3] @ [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], atol=1e-9)


def test_boxes_outside_of_the_range_are_left_out_and_the_rest_stays_in_order() -> None:
    outside = [99.0, *CODE[1:]]
    boxes = decode_model_boxes(*(array[0] for array in outputs(CODE, outside, CODE).values()), TWO_CLASSES)
    assert 99.0 not in boxes.centers
    assert bool((np.diff(boxes.scores) <= 0).all())
    few = decode_model_boxes(
        *(array[0] for array in outputs(*[CODE] * 9).values()), replace(TWO_CLASSES, max_detections=4)
    )
    assert len(few) == 4


def test_the_same_outputs_give_the_same_bytes_wherever_they_lie_in_memory() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(1, 300, 2)).astype(np.float32)
    codes = generator.normal(size=(1, 300, 10)).astype(np.float32)
    expected = decode_boxes({"class_logits": logits, "box_codes": codes}, TWO_CLASSES, "base")
    for gap in range(1, 9):
        room = np.zeros(codes.size + gap, np.float32)
        room[gap:] = codes.reshape(-1)
        moved = room[gap:].reshape(codes.shape)
        again = decode_boxes({"class_logits": logits.copy(), "box_codes": moved}, TWO_CLASSES, "base")
        np.testing.assert_array_equal(again.yaws, expected.yaws)


def test_a_box_near_a_better_one_of_its_class_is_left_out_where_the_configuration_says_so() -> None:
    facts = replace(TWO_CLASSES, suppression_m=1.0)
    codes = np.zeros((4, 10))
    codes[:, 0] = [10.0, 11.5, 12.2, 11.5]
    codes[:, 2] = np.log(2.0)  # width: reach is 2 m
    logits = np.full((4, len(TWO_CLASSES.class_names)), -9.0)
    logits[[0, 1, 2], 0], logits[3, 1] = [3.0, 2.0, 1.0], 1.5
    found = decode_model_boxes(logits, codes, facts)
    best = found.select(found.scores > 0.5)
    assert best.centers[:, 0].tolist() == [10.0, 11.5, 12.2]
    assert best.labels.tolist() == [0, 1, 0]
    everything = decode_model_boxes(logits, codes, TWO_CLASSES)
    assert (everything.scores > 0.5).sum() == 4


def test_a_box_that_would_drive_backwards_is_turned_round_where_velocities_are_measured() -> None:
    def at(yaw: float, speed: float) -> list[float]:
        velocity = [speed * np.cos(0.4), speed * np.sin(0.4)]
        return [*CODE[:6], np.sin(yaw), np.cos(yaw), *velocity]

    codes = outputs(at(0.4, 5.0), at(0.4, -5.0), at(0.4, -1.0), at(0.4 - np.pi, 5.0), at(0.4 + np.pi / 2 - 0.01, -5.0))
    expected = [0.4, 0.4, 0.4, 0.4 - np.pi, 0.4 + np.pi / 2 - 0.01]
    np.testing.assert_allclose(decode_boxes(codes, TWO_CLASSES, "base").yaws[:5], expected, atol=1e-6)
    measured = replace(TWO_CLASSES, reads_history_age=True, motion=MotionConfig(channels=4))
    expected[1], expected[3] = 0.4 - np.pi, 0.4
    np.testing.assert_allclose(decode_boxes(codes, measured, "base").yaws[:5], expected, atol=1e-6)
