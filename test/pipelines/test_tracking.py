"""Ids stay with the object: through crossings, occlusions, doubtful boxes and turns, at any frame rate."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from lift3d_ros.geometry.boxes import transform_boxes
from lift3d_ros.geometry.rigid import invert, make_transform
from lift3d_ros.geometry.rotations import rpy_matrix
from lift3d_ros.pipelines.tracking import BoxTracker, TrackingConfig
from lift3d_ros.types import Boxes3D, EgoMotion, Float64Array

SIZES = {
    "car": [4.5, 1.9, 1.6],
    "truck": [8.0, 2.5, 3.0],
    "pedestrian": [0.7, 0.7, 1.8],
    "robot": [1.0, 1.0, 1.0],
    "barrier": [0.5, 2.5, 1.0],
}
CLASSES = tuple(SIZES)


def boxes(
    places: Sequence[Sequence[float]] | Float64Array,
    velocities: Sequence[Sequence[float]] | Float64Array | None = None,
    *,
    names: Sequence[str] = ("car",),
    scores: Sequence[float] = (0.5,),
    yaws: Sequence[float] = (0.0,),
) -> Boxes3D:
    """Return boxes that stand on the ground at `places` (K, 2); a single name, score or yaw holds for all."""
    at = np.array(places, dtype=float).reshape(-1, 2)
    count = len(at)
    names = [*names] * (count if len(names) == 1 else 1)
    sizes = np.array([SIZES[name] for name in names]).reshape(-1, 3)
    return Boxes3D(
        "base_link",
        CLASSES,
        centers=np.column_stack([at, sizes[:, 2] / 2]),
        sizes=sizes,
        yaws=np.broadcast_to(yaws, count),
        velocities=np.full((count, 2), np.nan)
        if velocities is None
        else np.array(velocities, dtype=float).reshape(-1, 2),
        scores=np.broadcast_to(scores, count),
        labels=np.array([CLASSES.index(name) for name in names], dtype=np.int64),
    )


class Sequenced:
    """A tracker that is given frames one after the other, with the vehicle standing unless told otherwise."""

    def __init__(self, **config: Any) -> None:
        self.tracker = BoxTracker(TrackingConfig(**config))
        self.is_first = True

    def step(self, found: Boxes3D, stamp_s: float, T_world_base: Float64Array | None = None) -> Boxes3D:
        stamp_ns = round(stamp_s * 1e9)
        ego = EgoMotion(stamp_ns, np.eye(4) if T_world_base is None else T_world_base)
        result = self.tracker.update(found, stamp_ns, ego, is_continued=not self.is_first)
        self.is_first = False
        return result


def ids(found: Boxes3D) -> list[int]:
    assert found.track_ids is not None
    return [int(track_id) for track_id in found.track_ids]


# Without velocities two steps a second do not tell who is who.
@pytest.mark.parametrize(
    ("rate_hz", "knows_velocity"), [(2.0, True), (10.0, True), (20.0, True), (10.0, False), (20.0, False)]
)
def test_pedestrians_that_cross_keep_their_ids(rate_hz: float, knows_velocity: bool) -> None:
    """They meet at 4 s and pass each other 0.6 m apart; positions are measured to 0.1 m."""
    random = np.random.default_rng(0)
    velocities = np.array([[0.0, 1.5], [0.0, -1.5]])
    start = np.array([[8.0, -6.0], [8.6, 6.0]])
    tracked = Sequenced()
    seen = []
    for index in range(round(8 * rate_hz)):
        at = start + velocities * index / rate_hz + random.normal(scale=0.1, size=(2, 2))
        measured = velocities + random.normal(scale=0.3, size=(2, 2)) if knows_velocity else None
        seen.append(ids(tracked.step(boxes(at, measured, names=["pedestrian"]), index / rate_hz)))
    assert all(frame == [1, 2] for frame in seen[1:])


@pytest.mark.parametrize("rate_hz", [2.0, 20.0])
def test_an_object_that_is_hidden_for_a_second_comes_back_with_its_id(rate_hz: float) -> None:
    """Reported for half a second where it is expected with a falling score, then kept in mind."""
    tracked = Sequenced()
    velocity = np.array([8.0, 0.0])
    scores: dict[float, float] = {}
    for index in range(round(5 * rate_hz) + 1):
        stamp_s = index / rate_hz
        at = np.array([-10.0, 5.0]) + velocity * stamp_s
        is_hidden = 2.0 < stamp_s < 3.0
        result = tracked.step(boxes([] if is_hidden else [at], [] if is_hidden else [velocity]), stamp_s)
        if stamp_s > 2.0 and is_hidden:
            unseen_s = stamp_s - 2.0
            assert len(result) == (unseen_s <= 0.5 + 1e-9)
            if len(result):
                assert result.centers[0, :2] == pytest.approx(at, abs=0.3)
                assert result.velocities[0] == pytest.approx(velocity, abs=0.5)
                scores[unseen_s] = float(result.scores[0])
        elif stamp_s >= 1 / rate_hz:
            assert ids(result) == [1]
    falling = [scores[key] for key in sorted(scores)]
    assert falling == sorted(falling, reverse=True)
    assert 0.0 < falling[-1] < falling[0] < 0.5 or rate_hz == 2.0


def test_an_object_that_is_gone_for_longer_gets_another_id() -> None:
    tracked = Sequenced(max_unseen_s=1.5)
    for stamp_s in (0.0, 0.1):
        tracked.step(boxes([[10, 0]], [[0, 0]]), stamp_s)
    for stamp_s in (1.0, 1.7):
        tracked.step(boxes([]), stamp_s)
    found = [ids(tracked.step(boxes([[10, 0]], [[0, 0]]), stamp_s)) for stamp_s in (1.8, 1.9)]
    assert found == [[-1], [2]]


def test_a_single_false_box_never_gets_an_id_but_is_reported() -> None:
    """Twenty doubtful ghosts in each frame, each at another place, beside one real object."""
    random = np.random.default_rng(1)
    tracked = Sequenced(confirm_hits=3)
    given: set[int] = set()
    for index in range(40):
        ghosts = random.uniform(-200, 200, (20, 2))
        found = tracked.step(boxes([[5, 0], *ghosts], np.zeros((21, 2)), names=["pedestrian"]), index * 0.1)
        assert len(found) == 21
        given |= set(ids(found))
    assert given == {-1, 1}


def test_a_sure_box_has_its_id_at_once_and_another_one_when_it_is_confirmed() -> None:
    tracked = Sequenced(confirm_hits=3, instant_score=0.6)
    found = [
        ids(tracked.step(boxes([[5, 0], [20, 0]], np.zeros((2, 2)), scores=[0.7, 0.5]), stamp_s))
        for stamp_s in (0.0, 0.1, 0.2)
    ]
    assert found == [[1, -1], [1, -1], [1, 2]]


def test_doubtful_boxes_continue_tracks_but_start_none() -> None:
    tracked = Sequenced(start_score=0.3, continue_score=0.1)
    places, still = [[5, 0], [20, 0]], np.zeros((2, 2))
    for index in range(2):
        tracked.step(boxes(places[:1], still[:1]), index * 0.1)
    for index in range(2, 30):
        found = tracked.step(boxes(places, still, scores=[0.15, 0.15]), index * 0.1)
        assert ids(found) == [1, -1]
    too_weak = tracked.step(boxes(places, still, scores=[0.05, 0.05]), 3.0)
    assert ids(too_weak)[:2] == [-1, -1]


@pytest.mark.parametrize("knows_velocity", [True, False])
def test_a_vehicle_that_turns_gives_nothing_a_velocity(knows_velocity: bool) -> None:
    """40 degrees a second on the spot, past parked cars 30 m away, which then sweep by at 21 m/s."""
    in_world = np.array([[30.0, 0.0], [0.0, 30.0], [-30.0, 5.0]])
    tracked = Sequenced()
    for index in range(30):
        stamp_s = index * 0.1
        T_world_base = make_transform(rpy_matrix(0.0, 0.0, np.deg2rad(40) * stamp_s), [5.0, 1.0, 0.0])
        parked = boxes(in_world, np.zeros((3, 2)) if knows_velocity else None)
        found = tracked.step(transform_boxes(invert(T_world_base), parked, "base_link"), stamp_s, T_world_base)
    assert ids(found) == [1, 2, 3]
    assert np.abs(found.velocities).max() < 0.05
    np.testing.assert_allclose(found.centers, transform_boxes(invert(T_world_base), parked, "").centers, atol=0.05)


def test_velocities_are_over_ground_along_the_axes_of_the_vehicle_while_it_drives() -> None:
    """A car at 10 m/s northwards, seen from a vehicle that heads east at 5 m/s; nobody measures its velocity."""
    tracked = Sequenced()
    for index in range(30):
        stamp_s = index * 0.1
        T_world_base = make_transform(rpy_matrix(0.0, 0.0, np.pi / 2), [3.0, 5.0 * stamp_s, 0.0])
        car = boxes([[10.0, 10.0 * stamp_s - 15.0]], yaws=[np.pi / 2])
        found = tracked.step(transform_boxes(invert(T_world_base), car, "base_link"), stamp_s, T_world_base)
    assert found.velocities[0] == pytest.approx([10.0, 0.0], abs=0.2)
    assert found.yaws[0] == pytest.approx(0.0, abs=1e-6)


def test_smoothed_boxes_are_nearer_to_the_truth_than_detected_ones() -> None:
    random = np.random.default_rng(2)
    velocity = np.array([6.0, 1.0])
    tracked, errors = Sequenced(), []
    for index in range(80):
        truth = np.array([-20.0, 12.0]) + velocity * index * 0.1
        yaw = 0.3 + random.normal(scale=0.1) + (np.pi if index % 7 == 3 else 0.0)  # now and then back to front
        measured = boxes(
            [truth + random.normal(scale=0.5, size=2)], [velocity + random.normal(scale=1.0, size=2)], yaws=[yaw]
        )
        found = tracked.step(
            dataclasses.replace(measured, sizes=measured.sizes * random.uniform(0.8, 1.2)), index * 0.1
        )
        if index >= 20:
            raw = np.linalg.norm(measured.centers[0, :2] - truth), np.linalg.norm(measured.velocities[0] - velocity)
            smooth = np.linalg.norm(found.centers[0, :2] - truth), np.linalg.norm(found.velocities[0] - velocity)
            errors.append([*raw, *smooth, abs(found.yaws[0] - 0.3), abs(found.sizes[0, 0] / 4.5 - 1)])
    position, velocity_error, smooth_position, smooth_velocity, yaw_error, size = np.mean(errors, axis=0)
    assert smooth_position < 0.7 * position
    assert smooth_velocity < 0.5 * velocity_error
    assert yaw_error < 0.1
    assert size < 0.05


def test_boxes_stay_as_detected_where_that_is_asked_for() -> None:
    random = np.random.default_rng(3)
    tracked = Sequenced(smooths_boxes=False)
    for index in range(5):
        measured = boxes(random.normal([[10, 0]], 0.5), [[0.3, 0.1]], yaws=[random.normal()])
        found = tracked.step(measured, index * 0.1)
        for name in ("centers", "sizes", "yaws", "velocities", "scores", "labels"):
            np.testing.assert_array_equal(getattr(found, name), getattr(measured, name))
    assert ids(found) == [1]


def test_a_heading_that_is_back_to_front_for_good_turns_the_track_round() -> None:
    tracked = Sequenced()
    yaws = [0.0] * 5 + [np.pi] * 10
    found = [float(tracked.step(boxes([[9, 0]], [[0, 0]], yaws=[yaw]), k * 0.1).yaws[0]) for k, yaw in enumerate(yaws)]
    assert np.abs(found[5:8]).max() < 1e-6
    assert abs(found[-1]) == pytest.approx(np.pi)


def test_the_class_is_that_of_most_boxes_and_changes_only_among_what_looks_alike() -> None:
    tracked = Sequenced()
    for index in range(12):
        name = "truck" if index % 4 == 3 else "car"
        found = tracked.step(boxes([[9, 0]], [[0, 0]], names=[name]), index * 0.1)
        assert found.labels.tolist() == [CLASSES.index("car")]
    assert ids(found) == [1]
    walker = tracked.step(boxes([[9, 0]], [[0, 0]], names=["pedestrian"]), 1.2)
    assert ids(walker)[0] == -1


@pytest.mark.parametrize(("rate_hz", "most"), [(2.0, 30), (10.0, 5)])
def test_a_class_of_which_the_detector_is_not_sure_does_not_flicker(rate_hz: float, most: int) -> None:
    """Car and truck evenly at random change 200 times in 400 boxes."""
    random = np.random.default_rng(0)
    tracked, labels = Sequenced(), []
    for index in range(400):
        name = ("car", "truck")[int(random.random() < 0.5)]
        found = boxes([[9, 0]], [[0, 0]], names=[name], scores=[random.uniform(0.5, 0.6)])
        labels.append(int(tracked.step(found, index / rate_hz).labels[0]))
    assert np.count_nonzero(np.diff(labels)) <= most


@pytest.mark.parametrize("rate_hz", [2.0, 10.0])
@pytest.mark.parametrize(("wrong_s", "corrected_s"), [(0.0, 1.0), (1.0, 1.5), (30.0, 2.5)])
def test_a_class_that_was_wrong_is_corrected_and_stays(rate_hz: float, wrong_s: float, corrected_s: float) -> None:
    """Taken for a truck once, for a second, or for as long as it was far away."""
    tracked, num_wrong, labels = Sequenced(), round(wrong_s * rate_hz) or 1, []
    for index in range(num_wrong + round(5 * rate_hz)):
        name = "truck" if index < num_wrong else "car"
        labels.append(int(tracked.step(boxes([[9, 0]], [[0, 0]], names=[name]), index / rate_hz).labels[0]))
    assert set(labels[:num_wrong]) == {CLASSES.index("truck")}
    assert set(labels[num_wrong + round(corrected_s * rate_hz) :]) == {CLASSES.index("car")}


def test_classes_of_other_names_are_tracked_too() -> None:
    tracked = Sequenced()
    found = [ids(tracked.step(boxes([[9 + 0.1 * k, 0]], [[1, 0]], names=["robot"]), k * 0.1)) for k in range(3)]
    assert found == [[-1], [1], [1]]


def test_two_boxes_of_one_object_make_one_track() -> None:
    tracked = Sequenced()
    for index in range(6):
        found = tracked.step(
            boxes([[9, 0], [9.1, 0.1]], np.zeros((2, 2)), names=["car", "truck"], scores=[0.7, 0.65]), index * 0.1
        )
        assert ids(found) == [1, -1]


@pytest.mark.parametrize("name", ["car", "truck"])
def test_a_second_box_behind_the_first_one_starts_no_track(name: str) -> None:
    """Of a vehicle at 20 m a camera often makes two boxes, one metres behind the other; that one passes without id."""
    tracked = Sequenced()
    for index in range(6):
        found = tracked.step(
            boxes([[20, 0], [23, 0.2]], np.zeros((2, 2)), names=["car", name], scores=[0.7, 0.65]), index * 0.1
        )
        assert ids(found) == [1, -1]


@pytest.mark.parametrize(
    ("name", "gap", "yaw"), [("car", 5.5, 0.0), ("barrier", 2.5, 0.0), ("barrier", 2.5, np.pi / 2)]
)
def test_what_stands_in_a_row_keeps_its_tracks(name: str, gap: float, yaw: float) -> None:
    """Cars bumper to bumper; barriers end to end, also where their heading is taken for the one across."""
    along = np.array([gap, 0.0]) if name == "car" else np.array([0.0, gap])
    tracked = Sequenced()
    for index in range(6):
        places = np.array([15.0, 2.0]) + along * np.arange(3)[:, None]
        found = tracked.step(boxes(places, np.zeros((3, 2)), names=[name], scores=[0.7], yaws=[yaw]), index * 0.1)
        assert ids(found) == [1, 2, 3]


def test_of_two_tracks_that_come_to_one_place_the_one_that_was_seen_more_often_stays() -> None:
    tracked = Sequenced()
    found = []
    for index in range(12):
        places = [[20.0, 0.0], [max(26.0 - 0.6 * index, 21.0), 0.0]]
        present = 2 if index >= 2 else 1
        found.append(ids(tracked.step(boxes(places[:present], np.zeros((present, 2)), scores=[0.5]), index * 0.1)))
    assert found[5] == [1, 2]
    assert found[-1] == [1, -1]


def test_without_ego_motion_nothing_is_tracked_and_ids_start_anew() -> None:
    tracked = Sequenced()
    sure = boxes([[9, 0]], [[0, 0]], scores=[0.9])
    assert ids(tracked.step(sure, 0.0)) == [1]
    lost = tracked.tracker.update(sure, 100_000_000, None, is_continued=False)
    assert lost is sure
    again = tracked.tracker.update(sure, 200_000_000, EgoMotion(200_000_000, np.eye(4)), is_continued=False)
    assert ids(again) == [2]


@pytest.mark.parametrize("ending", ["reset", "not continued"])
def test_after_a_reset_or_a_jump_of_the_clock_no_id_is_used_again(ending: str) -> None:
    tracked = Sequenced()
    sure = boxes([[9, 0]], [[0, 0]], scores=[0.9])
    tracked.step(sure, 50.0)
    if ending == "reset":
        tracked.tracker.reset()
    tracked.is_first = ending == "not continued"
    assert ids(tracked.step(sure, 3.0 if tracked.is_first else 50.1)) == [2]


def test_a_restored_tracker_goes_on_with_the_same_numbers() -> None:
    random = np.random.default_rng(4)
    frames = [
        boxes(random.normal(scale=0.3, size=(8, 2)) + np.arange(8)[:, None] * [4, 0], np.zeros((8, 2)),
              scores=random.uniform(0.05, 0.9, 8))
        for _ in range(12)
    ]  # fmt: skip
    whole, first, second = Sequenced(), Sequenced(), Sequenced()
    expected = [whole.step(frame, index * 0.1) for index, frame in enumerate(frames)]
    for index, frame in enumerate(frames[:5]):
        first.step(frame, index * 0.1)
    snapshot = first.tracker.snapshot()
    first.step(frames[5], 0.5)  # the snapshot is not touched by what follows
    second.tracker.restore(snapshot)
    second.is_first = False
    for index in range(5, 12):
        found = second.step(frames[index], index * 0.1)
        for name in ("track_ids", "centers", "sizes", "yaws", "velocities", "scores", "labels"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected[index], name))


def test_a_snapshot_keeps_the_class_that_is_reported() -> None:
    first, second, earlier = Sequenced(), Sequenced(), Sequenced()
    for index, name in enumerate(["car", "truck", "truck"]):  # the truck leads, but not clearly
        first.step(boxes([[9, 0]], [[0, 0]], names=[name], scores=[0.9 if name == "car" else 0.7]), index * 0.1)
    snapshot = first.tracker.snapshot()
    second.tracker.restore(snapshot)
    del snapshot["tracking.labels"]  # as earlier versions wrote it
    earlier.tracker.restore(snapshot)
    second.is_first = earlier.is_first = False
    doubtful = boxes([[9, 0]], [[0, 0]], names=["truck"], scores=[0.1])
    assert [item.step(doubtful, 0.3).labels.tolist() for item in (second, earlier)] == [[0], [1]]


def test_no_boxes_at_all_is_a_frame_like_any_other() -> None:
    tracked = Sequenced()
    assert len(tracked.step(boxes([]), 0.0)) == 0
    assert ids(tracked.step(boxes([[9, 0]], [[0, 0]], scores=[0.9]), 0.1)) == [1]


def fastest_steps_s(*counts: int) -> list[float]:
    """Return the time of the fastest frame for each number of boxes, frame by frame in turns."""
    tracked, seconds, random = [Sequenced() for _ in counts], np.zeros((30, len(counts))), np.random.default_rng(5)
    starts = [random.uniform(-50, 50, (count, 2)) for count in counts]
    velocities = [random.normal(scale=3.0, size=(count, 2)) for count in counts]
    for index in range(30):
        for number, (start, velocity) in enumerate(zip(starts, velocities, strict=True)):
            scores = random.uniform(0.3, 0.9, len(start))
            found = boxes(start + velocity * index * 0.1, velocity, scores=scores)
            begin = time.perf_counter()
            tracked[number].step(found, index * 0.1)
            seconds[index, number] = time.perf_counter() - begin
    return [float(time_s) for time_s in seconds[5:].min(axis=0)]


def test_a_hundred_boxes_take_hardly_longer_than_ten() -> None:
    ten, hundred = fastest_steps_s(10, 100)
    assert hundred < 4.0 * ten  # ten times the boxes, mostly the same calls of NumPy; 1.3 to 2 on a busy core


@pytest.mark.slow  # on a machine that does nothing else
def test_a_hundred_boxes_take_about_a_millisecond() -> None:
    (hundred,) = fastest_steps_s(100)
    assert hundred < 3e-3
