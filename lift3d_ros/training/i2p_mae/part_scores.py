"""Scores the part of each point: intersection over union, as ShapeNetPart is scored.

Letters: N clouds, P points. A part that a cloud neither has nor was given counts as 1. Source: fact sheet I2P-MAE,
section 11.9, and the evaluation of Yi et al. 2016.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def cloud_iou(predicted: NDArray[np.int64], parts: NDArray[np.int64], allowed: Sequence[int]) -> float:
    """Return the mean over the `allowed` parts of the IoU of one cloud (P,)."""
    scores = []
    for part in allowed:
        found, true = predicted == part, parts == part
        union = int((found | true).sum())
        scores.append(1.0 if union == 0 else int((found & true).sum()) / union)
    return float(np.mean(scores))


def part_scores(
    predicted: NDArray[np.int64],
    parts: NDArray[np.int64],
    categories: NDArray[np.int64],
    parts_of: Mapping[int, Sequence[int]],
) -> dict[str, float]:
    """Return ``instance_iou``, the mean over clouds, ``class_iou``, that over categories, and ``accuracy`` of points.

    Args:
        predicted, parts: (N, P).
        categories: (N,).
        parts_of: category -> parts that it can have.
    """
    rows = zip(predicted, parts, categories, strict=True)
    each = np.array([cloud_iou(found, true, parts_of[int(category)]) for found, true, category in rows])
    of_categories = [each[categories == category].mean() for category in np.unique(categories)]
    return {
        "instance_iou": float(each.mean()),
        "class_iou": float(np.mean(of_categories)),
        "accuracy": float((predicted == parts).mean()),
    }
