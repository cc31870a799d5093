"""Compares variants of the point encoder that were trained with several seeds and scored on the same clouds.

A figure is the share of right answers of a linear SVM on frozen features. Another seed would give other weights:
differences have an interval over seeds, each seed paired with itself, and it decides what is separated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lift3d_ros.evaluation.intervals import t_interval
from lift3d_ros.evaluation.point_features import CLEAN, Condition
from lift3d_ros.training.variants import Pair

CONDITIONS = (
    Condition("rotated", "turned about the up axis", is_turned=True),
    Condition("points_256", "256 points", points=256),
    Condition("noise", "noise of 0.02 radii", noise=0.02),
    Condition("occluded", "30 % of the points missing on one side", hidden=0.3),
)

Runs = Mapping[str, Mapping[int, Mapping[str, float]]]
"""Variant -> seed -> condition -> share of right answers."""


def variant_rows(runs: Runs, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return a row for each variant that has runs: means over seeds, and each seed on clean clouds."""
    rows: dict[str, dict[str, Any]] = {}
    for name in names:
        found = runs.get(name)
        if not found:
            continue
        conditions = list(next(iter(found.values())))
        rows[name] = {
            condition: float(np.mean([scores[condition] for scores in found.values()])) for condition in conditions
        }
        rows[name]["seeds"] = ", ".join(f"{scores[CLEAN]:.3f}" for _, scores in sorted(found.items()))
    return rows


def pair_rows(runs: Runs, pairs: Sequence[Pair], condition: str = CLEAN) -> dict[str, dict[str, Any]]:
    """Return a row for each pair whose variants have common seeds: the difference, its interval and the verdict."""
    rows: dict[str, dict[str, Any]] = {}
    for pair in pairs:
        one, other = runs.get(pair.variant, {}), runs.get(pair.other, {})
        shared = sorted(one.keys() & other.keys())
        if not shared:
            continue
        interval = t_interval([one[seed][condition] - other[seed][condition] for seed in shared])
        rows[pair.title] = {
            "variant": pair.variant,
            "other": pair.other,
            "difference": interval.text,
            "verdict": interval.verdict,
            "seeds": shared,
        }
    return rows
