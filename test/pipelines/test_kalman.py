"""The filter tells how sure it is: honest covariances, the same whatever the frame rate."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.pipelines.kalman import POSITION, VELOCITY, correct, inverse_2x2, predict, squared_distances


def test_many_short_steps_predict_what_one_long_step_predicts() -> None:
    means, covariances = np.array([[1.0, 2.0, 3.0, -4.0]]), np.diag([0.5, 0.6, 0.7, 0.8])[None]
    density = np.array([2.0])
    far, far_covariance = predict(means, covariances, 1.0, density)
    for _ in range(20):
        means, covariances = predict(means, covariances, 0.05, density)
    np.testing.assert_allclose(means, far, rtol=1e-12)
    np.testing.assert_allclose(covariances, far_covariance, rtol=1e-9)
    assert far[0] == pytest.approx([4.0, -2.0, 3.0, -4.0])


def test_errors_have_the_covariance_that_the_filter_gives() -> None:
    """The normalised squared error of the state has mean 4: over 400 objects, after 30 steps of the assumed motion."""
    random = np.random.default_rng(0)
    count, seconds, density = 400, 0.2, np.full(400, 2.0)
    noise, velocity_noise = np.array([[0.5, 0.2], [0.2, 0.3]]), 0.6 * np.eye(2)
    steps = np.array([[seconds**3 / 3, seconds**2 / 2], [seconds**2 / 2, seconds]]) * 2.0
    truth = random.normal(size=(count, 4))
    means, covariances = np.zeros((count, 4)), np.tile(np.eye(4), (count, 1, 1))
    for _ in range(30):
        pushes = random.multivariate_normal(np.zeros(2), steps, size=(count, 2))  # (position, velocity) of x and of y
        truth = truth + seconds * np.pad(truth[:, 2:], ((0, 0), (0, 2)))
        truth += np.concatenate([pushes[..., 0], pushes[..., 1]], axis=1)
        means, covariances = predict(means, covariances, seconds, density)
        for part, spread in ((POSITION, noise), (VELOCITY, velocity_noise)):
            measured = truth[:, part] + random.multivariate_normal(np.zeros(2), spread, size=count)
            means, covariances = correct(means, covariances, part, measured, np.tile(spread, (count, 1, 1)))
    errors = truth - means
    normalised = np.einsum("ni,nij,nj->n", errors, np.linalg.inv(covariances), errors)
    assert normalised.mean() == pytest.approx(4.0, abs=0.5)
    np.testing.assert_allclose(covariances, covariances.transpose(0, 2, 1), atol=1e-12)


def test_distances_count_in_standard_deviations_along_each_axis() -> None:
    covariance = np.array([[[4.0, 0.0], [0.0, 0.25]]] * 2)
    assert squared_distances(covariance, np.array([[2.0, 0.0], [0.0, 2.0]])) == pytest.approx([1.0, 16.0])
    assert inverse_2x2(covariance) @ covariance == pytest.approx(np.tile(np.eye(2), (2, 1, 1)))
