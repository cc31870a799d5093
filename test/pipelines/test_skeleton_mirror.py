"""Cues for one of two mirror images."""

from __future__ import annotations

import numpy as np
import pytest
from known_shapes import COCO17, PERSON

from lift3d_ros.geometry.rotations import rotation_vectors_to_matrices
from lift3d_ros.pipelines.skeleton_mirror import (
    MirrorConfig,
    MirrorDecision,
    MirrorTracks,
    gravity_log_odds,
    perspective_log_odds,
)
from lift3d_ros.types import MirrorCue, TrackKey

SEEN = np.ones(17, dtype=bool)
BOTH = np.stack([PERSON, PERSON * [1.0, 1.0, -1.0]])
UP = np.array([0.0, -1.0, 0.0])
PERIOD_NS = 33_000_000


def gravity(joints: np.ndarray, is_seen: np.ndarray, up: np.ndarray) -> float:
    lower, upper = (np.isin(np.arange(17), group) & is_seen for group in (COCO17.lower, COCO17.upper))
    return float(gravity_log_odds(joints[None], lower[None], upper[None], up)[0])


def decide(
    tracks: MirrorTracks,
    cues: dict[MirrorCue, float],
    joints: np.ndarray = BOTH,
    track: TrackKey | None = None,
    stamp_ns: int = 0,
) -> MirrorDecision:
    (decision,) = tracks.decide(
        {cue: np.array([odds]) for cue, odds in cues.items()}, joints[None], SEEN[None], [track], stamp_ns
    )
    return decision


def test_the_better_fit_is_likelier_and_less_so_where_the_shape_is_uncertain() -> None:
    residuals = np.array([[0.01, 0.05], [0.05, 0.01], [0.03, 0.03], [0.01, 0.05], [0.01, np.inf]])
    error = np.array([0.05, 0.05, 0.05, 0.5, 0.05])
    odds = perspective_log_odds(residuals, error, 0.02)
    assert odds[0] > 1.0
    assert odds[1] == pytest.approx(-odds[0])
    assert odds[2] == 0.0
    assert 0.0 < odds[3] < 0.1 * odds[0]
    assert np.isfinite(odds[4])


def test_gravity_prefers_the_upright_copy_and_says_nothing_where_it_cannot_know() -> None:
    tilt = np.deg2rad(30.0)
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]])
    seen_from_above = PERSON @ turn
    both = np.stack([seen_from_above, seen_from_above * [1.0, 1.0, -1.0]])
    odds = gravity(both, SEEN, UP @ turn)
    assert odds > 1.0
    assert gravity(both[::-1], SEEN, UP @ turn) == pytest.approx(-odds)
    assert gravity(BOTH, SEEN, UP) == pytest.approx(0.0, abs=0.1)
    only_arms = SEEN.copy()
    only_arms[11:] = False
    assert gravity(both, only_arms, UP) == 0.0


def test_the_strongest_cue_in_the_direction_of_the_decision_is_named() -> None:
    tracks = MirrorTracks(MirrorConfig())
    assert decide(tracks, {"model": -0.5, "gravity": 3.0}).cue == "gravity"
    assert decide(tracks, {"model": -4.0, "gravity": 1.0}).cue == "model"
    undecided = decide(tracks, {"model": 1.0, "gravity": -0.9})
    assert (undecided.cue, undecided.probability) == ("undecided", pytest.approx(0.525, abs=0.001))
    assert decide(tracks, {"model": 0.0}).probability == 0.5


def test_certainty_stays_below_one_however_many_cues_agree() -> None:
    decision = decide(MirrorTracks(MirrorConfig()), {"model": 1e6, "perspective": 1e6})
    assert 0.999 < decision.probability < 1.0


def test_a_track_may_change_sides_where_all_depths_are_alike() -> None:
    tracks = MirrorTracks(MirrorConfig())
    flat = BOTH * [1.0, 1.0, 1e-3]
    decide(tracks, {"model": 3.0}, BOTH, ("coco17", 17, 1), 0)
    for number in range(1, 4):
        decide(tracks, {"model": 0.0}, flat, ("coco17", 17, 1), number * PERIOD_NS)
    assert decide(tracks, {"model": 0.0}, BOTH, ("coco17", 17, 1), 4 * PERIOD_NS).probability == pytest.approx(
        0.5, abs=0.1
    )


def test_a_track_follows_the_network_when_it_gives_the_other_copy_first() -> None:
    tracks = MirrorTracks(MirrorConfig())
    decide(tracks, {"model": 3.0}, BOTH, ("coco17", 17, 1), 0)
    decision = decide(tracks, {"model": 0.0}, BOTH[::-1], ("coco17", 17, 1), PERIOD_NS)
    assert decision.probability < 0.1
    assert decision.cue == "track"


