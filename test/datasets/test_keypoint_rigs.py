"""Categories made by forward kinematics: bones keep their length, sides mirror each other."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.datasets.keypoint_creatures import creatures
from lift3d_ros.datasets.keypoint_made import made_sets
from lift3d_ros.datasets.keypoint_rigs import Figure, Joint, both_sides, sample_figure
from lift3d_ros.datasets.keypoint_vehicles import rigid_figures


def _arm() -> Figure:
    joints = (
        Joint("body", "", (0.0, 0.0, 0.0)),
        *both_sides((Joint("elbow", "body", (0.0, 1.0, 0.0), (("z", 0, 90),)), Joint("hand", "elbow", (0.0, 1.0, 0.0))),
                    ("body",)),
    )  # fmt: skip
    return Figure("arm", "generated", joints, axis_spread=0.0)


def test_bones_of_a_subject_keep_their_length() -> None:
    made = sample_figure(_arm(), subjects=5, frames=20, seed=0)
    lengths = np.linalg.norm(made.joints[:, made.edges[:, 0]] - made.joints[:, made.edges[:, 1]], axis=-1)
    for subject in range(5):
        assert np.ptp(lengths[made.subject == subject], axis=0).max() < 1e-5


def test_the_right_side_bends_as_the_mirror_image_of_the_left() -> None:
    joints = {joint.name: joint for joint in _arm().joints}
    assert joints["elbow_right"].offset == (0.0, -1.0, 0.0)
    assert joints["elbow_right"].turns == (("z", -90, 0),)
    assert joints["hand_right"].parent == "elbow_right"


def test_the_same_seed_gives_the_same_frames() -> None:
    first, second = made_sets(3), made_sets(3)
    assert all(np.array_equal(one.joints, other.joints) for one, other in zip(first, second, strict=True))


def test_made_sets_are_named_after_their_number_of_points_and_have_both_splits() -> None:
    sets = made_sets()
    assert len(sets) >= 6
    for one in sets:
        assert one.name.endswith(str(one.num_joints))
        assert one.is_validation.any()
        assert not one.is_validation.all()
        assert not set(one.subject[one.is_validation]) & set(one.subject[~one.is_validation])


@pytest.mark.parametrize("figure", [*creatures(), *rigid_figures()], ids=lambda figure: figure.name)
def test_a_made_skeleton_is_connected(figure: Figure) -> None:
    made = sample_figure(figure, subjects=1, frames=1, seed=0)
    reached = made.adjacency | np.eye(made.num_joints, dtype=bool)
    for _ in range(made.num_joints):
        reached = (reached.astype(int) @ reached.astype(int)) > 0
    assert reached.all()
