"""Keypoints as detectors write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lift3d_ros.datasets.keypoint_json import read_keypoint_file
from lift3d_ros.errors import ConfigError, DatasetError
from lift3d_ros.geometry.skeleton import load_skeleton

FLAT = [float(value) for joint in range(17) for value in (10 * joint + 5, 3 * joint + 2, 0.9)]


def written(folder: Path, document: Any) -> Path:
    path = folder / "keypoints.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def landmarks(count: int) -> list[dict[str, float]]:
    return [{"x": joint / count, "y": 0.5, "z": 0.0, "visibility": 0.8} for joint in range(count)]


def test_the_people_of_the_reference_data_are_read(shared_dir: Path) -> None:
    content = read_keypoint_file(shared_dir / "data" / "people" / "keypoints_coco17.json")
    counts = {picture.name: len(picture.instances) for picture in content.pictures}
    assert counts["apollo11_crew.jpg"] == 3
    assert counts["astronaut.jpg"] == 0
    assert sum(counts.values()) == 9
    assert list(content.skeletons) == ["coco17"]
    person = next(picture for picture in content.pictures if picture.name == "apollo11_crew.jpg").instances[0]
    assert person.category == "person"
    assert person.seen().sum() < 12  # legs are outside of the picture


def test_flags_of_annotations_become_confidences(tmp_path: Path) -> None:
    flat = [*FLAT]
    flat[2::3] = [2.0, 1.0, 0.0] + [2.0] * 14
    document = {
        "images": [{"id": 3, "file_name": "a.jpg"}],
        "annotations": [{"id": 8, "image_id": 3, "category_id": 1, "keypoints": flat}, {"id": 9, "image_id": 3}],
        "categories": [{"id": 1, "name": "person"}],
    }
    (picture,) = read_keypoint_file(written(tmp_path, document)).pictures
    (person,) = picture.instances
    assert (picture.name, person.instance_id, person.skeleton) == ("a.jpg", 8, "coco17")
    assert person.confidence is not None
    assert person.confidence[:4].tolist() == [1.0, 0.6, 0.0, 1.0]
    assert person.seen()[:3].tolist() == [True, True, False]


@pytest.mark.parametrize("first_index", [0, 1])
def test_an_own_category_brings_its_own_skeleton_counted_from_zero_or_one(tmp_path: Path, first_index: int) -> None:
    edges = [[first_index, first_index + 1], [first_index + 1, first_index + 2]]
    document = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 4, "keypoints": [1, 1, 2, 5, 9, 2, 7, 3, 2]}],
        "categories": [{"id": 4, "name": "lamp", "keypoints": ["base", "left_arm", "head"], "skeleton": edges}],
    }
    content = read_keypoint_file(written(tmp_path, document))
    skeleton = content.skeletons["lamp"].skeleton
    assert skeleton.edges.tolist() == [[0, 1], [1, 2]]
    assert skeleton.sides.tolist() == [0, 1, 0]
    assert content.pictures[0].instances[0].category == "lamp"


def test_results_are_grouped_by_picture_and_zeros_are_not_seen(tmp_path: Path) -> None:
    missing = [*FLAT]
    missing[3:6] = [0.0, 0.0, 0.4]
    document = [
        {"image_id": 5, "category_id": 1, "keypoints": FLAT, "score": 0.8},
        {"image_id": 6, "category_id": 1, "keypoints": FLAT, "score": 0.8, "track_id": 4},
        {"image_id": 5, "category_id": 1, "keypoints": missing, "score": 0.8},
    ]
    first, second = read_keypoint_file(written(tmp_path, document)).pictures
    assert [(first.name, len(first.instances)), (second.name, len(second.instances))] == [("5", 2), ("6", 1)]
    assert [instance.instance_id for instance in first.instances] == [0, 1]
    assert second.instances[0].track_id == 4
    assert first.instances[1].seen().tolist() == [joint != 1 for joint in range(17)]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda points: {"pose_landmarks": [points], "width": 640, "height": 480},
        lambda points: {"pose_landmarks": {"landmark": points}, "image_width": 640, "image_height": 480},
        lambda points: points,
    ],
)
def test_mediapipe_landmarks_become_pixels(tmp_path: Path, wrap: Any) -> None:
    content = read_keypoint_file(written(tmp_path, wrap(landmarks(33))), image_size=(640, 480))
    (person,) = content.pictures[0].instances
    assert person.skeleton == "mediapipe33"
    np.testing.assert_allclose(person.points[11], [640 * 11 / 33 - 0.5, 239.5])
    assert person.confidence is not None
    assert person.confidence[0] == 0.8


@pytest.mark.parametrize(
    ("values", "confidence"),
    [
        ({"visibility": 0.0, "presence": 0.0}, 1.0),
        ({"visibility": None, "presence": None}, 1.0),
        ({"visibility": None, "presence": 0.7}, 0.7),
    ],
)
def test_landmarks_of_hands_have_no_visibility_and_are_seen(
    tmp_path: Path, values: dict[str, Any], confidence: float
) -> None:
    hands = {"hand_landmarks": [[{**point, **values} for point in landmarks(21)]], "width": 640, "height": 480}
    (hand,) = read_keypoint_file(written(tmp_path, hands)).pictures[0].instances
    assert hand.confidence is not None
    assert hand.confidence.tolist() == [confidence] * 21


def test_a_landmark_that_is_not_visible_beside_others_is_not_seen(tmp_path: Path) -> None:
    points = landmarks(33)
    points[4]["visibility"] = 0.0
    (person,) = read_keypoint_file(written(tmp_path, points), image_size=(640, 480)).pictures[0].instances
    assert np.flatnonzero(~person.seen()).tolist() == [4]


def test_two_hands_and_openpose_people_are_read(tmp_path: Path) -> None:
    hands = {"hand_landmarks": [landmarks(21), landmarks(21)], "width": 640, "height": 480}
    assert [h.skeleton for h in read_keypoint_file(written(tmp_path, hands)).pictures[0].instances] == ["hand21"] * 2
    people = {"people": [{"pose_keypoints_2d": [1.0, 2.0, 0.5] * 25}]}
    assert read_keypoint_file(written(tmp_path, people)).pictures[0].instances[0].skeleton == "body25"


def test_a_named_skeleton_wins_and_has_to_fit(tmp_path: Path) -> None:
    path = written(tmp_path, [{"image_id": 1, "keypoints": FLAT}])
    assert list(read_keypoint_file(path, load_skeleton("ap10k17")).skeletons) == ["ap10k17"]
    with pytest.raises(ConfigError, match="an instance has 17 keypoints, and skeleton 'hand21' has 21 joints"):
        read_keypoint_file(path, load_skeleton("hand21"))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "is not valid JSON"),
        ({}, "no keypoints found"),
        ([{"image_id": 1, "keypoints": [1, 2]}], "expected x, y and score"),
        (
            [{"image_id": 1, "keypoints": [[1, 2]] * 18}],
            "36 keypoint values, 2 for each joint; expected x, y and score",
        ),
        ([{"image_id": 1, "keypoints": ["a", "b", "c"]}], "cannot be read"),
        ([{"image_id": 1, "keypoints": [1, 2, 3] * 19}], "name the skeleton with --skeleton"),
        ({"annotations": [{"keypoints": FLAT}]}, "'image_id' is missing"),
        ({"annotations": 3}, r"'annotations' cannot be read \(it is no list\)"),
        ({"annotations": {"1": {"keypoints": FLAT}}}, r"'annotations' cannot be read \(it is no list\)"),
        (
            {"annotations": [{"image_id": 1, "keypoints": FLAT}, {"keypoints": FLAT}]},
            r"annotations\[1\] cannot be read",
        ),
        ({"people": [3]}, r"people\[0\] cannot be read"),
        ("[" * 900 + "]" * 900, "keypoints cannot be read"),
        ({"pose_landmarks": [landmarks(33)]}, "give the picture with --image"),
        ("[" * 100_000, "is not valid JSON"),
    ],
)
def test_damaged_files_are_refused_with_the_file_and_what_to_do(tmp_path: Path, document: Any, words: str) -> None:
    path = written(tmp_path, document)
    with pytest.raises((DatasetError, ConfigError), match=words) as caught:
        read_keypoint_file(path)
    assert str(path) in str(caught.value)


def test_results_without_detections_are_no_pictures(tmp_path: Path) -> None:
    assert read_keypoint_file(written(tmp_path, [])).pictures == ()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.json: cannot be read"):
        read_keypoint_file(tmp_path / "none.json")


def test_two_categories_of_one_name_keep_their_own_skeletons(tmp_path: Path) -> None:
    def category(number: int, joints: int) -> dict[str, Any]:
        edges = [[joint, joint + 1] for joint in range(1, joints)]
        return {"id": number, "name": "thing", "keypoints": [f"{number}_{j}" for j in range(joints)], "skeleton": edges}

    document = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [
            {"image_id": 1, "category_id": number, "keypoints": [5, 6, 2] * joints}
            for number, joints in ((1, 5), (2, 7), (1, 5))
        ],
        "categories": [category(1, 5), category(2, 7)],
    }
    content = read_keypoint_file(written(tmp_path, document))
    sizes = [len(content.skeletons[one.skeleton].skeleton) for one in content.pictures[0].instances]
    assert sizes == [5, 7, 5]
    assert len(content.skeletons) == 2


def test_a_file_tells_the_sizes_of_its_pictures(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}, {"id": 2, "file_name": "b.jpg"}]
    annotations = [{"image_id": number, "keypoints": FLAT} for number in (1, 2)]
    content = read_keypoint_file(written(tmp_path, {"images": images, "annotations": annotations}))
    assert [picture.size for picture in content.pictures] == [(640, 480), None]
    landmarked = {"pose_landmarks": [landmarks(33)], "image_width": 320, "image_height": 200}
    assert read_keypoint_file(written(tmp_path, landmarked)).pictures[0].size == (320, 200)


def test_results_may_name_their_category(tmp_path: Path) -> None:
    named: list[dict[str, Any]] = [{"category_name": "child", "category": "person"}, {"category": "dog"}, {}]
    path = written(tmp_path, [{"image_id": 1, "keypoints": FLAT, **names} for names in named])
    assert [one.category for one in read_keypoint_file(path).pictures[0].instances] == ["child", "dog", ""]


def test_a_track_that_is_null_is_none(tmp_path: Path) -> None:
    path = written(tmp_path, [{"image_id": 1, "keypoints": FLAT, "track_id": track} for track in (None, 0)])
    assert [one.track_id for one in read_keypoint_file(path).pictures[0].instances] == [-1, 0]
