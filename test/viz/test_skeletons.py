"""Pictures of skeletons."""

from __future__ import annotations

import dataclasses

import numpy as np
from known_shapes import COCO17, PERSON, frame_of, known_lifter, seen_person

from lift3d_ros.types import ModelIdentity, Skeleton3D
from lift3d_ros.viz.skeletons import SIDE_COLORS, draw_keypoints, draw_view, skeleton_sheet


def lifted(joints: np.ndarray = PERSON, **changes: object) -> Skeleton3D:
    values = {
        "skeleton": COCO17.skeleton,
        "hypotheses": np.stack([joints, joints * [1.0, 1.0, -1.0]]),
        "probabilities": np.array([0.9, 0.1]),
        "is_observed": np.ones(17, dtype=bool),
        "uncertainty": np.zeros(17),
        "mirror_cue": "model",
        **changes,
    }
    return Skeleton3D(**values)  # type: ignore[arg-type]


def middle_of(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    rows, columns = np.nonzero((np.abs(picture.astype(int) - color) < 40).all(axis=2))
    return np.array([columns.mean(), rows.mean()])


def test_keypoints_have_the_colour_of_their_side_and_hidden_ones_are_left_out() -> None:
    picture = np.zeros((300, 300, 3), dtype=np.uint8)
    points = PERSON[:, :2] * 150 + 150
    draw_keypoints(picture, points, COCO17.skeleton, np.ones(17, dtype=bool))
    assert middle_of(picture, SIDE_COLORS[1])[0] > 150 > middle_of(picture, SIDE_COLORS[-1])[0]
    empty = np.zeros((300, 300, 3), dtype=np.uint8)
    draw_keypoints(empty, points, COCO17.skeleton, np.zeros(17, dtype=bool))
    assert not empty.any()


def test_from_the_side_depth_becomes_width() -> None:
    front, side = (draw_view(lifted(), turn, 300) for turn in (0.0, 90.0))
    left_front = middle_of(front, SIDE_COLORS[1])[0] - middle_of(front, SIDE_COLORS[-1])[0]
    assert left_front > 30
    # What is near the camera is drawn to the left: the left hand reaches farther than the right knee.
    reach = {
        value: np.nonzero((np.abs(side.astype(int) - SIDE_COLORS[value]) < 40).all(axis=2))[1] for value in (1, -1)
    }
    assert reach[1].min() < reach[-1].min() - 10
    assert reach[1].max() <= reach[-1].max() + 10
    assert (side != front).any()


def test_the_other_copy_is_drawn_only_where_nothing_decided() -> None:
    decided, undecided = (draw_view(lifted(mirror_cue=cue), 45.0, 300) for cue in ("model", "undecided"))
    assert (decided.astype(int) - undecided != 0).any()


def test_a_sheet_shows_pictures_of_any_count_and_warns_of_untrained_weights() -> None:
    lifter, _ = known_lifter()
    for count in (0, 1, 3, 9):
        instances = [seen_person((0.4 * number - 1, 0.2, 4.0), instance_id=number)[1] for number in range(count)]
        result = lifter.infer(lifter.prepare(frame_of(*instances)))
        result = dataclasses.replace(result, model=ModelIdentity("x", "", is_trained=False))
        sheet = skeleton_sheet(np.full((720, 1280, 3), 90, dtype=np.uint8), instances, result, 360)
        assert sheet.shape[0] == 360
        assert (np.abs(sheet[5, :600].astype(int) - [255, 196, 0]) < 30).all(axis=1).any()
        assert skeleton_sheet(None, instances, result, 200).shape[0] == 200


def test_a_skeleton_in_one_point_is_drawn_without_failing() -> None:
    assert draw_view(lifted(np.zeros((17, 3))), 45.0, 64).shape == (64, 64, 3)


def test_a_sheet_takes_keypoints_by_their_place_where_ids_repeat() -> None:
    lifter, _ = known_lifter()
    people = [seen_person(place)[1] for place in ((-1.0, 0.2, 4.0), (1.0, 0.2, 4.0))]
    assert people[0].instance_id == people[1].instance_id
    result = lifter.infer(lifter.prepare(frame_of(*people)))
    picture = np.zeros((720, 1280, 3), dtype=np.uint8)
    sheet = skeleton_sheet(picture, people, result, height_px=720)
    left = (sheet[100:640, :1280].max(axis=2) > 60).any(axis=0)
    for person in people:
        first, last = person.points[:, 0].min(), person.points[:, 0].max()
        assert left[int(first) : int(last)].any()
