"""Compares variants of the skeleton lifter that were trained with several seeds and scored on the same views.

A figure is an error over that of the flat guess, reflections not allowed unless a name says so. Two things are
uncertain: another seed would give other weights, and other kinds of skeletons other figures. Differences have an
interval over seeds, which decides, and one over sets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lift3d_ros.evaluation.intervals import t_interval
from lift3d_ros.evaluation.skeleton_lifting import CLEAN, Condition, SkeletonEvaluation

CONDITIONS = (
    Condition(CLEAN, "clean"),
    Condition("sides_unknown", "sides unknown", uses_sides=False),
    Condition("damaged", "30 % of joints missing, 2 % noise", missing=0.3, noise=0.02),
    Condition("without_leaves", "without end joints", has_leaves=False),
)
# Sides unknown: the better of both mirror images, as the view does not decide.
_KEYS = {"sides_unknown": "ratio_to_flat_best"}
_OWN = "ratio_to_flat"
_IN_WORDS = {"lower": "better", "higher": "worse"}  # a figure is an error


@dataclass(frozen=True, eq=False)
class LifterScores:
    """Ratios of one trained network: condition -> name of the set -> ratio."""

    ratios: Mapping[str, Mapping[str, float]]
    groups: Mapping[str, str]

    @classmethod
    def of(cls, evaluation: SkeletonEvaluation) -> LifterScores:
        """Take the sets that shipped weights may be trained on."""
        ratios: dict[str, dict[str, float]] = {condition.name: {} for condition in evaluation.conditions}
        groups: dict[str, str] = {}
        for result in evaluation.files:
            if result.file.is_non_commercial:
                continue
            name = result.file.file.removesuffix(".npz")
            groups[name] = result.file.group
            for condition, figures in result.figures.items():
                ratios[condition][name] = float(figures[_KEYS.get(condition, _OWN)])
        return cls(ratios, groups)

    def median(self, condition: str, group: str | None = None) -> float:
        """Return the median over sets, of one group where it is named."""
        found = [ratio for name, ratio in self.ratios[condition].items() if group is None or self.groups[name] == group]
        return float(np.median(found)) if found else float("nan")


Runs = Mapping[str, Mapping[int, LifterScores]]
"""Variant -> seed -> scores."""


def part_rows(runs: Runs, base: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return a row for each variant: medians over all sets, and how it differs from `base` on clean views."""
    rows = {}
    for name in names:
        if name not in runs:
            continue
        row: dict[str, Any] = {
            condition.name: _mean(runs[name], lambda scores, key=condition.name: scores.median(key))  # type: ignore[misc]
            for condition in CONDITIONS
        }
        row["seeds"] = ", ".join(f"{scores.median(CLEAN):.3f}" for _, scores in sorted(runs[name].items()))
        row |= dict.fromkeys(("difference", "verdict", "over_sets"), "")
        shared = sorted(runs[name].keys() & runs[base].keys())
        if name != base and shared:
            each = [_differences(runs[name][seed], runs[base][seed]) for seed in shared]
            over_seeds = t_interval([float(np.mean(list(one.values()))) for one in each])
            over_sets = t_interval([float(np.mean([one[key] for one in each])) for key in each[0]])
            row |= {
                "difference": over_seeds.text,
                "verdict": _IN_WORDS.get(over_seeds.verdict, over_seeds.verdict),
                "over_sets": f"[{over_sets.low:+.3f}, {over_sets.high:+.3f}]",
            }
        rows[name] = row
    return rows


def set_rows(runs: Runs, base: str, named: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return a row for each variant that differs in the sets it has seen, on one set.

    Args:
        named: variant -> the set that it is scored on.
    """
    rows = {}
    for variant, keypoints in named.items():
        if variant not in runs:
            continue
        row: dict[str, Any] = {"set": keypoints}
        for title, found in (("variant", runs[variant]), ("all", runs[base])):
            row[title] = _mean(found, lambda scores: scores.ratios[CLEAN][keypoints])  # noqa: B023  called at once
            row[f"{title}_seeds"] = ", ".join(
                f"{scores.ratios[CLEAN][keypoints]:.3f}" for _, scores in sorted(found.items())
            )
        rows[variant] = row
    return rows


def _differences(one: LifterScores, other: LifterScores) -> dict[str, float]:
    return {name: ratio - other.ratios[CLEAN][name] for name, ratio in one.ratios[CLEAN].items()}


def _mean(runs: Mapping[int, LifterScores], figure: Callable[[LifterScores], float]) -> float:
    return float(np.mean([figure(scores) for scores in runs.values()]))
