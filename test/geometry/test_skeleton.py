"""Skeletons and their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.errors import ConfigError
from lift3d_ros.geometry.skeleton import load_skeleton, sides_from_names, skeleton_names
from lift3d_ros.types import Skeleton

OWN = """\
joints: [nose, left_hand, right_hand]
edges: [[nose, left_hand], [nose, right_hand]]
lengths:
  - {joints: [nose, left_hand], m: 0.5}
sizes: {robot: 1.0, giant: 3.0}
"""


@pytest.mark.parametrize("name", skeleton_names())
def test_every_skeleton_of_the_package_is_connected_and_balanced(name: str) -> None:
    facts = load_skeleton(name)
    skeleton = facts.skeleton
    reached = np.linalg.matrix_power(skeleton.adjacency.astype(float) + np.eye(len(skeleton)), 40) > 0
    parts = len(np.unique(reached, axis=0))
    assert parts == (3 if name == "mediapipe33" else 1)  # face and mouth are parts of their own there
    left, right = (skeleton.sides == 1).sum(), (skeleton.sides == -1).sum()
    assert (left, right) == {"hand21_left": (21, 0), "hand21_right": (0, 21)}.get(name, (left, left))
    assert facts.size_of("") is not None
    assert len(facts.lengths_m)


@pytest.mark.parametrize(
    ("name", "joints"),
    [("coco17", 17), ("coco_wholebody133", 133), ("human36m17", 17), ("mediapipe33", 33), ("hand21", 21),
     ("hand21_left", 21), ("hand21_right", 21), ("face68", 68), ("ap10k17", 17), ("body25", 25), ("halpe26", 26)],
)  # fmt: skip
def test_the_usual_skeletons_are_there(name: str, joints: int) -> None:
    assert len(load_skeleton(name).skeleton) == joints


def test_a_skeleton_of_ones_own_takes_sides_from_its_names(tmp_path: Path) -> None:
    path = tmp_path / "my_robot.yaml"
    path.write_text(OWN)
    facts = load_skeleton(str(path))
    assert facts.skeleton.name == "my_robot"
    assert facts.skeleton.sides.tolist() == [0, 1, -1]
    assert [facts.size_of(category) for category in ("", "giant", "dog")] == [1.0, 3.0, None]


def test_sides_are_read_from_the_usual_ways_to_write_them() -> None:
    left = ["left_knee", "knee_left", "LKnee", "leftKnee", "l_knee", "knee_l", "Left Knee", "LBigToe"]
    right = ["right_knee", "RKnee", "knee-r", "RightFoot"]
    neither = ["nose", "lowerback", "rump", "lear", "left_right", "pelvis", ""]
    assert sides_from_names(left).tolist() == [1] * len(left)
    assert sides_from_names(right).tolist() == [-1] * len(right)
    assert sides_from_names(neither).tolist() == [0] * len(neither)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[nose, left_hand], [", "[nose, left_hnd], [", "names joint 'left_hnd'.*did you mean 'left_hand'"),
        ("[nose, left_hand], [", "[nose, nose], [", "edge 0 joins joint 0 to itself"),
        ("joints: [nose, left_hand,", "joints: [nose, nose, left_hand,", "'nose' is given twice"),
        ("giant: 3.0", "giant: -3.0", "'sizes.giant' is -3"),
        ("m: 0.5", "m: -0.5", r"'lengths\[0\]' is -0.5 m; expected 0.0001 to 1000 m"),
        (", m: 0.5", "", r"'lengths\[0\].m' is required"),
        ("joints: [nose, left_hand], m", "joints: [nose, nose], m", "distance of 'nose' to itself"),
        ("sizes:", "size:", "unknown name 'size'; did you mean 'sizes'"),
        ("edges:", "left: [nose]\nright: [nose]\nedges:", "is in 'left' and in 'right'"),
    ],
)
def test_mistakes_in_a_file_are_named_with_the_file(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(OWN.replace(old, new))
    with pytest.raises(ConfigError, match=words) as caught:
        load_skeleton(str(path))
    assert "broken.yaml" in str(caught.value)


def test_an_unknown_name_suggests_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'coco17'"):
        load_skeleton("coco_17")


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ([[0, 3]], "edge 0 joins \\[0, 3\\], but there are 3 joints; expected indices 0 to 2"),
        ([[0, 1], [-1, 2]], "edge 1 joins"),
        ([[0.5, 1.0]], "expected pairs of joint indices"),
        ([[0, 1, 2]], "expected pairs of joint indices"),
        ([0, 1], "expected pairs of joint indices"),
    ],
)
def test_edges_out_of_range_are_refused(edges: list[object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Skeleton("x", ("a", "b", "c"), np.array(edges))


def test_sides_other_than_the_three_are_refused_and_double_edges_kept_once() -> None:
    with pytest.raises(ConfigError, match="each -1 \\(right\\), 0"):
        Skeleton("x", ("a", "b"), np.array([[0, 1]]), np.array([2, 0]))
    with pytest.raises(ConfigError, match="has no joints"):
        Skeleton("x", (), np.zeros((0, 2), dtype=np.int64))
    assert len(Skeleton("x", ("a", "b"), np.array([[0, 1], [1, 0], [0, 1]])).edges) == 1
