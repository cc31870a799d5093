"""Point features as files: a line of JSON for each cloud, and its arrays beside; the same bytes for the same input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lift3d_ros.types import PointFeatures, PointFeatureSet

FEATURES_FILE = "features.jsonl"
FEATURES_FOLDER = "features"


def features_to_json(result: PointFeatureSet, arrays: Path | None) -> dict[str, Any]:
    """Return plain data of one result, without its long arrays.

    Args:
        arrays: name of the file that holds them, None for a result without features.
    """
    return {
        "stamp_ns": result.stamp_ns,
        "frame_id": result.frame_id,
        "model": result.model.name,
        "weights_sha256": result.model.weights_sha256,
        "is_trained": result.model.is_trained,
        "backend": result.model.backend,
        "features": [_summary(features) for features in result.features],
        "arrays": None if arrays is None else arrays.as_posix(),
        "problems": list(result.problems),
    }


def write_feature_arrays(result: PointFeatureSet, path: Path) -> None:
    """Write the arrays of one result with K features as npz.

    `descriptors` (K, C) float32, `tokens` (K, T, D) float32, `token_centers` (K, T, 3) float32 metres in the frame of
    the result, `instance_ids` (K,) int64, `labels` (K,) text, `scores` (K,) float64.

    Raises:
        OSError: the file cannot be written.
    """
    features = result.features
    np.savez(
        path,
        descriptors=np.stack([entry.descriptor for entry in features]),
        tokens=np.stack([entry.tokens for entry in features]),
        token_centers=np.stack([entry.token_centers for entry in features]),
        instance_ids=np.array([entry.instance_id for entry in features], dtype=np.int64),
        labels=np.array([entry.label for entry in features]),
        scores=np.array([entry.score for entry in features], dtype=np.float64),
    )


def _summary(features: PointFeatures) -> dict[str, Any]:
    return {
        "instance_id": features.instance_id,
        "num_points": features.num_points,
        "label": features.label,
        "score": round(features.score, 6),
    }
