"""Each disturbance changes what it names, the same in every run, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pytest

from lift3d_ros.evaluation.disturbances import (
    Disturbance,
    DisturbedFrames,
    calibration_errors,
    missing_cameras,
    time_offsets,
    worse_pictures,
)
from lift3d_ros.geometry.rotations import yaw_matrix
from lift3d_ros.images.decode import decode
from lift3d_ros.replay.sets import RecordedSet
from lift3d_ros.replay.source import Labels
from lift3d_ros.types import CameraImage, CameraModel, CameraView, EgoMotion, FrameSet

NAMES = ("front", "left", "back", "right")
_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def frame_set(*, has_ego: bool = True) -> FrameSet:
    views = {}
    for index, name in enumerate(NAMES):
        pixels = np.full((6, 8, 3), 100 + index, dtype=np.uint8)
        image = CameraImage(name, 5, name, "rgb8", pixels.reshape(-1), 8, 6, 24)
        T = np.eye(4)
        T[:3, :3] = yaw_matrix(index * np.pi / 2) @ _OPTICAL
        views[name] = CameraView(image, CameraModel(name, name, 8, 6, np.diag([5.0, 5.0, 1.0])), T)
    ego = EgoMotion(5, np.eye(4), "odom", np.array([10.0, 0.0, 0.0]), np.array([0.0, 0.0, 0.2])) if has_ego else None
    return FrameSet(5, views, ego=ego)


def named(rows: list[Disturbance], name: str) -> Disturbance:
    return next(row for row in rows if row.name == name)


def test_each_camera_is_missing_in_turn_and_then_every_second_one() -> None:
    rows = missing_cameras(NAMES)
    assert [row.name for row in rows] == [f"without {name}" for name in NAMES] + ["half: without left, right"]
    left = named(rows, "without left").apply(frame_set())
    assert left is not None
    assert (tuple(left.views), left.missing, left.cameras) == (("front", "back", "right"), ("left",), NAMES)
    half = rows[-1].apply(frame_set())
    assert half is not None
    assert (tuple(half.views), half.missing) == (("front", "back"), ("left", "right"))


def test_a_lone_camera_is_not_taken_away() -> None:
    assert missing_cameras(("front",)) == []


def test_result_folders_have_plain_and_different_names() -> None:
    rows = missing_cameras(NAMES) + calibration_errors() + time_offsets() + worse_pictures()
    folders = [row.folder for row in rows]
    assert len(set(folders)) == len(rows)
    assert all(letter.isalnum() or letter == "_" for folder in folders for letter in folder)


@pytest.mark.parametrize("axis", ["yaw", "pitch"])
def test_a_calibration_error_turns_what_is_believed_of_the_mounting(axis: str) -> None:
    undisturbed = frame_set()
    disturbed = named(calibration_errors(), f"{axis} ±2°").apply(undisturbed)
    assert disturbed is not None
    signs = []
    for name, view in undisturbed.views.items():
        before, after = view.T_base_cam[:3, 2], disturbed.views[name].T_base_cam[:3, 2]
        assert np.degrees(np.arccos(before @ after)) == pytest.approx(2.0, abs=1e-6)
        # A yaw moves the optical axis within the ground plane, a pitch out of it.
        assert abs(after[2]) == pytest.approx(0.0 if axis == "yaw" else np.sin(np.radians(2.0)), abs=1e-9)
        turn = np.cross(before, after)[2] if axis == "yaw" else after[2]
        signs.append(bool(turn > 0))
        assert disturbed.views[name].image is view.image
    assert signs in ([True, False, True, False], [False, True, False, True]), "in turn, in the order of the cameras"


def test_late_stamps_move_the_capture_by_what_is_driven_meanwhile() -> None:
    disturbed = named(time_offsets(), "stamps 100 ms late").apply(frame_set())
    assert disturbed is not None
    for view in disturbed.views.values():
        assert view.T_reference_capture[:3, 3] == pytest.approx([1.0, 0.0, 0.0])
        assert view.T_reference_capture[:3, :3] == pytest.approx(yaw_matrix(0.02))
    still = named(time_offsets(), "stamps 100 ms late").apply(frame_set(has_ego=False))
    assert still is not None
    assert np.array_equal(still.views["front"].T_reference_capture, np.eye(4))


def test_noise_has_its_strength_and_is_the_same_in_every_run() -> None:
    row = named(worse_pictures(), "noise of 10 of 255")
    first, second = row.apply(frame_set()), row.apply(frame_set())
    assert first is not None
    assert second is not None
    noise = np.concatenate([decode(first.views[n].image).astype(float) - 100 - i for i, n in enumerate(NAMES)])
    assert noise.std() == pytest.approx(10.0, rel=0.15)
    assert not np.array_equal(noise[:6] - noise[:6].mean(), noise[6:12] - noise[6:12].mean())
    for name in NAMES:
        assert np.array_equal(first.views[name].image.data, second.views[name].image.data)


def test_less_light_makes_pictures_darker_as_a_display_shows_it() -> None:
    dark = named(worse_pictures(), "25 % of the light").apply(frame_set())
    assert dark is not None
    assert decode(dark.views["front"].image)[0, 0].tolist() == [round(100 * 0.25 ** (1 / 2.2))] * 3


def test_a_picture_that_cannot_be_decoded_is_left_to_the_detector() -> None:
    whole = frame_set()
    damaged = CameraImage("left", 5, "left", "jpeg", np.zeros(9, np.uint8))
    views = dict(whole.views)
    views["left"] = CameraView(damaged, views["left"].model, views["left"].T_base_cam)
    dark = worse_pictures()[-1].apply(FrameSet(5, views))
    assert dark is not None
    assert dark.views["left"].image is damaged


class _OneSet:
    name, cameras, expected_sets = "one", NAMES, 1
    labels: Mapping[int, Labels] = {}

    def frame_sets(self) -> Iterator[FrameSet]:
        yield frame_set()

    def recorded_frame_sets(self, recorded: Iterable[RecordedSet]) -> Iterator[FrameSet]:
        yield frame_set()


def test_a_disturbed_source_leaves_out_sets_of_which_nothing_is_left() -> None:
    nothing = Disturbance("missing cameras", "all", lambda _: None)
    assert list(DisturbedFrames(_OneSet(), nothing).frame_sets()) == []
    without = DisturbedFrames(_OneSet(), missing_cameras(NAMES)[0])
    assert [item.missing for item in without.frame_sets()] == [("front",)]
    assert without.cameras == NAMES, "the detector keeps a place for the camera"
