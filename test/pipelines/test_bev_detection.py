"""The detector from pictures to boxes: backends agree, faults are masked and named, memory is honest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lift3d_ros.errors import EngineError, ImageError
from lift3d_ros.geometry.rig import Rig, RigCamera
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import rpy_matrix
from lift3d_ros.pipelines.bev_detection import BevDetector, DetectorConfig
from lift3d_ros.pipelines.tracking import TrackingConfig
from lift3d_ros.replay.results import detections_to_json
from lift3d_ros.types import BevDetections, Boxes3D, CameraImage, CameraModel, CameraView, FrameSet

pytest.importorskip("torch", reason="torch is not installed")

DetectorFactory = Callable[..., BevDetector]
TOPIC = "/back/image/compressed"


def run(detector: BevDetector, *frames: FrameSet) -> list[BevDetections]:
    return [detector.infer(detector.prepare(frame)) for frame in frames]


def rows(boxes: Boxes3D) -> np.ndarray[Any, Any]:
    """All numbers of the boxes, (M, 11)."""
    angles = [np.sin(boxes.yaws), np.cos(boxes.yaws)]
    return np.column_stack([boxes.labels, boxes.scores, boxes.centers, boxes.sizes, *angles, boxes.velocities])


def assert_same(first: BevDetections, second: BevDetections) -> None:
    np.testing.assert_array_equal(rows(first.boxes), rows(second.boxes))


def assert_all_found(wanted: Boxes3D, among: Boxes3D, tolerance: float) -> None:
    """Every wanted box has a twin; equal scores may be ordered differently."""
    distance = np.abs(rows(wanted)[:, None] - rows(among)[None]).max(axis=-1)
    assert distance.min(axis=1).max() < tolerance


def test_backends_give_the_same_boxes_over_frames_with_memory(
    torch_engine: Any, onnxruntime_engine: Any, vehicle: Any
) -> None:
    frames = [vehicle.frame(t) for t in (0.0, 0.1, 0.2)]
    config = DetectorConfig(score_threshold=0.0, max_boxes=60)
    expected = run(BevDetector(torch_engine, config), *frames)
    found = run(BevDetector(onnxruntime_engine, config), *frames)
    assert [item.temporal_state for item in found] == ["first_frame", "fused", "fused"]
    assert [item.model.backend for item in (expected[0], found[0])] == ["torch", "onnxruntime"]
    for first, second in zip(expected, found, strict=True):
        best = np.arange(50)
        assert_all_found(first.boxes.select(best), second.boxes, 1e-4)
        assert_all_found(second.boxes.select(best), first.boxes, 1e-4)


@pytest.mark.parametrize("engine", ["torch_engine", "onnxruntime_engine"])
def test_fast_cameras_use_the_map_that_a_slow_one_would(
    engine: str, vehicle: Any, request: pytest.FixtureRequest
) -> None:
    bev_engine = request.getfixturevalue(engine)
    facts = dataclasses.replace(bev_engine.model_config, history_s=0.5)
    bev_engine = dataclasses.replace(bev_engine, model_config=facts)
    config = DetectorConfig(score_threshold=0.0, max_boxes=60)
    slow = run(BevDetector(bev_engine, config), *(vehicle.frame(t) for t in (0.0, 0.5)))
    fast = run(BevDetector(bev_engine, config), *(vehicle.frame(0.1 * number) for number in range(6)))
    assert_same(fast[-1], slow[-1])


def test_every_output_says_which_weights_made_it_and_that_they_are_untrained(
    any_detector: DetectorFactory, torch_engine: Any, vehicle: Any
) -> None:
    detector = any_detector()
    (result,) = run(detector, vehicle.frame(0.0))
    assert result.model == detector.identity
    assert result.model.description == "dfa3d_tiny (untrained weights)"
    assert result.model.weights_sha256 == torch_engine.identity.weights_sha256
    assert len(result.model.weights_sha256) == 64


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_a_damaged_picture_drops_its_camera_and_is_named(detector: DetectorFactory, vehicle: Any, damage: str) -> None:
    whole = vehicle.jpeg(0)
    data = {"truncated": whole[: whole.size // 2], "garbage": np.full(999, 7, np.uint8), "empty": whole[:0]}[damage]
    (result,) = run(detector(), vehicle.frame(0.0, back=data))
    assert [(use.name, use.is_used) for use in result.cameras] == [("front", True), ("back", False)]
    (problem,) = result.problems
    assert f"topic '{TOPIC}'" in problem
    (without,) = run(detector(), vehicle.frame(0.0, cameras=("front",)))
    assert_same(result, without)


def test_a_picture_that_does_not_fit_its_calibration_drops_its_camera(detector: DetectorFactory, vehicle: Any) -> None:
    import cv2

    square = np.asarray(cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1]).reshape(-1)
    (result,) = run(detector(), vehicle.frame(0.0, back=square))
    (problem,) = result.problems
    assert f"topic '{TOPIC}': the picture is 64x64, its calibration is for 352x160" in problem
    assert not result.cameras[1].is_used


def test_whatever_goes_wrong_with_one_camera_does_not_cost_the_others(
    detector: DetectorFactory, torch_engine: Any, vehicle: Any
) -> None:
    rig = Rig(cameras={"back": RigCamera(own_vehicle=((),))})
    masked = BevDetector(torch_engine, DetectorConfig(score_threshold=0.0, max_boxes=40), rig)
    (result,) = run(masked, vehicle.frame(0.0))
    (problem,) = result.problems
    assert problem.startswith("camera 'back': cannot be prepared (error: ")
    assert_same(result, *run(detector(), vehicle.frame(0.0, cameras=("front",))))


def test_a_set_without_any_usable_picture_is_refused_with_all_reasons(detector: DetectorFactory, vehicle: Any) -> None:
    broken = np.zeros(10, np.uint8)
    with pytest.raises(ImageError, match=r"no picture of this set can be used: .*/front/image.*/back/image"):
        detector().prepare(vehicle.frame(0.0, front=broken, back=broken))


def test_the_detector_goes_on_after_a_refused_set(detector: DetectorFactory, vehicle: Any) -> None:
    broken = np.zeros(10, np.uint8)
    running = detector()
    run(running, vehicle.frame(0.0))
    with pytest.raises(ImageError):
        running.prepare(vehicle.frame(0.1, front=broken, back=broken))
    (result,) = run(running, vehicle.frame(0.2))
    assert result.temporal_state == "fused"


def test_more_cameras_than_slots_are_refused(detector: DetectorFactory, vehicle: Any) -> None:
    frame = vehicle.frame(0.0)
    views = {f"{name}{i}": view for i in range(2) for name, view in frame.views.items()}
    with pytest.raises(EngineError, match="4 cameras, the engine was opened for 2"):
        detector().prepare(FrameSet(0, views))


def test_ages_and_missing_cameras_are_reported_in_rig_order(detector: DetectorFactory, vehicle: Any) -> None:
    late = vehicle.frame(0.0, cameras=("back",))
    (result,) = run(detector(), FrameSet(40_000_000, late.views, ("front",)))
    used, absent = result.cameras
    assert (used.name, used.is_used, used.stamp_ns) == ("back", True, 0)
    assert used.age_s == pytest.approx(0.04)
    assert (absent.name, absent.is_used) == ("front", False)


@pytest.mark.parametrize(
    ("times", "has_ego", "states"),
    [
        pytest.param((0.0, 0.1), (True, True), ["first_frame", "fused"], id="driving"),
        pytest.param((0.0, 0.1), (False, False), ["first_frame", "no_ego_motion"], id="pose not known"),
        pytest.param((0.0, 9.0), (True, True), ["first_frame", "gap"], id="gap"),
        pytest.param((5.0, 0.0), (True, True), ["first_frame", "first_frame"], id="clock went back"),
    ],
)
def test_where_memory_may_not_be_used_the_result_is_that_of_a_first_frame(
    detector: DetectorFactory, vehicle: Any, times: tuple[float, float], has_ego: tuple[bool, bool], states: list[str]
) -> None:
    frames = [vehicle.frame(t, has_ego=known) for t, known in zip(times, has_ego, strict=True)]
    results = run(detector(), *frames)
    assert [item.temporal_state for item in results] == states
    (alone,) = run(detector(), frames[1])
    is_same = np.array_equal(rows(results[1].boxes), rows(alone.boxes))
    assert is_same == (states[1] != "fused")


@pytest.mark.parametrize("fault", ["raises", "gives NaN"])
def test_after_a_failed_inference_memory_starts_afresh(
    detector: DetectorFactory, vehicle: Any, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    running = detector()
    run(running, vehicle.frame(0.0))
    engine_class = type(running._bev_engine.engine)

    def fail(_self: Any, _inputs: Any, _state: Any) -> dict[str, Any]:
        if fault == "raises":
            raise RuntimeError("out of memory")
        return {"class_logits": np.full((1, 3, 10), np.nan), "box_codes": np.zeros((1, 3, 10))}

    with monkeypatch.context() as patch:
        patch.setattr(engine_class, "run", fail)
        with pytest.raises((RuntimeError, EngineError), match=r"out of memory|not finite"):
            run(running, vehicle.frame(0.1))
    (result,) = run(running, vehicle.frame(0.2))
    assert result.temporal_state == "first_frame"
    assert_same(result, *run(detector(), vehicle.frame(0.2)))


def test_a_wrong_calibration_is_told_from_the_first_box_on(detector: DetectorFactory, vehicle: Any) -> None:
    frame = vehicle.frame(0.0)
    upside_down = np.diag([-1.0, -1.0, 1.0, 1.0])
    view = frame.views["back"]
    turned = CameraView(view.image, view.model, view.T_base_cam @ upside_down)
    wrong = FrameSet(frame.stamp_ns, {**frame.views, "back": turned}, ego=frame.ego)
    for result in run(detector(), wrong, wrong):
        (problem,) = result.problems
        assert "camera 'back': upside down" in problem
    (fine,) = run(detector(), frame)
    assert fine.problems == ()


def test_a_calibration_may_change_while_the_detector_runs(any_detector: DetectorFactory, vehicle: Any) -> None:
    """The front camera is turned by 20 degrees and gets another lens: as if the detector had been started with that."""
    before, after = vehicle.frame(0.0), vehicle.frame(5.0)
    view = after.views["front"]
    intrinsics = view.model.intrinsics * [[0.8], [0.8], [1.0]]
    model = CameraModel("front", view.model.frame_id, vehicle.width, vehicle.height, intrinsics)
    turn = make_transform(rpy_matrix(0.0, 0.0, np.deg2rad(20.0)), np.zeros(3))
    changed = dataclasses.replace(
        after, views={**after.views, "front": CameraView(view.image, model, turn @ view.T_base_cam)}
    )
    running = any_detector()
    first, second = run(running, before, changed)  # five seconds apart: no memory in between
    (alone,) = run(any_detector(), changed)
    assert_same(second, alone)
    (unchanged,) = run(any_detector(), after)
    assert np.abs(rows(second.boxes) - rows(unchanged.boxes)).max() > 1e-4
    assert first.problems == ()


def test_cameras_may_have_pictures_of_different_sizes(detector: DetectorFactory, vehicle: Any) -> None:
    import cv2

    frame = vehicle.frame(0.0)
    view = frame.views["back"]
    picture = cv2.imdecode(view.image.data, cv2.IMREAD_COLOR)
    large = np.asarray(cv2.imencode(".png", cv2.resize(picture, None, fx=4, fy=4))[1]).reshape(-1)
    # Pixel centres: the scaled picture has its first pixel centre at (4 - 1) / 2 of the new pixels.
    scale = np.array([[4.0, 0.0, 1.5], [0.0, 4.0, 1.5], [0.0, 0.0, 1.0]])
    model = CameraModel("back", view.model.frame_id, 4 * vehicle.width, 4 * vehicle.height, scale @ vehicle.intrinsics)
    image = CameraImage("back", view.image.stamp_ns, view.image.frame_id, "png", large)
    mixed = dataclasses.replace(frame, views={**frame.views, "back": CameraView(image, model, view.T_base_cam)})
    (found,), (expected,) = run(detector(), mixed), run(detector(), frame)
    assert found.problems == ()
    # The same scene from the same place; pixels differ a little by resizing twice.
    assert_all_found(expected.boxes.select(np.arange(10)), found.boxes, 0.2)


def test_reset_forgets(any_detector: DetectorFactory, vehicle: Any) -> None:
    running = any_detector()
    run(running, vehicle.frame(0.0))
    running.reset()
    (result,) = run(running, vehicle.frame(0.1))
    assert result.temporal_state == "first_frame"
    assert_same(result, *run(any_detector(), vehicle.frame(0.1)))


def test_a_snapshot_continues_identically(any_detector: DetectorFactory, vehicle: Any) -> None:
    frames = [vehicle.frame(t) for t in (0.0, 0.1, 0.2, 0.3)]
    running = any_detector()
    run(running, *frames[:2])
    snapshot = running.snapshot()
    expected = run(running, *frames[2:])
    resumed = any_detector()
    resumed.restore(snapshot)
    for array in snapshot.values():  # the snapshot belongs to the caller
        if array.flags.writeable:
            array.fill(0)
    found = run(resumed, *frames[2:])
    assert [item.temporal_state for item in found] == ["fused", "fused"]
    for first, second in zip(expected, found, strict=True):
        assert_same(first, second)


def test_two_detectors_of_one_engine_do_not_share_memory(any_detector: DetectorFactory, vehicle: Any) -> None:
    first, second = any_detector(), any_detector()
    run(first, vehicle.frame(0.0))
    run(second, vehicle.frame(7.0))
    (result,) = run(first, vehicle.frame(0.1))
    alone = any_detector()
    assert_same(result, run(alone, vehicle.frame(0.0), vehicle.frame(0.1))[1])


def test_the_same_frames_give_the_same_bytes(detector: DetectorFactory, vehicle: Any) -> None:
    frames = [vehicle.frame(t) for t in (0.0, 0.1)]
    for first, second in zip(run(detector(), *frames), run(detector(), *frames), strict=True):
        assert_same(first, second)


def test_preparing_ahead_does_not_change_results(detector: DetectorFactory, vehicle: Any) -> None:
    frames = [vehicle.frame(t) for t in (0.0, 0.1, 0.2)]
    ahead = detector()
    prepared = [ahead.prepare(frame) for frame in reversed(frames)]
    found = [ahead.infer(item) for item in reversed(prepared)]
    for first, second in zip(run(detector(), *frames), found, strict=True):
        assert_same(first, second)


def test_threshold_and_limit_cut_the_list_of_the_best(detector: DetectorFactory, vehicle: Any) -> None:
    (everything,) = run(detector(max_boxes=100), vehicle.frame(0.0))
    scores = everything.boxes.scores
    assert len(everything.boxes) == 100
    assert bool((np.diff(scores) <= 0).all())
    (few,) = run(detector(max_boxes=7), vehicle.frame(0.0))
    np.testing.assert_array_equal(rows(few.boxes), rows(everything.boxes)[:7])
    middle = float(scores[50])
    (good,) = run(detector(max_boxes=100, score_threshold=middle), vehicle.frame(0.0))
    np.testing.assert_array_equal(good.boxes.scores, scores[scores >= middle])
    (none,) = run(detector(score_threshold=1.0), vehicle.frame(0.0))
    assert (len(none.boxes), none.boxes.frame_id) == (0, "base_link")


def test_boxes_of_a_real_frame_lie_within_the_range_of_the_model(detector: DetectorFactory, vehicle: Any) -> None:
    (result,) = run(detector(max_boxes=1000), vehicle.frame(0.0))
    low, high = np.reshape([-51.2, -51.2, -5.0, 51.2, 51.2, 3.0], (2, 3))
    assert bool(((result.boxes.centers >= low) & (result.boxes.centers <= high)).all())
    assert bool((result.boxes.sizes > 0).all())
    assert bool(((result.boxes.scores >= 0) & (result.boxes.scores <= 1)).all())


# Untrained weights are sure of nothing: every box shall start a track.
EAGER = TrackingConfig(start_score=0.0, continue_score=0.0, instant_score=0.5)


def tracking(torch_engine: Any, tracking: TrackingConfig | None, **changes: Any) -> BevDetector:
    config = DetectorConfig(**{"score_threshold": 0.0, "max_boxes": 40, **changes})
    return BevDetector(torch_engine, config, None, tracking)


def test_disabled_tracking_gives_exactly_the_boxes_that_were_found(torch_engine: Any, vehicle: Any) -> None:
    frames = [vehicle.frame(t) for t in (0.0, 0.1, 0.2)]
    expected = run(tracking(torch_engine, None), *frames)
    found = run(tracking(torch_engine, TrackingConfig(enabled=False)), *frames)
    for first, second in zip(found, expected, strict=True):
        assert_same(first, second)
        assert set(first.boxes.track_ids.tolist()) == {-1}
        assert "tracking" not in first.timings_s
    assert found[0].boxes.scores.tolist() == sorted(found[0].boxes.scores, reverse=True)


def test_tracking_that_smooths_nothing_only_adds_ids(torch_engine: Any, vehicle: Any) -> None:
    frames = [vehicle.frame(t) for t in (0.0, 0.1, 0.2)]
    expected = run(tracking(torch_engine, None), *frames)
    raw = dataclasses.replace(EAGER, smooths_boxes=False, report_unseen_s=0.0)
    for first, second in zip(run(tracking(torch_engine, raw), *frames), expected, strict=True):
        assert_same(first, second)
        assert first.timings_s["tracking"] > 0.0
    assert (first.boxes.track_ids >= 0).any()


def test_the_tracker_sees_boxes_below_the_threshold_of_reported_ones(torch_engine: Any, vehicle: Any) -> None:
    """A track goes on with doubtful boxes, which are reported for its sake."""
    frames = [vehicle.frame(t) for t in (0.0, 0.1, 0.2)]
    *_, found = run(tracking(torch_engine, EAGER, score_threshold=0.99), *frames)
    assert len(found.boxes) > 0
    assert (found.boxes.track_ids >= 0).all()
    assert (found.boxes.scores < 0.99).all()
    *_, without = run(tracking(torch_engine, None, score_threshold=0.99), *frames)
    assert len(without.boxes) == 0


def test_resumed_tracks_keep_ids_and_boxes_to_the_last_digit(torch_engine: Any, vehicle: Any) -> None:
    frames = [vehicle.frame(t) for t in (0.0, 0.1, 0.2, 0.3)]
    running = tracking(torch_engine, EAGER)
    run(running, *frames[:2])
    snapshot = {name: np.array(array) for name, array in running.snapshot().items()}
    expected = run(running, *frames[2:])
    resumed = tracking(torch_engine, EAGER)
    resumed.restore(snapshot)
    found = run(resumed, *frames[2:])
    assert [detections_to_json(item) for item in found] == [detections_to_json(item) for item in expected]
    assert (found[-1].boxes.track_ids >= 0).any()


@pytest.mark.parametrize(
    ("stamp_s", "has_ego"), [(9.0, True), (0.05, True), (0.3, False)], ids=["gap", "clock went back", "no pose"]
)
def test_where_memory_is_not_used_tracks_end_too(
    torch_engine: Any, vehicle: Any, stamp_s: float, has_ego: bool
) -> None:
    running = tracking(torch_engine, EAGER)
    *_, before = run(running, vehicle.frame(0.1), vehicle.frame(0.2))
    (after,) = run(running, vehicle.frame(stamp_s, has_ego=has_ego))
    assert after.temporal_state != "fused"
    assert set(before.boxes.track_ids.tolist()) & set(after.boxes.track_ids.tolist()) <= {-1}
