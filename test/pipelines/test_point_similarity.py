"""Objects are compared by the angle between their descriptors."""

from __future__ import annotations

import numpy as np

from lift3d_ros.pipelines.point_similarity import cosine_similarity
from lift3d_ros.types import PointFeatures


def described(*descriptors: list[float]) -> list[PointFeatures]:
    return [PointFeatures(np.float32(row), np.zeros((1, 2)), np.zeros((1, 3))) for row in descriptors]


def test_similarity_is_the_cosine_of_descriptors() -> None:
    found = cosine_similarity(described([3, 0], [3, 3], [0, 0]))
    np.testing.assert_allclose(found, [[1, 0.5**0.5, 0], [0.5**0.5, 1, 0], [0, 0, 0]], atol=1e-12)


def test_without_what_they_have_in_common_descriptors_are_told_apart_better() -> None:
    several = described([100, 1, 0], [100, 1.1, 0], [100, 0, 1], [100, 0, 1.1])
    plain, centred = cosine_similarity(several), cosine_similarity(several, is_centred=True)
    assert plain.min() > 0.999
    assert centred[0, 1] > 0.99
    assert centred[0, 2] < -0.9
