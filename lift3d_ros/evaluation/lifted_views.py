"""Views with true skeletons, lifted: truth and prediction side by side. Shape letters: N frames, J joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.evaluation.skeleton_views import LabelledViews
from lift3d_ros.evaluation.skeletons import aligned_errors, flat_guess
from lift3d_ros.geometry.skeleton import SkeletonFacts
from lift3d_ros.pipelines.skeleton_batches import KeypointFrame
from lift3d_ros.pipelines.skeleton_lifting import SkeletonLifter
from lift3d_ros.types import Float64Array, Keypoints2D

_FRAMES_PER_RUN = 256


@dataclass(frozen=True, eq=False)
class LiftedViews:
    """Truth and prediction of the same views, in the unit of the file, camera frame.

    Args:
        predicted: (N, J, 3), scaled to the true x and y.
        hypotheses: (N, 2, J, 3) likewise, the likelier first.
        probability: (N,) of the likelier one.
        is_decided: (N,) whether the lifter takes the mirror image for decided.
        uncertainty: (N, J) stated standard deviation along an axis.
        is_lifted: (N,) False where the lifter refused and the flat guess stands.
    """

    views: LabelledViews
    predicted: Float64Array
    hypotheses: Float64Array
    probability: Float64Array
    is_decided: NDArray[np.bool_]
    uncertainty: Float64Array
    is_lifted: NDArray[np.bool_]

    @property
    def errors(self) -> Float64Array:
        """(N, J) distances after the best similarity transform, NaN where not valid."""
        return aligned_errors(self.predicted, self.views.joints, self.views.is_valid)


def lift_views(lifter: SkeletonLifter, views: LabelledViews) -> LiftedViews:
    """Lift all views, each as an instance of its own without memory of others."""
    frames, joints = views.is_seen.shape
    flat = flat_guess(views.joints)
    hypotheses = np.stack([flat, flat], axis=1)
    probability, is_decided = np.full(frames, 0.5), np.zeros(frames, dtype=bool)
    uncertainty, is_lifted = np.full((frames, joints), np.nan), np.zeros(frames, dtype=bool)
    skeletons = {views.skeleton.name: SkeletonFacts(views.skeleton)}
    for first in range(0, frames, _FRAMES_PER_RUN):
        instances = tuple(
            Keypoints2D(views.points[row], is_visible=views.is_seen[row], skeleton=views.skeleton.name, instance_id=row)
            for row in range(first, min(first + _FRAMES_PER_RUN, frames))
        )
        result = lifter.infer(lifter.prepare(KeypointFrame(first, instances, skeletons, camera=views.camera)))
        for found in result.skeletons:
            row = found.instance_id
            scale = _scale_of_picture(found.joints, views.joints[row], views.is_valid[row])
            hypotheses[row] = scale * found.hypotheses[:2]
            uncertainty[row] = scale * found.uncertainty
            probability[row] = found.probabilities[0]
            is_decided[row] = found.mirror_cue != "undecided"
            is_lifted[row] = True
    return LiftedViews(views, hypotheses[:, 0], hypotheses, probability, is_decided, uncertainty, is_lifted)


def _scale_of_picture(joints: Float64Array, true: Float64Array, is_valid: NDArray[np.bool_]) -> float:
    """Return the factor that brings x and y closest to the true ones: one picture has no scale of its own."""
    own, target = joints[is_valid][:, :2], true[is_valid][:, :2]
    own, target = own - own.mean(axis=0), target - target.mean(axis=0)
    return float((own * target).sum() / max(float((own**2).sum()), 1e-12))
