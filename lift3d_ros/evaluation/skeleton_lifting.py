"""Measures a skeleton lifter on files with true skeletons, as it is and under harder conditions.

The lifter is the one that node, replay and `lift3d lift` run. A frame that it refuses counts as the flat guess.
Shape letters: N frames, J joints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lift3d_ros.datasets.keypoints import KeypointSet
from lift3d_ros.evaluation.lifted_views import LiftedViews, lift_views
from lift3d_ros.evaluation.skeleton_files import H3WB_SKELETON, SkeletonFile
from lift3d_ros.evaluation.skeleton_reliability import mirror_table, uncertainty_table
from lift3d_ros.evaluation.skeleton_views import LabelledViews, damaged, rolled, views_of, without_leaves
from lift3d_ros.evaluation.skeletons import (
    ReliabilityBin,
    SkeletonFigures,
    mean_error,
    rms_sizes,
    skeleton_figures,
)
from lift3d_ros.pipelines.skeleton_engine import LfmEngine
from lift3d_ros.pipelines.skeleton_lifting import SkeletonLifter, SkeletonLiftingConfig
from lift3d_ros.types import Float64Array, ModelIdentity

CLEAN = "clean"
_NON_COMMERCIAL_ROW = "nc_ files"
_H3WB_PARTS = {"body": slice(0, 23), "face": slice(23, 91), "hands": slice(91, 133)}


@dataclass(frozen=True)
class Condition:
    """How the views differ from clean ones.

    Args:
        missing, noise: as :func:`lift3d_ros.evaluation.skeleton_views.damaged`.
        has_leaves: False takes the end joints out of every skeleton.
        is_rolled: turn each picture by a random angle, which the network has seen up to a few degrees only.
        distance: of the camera, in body sizes, with known intrinsics; infinite for weak perspective without.
    """

    name: str
    title: str
    uses_sides: bool = True
    missing: float = 0.0
    noise: float = 0.0
    has_leaves: bool = True
    is_rolled: bool = False
    distance: float = float("inf")


@dataclass(frozen=True, eq=False)
class FileResult:
    """What was measured on one file; a condition that it does not allow is left out."""

    file: SkeletonFile
    figures: Mapping[str, Mapping[str, Any]]
    clean: tuple[LiftedViews, ...]


@dataclass(frozen=True, eq=False)
class SkeletonEvaluation:
    """The whole evaluation; files that were left out stand in `problems`."""

    model: ModelIdentity
    conditions: tuple[Condition, ...]
    files: tuple[FileResult, ...]
    problems: Mapping[str, str]
    notes: tuple[str, ...]
    uncertainty: tuple[ReliabilityBin, ...]
    mirror: tuple[ReliabilityBin, ...]

    def summary(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return medians and means of the ratios over files, for each condition and group, ``all`` first.

        Files whose name starts with ``nc_`` have a row of their own.
        """
        return {condition.name: self._summary(condition.name) for condition in self.conditions}

    def _summary(self, condition: str) -> dict[str, dict[str, float]]:
        rows: dict[str, list[Mapping[str, Any]]] = {}
        has_free = any(not result.file.is_non_commercial for result in self.files)
        for result in self.files:
            if condition in result.figures:
                is_apart = has_free and result.file.is_non_commercial
                for name in (_NON_COMMERCIAL_ROW,) if is_apart else ("all", result.file.group):
                    rows.setdefault(name, []).append(result.figures[condition])
        return {
            name: {
                "files": len(found),
                **{
                    f"{kind}_{key}": float(function([figures[key] for figures in found]))
                    for kind, function in (("median", np.nanmedian), ("mean", np.nanmean))
                    for key in ("ratio_to_flat", "ratio_to_flat_best")
                },
            }
            for name, found in rows.items()
            if np.isfinite([figures["ratio_to_flat"] for figures in found]).any()
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain data for metrics.json."""
        per_file = {}
        for result in self.files:
            others = {name: figures for name, figures in result.figures.items() if name != CLEAN}
            per_file[result.file.file] = {
                "group": result.file.group,
                "unit": result.file.unit,
                "split": result.file.split,
                "is_non_commercial": result.file.is_non_commercial,
                **result.figures[CLEAN],
                "conditions": others,
            }
        return {
            "per_file": per_file,
            "summary": self.summary(),
            "conditions": {condition.name: condition for condition in self.conditions},
            "calibration": {"uncertainty": self.uncertainty, "mirror": self.mirror},
            "left_out": dict(self.problems),
            "notes": self.notes,
        }


def evaluate_skeletons(
    engine: LfmEngine,
    config: SkeletonLiftingConfig,
    files: Sequence[SkeletonFile],
    problems: Mapping[str, str],
    conditions: Sequence[Condition],
    seed: int = 0,
) -> SkeletonEvaluation:
    """Lift and score all files under all conditions, the first of which is the clean one.

    Raises:
        EngineError: the network failed or gave values that are not finite.
    """
    results, left_out = [], dict(problems)
    progress = tqdm(files, desc="lifting", unit="file", disable=None)
    for file in progress:
        progress.set_postfix_str(file.file)
        figures: dict[str, Mapping[str, Any]] = {}
        clean: tuple[LiftedViews, ...] = ()
        for condition in conditions:
            views = _views(file, condition, seed)
            if not views:
                continue
            lifter = SkeletonLifter(engine, _config_for(config, condition, views))
            lifted = tuple(lift_views(lifter, one) for one in views)
            figures[condition.name] = _figures(file, lifted)
            if condition.name == CLEAN:
                clean = lifted
        results.append(FileResult(file, figures, clean))
    free = [result for result in results if not result.file.is_non_commercial] or results
    judged = [part for result in free for part in result.clean]
    return SkeletonEvaluation(
        engine.identity,
        tuple(conditions),
        tuple(results),
        left_out,
        tuple(_notes(results)),
        uncertainty_table(judged),
        mirror_table(judged),
    )


def _views(file: SkeletonFile, condition: Condition, seed: int) -> tuple[LabelledViews, ...]:
    """Return the views of a file under a condition; none where it does not allow the condition."""
    is_near = bool(np.isfinite(condition.distance))
    if isinstance(file.content, KeypointSet):
        views: tuple[LabelledViews, ...] = (
            views_of(file.content, file.frames, seed=seed, distance=condition.distance),
        )
    else:
        views = () if is_near else file.content
    if not condition.has_leaves:
        views = tuple(cut for cut in map(without_leaves, views) if cut is not None)
    if condition.is_rolled:
        views = tuple(rolled(one, seed) for one in views if one.camera is None)
    if condition.missing or condition.noise:
        views = tuple(damaged(one, missing=condition.missing, noise=condition.noise, seed=seed) for one in views)
    return views


def _config_for(
    config: SkeletonLiftingConfig, condition: Condition, views: Sequence[LabelledViews]
) -> SkeletonLiftingConfig:
    lifter = dataclasses.replace(
        config.lifter,
        uses_sides=config.lifter.uses_sides and condition.uses_sides,
        max_joints=max(config.lifter.max_joints, *(len(one.skeleton) for one in views)),
    )
    return dataclasses.replace(config, lifter=lifter)


def _figures(file: SkeletonFile, lifted: Sequence[LiftedViews]) -> dict[str, Any]:
    """Return the record of one file under one condition."""
    predicted = np.concatenate([part.predicted for part in lifted])
    hypotheses = np.concatenate([part.hypotheses for part in lifted])
    true = np.concatenate([part.views.joints for part in lifted])
    is_valid = np.concatenate([part.views.is_valid for part in lifted])
    skeleton = lifted[0].views.skeleton
    found: SkeletonFigures = skeleton_figures(predicted, true, is_valid, skeleton.edges, hypotheses)
    record: dict[str, Any] = {
        **dataclasses.asdict(found),
        "joints": len(skeleton),
        "mean_rms_size": float(rms_sizes(true, is_valid).mean()),
        "not_lifted": int(sum((~part.is_lifted).sum() for part in lifted)),
        "decided_share": float(np.concatenate([part.is_decided for part in lifted]).mean()),
    }
    if file.flat_guess_pa:
        record["ratio_to_manifest_flat"] = found.pa_mpjpe / file.flat_guess_pa
    if skeleton.name == H3WB_SKELETON:
        record["h3wb"] = _h3wb_figures(predicted, true, is_valid)
    return record


def _h3wb_figures(predicted: Float64Array, true: Float64Array, is_valid: NDArray[np.bool_]) -> dict[str, float]:
    """Return MPJPE with the hips together, as H3WB's benchmark, but scaled to the true x and y (fact sheet 10.2)."""

    def relative(joints: Float64Array, root: Float64Array) -> Float64Array:
        return np.asarray(joints - root[:, None])

    def error(first: Float64Array, second: Float64Array, part: slice) -> float:
        distances = np.linalg.norm(first - second, axis=2)[:, part]
        return mean_error(np.where(is_valid[:, part], distances, np.nan))

    hips = [relative(joints, joints[:, 11:13].mean(axis=1)) for joints in (predicted, true)]
    figures = {"whole_body": error(hips[0], hips[1], slice(0, 133))}
    figures |= {name: error(hips[0], hips[1], part) for name, part in _H3WB_PARTS.items()}
    figures["face_nose_aligned"] = error(
        relative(predicted, predicted[:, 0]), relative(true, true[:, 0]), _H3WB_PARTS["face"]
    )
    hands = [
        error(relative(predicted, predicted[:, wrist]), relative(true, true[:, wrist]), slice(wrist, wrist + 21))
        for wrist in (91, 112)
    ]
    figures["hands_wrist_aligned"] = float(np.mean(hands))
    return figures


def _notes(results: Sequence[FileResult]) -> list[str]:
    notes = [
        "PA-MPJPE aligns by rotation (determinant +1), scale and translation; pa_mpjpe_best takes the better of both "
        "mirror images in each frame, pa_mpjpe_reflected allows reflections.",
        "MPJPE moves the means together and scales to the true x and y; nothing is rotated.",
        "The flat guess has the true x and y and no depth, on the same frames and views, and aligned alike.",
    ]
    names = [result.file.file for result in results]
    if others := [result.file.file for result in results if result.file.lacks_split]:
        notes.append(f"All frames are scored of {', '.join(others)}: no frame is of the split that was asked for.")
    flat = [
        name for name, result in zip(names, results, strict=True) if np.isnan(result.figures[CLEAN]["ratio_to_flat"])
    ]
    if flat:
        notes.append(f"No ratio of {', '.join(flat)}: the points are equal or on a line, and the flat guess is right.")
    refused = {name: result.figures[CLEAN]["not_lifted"] for name, result in zip(names, results, strict=True)}
    if refused := {name: count for name, count in refused.items() if count}:
        counts = ", ".join(f"{name} ({count})" for name, count in refused.items())
        notes.append(f"Frames that the lifter refused count as the flat guess: {counts}.")
    if any(result.file.is_non_commercial for result in results):
        notes.append(
            f"Files whose name starts with nc_ are not in the medians over all; they stand in '{_NON_COMMERCIAL_ROW}'."
        )
    return notes
