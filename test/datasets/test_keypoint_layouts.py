"""Joint sets of detectors made from motion capture: noses point forward, sides keep their meaning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.datasets.keypoint_layouts import layout_sets
from lift3d_ros.datasets.keypoints import KeypointSet, read_keypoint_folder
from lift3d_ros.geometry.skeleton import load_skeleton


@pytest.fixture(scope="module")
def layouts(shared_dir: Path) -> dict[str, KeypointSet]:
    return {one.name: one for one in layout_sets(read_keypoint_folder(shared_dir / "data" / "keypoints"))}


def test_all_layouts_have_their_number_of_points(layouts: dict[str, KeypointSet]) -> None:
    people = {"coco17": 17, "mediapipe33": 33, "human36m17": 17, "body25": 25, "halpe26": 26}
    expected = {**people, "ap10k17": 17, "hand21_left": 21, "hand21_right": 21}
    assert {name.removeprefix("layout_"): one.num_joints for name, one in layouts.items()} == expected


def test_a_nose_points_where_the_toes_do(layouts: dict[str, KeypointSet]) -> None:
    body = layouts["layout_mediapipe33"]
    points = dict(zip(body.joint_names, body.joints.transpose(1, 0, 2), strict=True))
    nose = points["nose"] - (points["ear_left"] + points["ear_right"]) / 2
    for side in ("left", "right"):
        toes = points[f"toe_{side}"] - points[f"heel_{side}"]
        assert ((nose * toes).sum(1) > 0).mean() > 0.95


@pytest.mark.parametrize(
    "name",
    ["coco17", "mediapipe33", "human36m17", "body25", "halpe26", "ap10k17", "hand21_left", "hand21_right"],
)
def test_a_layout_has_the_edges_that_the_skeleton_of_this_name_gives_to_its_users(
    name: str, layouts: dict[str, KeypointSet]
) -> None:
    skeleton = load_skeleton(name).skeleton
    layout = layouts[f"layout_{name}"]
    assert np.array_equal(layout.side, skeleton.sides)
    assert np.array_equal(layout.adjacency, skeleton.adjacency)


def test_a_hand_of_unknown_side_has_the_edges_of_one_of_known_side() -> None:
    expected = load_skeleton("hand21_left").skeleton
    hand = load_skeleton("hand21").skeleton
    assert hand.joint_names == expected.joint_names
    assert np.array_equal(hand.adjacency, expected.adjacency)
    whole_body = load_skeleton("coco_wholebody133").skeleton
    for first in (91, 112):
        assert np.array_equal(whole_body.adjacency[first : first + 21, first : first + 21], expected.adjacency)


def test_small_toes_lie_outside_of_big_ones(layouts: dict[str, KeypointSet]) -> None:
    for name in ("layout_body25", "layout_halpe26"):
        body = layouts[name]
        points = dict(zip(body.joint_names, body.joints.transpose(1, 0, 2), strict=True))
        for side in ("left", "right"):
            outward = points[f"hip_{side}"] - points["mid_hip"]
            apart = points[f"small_toe_{side}"] - points[f"big_toe_{side}"]
            ahead = points[f"big_toe_{side}"] - points[f"heel_{side}"]
            assert ((apart * outward).sum(1) > 0).mean() > 0.99
            assert ((apart * ahead).sum(1) < 0).mean() > 0.99


def test_the_left_eye_is_on_the_side_of_the_left_shoulder(layouts: dict[str, KeypointSet]) -> None:
    for name in ("layout_coco17", "layout_ap10k17"):
        body = layouts[name]
        points = dict(zip(body.joint_names, body.joints.transpose(1, 0, 2), strict=True))
        eyes = points["eye_left"] - points["eye_right"]
        shoulders = points["shoulder_left"] - points["shoulder_right"]
        assert ((eyes * shoulders).sum(1) > 0).mean() > 0.95


def test_the_split_of_the_measured_sets_is_kept(layouts: dict[str, KeypointSet]) -> None:
    body = layouts["layout_coco17"]
    assert not set(body.subject[body.is_validation]) & set(body.subject[~body.is_validation])


def test_nothing_is_made_from_sets_that_are_absent() -> None:
    assert layout_sets([]) == []
