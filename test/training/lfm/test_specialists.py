"""Lifters of one set: what they reach where the answer is within their means, and what they refuse."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")

from lfm_sets import small_sets

from lift3d_ros.datasets.keypoint_views import random_views
from lift3d_ros.errors import DatasetError
from lift3d_ros.evaluation.skeletons import aligned_errors, flat_guess
from lift3d_ros.training.lfm.settings import LfmAugmentationSettings
from lift3d_ros.training.lfm.specialists import ShapeBasis, train_perceptron


def seen_from_anywhere(joints: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    rotations = random_views(np.random.default_rng(3), len(joints), "upright").astype(np.float64)
    turned = joints.astype(np.float64) @ rotations.transpose(0, 2, 1)
    return np.asarray(turned - turned.mean(axis=1, keepdims=True))


def test_a_basis_finds_shapes_that_it_was_made_of() -> None:
    bird = small_sets()[0]
    truth = seen_from_anywhere(bird.joints[bird.frames(is_validation=False)][:20])
    everything = np.ones(truth.shape[:2], dtype=bool)
    found = ShapeBasis.of(bird).lift(truth[:, :, :2], everything)
    error, flat = (aligned_errors(one, truth, everything).mean() for one in (found, flat_guess(truth)))
    assert error < 0.35 * flat
    # Seen points stay where they were seen, up to place and scale.
    own = found[:, :, :2] - found[:, :, :2].mean(axis=1, keepdims=True)
    ratio = own / truth[:, :, :2]
    np.testing.assert_allclose(np.median(ratio, axis=(1, 2)), ratio[:, 0, 0], rtol=1e-3)


def test_a_basis_needs_complete_frames() -> None:
    bird = small_sets()[0]
    valid = bird.valid.copy()
    valid[:, 0] = False
    with pytest.raises(DatasetError, match="0 complete training frames; expected at least 2"):
        ShapeBasis.of(dataclasses.replace(bird, valid=valid))


def test_a_perceptron_learns_its_set() -> None:
    bird = small_sets()[0]
    truth = seen_from_anywhere(bird.joints[bird.frames(is_validation=False)][:40])
    everything = np.ones(truth.shape[:2], dtype=bool)
    settings = LfmAugmentationSettings(noisy=0.0, gappy=0.0)
    lifter = train_perceptron(bird, settings, steps=150, batch=64)
    found = lifter.lift(truth[:, :, :2], everything)
    error, flat = (aligned_errors(one, truth, everything).mean() for one in (found, flat_guess(truth)))
    assert error < 0.6 * flat
