"""The skeleton lifter, with a network that gives the right shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from known_shapes import CAMERA, COCO17, PERSON, KnownShapes, frame_of, known_lifter, seen_person

from lift3d_ros.engines.protocol import Arrays, EngineState
from lift3d_ros.errors import CalibrationError, EngineError, TransformError
from lift3d_ros.evaluation.skeletons import aligned_errors, centred_errors
from lift3d_ros.geometry.rotations import rotation_vectors_to_matrices
from lift3d_ros.geometry.skeleton import SkeletonFacts
from lift3d_ros.pipelines.skeleton_batches import KeypointFrame, LifterConfig
from lift3d_ros.pipelines.skeleton_engine import LfmEngine
from lift3d_ros.pipelines.skeleton_lifting import SkeletonLifter, SkeletonLiftingConfig
from lift3d_ros.pipelines.skeleton_scale import KnownLength
from lift3d_ros.pipelines.skeleton_smoothing import SmoothingConfig
from lift3d_ros.types import Boxes3D, CameraModel, Float64Array, Keypoints2D, ModelIdentity, Skeleton, Skeletons3D

KNEE = KnownLength("left_hip", "left_knee", float(np.linalg.norm(PERSON[11] - PERSON[13])))
UP = np.array([0.0, -1.0, 0.0])
VALID = np.ones((1, 17), dtype=bool)


def lift(frame: KeypointFrame, config: SkeletonLiftingConfig | None = None, **network: float) -> Skeletons3D:
    lifter, _ = known_lifter(config, **network)  # type: ignore[arg-type]
    return lifter.infer(lifter.prepare(frame))


def line_skeleton(joints: int, name: str = "chain") -> SkeletonFacts:
    edges = np.array([[joint, joint + 1] for joint in range(joints - 1)])
    return SkeletonFacts(Skeleton(name, tuple(f"j{joint}" for joint in range(joints)), edges))


def random_keypoints(joints: int, name: str, number: int = 0) -> Keypoints2D:
    points = np.random.default_rng(number).uniform(100, 600, (joints, 2))
    return Keypoints2D(points, skeleton=name, instance_id=number)


# --- placement -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [(0.0, 0.0, 3.0), (1.6, 0.3, 3.0), (-2.0, 0.0, 5.0), (0.3, 0.2, 2.0)])
def test_a_known_bone_length_places_the_person_in_metres(place: tuple[float, float, float]) -> None:
    joints, keypoints = seen_person(place)
    result = lift(frame_of(keypoints, known_lengths=(KNEE,)))
    (skeleton,) = result.skeletons
    assert (skeleton.is_metric, skeleton.scale_source, result.frame_id) == (True, "bone_length", "front_optical")
    np.testing.assert_allclose(skeleton.joints, joints, atol=0.01)


def test_each_mirror_image_has_a_scale_of_its_own() -> None:
    _, keypoints = seen_person((0.3, 0.2, 1.5))
    (skeleton,) = lift(frame_of(keypoints, known_lengths=(KNEE,))).skeletons
    lengths = np.linalg.norm(skeleton.hypotheses[:, 11] - skeleton.hypotheses[:, 13], axis=1)
    np.testing.assert_allclose(lengths, KNEE.m, rtol=1e-6)


def test_seen_joints_stay_on_their_rays() -> None:
    _, keypoints = seen_person()
    noisy = dataclasses.replace(
        keypoints, points=keypoints.points + np.random.default_rng(0).normal(size=(17, 2)) * 3.0
    )
    (skeleton,) = lift(frame_of(noisy)).skeletons
    projected = 900.0 * skeleton.joints[:, :2] / skeleton.joints[:, 2:] + [640.0, 360.0]
    np.testing.assert_allclose(projected, noisy.points, atol=1e-6)


def test_a_distorted_lens_gives_the_same_joints() -> None:
    from lift3d_ros.geometry.camera import project

    fisheye = CameraModel(
        "wide", "wide_optical", 1280, 720, np.array([[400.0, 0, 640], [0, 400, 360], [0, 0, 1]]), "equidistant",
        np.array([0.02, -0.01, 0.0, 0.0]),
    )  # fmt: skip
    joints, _ = seen_person((2.0, 0.3, 2.2))
    pixels, _ = project(fisheye, joints)
    keypoints = Keypoints2D(pixels, skeleton="coco17", category="person")
    (skeleton,) = lift(frame_of(keypoints, camera=fisheye, known_lengths=(KNEE,))).skeletons
    np.testing.assert_allclose(skeleton.joints, joints, atol=0.02)


def test_without_a_known_length_the_category_gives_the_size_and_its_uncertainty() -> None:
    joints, keypoints = seen_person()
    (skeleton,) = lift(frame_of(keypoints)).skeletons
    assert skeleton.scale_source == "category_size"
    distance, true = (float(np.linalg.norm(points.mean(axis=0))) for points in (skeleton.joints, joints))
    assert distance == pytest.approx(true, rel=3 * skeleton.scale_std)
    assert 0.04 < skeleton.scale_std < 0.2
    (child,) = lift(frame_of(dataclasses.replace(keypoints, category="child"))).skeletons
    np.testing.assert_allclose(child.joints, 0.72 * skeleton.joints, rtol=1e-6)


def test_depth_gives_the_distance_although_a_third_of_the_joints_is_hidden() -> None:
    joints, keypoints = seen_person()
    depth = np.full((720, 1280), np.nan, dtype=np.float32)
    for number, (column, row) in enumerate(np.rint(keypoints.points).astype(int)):
        reading = 1.0 if number % 3 == 0 else joints[number, 2]
        depth[row - 3 : row + 4, column - 3 : column + 4] = reading
    (skeleton,) = lift(frame_of(keypoints, depth=depth)).skeletons
    assert skeleton.scale_source == "depth"
    np.testing.assert_allclose(skeleton.joints, joints, rtol=0.03, atol=0.03)
    nothing = np.zeros((720, 1280), dtype=np.float32)
    assert lift(frame_of(keypoints, depth=nothing)).skeletons[0].scale_source == "category_size"


@pytest.mark.parametrize(
    ("joints_with_depth", "size", "category", "source"),
    [
        pytest.param([15], 0.4, "person", "category_size", id="a post before one ankle"),
        pytest.param(range(17), 3.0, "person", "category_size", id="the wall behind a thin net"),
        pytest.param(range(17), 0.55, "person", "depth", id="a child that the detector calls person"),
        pytest.param([15], 0.4, "giant", "depth", id="a size that is not known"),
    ],
)
def test_depth_is_refused_where_it_makes_an_object_of_impossible_size(
    joints_with_depth: Iterable[int], size: float, category: str, source: str
) -> None:
    joints, keypoints = seen_person()
    depth = np.zeros((720, 1280), dtype=np.float32)
    for number in joints_with_depth:
        column, row = np.rint(keypoints.points[number]).astype(int)
        depth[row - 3 : row + 4, column - 3 : column + 4] = size * joints[number, 2]
    result = lift(frame_of(dataclasses.replace(keypoints, category=category), depth=depth))
    assert result.skeletons[0].scale_source == source
    if source == "depth":
        assert result.problems == ()
    else:
        (problem,) = result.problems
        assert "times as large as category 'person'" in problem
        assert "depth is registered to these pictures" in problem


def test_known_lengths_tell_what_depth_is_possible_before_the_category_does() -> None:
    joints, keypoints = seen_person()
    toddler = KnownLength("left_hip", "left_knee", 0.4 * KNEE.m)
    depth = np.zeros((720, 1280), dtype=np.float32)
    for number, (column, row) in enumerate(np.rint(keypoints.points).astype(int)):
        depth[row - 3 : row + 4, column - 3 : column + 4] = 0.4 * joints[number, 2]
    result = lift(frame_of(keypoints, depth=depth, known_lengths=(toddler,)))
    assert (result.skeletons[0].scale_source, result.problems) == ("depth", ())
    result = lift(frame_of(keypoints, depth=depth, known_lengths=(KNEE,)))
    assert result.skeletons[0].scale_source == "bone_length"
    (problem,) = result.problems
    assert "with its depth it is 0.4 times as large as known_lengths say" in problem


def car_behind(joints: Float64Array) -> Boxes3D:
    """Return the box of a car at two and a half times the distance of the person."""
    center = 2.5 * 0.5 * (joints.min(axis=0) + joints.max(axis=0))
    return Boxes3D(
        "front_optical", ("car",), center[None], np.full((1, 3), 2.0), np.zeros(1), np.zeros((1, 2)), np.ones(1),
        np.zeros(1),
    )  # fmt: skip


def test_a_box_is_not_judged_where_depth_counts() -> None:
    joints, keypoints = seen_person()
    depth = np.full((720, 1280), np.median(joints[:, 2]), dtype=np.float32)
    result = lift(frame_of(keypoints, depth=depth, boxes=car_behind(joints)))
    assert (result.skeletons[0].scale_source, result.problems) == ("depth", ())


def test_the_box_of_a_car_behind_a_person_is_refused() -> None:
    joints, keypoints = seen_person()
    result = lift(frame_of(keypoints, boxes=car_behind(joints)))
    assert result.skeletons[0].scale_source == "category_size"
    (problem,) = result.problems
    assert "with its box it is 2.5 times as large" in problem


def test_the_box_around_a_person_gives_the_distance() -> None:
    joints, keypoints = seen_person()
    center = 0.5 * (joints.min(axis=0) + joints.max(axis=0))
    centers = np.array([center, [5.0, 0.0, 4.0]])
    boxes = Boxes3D(
        "front_optical", ("person",), centers, np.ones((2, 3)), np.zeros(2), np.zeros((2, 2)), np.ones(2), np.zeros(2)
    )
    (skeleton,) = lift(frame_of(keypoints, boxes=boxes)).skeletons
    assert skeleton.scale_source == "box"
    np.testing.assert_allclose(skeleton.joints, joints, atol=0.05)


def test_a_joint_of_low_confidence_far_away_does_not_take_the_box_of_another() -> None:
    joints, keypoints = seen_person((0.0, 0.0, 20.0))
    assert keypoints.confidence is not None
    confidence, points = keypoints.confidence.copy(), keypoints.points.copy()
    confidence[9], points[9] = 0.05, (2.0, 2.0)
    center = 0.5 * (joints.min(axis=0) + joints.max(axis=0))
    between = np.array([-1.7, -1.0, 5.0])  # seen in the middle between the person and the joint
    boxes = Boxes3D(
        "front_optical", ("person",), np.array([center, between]), np.ones((2, 3)), np.zeros(2), np.zeros((2, 2)),
        np.ones(2), np.zeros(2),
    )  # fmt: skip
    (skeleton,) = lift(
        frame_of(dataclasses.replace(keypoints, points=points, confidence=confidence), boxes=boxes)
    ).skeletons
    assert skeleton.scale_source == "box"
    assert skeleton.joints[:, 2].mean() == pytest.approx(20.0, abs=0.5)


def test_without_calibration_the_result_is_normalised_and_says_so() -> None:
    joints, keypoints = seen_person((0.0, 0.0, 100.0))
    result = lift(frame_of(keypoints, camera=None))
    (skeleton,) = result.skeletons
    assert (skeleton.is_metric, skeleton.scale_source) == (False, "none")
    assert np.isnan(skeleton.scale_std)
    assert any("not in metres" in problem for problem in result.problems)
    np.testing.assert_allclose(skeleton.joints[:, :2].mean(axis=0), 0.0, atol=1e-9)
    assert np.abs(skeleton.joints[:, :2]).max() == pytest.approx(1.0)
    better = min(float(aligned_errors(part[None], joints[None], VALID).mean()) for part in skeleton.hypotheses)
    assert better < 0.005


def test_joints_that_were_not_seen_are_completed_and_marked() -> None:
    joints, keypoints = seen_person()
    confidence = np.ones(17)
    confidence[[9, 16]] = 0.05
    moved = keypoints.points.copy()
    moved[[9, 16]] = 0.0
    hidden = dataclasses.replace(keypoints, points=moved, confidence=confidence, is_visible=None)
    (skeleton,) = lift(frame_of(hidden, known_lengths=(KNEE,))).skeletons
    assert skeleton.is_observed.tolist() == [joint not in (9, 16) for joint in range(17)]
    np.testing.assert_allclose(skeleton.joints, joints, atol=0.02)
    assert skeleton.score == pytest.approx(15 / 17)


# --- mirror images ---------------------------------------------------------------------------------------------------


def test_from_near_perspective_tells_the_person_from_the_mirror_image() -> None:
    joints, keypoints = seen_person((0.0, 0.0, 2.5))
    (skeleton,) = lift(frame_of(keypoints)).skeletons
    assert skeleton.mirror_cue == "perspective"
    assert skeleton.probabilities[0] > 0.9
    assert centred_errors(skeleton.joints[None], joints[None], VALID).mean() < 0.05
    assert centred_errors(skeleton.hypotheses[1][None], joints[None], VALID).mean() > 0.1


def test_from_far_away_nothing_decides_and_both_are_given() -> None:
    joints, keypoints = seen_person((0.0, 0.0, 120.0))
    (skeleton,) = lift(frame_of(keypoints, known_lengths=(KNEE,))).skeletons
    assert skeleton.mirror_cue == "undecided"
    assert skeleton.probabilities[0] < 0.75
    better = min(float(centred_errors(part[None], joints[None], VALID).mean()) for part in skeleton.hypotheses)
    assert better < 0.02
    assert skeleton.uncertainty[9] > 0.15  # the hand is either in front of the body or behind it


@pytest.mark.parametrize("sign_logit", [4.0, -4.0])
def test_from_far_away_the_network_decides_where_it_is_sure(sign_logit: float) -> None:
    _, keypoints = seen_person((0.0, 0.0, 120.0))
    (skeleton,) = lift(frame_of(keypoints), sign_logit=sign_logit).skeletons
    assert skeleton.mirror_cue == "model"
    hand_is_near = skeleton.joints[9, 2] < skeleton.joints[5, 2]
    assert hand_is_near == (sign_logit > 0)


def test_from_far_away_gravity_decides_while_the_camera_looks_down() -> None:
    pitch = np.deg2rad(35.0)
    down = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    joints = PERSON @ down + [0.0, 0.0, 120.0]
    pixels = 900.0 * joints[:, :2] / joints[:, 2:] + [640.0, 360.0]
    keypoints = Keypoints2D(pixels, skeleton="coco17", category="person")
    lifter, _ = known_lifter(shapes={17: joints})
    (skeleton,) = lifter.infer(lifter.prepare(frame_of(keypoints, up=UP @ down))).skeletons
    assert skeleton.mirror_cue == "gravity"
    assert centred_errors(skeleton.joints[None], joints[None], VALID).mean() < 0.05
    (level,) = lifter.infer(lifter.prepare(frame_of(keypoints))).skeletons
    assert level.mirror_cue == "undecided"


def test_a_track_keeps_its_side_of_the_mirror_against_a_single_wrong_frame() -> None:
    lifter, engine = known_lifter()
    _, keypoints = seen_person((0.0, 0.0, 120.0), track_id=7)
    nearer = []
    for number, logit in enumerate([3.0, 2.0, -2.5, 2.0, -0.5]):
        engine.sign_logit = logit
        frame = frame_of(keypoints, stamp_ns=number * 33_000_000)
        (skeleton,) = lifter.infer(lifter.prepare(frame)).skeletons
        nearer.append(bool(skeleton.joints[9, 2] < skeleton.joints[5, 2]))
    assert nearer == [True] * 5
    assert skeleton.mirror_cue == "track"
    lifter.reset()
    engine.sign_logit = -2.5
    (skeleton,) = lifter.infer(lifter.prepare(frame_of(keypoints, stamp_ns=200_000_000))).skeletons
    assert (skeleton.mirror_cue, bool(skeleton.joints[9, 2] < skeleton.joints[5, 2])) == ("model", False)


def test_steady_evidence_turns_a_track_that_began_wrong() -> None:
    lifter, engine = known_lifter()
    _, keypoints = seen_person((0.0, 0.0, 120.0), track_id=7)
    engine.sign_logit = -1.5
    lifter.infer(lifter.prepare(frame_of(keypoints)))
    engine.sign_logit = 2.5
    for number in range(1, 31):
        (skeleton,) = lifter.infer(lifter.prepare(frame_of(keypoints, stamp_ns=number * 33_000_000))).skeletons
    assert skeleton.joints[9, 2] < skeleton.joints[5, 2]


# --- batches ---------------------------------------------------------------------------------------------------------


def test_different_skeletons_in_one_frame_give_what_each_gives_alone() -> None:
    chains = {count: line_skeleton(count, f"chain{count}") for count in (6, 9, 30, 133)}
    instances = [random_keypoints(count, f"chain{count}", count) for count in chains]
    instances += [seen_person(instance_id=number)[1] for number in (1, 2)]
    skeletons = {"coco17": COCO17, **{facts.skeleton.name: facts for facts in chains.values()}}
    lifter, engine = known_lifter()
    engine.shapes |= {count: np.random.default_rng(count).normal(size=(count, 3)) for count in chains}
    together = lifter.infer(lifter.prepare(KeypointFrame(0, tuple(instances), skeletons, camera=CAMERA)))
    assert [skeleton.instance_id for skeleton in together.skeletons] == [6, 9, 30, 133, 1, 2]
    assert len(engine.runs) < len(instances)
    for skeleton, instance in zip(together.skeletons, instances, strict=True):
        (alone,) = lifter.infer(lifter.prepare(KeypointFrame(0, (instance,), skeletons, camera=CAMERA))).skeletons
        assert aligned_errors(
            alone.joints[None], skeleton.joints[None], np.ones((1, len(instance)), dtype=bool)
        ).max() < 1e-3 * np.ptp(alone.joints)


class _Various(KnownShapes):
    """Says of each instance something else, whatever else is in its batch."""

    def run(self, inputs: Mapping[str, np.ndarray], state: EngineState) -> Arrays:
        outputs = super().run(inputs, state)
        points = inputs["points"] * inputs["is_visible"][..., None]
        size = np.abs(points).sum(axis=(1, 2))
        outputs["sign_logit"] = np.asarray(3.0 * np.sin(10.0 * size), dtype=np.float32)
        outputs["spread"] = np.asarray(0.03 + 0.1 * np.abs(np.sin(size[:, None] + points[..., 0])), dtype=np.float32)
        return outputs


def _crowd(number: int) -> tuple[tuple[Keypoints2D, ...], dict[str, SkeletonFacts]]:
    """Return different objects of two sizes of batch, some tracked, in picture `number`, and their skeletons."""
    rng = np.random.default_rng(number)
    pet = line_skeleton(20, "pet")
    lengths = {"length_joints": np.array([[0, 7], [3, 12]]), "lengths_m": np.array([0.5, 0.8])}
    pet = dataclasses.replace(pet, **lengths, sizes={"cat": 0.5, "dog": 1.0}, lower=(0, 1, 2), upper=(17, 18, 19))
    skeletons = {"coco17": COCO17, "pet": pet, "chain": line_skeleton(9)}
    shapes = {"coco17": PERSON, "pet": _SHAPES[20], "chain": _SHAPES[9]}
    objects = [
        ("coco17", "person", 3, (-2.6, 0.2, 5.0), 10.0),
        ("pet", "dog", -1, (-0.7, 0.3, 4.0), -25.0),
        ("chain", "", 3, (0.0, 0.0, 3.0), 40.0),
        ("coco17", "child", 4, (0.3, 0.1, 4.5), -30.0),
        ("pet", "cat", 4, (1.2, -0.2, 6.0), 15.0),
        ("coco17", "giant", 5, (3.2, 0.1, 7.0), 60.0),
        ("coco17", "person", 6, (0.9, 0.3, 3.5), 130.0),
    ]
    instances = []
    for row, (name, category, track_id, place, turn_deg) in enumerate(objects):
        turn = rotation_vectors_to_matrices([[0.1 * row, np.deg2rad(turn_deg + 4.0 * number), 0.0]])[0]
        joints = shapes[name] @ turn.T + place
        pixels = 900.0 * joints[:, :2] / joints[:, 2:] + [640.0, 360.0] + rng.normal(size=(len(joints), 2))
        confidence = np.where(rng.random(len(joints)) < 0.25, 0.0, rng.uniform(0.4, 1.0, len(joints)))
        instances.append(Keypoints2D(pixels, confidence, None, name, category, row, track_id))
    return tuple(instances), skeletons


_SHAPES = {count: 0.4 * np.random.default_rng(count).normal(size=(count, 3)) for count in (9, 20)}
_DEPTH = np.tile(np.linspace(3.0, 8.0, 1280, dtype=np.float32), (720, 1))
_BOXES = Boxes3D(
    "front_optical",
    ("any",),
    np.array([[-3.1, 0.2, 6.0], [3.6, 0.1, 8.0]]),
    np.ones((2, 3)),
    np.zeros(2),
    np.zeros((2, 2)),
    np.ones(2),
    np.zeros(2),
)


@pytest.mark.parametrize("source", ["category", "lengths", "depth", "boxes", "none"])
def test_each_of_a_crowd_comes_out_as_it_would_alone(source: str) -> None:
    known: dict[str, object] = {
        "category": {},
        "lengths": {"known_lengths": (KNEE,)},
        "depth": {"depth": _DEPTH},
        "boxes": {"boxes": _BOXES},
        "none": {"camera": None},
    }[source]
    common: dict[str, Any] = {"camera": CAMERA, "up": np.array([0.1, -1.0, 0.3]), **known}
    config = SkeletonLiftingConfig(smoothing=SmoothingConfig(enabled=True))

    def various() -> SkeletonLifter:
        identity = ModelIdentity("various", "0" * 64, is_trained=True, backend="known")
        return SkeletonLifter(LfmEngine(_Various({17: PERSON, **_SHAPES}), identity), config)

    crowd, alone = various(), [various() for _ in range(7)]
    for number in range(3):
        instances, skeletons = _crowd(number)
        frame = KeypointFrame(number * 33_000_000, instances, skeletons, **common)
        together = crowd.infer(crowd.prepare(frame)).skeletons
        assert [skeleton.instance_id for skeleton in together] == list(range(7))
        assert [skeleton.input_index for skeleton in together] == list(range(7))
        for found, instance, lifter in zip(together, instances, alone, strict=True):
            (expected,) = lifter.infer(lifter.prepare(dataclasses.replace(frame, instances=(instance,)))).skeletons
            size = np.ptp(expected.joints)
            np.testing.assert_allclose(found.hypotheses, expected.hypotheses, atol=2e-3 * size)
            np.testing.assert_allclose(found.uncertainty, expected.uncertainty, rtol=2e-2)
            np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-2)
            np.testing.assert_array_equal(found.is_observed, expected.is_observed)
            assert (found.mirror_cue, found.scale_source) == (expected.mirror_cue, expected.scale_source)
            assert found.scale_std == pytest.approx(expected.scale_std, rel=1e-2, nan_ok=True)
            assert found.residual == pytest.approx(expected.residual, rel=1e-2)
            assert found.score == pytest.approx(expected.score)


def test_a_skeleton_of_uncertain_size_has_uncertain_joints_far_from_its_middle() -> None:
    _, keypoints = seen_person()
    exact, vague = (
        lift(frame_of(keypoints, facts=dataclasses.replace(COCO17, size_spread=spread))).skeletons[0]
        for spread in (0.0, 0.3)
    )
    reach = np.linalg.norm(exact.joints - exact.joints.mean(axis=0), axis=1)
    added = np.sqrt(vague.uncertainty**2 - exact.uncertainty**2)
    np.testing.assert_allclose(added, np.sqrt(vague.scale_std**2 - exact.scale_std**2) * reach / np.sqrt(3), rtol=1e-3)


def test_tracks_that_ended_are_forgotten() -> None:
    lifter, _ = known_lifter(SkeletonLiftingConfig(smoothing=SmoothingConfig(enabled=True)))
    for number in range(30):
        _, keypoints = seen_person(track_id=number)
        lifter.infer(lifter.prepare(frame_of(keypoints, stamp_ns=number * 300_000_000)))
    assert len(lifter._mirror._beliefs) <= 5
    assert len(lifter._smoother._tracks) <= 5


def test_no_instances_give_no_skeletons_and_no_run() -> None:
    lifter, engine = known_lifter()
    result = lifter.infer(lifter.prepare(frame_of()))
    assert (result.skeletons, result.problems, engine.runs) == ((), (), [])


def test_sides_reach_the_network_unless_they_are_switched_off() -> None:
    for uses_sides in (True, False):
        lifter, engine = known_lifter(SkeletonLiftingConfig(lifter=LifterConfig(uses_sides=uses_sides)))
        lifter.infer(lifter.prepare(frame_of(seen_person()[1])))
        assert bool(engine.runs[0]["side"].any()) == uses_sides


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no joint", "0 seen joints"),
        ("one joint", "1 seen joints"),
        ("all equal", "lie within 0.0 px"),
        ("all NaN", "0 seen joints"),
        ("absurdly large", "0 seen joints"),
        ("wrong count", "it has 16 keypoints, the skeleton has 17 joints"),
        ("unknown skeleton", "its skeleton is not known"),
    ],
)
def test_an_instance_that_cannot_be_lifted_is_named_and_costs_the_others_nothing(case: str, words: str) -> None:
    joints, good = seen_person(instance_id=1)
    points, confidence = good.points.copy(), np.ones(17)
    skeleton = "coco17"
    if case == "no joint":
        confidence[:] = 0.0
    elif case == "one joint":
        confidence[1:] = 0.0
    elif case == "all equal":
        points[:] = 50.0
    elif case == "all NaN":
        points[:] = np.nan
    elif case == "absurdly large":
        points *= 1e300
    elif case == "wrong count":
        points, confidence = points[:16], confidence[:16]
    else:
        skeleton = "coco71"
    bad = Keypoints2D(points, confidence, skeleton=skeleton, category="person", instance_id=5)
    result = lift(frame_of(bad, good, known_lengths=(KNEE,)))
    assert [skeleton.instance_id for skeleton in result.skeletons] == [1]
    np.testing.assert_allclose(result.skeletons[0].joints, joints, atol=0.01)
    (problem,) = result.problems
    assert words in problem
    assert "instance 5" in problem


def test_joints_on_a_line_are_lifted_as_undecided_with_a_warning() -> None:
    points = np.stack([np.linspace(100, 600, 17), np.linspace(100, 400, 17)], axis=1)
    result = lift(frame_of(Keypoints2D(points, skeleton="coco17", category="person")), sign_logit=5.0)
    (skeleton,) = result.skeletons
    assert np.isfinite(skeleton.hypotheses).all()
    assert skeleton.mirror_cue == "undecided"
    assert any("on a line" in problem for problem in result.problems)


def test_single_joints_that_are_not_finite_count_as_not_seen() -> None:
    _, keypoints = seen_person()
    points = keypoints.points.copy()
    points[3], points[7, 0] = np.inf, np.nan
    (skeleton,) = lift(frame_of(dataclasses.replace(keypoints, points=points, is_visible=None))).skeletons
    assert not skeleton.is_observed[[3, 7]].any()
    assert np.isfinite(skeleton.hypotheses).all()


def test_500_joints_are_refused_by_default_and_lifted_on_demand() -> None:
    facts = line_skeleton(500)
    frame = frame_of(random_keypoints(500, "chain"), facts=facts)
    refused = lift(frame)
    assert not refused.skeletons
    assert "500 joints; expected at most 256 (lifter.max_joints)" in refused.problems[0]
    allowed = lift(frame, SkeletonLiftingConfig(lifter=LifterConfig(max_joints=512)))
    assert allowed.skeletons[0].joints.shape == (500, 3)


def test_an_unknown_category_is_normalised_and_named() -> None:
    _, keypoints = seen_person(category="giant")
    result = lift(frame_of(keypoints))
    assert not result.skeletons[0].is_metric
    assert "category 'giant' has no size in this skeleton (known: person, child)" in result.problems[0]


def test_depth_of_another_size_and_gravity_without_direction_are_refused() -> None:
    _, keypoints = seen_person()
    with pytest.raises(CalibrationError, match=r"shape \(480, 640\); expected \(720, 1280\)"):
        frame_of(keypoints, depth=np.ones((480, 640), dtype=np.float32))
    for up in (np.zeros(3), np.array([0.0, np.nan, 0.0]), np.ones(2)):
        with pytest.raises(TransformError, match="direction against gravity"):
            frame_of(keypoints, up=up)


def test_outputs_that_are_not_finite_raise_an_engine_error() -> None:
    lifter, _ = known_lifter(shapes={17: PERSON * np.nan})
    with pytest.raises(EngineError, match="'shape' holds values that are not finite"):
        lifter.prepare(frame_of(seen_person()[1]))


# --- smoothing -------------------------------------------------------------------------------------------------------


def test_smoothing_calms_joints_of_tracks_only() -> None:
    config = SkeletonLiftingConfig(smoothing=SmoothingConfig(enabled=True))
    generator = np.random.default_rng(0)
    spreads = []
    for track_id in (3, -1):
        lifter, _ = known_lifter(config)
        found = []
        for number in range(40):
            _, keypoints = seen_person(track_id=track_id)
            noisy = dataclasses.replace(keypoints, points=keypoints.points + generator.normal(size=(17, 2)) * 2.0)
            frame = frame_of(noisy, stamp_ns=number * 33_000_000, known_lengths=(KNEE,))
            found.append(lifter.infer(lifter.prepare(frame)).skeletons[0].joints)
        spreads.append(float(np.std(found[10:], axis=0).mean()))
    assert spreads[0] < 0.6 * spreads[1]


def test_a_shape_that_fits_badly_makes_the_result_less_certain_than_the_network_is() -> None:
    generator = np.random.default_rng(0)
    _, keypoints = seen_person((0.0, 0.0, 120.0))
    wrong = PERSON + generator.normal(size=(17, 3)) * 0.25
    sure, unsure = (known_lifter(shapes={17: shape}, sign_logit=2.5, spread=0.05)[0] for shape in (PERSON, wrong))
    good, bad = (lifter.infer(lifter.prepare(frame_of(keypoints))).skeletons[0] for lifter in (sure, unsure))
    assert good.mirror_cue == "model"
    assert bad.residual > 10 * good.residual
    assert bad.probabilities[0] < good.probabilities[0] - 0.2
    assert np.median(bad.uncertainty) > 2 * np.median(good.uncertainty)


@pytest.mark.slow
def test_twenty_people_take_less_than_a_thirtieth_of_a_second_beside_the_network() -> None:
    import time

    lifter, _ = known_lifter()
    instances = [seen_person((0.2 * number - 2, 0.2, 6.0), track_id=number)[1] for number in range(20)]
    used = []
    for number in range(30):
        start = time.process_time()
        lifter.infer(lifter.prepare(frame_of(*instances, stamp_ns=number * 33_000_000)))
        used.append(time.process_time() - start)
    assert np.median(used) < 0.033
