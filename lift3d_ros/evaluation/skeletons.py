"""Errors of lifted skeletons against true joints, for many frames at once.

Every figure says how prediction and truth were brought together. Alignment uses rotations of determinant +1 unless a
name says that reflections were allowed: after a reflection left and right can no longer be told apart.
Shape letters: N frames, J joints, H hypotheses, E edges. Joints are in the camera frame (x right, y down, z forward).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import Lift3dError
from lift3d_ros.geometry.alignment import align, weighted_mean
from lift3d_ros.types import Float64Array

# PCK counts a joint as right within this many RMS sizes of the true skeleton; 150 mm for a standing adult.
PCK_THRESHOLD = 0.3
# Of the size: where the flat guess is better than that, points are equal or on a line, and no ratio means anything.
LEAST_FLAT_ERROR = 1e-5


def centred_errors(predicted: Float64Array, true: Float64Array, is_valid: NDArray[np.bool_]) -> Float64Array:
    """Return distances (N, J) after moving the means of the valid joints together; their mean is the MPJPE.

    Args:
        predicted, true: (N, J, 3) in one unit; what stands at joints that are not valid is not read.
        is_valid: (N, J). Errors of other joints are NaN.
    """
    predicted, true, weights = _checked(predicted, true, is_valid)
    moved = predicted - weighted_mean(predicted, weights)[:, None]
    target = true - weighted_mean(true, weights)[:, None]
    return _distances(moved, target, is_valid)


def aligned_errors(
    predicted: Float64Array, true: Float64Array, is_valid: NDArray[np.bool_], *, allows_reflection: bool = False
) -> Float64Array:
    """Return distances (N, J) after the best similarity transform; their mean is the PA-MPJPE.

    Arguments as :func:`centred_errors`. With `allows_reflection` the figure is no PA-MPJPE: say so beside it.
    """
    predicted, true, weights = _checked(predicted, true, is_valid)
    moved = align(predicted, true, weights, allows_reflection=allows_reflection).apply(predicted)
    return _distances(moved, true, is_valid)


def best_of_hypotheses(hypotheses: Float64Array, true: Float64Array, is_valid: NDArray[np.bool_]) -> Float64Array:
    """Return the aligned distances (N, J) of the hypothesis (N, H, J, 3) that is best in each frame."""
    errors = np.stack(
        [aligned_errors(hypotheses[:, number], true, is_valid) for number in range(hypotheses.shape[1])], axis=1
    )
    best = np.where(is_valid[:, None], errors, 0.0).sum(axis=2).argmin(axis=1)
    return np.asarray(errors[np.arange(len(errors)), best])


def with_mirror_image(predicted: Float64Array) -> Float64Array:
    """Return (N, 2, J, 3): predictions (N, J, 3) in the camera frame and their depth-reversed copies."""
    return np.stack([predicted, predicted * [1.0, 1.0, -1.0]], axis=1)


def flat_guess(true: Float64Array) -> Float64Array:
    """Return (N, J, 3): true x and y and no depth, the guess that any lifter has to beat."""
    return np.asarray(true * [1.0, 1.0, 0.0])


def mean_error(errors: Float64Array) -> float:
    """Return the mean over the valid joints of all frames; NaN where there is none."""
    found = errors[np.isfinite(errors)]
    return float(found.mean()) if found.size else float("nan")


def rms_sizes(joints: Float64Array, is_valid: NDArray[np.bool_]) -> Float64Array:
    """Return the root mean square distances (N,) of valid joints (N, J, 3) from their mean."""
    joints, _, weights = _checked(joints, joints, is_valid)
    centred = joints - weighted_mean(joints, weights)[:, None]
    squares = np.einsum("nj,njk->n", weights, centred**2)
    return np.asarray(np.sqrt(squares / np.maximum(weights.sum(axis=1), 1.0)))


def correct_keypoints(errors: Float64Array, thresholds: Float64Array) -> float:
    """Return the part of the valid joints whose error (N, J) is at most the threshold of their frame (N,): PCK."""
    is_valid = np.isfinite(errors)
    is_right = np.nan_to_num(errors, nan=np.inf) <= thresholds[:, None]
    return float(is_right.sum() / is_valid.sum()) if is_valid.any() else float("nan")


def bone_length_errors(
    predicted: Float64Array, true: Float64Array, is_valid: NDArray[np.bool_], edges: NDArray[np.int64]
) -> Float64Array:
    """Return absolute errors (N, E) of bone lengths after scaling each frame to the true sum of lengths.

    NaN where an end of the bone is not valid.
    """
    _checked(predicted, true, is_valid)
    first, second = edges[:, 0], edges[:, 1]
    is_known = is_valid[:, first] & is_valid[:, second]
    found, wanted = (
        np.where(is_known, np.linalg.norm(joints[:, first] - joints[:, second], axis=2), 0.0)
        for joints in (predicted, true)
    )
    scale = wanted.sum(axis=1) / np.maximum(found.sum(axis=1), 1e-12)
    return np.where(is_known, np.abs(scale[:, None] * found - wanted), np.nan)


@dataclass(frozen=True)
class SkeletonFigures:
    """Figures of one set of frames, in its unit; ratios divide by the same error of the flat guess.

    Ratios are NaN where the flat guess is right, as for points on a line.

    Args:
        mpjpe: means moved together, no rotation, no scaling; the evaluation gives predictions at the scale of the true
            x and y.
        pa_mpjpe: after the best similarity transform of determinant +1.
        pa_mpjpe_best: the same, for the better of the prediction and its depth-reversed copy in each frame.
        pa_mpjpe_reflected: after the best similarity transform, reflections allowed.
        pck: part of the joints within 0.3 RMS sizes of the true skeleton, after alignment as `pa_mpjpe`.
        bone_length_error: mean absolute error of bone lengths over the mean true length, sums of lengths scaled alike.
        sign_rate: part of the frames in which the prediction fits at least as well as its depth-reversed copy.
    """

    frames: int
    mpjpe: float
    pa_mpjpe: float
    pa_mpjpe_best: float
    pa_mpjpe_reflected: float
    flat_guess_pa: float
    ratio_to_flat: float
    ratio_to_flat_best: float
    pck: float
    bone_length_error: float
    sign_rate: float


def skeleton_figures(
    predicted: Float64Array,
    true: Float64Array,
    is_valid: NDArray[np.bool_],
    edges: NDArray[np.int64],
    hypotheses: Float64Array | None = None,
) -> SkeletonFigures:
    """Return all figures of predictions (N, J, 3) in the camera frame.

    Args:
        hypotheses: (N, H, J, 3) for `pa_mpjpe_best`; the prediction and its depth-reversed copy where not given.
    """
    both = with_mirror_image(predicted) if hypotheses is None else hypotheses
    own = aligned_errors(predicted, true, is_valid)
    mirrored = aligned_errors(with_mirror_image(predicted)[:, 1], true, is_valid)
    pa, best = mean_error(own), mean_error(best_of_hypotheses(both, true, is_valid))
    flat = mean_error(aligned_errors(flat_guess(true), true, is_valid))
    sizes = rms_sizes(true, is_valid)
    reference = flat if flat > LEAST_FLAT_ERROR * mean_error(sizes) else 0.0
    pairs = true[:, edges[:, 0]] - true[:, edges[:, 1]]
    lengths = np.where(is_valid[:, edges[:, 0]] & is_valid[:, edges[:, 1]], np.linalg.norm(pairs, axis=2), np.nan)
    bones = mean_error(bone_length_errors(predicted, true, is_valid, edges))
    return SkeletonFigures(
        frames=len(true),
        mpjpe=mean_error(centred_errors(predicted, true, is_valid)),
        pa_mpjpe=pa,
        pa_mpjpe_best=best,
        pa_mpjpe_reflected=mean_error(aligned_errors(predicted, true, is_valid, allows_reflection=True)),
        flat_guess_pa=flat,
        ratio_to_flat=_ratio(pa, reference),
        ratio_to_flat_best=_ratio(best, reference),
        pck=correct_keypoints(own, PCK_THRESHOLD * sizes),
        bone_length_error=_ratio(bones, mean_error(lengths)),
        sign_rate=float((np.nansum(own, axis=1) <= np.nansum(mirrored, axis=1)).mean()) if len(true) else float("nan"),
    )


@dataclass(frozen=True)
class ReliabilityBin:
    """Joints of similar stated uncertainty: how many, mean stated and found standard deviation along an axis."""

    count: int
    stated: float
    found: float


def reliability_table(
    errors: Float64Array, uncertainty: Float64Array, num_bins: int = 10
) -> tuple[ReliabilityBin, ...]:
    """Compare stated uncertainty with errors, in bins of equal count from certain to uncertain.

    Args:
        errors: (N, J) distances, NaN where not valid.
        uncertainty: (N, J) stated standard deviation along one axis, in the same unit.
    """
    is_used = np.isfinite(errors) & np.isfinite(uncertainty)
    order = np.argsort(uncertainty[is_used], kind="stable")
    stated, found = uncertainty[is_used][order], errors[is_used][order]
    parts = np.array_split(np.arange(len(order)), max(1, min(num_bins, len(order))))
    return tuple(
        ReliabilityBin(
            len(part),
            float(np.sqrt(np.mean(stated[part] ** 2))),
            float(np.sqrt(np.mean(found[part] ** 2) / 3.0)),
        )
        for part in parts
        if len(part)
    )


def _checked(
    predicted: Float64Array, true: Float64Array, is_valid: NDArray[np.bool_]
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return both with zeros where not valid, and the weights of the joints.

    Raises:
        Lift3dError: shapes differ, or a valid joint of the prediction is not finite.
    """
    if predicted.shape != true.shape or is_valid.shape != true.shape[:2] or true.shape[2:] != (3,):
        raise Lift3dError(
            f"skeletons to compare have shapes {predicted.shape} (predicted), {true.shape} (true) and {is_valid.shape} "
            "(valid); expected (N, J, 3) twice and (N, J)"
        )
    is_bad = is_valid & ~(np.isfinite(predicted).all(axis=2) & np.isfinite(true).all(axis=2))
    if is_bad.any():
        frame, joint = np.argwhere(is_bad)[0]
        raise Lift3dError(f"frame {frame}, joint {joint}: coordinates are not finite; mark the joint as not valid")
    mask = is_valid[:, :, None]
    return (
        np.where(mask, predicted, 0.0).astype(np.float64),
        np.where(mask, true, 0.0).astype(np.float64),
        is_valid.astype(np.float64),
    )


def _distances(moved: Float64Array, target: Float64Array, is_valid: NDArray[np.bool_]) -> Float64Array:
    return np.where(is_valid, np.linalg.norm(moved - target, axis=2), np.nan)


def _ratio(value: float, reference: float) -> float:
    return value / reference if reference > 0 else float("nan")
