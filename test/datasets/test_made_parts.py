"""Shapes with parts are the same for the same seed, stand upright, and have every part that they should have."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.datasets.made_parts import make_parts


def test_the_same_seed_makes_the_same_shapes_and_another_one_others() -> None:
    one, same, other = make_parts(6, 64, 3), make_parts(6, 64, 3), make_parts(6, 64, 4)
    np.testing.assert_array_equal(one.points, same.points)
    np.testing.assert_array_equal(one.parts, same.parts)
    assert np.abs(one.points - other.points).max() > 0.1


def test_every_point_has_a_part_of_its_category() -> None:
    shapes = make_parts(30, 256, 0)
    assert np.isfinite(shapes.points).all()
    np.testing.assert_allclose(np.linalg.norm(shapes.points, axis=2).max(axis=1), 1.0, rtol=1e-5)
    for row, category in enumerate(shapes.categories):
        found = set(np.unique(shapes.parts[row]))
        assert found <= set(shapes.parts_of(int(category)))
        assert len(found) >= 2


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("table/top", "table/leg"),
        ("chair/back", "chair/leg"),
        ("bottle/cap", "bottle/body"),
        ("lamp/shade", "lamp/base"),
    ],
)
def test_parts_lie_where_they_belong(above: str, below: str) -> None:
    shapes = make_parts(24, 512, 1)
    high, low = shapes.part_names.index(above), shapes.part_names.index(below)
    rows = [row for row in range(24) if (shapes.parts[row] == high).any() and (shapes.parts[row] == low).any()]
    assert rows
    for row in rows:
        heights = shapes.points[row, :, 2]
        assert heights[shapes.parts[row] == high].mean() > heights[shapes.parts[row] == low].mean()
