"""The score of parts is that of a case counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.training.i2p_mae.part_scores import cloud_iou, part_scores


def test_the_iou_of_a_cloud_is_the_mean_over_the_parts_of_its_category() -> None:
    predicted, parts = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert cloud_iou(predicted, parts, (0, 1)) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_part_that_is_neither_there_nor_predicted_counts_as_found() -> None:
    assert cloud_iou(np.zeros(3, np.int64), np.zeros(3, np.int64), (0, 7)) == 1.0
    assert cloud_iou(np.zeros(3, np.int64), np.full(3, 7), (0, 7)) == 0.0


def test_categories_weigh_alike_however_many_clouds_they_have() -> None:
    predicted = np.array([[0, 0], [0, 0], [2, 2]])
    parts = np.array([[0, 0], [0, 0], [3, 3]])
    scores = part_scores(predicted, parts, np.array([0, 0, 1]), {0: (0, 1), 1: (2, 3)})
    assert scores["instance_iou"] == pytest.approx(2 / 3)
    assert scores["class_iou"] == pytest.approx(1 / 2)
    assert scores["accuracy"] == pytest.approx(2 / 3)
