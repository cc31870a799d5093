"""Ways round a corner: from a lane of one road into a lane of another."""

from __future__ import annotations

import numpy as np

from lift3d_ros.simulation.layout import Lane, Place, Road
from lift3d_ros.simulation.paths import Path
from lift3d_ros.types import Float64Array

_REACH_M = 70.0


def into_arm(place: Place, arm: Road, lane_d: float, direction: float, *, start_m: float = _REACH_M) -> Path:
    """Return the way along a lane of the main road, from `start_m` before the junction, and into an arm.

    Args:
        lane_d: d of the way on the main road.
        direction: of the traffic there, 1 towards greater s.
    """
    before = _toward(place, arm, lane_d, direction, start_m)
    target = min((lane for lane in arm.lanes() if lane.direction > 0), key=lambda lane: abs(lane.d))
    after = arm.path.points(np.arange(arm.reach[0] + 2.0, arm.reach[1], 1.0), target.d)
    return Path.through(np.concatenate([before, _bend(before, after), after]))


def out_of_arm(place: Place, arm: Road, target: Lane) -> Path:
    """Return the way out of an arm and along a lane of the main road."""
    source = min((lane for lane in arm.lanes() if lane.direction < 0), key=lambda lane: abs(lane.d))
    before = arm.path.points(np.arange(arm.reach[0] + 60.0, arm.reach[0] + 2.0, -1.0), source.d)
    after = _toward(place, arm, target.d, -target.direction, _REACH_M)[::-1]
    return Path.through(np.concatenate([before, _bend(before, after), after]))


def _toward(place: Place, arm: Road, d: float, direction: float, start_m: float) -> Float64Array:
    """Return points along the main road up to the junction, in the direction of travel."""
    assert place.cross_s is not None
    end = max(arm.kerb(1.0), arm.kerb(-1.0)) + 2.0
    s = place.cross_s - direction * np.arange(start_m, end, -1.0)
    low, high = place.main.reach
    return place.main.path.points(s[(s > low) & (s < high)], d)


def _bend(before: Float64Array, after: Float64Array) -> Float64Array:
    """Return a smooth curve between two polylines (cubic, with their directions at its ends)."""
    start, end = before[-1], after[0]
    handle = 0.55 * float(np.linalg.norm(end - start))
    first = start + handle * _direction(before[-1] - before[-2])
    second = end - handle * _direction(after[1] - after[0])
    t = np.linspace(0.0, 1.0, 26)[1:-1, None]
    curve = (1 - t) ** 3 * start + 3 * (1 - t) ** 2 * t * first + 3 * (1 - t) * t**2 * second + t**3 * end
    return np.asarray(curve)


def _direction(vector: Float64Array) -> Float64Array:
    return np.asarray(vector / np.linalg.norm(vector))
