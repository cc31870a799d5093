"""Changed skeletons stay skeletons: connected unless edges are dropped, points on the body, sides kept."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")

from lfm_sets import small_sets

from lift3d_ros.training.lfm.settings import LfmAugmentationSettings
from lift3d_ros.training.lfm.skeleton_changes import changed_skeleton, unchanged

ALWAYS = LfmAugmentationSettings(changes_skeleton=1.0, loses_ends=0.0, drops_edges=0.0, contracted=0.4, fewest_points=8)


def _is_connected(adjacency: np.ndarray) -> bool:
    reached = adjacency | np.eye(len(adjacency), dtype=bool)
    for _ in range(len(adjacency)):
        reached = (reached.astype(int) @ reached.astype(int)) > 0
    return bool(reached.all())


@pytest.mark.parametrize("seed", range(20))
def test_a_changed_skeleton_is_connected_and_its_points_lie_on_the_old_one(seed: int) -> None:
    bird = small_sets()[0]
    changed = changed_skeleton(np.random.default_rng(seed), bird, ALWAYS)
    assert 12 <= len(changed.side) <= 23
    assert _is_connected(changed.adjacency)
    assert (changed.adjacency == changed.adjacency.T).all()
    assert not changed.adjacency.diagonal().any()
    np.testing.assert_allclose(changed.mixture.sum(1), 1.0, atol=1e-6)
    assert ((changed.mixture > 0).sum(1) <= 16).all()
    left, right = changed.mixture[:, bird.side > 0].sum(1), changed.mixture[:, bird.side < 0].sum(1)
    assert (left[changed.side > 0] > 0).all()
    assert (right[changed.side > 0] == 0).all()


def test_no_skeleton_becomes_too_small() -> None:
    settings = dataclasses.replace(ALWAYS, contracted=0.8, inserted=0, fewest_points=15)
    sizes = [len(changed_skeleton(np.random.default_rng(n), small_sets()[0], settings).side) for n in range(20)]
    assert min(sizes) >= 15


def test_without_changes_the_skeleton_is_that_of_the_set() -> None:
    settings = LfmAugmentationSettings(changes_skeleton=0.0, drops_edges=0.0)
    bird = small_sets()[0]
    changed = changed_skeleton(np.random.default_rng(0), bird, settings)
    np.testing.assert_array_equal(changed.mixture, np.eye(20))
    np.testing.assert_array_equal(changed.adjacency, unchanged(bird).adjacency)


def test_a_skeleton_may_lose_its_end_points_and_nothing_else() -> None:
    settings = dataclasses.replace(ALWAYS, loses_ends=1.0)
    bird = small_sets()[0]
    changed = changed_skeleton(np.random.default_rng(0), bird, settings)
    kept = np.flatnonzero(bird.adjacency.sum(axis=1) > 1)
    np.testing.assert_array_equal(changed.mixture, np.eye(20)[kept])
    np.testing.assert_array_equal(changed.adjacency, bird.adjacency[np.ix_(kept, kept)])
    np.testing.assert_array_equal(changed.side, bird.side[kept])
    too_few = dataclasses.replace(settings, fewest_points=len(kept) + 1)
    assert len(changed_skeleton(np.random.default_rng(0), bird, too_few).side) > len(kept)
