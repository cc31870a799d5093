"""The categories that the package makes itself; the same seed gives the same frames."""

from __future__ import annotations

from lift3d_ros.datasets.keypoint_creatures import creatures
from lift3d_ros.datasets.keypoint_rigs import sample_figure
from lift3d_ros.datasets.keypoint_vehicles import rigid_figures
from lift3d_ros.datasets.keypoints import KeypointSet

_SUBJECTS = 40
_FRAMES_MOVING = 40
_FRAMES_RIGID = 10


def made_sets(seed: int = 0) -> list[KeypointSet]:
    """Return twelve categories of animals, machines and objects."""
    moving = [sample_figure(one, subjects=_SUBJECTS, frames=_FRAMES_MOVING, seed=seed) for one in creatures()]
    rigid = [sample_figure(one, subjects=_SUBJECTS, frames=_FRAMES_RIGID, seed=seed) for one in rigid_figures()]
    return moving + rigid