def test_another_body_under_the_same_id_is_decided_as_if_it_were_new() -> None:
    track = ("coco17", 17, 1)
    for seed in range(20):
        tracks, first, second = MirrorTracks(MirrorConfig()), *np.random.default_rng(seed).normal(size=(2, 17, 3))
        for number in range(5):
            decide(tracks, {"model": 8.0}, np.stack([first, first * [1, 1, -1]]), track, number * PERIOD_NS)
        other = np.stack([second, second * [1, 1, -1]])
        decision = decide(tracks, {"model": 4.0}, other, track, 5 * PERIOD_NS)
        assert decision == decide(MirrorTracks(MirrorConfig()), {"model": 4.0}, other)


@pytest.mark.parametrize("rate_hz", [10, 30])
def test_a_body_that_turns_fast_keeps_its_side(rate_hz: int) -> None:
    tracks, generator = MirrorTracks(MirrorConfig()), np.random.default_rng(0)
    for number in range(rate_hz + 1):
        turn = rotation_vectors_to_matrices([[0.0, 3.0 * number / rate_hz, 0.0]])[0]
        body = PERSON @ turn.T + 0.03 * generator.normal(size=PERSON.shape)
        both, odds = np.stack([body, body * [1, 1, -1]]), 2.0 if number < rate_hz else -1.0
        decision = decide(tracks, {"model": odds}, both, ("coco17", 17, 1), number * 1_000_000_000 // rate_hz)
    assert decision.cue == "track"
    assert decision.probability > 0.75


def test_a_gap_or_another_track_starts_afresh_and_old_tracks_are_forgotten() -> None:
    tracks = MirrorTracks(MirrorConfig())
    decide(tracks, {"model": 3.0}, BOTH, ("coco17", 17, 1), 0)
    assert decide(tracks, {"model": 0.0}, BOTH, ("coco17", 17, 2), PERIOD_NS).probability == 0.5
    assert decide(tracks, {"model": 0.0}, BOTH, ("coco17", 17, 1), 5_000_000_000).probability == 0.5
    tracks.drop_older(20_000_000_000)
    assert not tracks._beliefs


def test_instances_of_a_batch_are_decided_as_each_would_be_alone() -> None:
    crowd, alone = MirrorTracks(MirrorConfig()), [MirrorTracks(MirrorConfig()) for _ in range(3)]
    rng = np.random.default_rng(0)
    keys: list[TrackKey | None] = [("coco17", 17, 1), None, ("hand21", 21, 1)]
    for number in range(4):
        moved = np.stack([BOTH + 0.05 * rng.standard_normal(BOTH.shape) for _ in keys])
        odds = rng.normal(size=3)
        together = crowd.decide({"model": odds}, moved, np.tile(SEEN, (3, 1)), keys, number * PERIOD_NS)
        for row, key in enumerate(keys):
            own = decide(alone[row], {"model": odds[row]}, moved[row], key, number * PERIOD_NS)
            assert together[row].cue == own.cue
            assert together[row].probability == pytest.approx(own.probability)


def test_a_track_goes_on_where_its_batch_is_padded_to_another_size() -> None:
    tracks = MirrorTracks(MirrorConfig())
    decide(tracks, {"model": 3.0}, BOTH, ("coco17", 17, 1), 0)
    padded = np.pad(BOTH[::-1], ((0, 0), (0, 3), (0, 0)), constant_values=7.0)[None]
    seen = np.pad(SEEN, (0, 3))[None]
    (decision,) = tracks.decide({"model": np.zeros(1)}, padded, seen, [("coco17", 17, 1)], PERIOD_NS)
    assert decision.cue == "track"
    assert decision.probability < 0.1


def test_a_joint_that_is_not_seen_any_more_says_nothing_of_its_track() -> None:
    tracks = MirrorTracks(MirrorConfig())
    decide(tracks, {"model": 3.0}, BOTH, ("coco17", 17, 1), 0)
    seen, joints = SEEN.copy(), BOTH.copy()
    seen[9], joints[:, 9] = False, [[3.0, 0.0, 5.0], [-3.0, 0.0, -5.0]]
    (decision,) = tracks.decide({"model": np.zeros(1)}, joints[None], seen[None], [("coco17", 17, 1)], PERIOD_NS)
    assert decision.cue == "track"
    assert decision.probability > 0.9


def test_odds_of_nothing_stay_undecided_however_low_the_bar() -> None:
    tracks = MirrorTracks(MirrorConfig(decided_probability=0.5))
    assert decide(tracks, {"model": 0.0}).cue == "undecided"
