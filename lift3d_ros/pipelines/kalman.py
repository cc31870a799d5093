"""A constant-velocity Kalman filter over many objects at once, seen from above: state x, y, vx, vy in one world frame.

The symmetric 2x2 matrices of the measurements are inverted in closed form, so results do not depend on a solver.

Source: Bar-Shalom, Li, Kirubarajan, "Estimation with Applications to Tracking and Navigation", sections 5.2 and 6.2.2.
"""

from __future__ import annotations

import numpy as np

from lift3d_ros.types import Float64Array

POSITION, VELOCITY = slice(0, 2), slice(2, 4)


def predict(
    means: Float64Array, covariances: Float64Array, seconds: float, acceleration: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Move states (N, 4) and their covariances (N, 4, 4) on by `seconds`.

    The process noise is that of continuous white acceleration: two short steps give what one long step gives, so the
    frame rate does not matter.

    Args:
        acceleration: (N,) its power spectral density, m²/s³.
    """
    transition = np.eye(4)
    transition[0, 2] = transition[1, 3] = seconds
    unit = np.zeros((4, 4))
    unit[[0, 1], [0, 1]] = seconds**3 / 3
    unit[[0, 1, 2, 3], [2, 3, 0, 1]] = seconds**2 / 2
    unit[[2, 3], [2, 3]] = seconds
    noise = acceleration[:, None, None] * unit
    return means @ transition.T, transition @ covariances @ transition.T + noise


def correct(
    means: Float64Array, covariances: Float64Array, part: slice, measured: Float64Array, noise: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Take in measurements (N, 2) of the `part` of the state, with noise covariances (N, 2, 2)."""
    gain = covariances[:, :, part] @ inverse_2x2(covariances[:, part, part] + noise)
    innovation = measured - means[:, part]
    means = means + (gain @ innovation[:, :, None])[:, :, 0]
    # Joseph's form: stays symmetric and positive whatever is rounded.
    keep = np.tile(np.eye(4), (len(means), 1, 1))
    keep[:, :, part] -= gain
    covariances = keep @ covariances @ keep.transpose(0, 2, 1) + gain @ noise @ gain.transpose(0, 2, 1)
    return means, covariances


def squared_distances(covariances: Float64Array, offsets: Float64Array) -> Float64Array:
    """Return the squared Mahalanobis distances (N,) of `offsets` (N, 2) under `covariances` (N, 2, 2)."""
    inverse = inverse_2x2(covariances)
    x, y = offsets[:, 0], offsets[:, 1]
    return np.asarray(inverse[:, 0, 0] * x * x + 2 * inverse[:, 0, 1] * x * y + inverse[:, 1, 1] * y * y)


def determinants_2x2(matrices: Float64Array) -> Float64Array:
    """Return the determinants (N,) of matrices (N, 2, 2)."""
    return np.asarray(matrices[:, 0, 0] * matrices[:, 1, 1] - matrices[:, 0, 1] * matrices[:, 1, 0])


def inverse_2x2(matrices: Float64Array) -> Float64Array:
    """Return the inverses of regular matrices (N, 2, 2)."""
    adjugate = np.empty_like(matrices)
    adjugate[:, 0, 0], adjugate[:, 1, 1] = matrices[:, 1, 1], matrices[:, 0, 0]
    adjugate[:, 0, 1], adjugate[:, 1, 0] = -matrices[:, 0, 1], -matrices[:, 1, 0]
    return np.asarray(adjugate / determinants_2x2(matrices)[:, None, None])
