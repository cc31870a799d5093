"""Other skeletons made from one: edges contracted, points put on bones, edges left out (fact sheet 13.11)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.keypoints import KeypointSet
from lift3d_ros.training.lfm.settings import LfmAugmentationSettings
from lift3d_ros.types import Float32Array


@dataclass(frozen=True, eq=False)
class ChangedSkeleton:
    """A skeleton whose points are mixtures of those of a set.

    Args:
        mixture: (K, J), rows sum to 1.
        adjacency: (K, K) bool, symmetric.
        side: (K,).
    """

    mixture: Float32Array
    adjacency: NDArray[np.bool_]
    side: NDArray[np.int8]


def unchanged(keypoints: KeypointSet) -> ChangedSkeleton:
    """Return the skeleton of a set as it is."""
    return ChangedSkeleton(np.eye(keypoints.num_joints, dtype=np.float32), keypoints.adjacency, keypoints.side)


def changed_skeleton(
    rng: np.random.Generator, keypoints: KeypointSet, settings: LfmAugmentationSettings
) -> ChangedSkeleton:
    """Draw another skeleton."""
    start = unchanged(keypoints)
    mixture, adjacency, side = start.mixture, start.adjacency, start.side
    if rng.random() < settings.changes_skeleton:
        ends = adjacency.sum(axis=1) <= 1
        if rng.random() < settings.loses_ends and len(side) - ends.sum() >= settings.fewest_points:
            return ChangedSkeleton(mixture[~ends], adjacency[np.ix_(~ends, ~ends)], side[~ends])
        most = min(int(settings.contracted * len(side)), len(side) - settings.fewest_points)
        if most > 0:
            removed = int(rng.integers(0, most + 1))
            # Half of the time from the ends, as a detector with fewer points would leave them out.
            mixture, adjacency, side = _contract(rng, mixture, adjacency, side, removed, from_ends=rng.random() < 0.5)
        mixture, adjacency, side = _insert(rng, mixture, adjacency, side, int(rng.integers(0, settings.inserted + 1)))
    if rng.random() < settings.drops_edges:
        first, second = np.nonzero(np.triu(adjacency))
        gone = rng.random(len(first)) < rng.uniform(0.0, 0.3)
        adjacency = adjacency.copy()
        adjacency[first[gone], second[gone]] = adjacency[second[gone], first[gone]] = False
    return ChangedSkeleton(mixture, adjacency, side)


Parts = tuple[Float32Array, NDArray[np.bool_], NDArray[np.int8]]


def _contract(
    rng: np.random.Generator,
    mixture: Float32Array,
    adjacency: NDArray[np.bool_],
    side: NDArray[np.int8],
    count: int,
    *,
    from_ends: bool,
) -> Parts:
    """Take points out one by one; the neighbours of each are joined to one of them."""
    adjacency = adjacency.copy()
    kept = np.ones(len(side), bool)
    for _ in range(count):
        candidates = np.flatnonzero(kept)
        if from_ends:
            ends = candidates[adjacency[candidates].sum(1) <= 1]
            candidates = ends if len(ends) else candidates
        gone = int(rng.choice(candidates))
        neighbours = np.flatnonzero(adjacency[gone])
        if len(neighbours):
            heir = int(rng.choice(neighbours))
            adjacency[heir, neighbours] = adjacency[neighbours, heir] = True
            adjacency[heir, heir] = False
        adjacency[gone] = False
        adjacency[:, gone] = False
        kept[gone] = False
    return mixture[kept], adjacency[np.ix_(kept, kept)], side[kept]


def _insert(
    rng: np.random.Generator,
    mixture: Float32Array,
    adjacency: NDArray[np.bool_],
    side: NDArray[np.int8],
    count: int,
) -> Parts:
    """Put points on edges."""
    for _ in range(count):
        first, second = np.nonzero(np.triu(adjacency))
        if not len(first):
            break
        edge = int(rng.integers(len(first)))
        one, other, share = int(first[edge]), int(second[edge]), np.float32(rng.uniform(0.25, 0.75))
        size = len(side)
        mixture = np.concatenate([mixture, (share * mixture[one] + (1 - share) * mixture[other])[None]])
        grown = np.zeros((size + 1, size + 1), bool)
        grown[:size, :size] = adjacency
        grown[one, other] = grown[other, one] = False
        grown[size, [one, other]] = grown[[one, other], size] = True
        adjacency = grown
        # A point between two sides belongs to neither; a point on a limb belongs to the limb's side.
        new_side = side[one] if side[one] == side[other] or side[other] == 0 else side[other]
        if side[one] * side[other] < 0:
            new_side = np.int8(0)
        side = np.append(side, np.int8(new_side))
    return mixture, adjacency, side
