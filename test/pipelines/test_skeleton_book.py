"""A skeleton is found by its name, or made of the edges that came with the keypoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_shapes import COCO17

from lift3d_ros.errors import ConfigError
from lift3d_ros.geometry.skeleton import SkeletonFacts
from lift3d_ros.pipelines.skeleton_book import SkeletonBook

NAMES = COCO17.skeleton.joint_names
NONE: Any = ()


def find(book: SkeletonBook, name: str, count: int, names: Any = NONE, edges: Any = NONE, sides: Any = NONE) -> Any:
    return book.find(name, count, tuple(names), np.array(edges, np.uint16), np.array(sides, np.uint8))


@pytest.fixture(scope="module")
def book() -> SkeletonBook:
    return SkeletonBook(max_joints=300)


@pytest.mark.parametrize("names", [NONE, NAMES])
def test_a_known_name_brings_edges_sizes_and_stance_of_its_file(book: SkeletonBook, names: Any) -> None:
    facts = find(book, "coco17", 17, names)
    assert facts.skeleton.name == "coco17"
    assert facts.size_of("person") == 1.0
    assert facts.lower
    assert (facts.skeleton.sides != 0).sum() == 16


def test_what_a_known_name_brings_wins_over_edges_of_the_message(book: SkeletonBook) -> None:
    assert find(book, "coco17", 17, NAMES, edges=[0, 1]) is find(book, "coco17", 17, NAMES, edges=[0, 1])
    assert len(find(book, "coco17", 17, NAMES, edges=[0, 1]).skeleton.edges) == 19


def test_sides_of_a_message_take_the_place_of_those_of_the_file(book: SkeletonBook) -> None:
    hand = find(book, "hand21", 21)
    left = find(book, "hand21", 21, sides=[1] * 21)
    assert (set(hand.skeleton.sides), set(left.skeleton.sides)) == ({0}, {1})
    assert np.array_equal(left.skeleton.edges, hand.skeleton.edges)
    assert left.size_of("child") == hand.size_of("child")
    assert find(book, "hand21", 21, sides=[0] * 21) is hand
    # A field that was filled with zeros does not say that a person has no left and right.
    assert find(book, "coco17", 17, sides=[0] * 17) is find(book, "coco17", 17)


def test_an_unknown_skeleton_is_made_of_its_edges_and_sides(book: SkeletonBook) -> None:
    facts = find(book, "crane", 3, edges=[0, 1, 1, 2], sides=[0, 1, 2])
    assert facts.skeleton.edges.tolist() == [[0, 1], [1, 2]]
    assert facts.skeleton.sides.tolist() == [0, 1, -1]
    assert facts.skeleton.joint_names == ("joint0", "joint1", "joint2")
    assert facts.size_of("") is None


def test_without_sides_joint_names_tell_left_and_right(book: SkeletonBook) -> None:
    assert find(book, "", 2, ("left_tip", "right_tip"), [0, 1]).skeleton.sides.tolist() == [1, -1]
    assert find(book, "", 2, ("left_tip", "right_tip"), [0, 1]).skeleton.name == "unnamed"


def test_a_known_name_with_other_joints_is_what_the_message_says_it_is(book: SkeletonBook) -> None:
    facts = find(book, "coco17", 3, edges=[0, 1])
    assert len(facts.skeleton) == 3
    assert facts.size_of("person") is None


def test_a_skeleton_file_of_the_user_is_known_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "gripper.yaml"
    path.write_text("joints: [palm, tip]\nedges: [[palm, tip]]\nsizes: {gripper: 1.0}\n", encoding="utf-8")
    facts: SkeletonFacts = find(SkeletonBook([str(path)]), "gripper", 2)
    assert facts.skeleton.joint_names == ("palm", "tip")
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: file not found"):
        SkeletonBook(["/nowhere.yaml"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"name": "coco_17", "count": 17}, r"'coco_17' is not known; did you mean 'coco17'\?", id="typo"),
        pytest.param({"name": "crane", "count": 3}, r"and edges is empty; .* Send the edges, or name", id="no edges"),
        pytest.param({"name": "", "count": 3}, r"skeleton is '', and edges is empty", id="no name"),
        pytest.param({"name": "coco17", "count": 16}, r"16 joints; expected the 17 of skeleton 'coco17'", id="count"),
        pytest.param(
            {"name": "coco17", "count": 17, "names": ("nose", *NAMES[2:], "tail")},
            r"joint_names\[1\] is 'right_eye'; expected 'left_eye'",
            id="order",
        ),
        pytest.param(
            {"name": "a", "count": 3, "edges": [0, 1, 1, 9]},
            r"edge 1 joins \[1, 9\], but there are 3 joints",
            id="edge",
        ),
        pytest.param({"name": "a", "count": 3, "edges": [0, 1, 1]}, r"edges has 3 values; expected pairs", id="odd"),
        pytest.param(
            {"name": "a", "count": 2, "edges": [0, 1], "sides": [0, 7]}, r"sides\[1\] is 7; expected 0", id="side"
        ),
        pytest.param(
            {"name": "hand21", "count": 21, "sides": [3] * 21}, r"sides\[0\] is 3; expected 0", id="known side"
        ),
        pytest.param(
            {"name": "hand21", "count": 21, "sides": [1]}, r"sides has 1 values; expected 21", id="number of sides"
        ),
        pytest.param({"name": "a", "count": 500, "edges": [0, 1]}, r"500 joints; expected at most 300", id="500"),
        pytest.param(
            {"name": "a", "count": 2, "names": ("x", "x"), "edges": [0, 1]},
            r"joint name 'x' is given twice",
            id="twice",
        ),
    ],
)
def test_what_cannot_be_a_skeleton_is_refused_with_the_field(
    book: SkeletonBook, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        find(book, **values)


def test_messages_that_describe_ever_other_skeletons_do_not_fill_the_memory() -> None:
    book = SkeletonBook()
    for number in range(600):
        find(book, f"own{number}", 2, edges=[0, 1])
    assert len(book._remembered) <= 256
