"""Lifted skeletons as JSON: one object for each picture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lift3d_ros.types import Skeleton3D, Skeletons3D


def skeletons_to_json(result: Skeletons3D) -> dict[str, Any]:
    """Return plain data of one result; coordinates are rounded to 0.1 mm, or the same part of the normalised unit."""
    return {
        "stamp_ns": result.stamp_ns,
        "frame_id": result.frame_id,
        "model": result.model.name,
        "weights_sha256": result.model.weights_sha256,
        "is_trained": result.model.is_trained,
        "skeletons": [_skeleton(skeleton) for skeleton in result.skeletons],
        "problems": list(result.problems),
    }


def _skeleton(skeleton: Skeleton3D) -> dict[str, Any]:
    return {
        "instance_id": skeleton.instance_id,
        "track_id": skeleton.track_id,
        "category": skeleton.category,
        "skeleton": skeleton.skeleton.name,
        "joint_names": list(skeleton.skeleton.joint_names),
        "edges": skeleton.skeleton.edges.tolist(),
        "unit": "m" if skeleton.is_metric else "normalised",
        "joints": _rounded(skeleton.joints),
        "is_observed": skeleton.is_observed.tolist(),
        "uncertainty": _rounded(skeleton.uncertainty),
        "hypotheses": [_rounded(joints) for joints in skeleton.hypotheses],
        "probabilities": _rounded(skeleton.probabilities),
        "mirror_cue": skeleton.mirror_cue,
        "scale_source": skeleton.scale_source,
        "scale_std": None if math.isnan(skeleton.scale_std) else round(skeleton.scale_std, 4),
        "residual": round(skeleton.residual, 4),
        "score": round(skeleton.score, 4),
    }


def _rounded(values: Any) -> Any:
    return np.round(np.asarray(values, dtype=np.float64), 4).tolist()
