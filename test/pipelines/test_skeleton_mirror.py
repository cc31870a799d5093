"""Cues for one of two mirror images."""

from __future__ import annotations

import numpy as np
import pytest
from known_shapes import COCO17, PERSON

from lift3d_ros.pipelines.skeleton_mirror import (
    MirrorConfig,
    MirrorTracks,
    gravity_log_odds,
    perspective_log_odds,
)

SEEN = np.ones(17, dtype=bool)
BOTH = np.stack([PERSON, PERSON * [1.0, 1.0, -1.0]])
UP = np.array([0.0, -1.0, 0.0])


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
    odds = gravity_log_odds(both, SEEN, COCO17, UP @ turn)
    assert odds > 1.0
    assert gravity_log_odds(both[::-1], SEEN, COCO17, UP @ turn) == pytest.approx(-odds)
    assert gravity_log_odds(BOTH, SEEN, COCO17, UP) == pytest.approx(0.0, abs=0.1)
    only_arms = SEEN.copy()
    only_arms[11:] = False
    assert gravity_log_odds(both, only_arms, COCO17, UP) == 0.0


def test_the_strongest_cue_in_the_direction_of_the_decision_is_named() -> None:
    tracks = MirrorTracks(MirrorConfig())
    assert tracks.decide({"model": -0.5, "gravity": 3.0}, BOTH, SEEN).cue == "gravity"
    assert tracks.decide({"model": -4.0, "gravity": 1.0}, BOTH, SEEN).cue == "model"
    undecided = tracks.decide({"model": 1.0, "gravity": -0.9}, BOTH, SEEN)
    assert (undecided.cue, undecided.probability) == ("undecided", pytest.approx(0.525, abs=0.001))
    assert tracks.decide({}, BOTH, SEEN).probability == 0.5


def test_certainty_stays_below_one_however_many_cues_agree() -> None:
    decision = MirrorTracks(MirrorConfig()).decide({"model": 1e6, "perspective": 1e6}, BOTH, SEEN)
    assert 0.999 < decision.probability < 1.0


def test_a_track_may_change_sides_where_all_depths_are_alike() -> None:
    tracks = MirrorTracks(MirrorConfig())
    flat = BOTH * [1.0, 1.0, 1e-3]
    tracks.decide({"model": 3.0}, BOTH, SEEN, 1, 0)
    for number in range(1, 4):
        tracks.decide({"model": 0.0}, flat, SEEN, 1, number * 33_000_000)
    assert tracks.decide({"model": 0.0}, BOTH, SEEN, 1, 4 * 33_000_000).probability == pytest.approx(0.5, abs=0.1)


def test_a_track_follows_the_network_when_it_gives_the_other_copy_first() -> None:
    tracks = MirrorTracks(MirrorConfig())
    tracks.decide({"model": 3.0}, BOTH, SEEN, 1, 0)
    decision = tracks.decide({"model": 0.0}, BOTH[::-1], SEEN, 1, 33_000_000)
    assert decision.probability < 0.1
    assert decision.cue == "track"


def test_a_gap_or_another_track_starts_afresh_and_old_tracks_are_forgotten() -> None:
    tracks = MirrorTracks(MirrorConfig())
    tracks.decide({"model": 3.0}, BOTH, SEEN, 1, 0)
    assert tracks.decide({"model": 0.0}, BOTH, SEEN, 2, 33_000_000).probability == 0.5
    assert tracks.decide({"model": 0.0}, BOTH, SEEN, 1, 5_000_000_000).probability == 0.5
    tracks.drop_older(20_000_000_000)
    assert not tracks._beliefs
