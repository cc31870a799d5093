"""How alike objects are by their descriptors: what re-identification goes by. Letters: B objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lift3d_ros.types import Float64Array, PointFeatures


def cosine_similarity(features: Sequence[PointFeatures], *, is_centred: bool = False) -> Float64Array:
    """Return the cosine (B, B) of the angle between any two descriptors, 1 for equal ones; 0 where one is zero.

    Args:
        is_centred: take the mean of these descriptors from all of them first: most of a descriptor is common to all
            objects, and what is left tells them apart better. Needs at least three objects to mean anything.
    """
    descriptors = np.stack([item.descriptor for item in features]).astype(np.float64)
    if is_centred:
        descriptors = descriptors - descriptors.mean(axis=0)
    norms = np.linalg.norm(descriptors, axis=1, keepdims=True)
    directions = descriptors / np.where(norms > 0, norms, 1.0)
    return np.asarray(np.clip(directions @ directions.T, -1.0, 1.0))
