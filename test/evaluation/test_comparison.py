"""Differences between variants are called by what the seeds say, and rest on the benchmark's own mAP."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("scipy", reason="scipy is not installed")

from lift3d_ros.errors import DatasetError
from lift3d_ros.evaluation.bootstrap import bootstrap_mean_ap, mean_ap
from lift3d_ros.evaluation.comparison import (
    FIGURES,
    RunScore,
    compare,
    comparison_tables,
    score_run,
    summarise,
)
from lift3d_ros.evaluation.intervals import t_interval
from lift3d_ros.evaluation.matching import FrameMatches, LabelledFrame
from lift3d_ros.models.dfa3d.config import NUSCENES_CLASSES
from lift3d_ros.training.variants import Pair
from lift3d_ros.types import Boxes3D, Float64Array

RANGES = dict.fromkeys(NUSCENES_CLASSES, 40.0)


def boxes(centers: Float64Array, labels: Float64Array, scores: Float64Array) -> Boxes3D:
    count = len(centers)
    return Boxes3D(
        "base_link",
        NUSCENES_CLASSES,
        centers=centers,
        sizes=np.tile([4.0, 2.0, 1.5], (count, 1)),
        yaws=np.zeros(count),
        velocities=np.zeros((count, 2)),
        scores=scores,
        labels=labels.astype(np.int64),
    )


def noisy_scenes(noise_m: float, num_scenes: int = 6, num_frames: int = 3) -> list[FrameMatches]:
    """Labels of two classes; predictions of four in five of them, off by some noise, and as many of nothing."""
    rng = np.random.default_rng(3)
    scenes = []
    for _ in range(num_scenes):
        frames = []
        for stamp in range(num_frames):
            centers = np.column_stack([rng.uniform(-45, 45, (12, 2)), np.ones(12)])
            labels = rng.integers(0, 2, 12)
            is_found = rng.random(12) < 0.8
            found = centers[is_found] + rng.normal(0, 1, (int(is_found.sum()), 3)) * noise_m
            ghosts = np.column_stack([rng.uniform(-45, 45, (8, 2)), np.ones(8)])
            predicted = boxes(
                np.concatenate([found, ghosts]),
                np.concatenate([labels[is_found], rng.integers(0, 2, 8)]),
                np.concatenate([rng.uniform(0.3, 1.0, len(found)), rng.uniform(0.0, 0.8, 8)]),
            )
            frames.append(LabelledFrame(stamp, predicted, boxes(centers, labels, np.ones(12))))
        scenes.append(FrameMatches(tuple(frames)))
    return scenes


def run(mean_ap: float, drawn: float = 0.0) -> RunScore:
    return RunScore(dict.fromkeys(FIGURES, mean_ap), np.linspace(-0.01, 0.01, 50) + mean_ap + drawn)


def test_the_map_behind_the_bootstrap_is_that_of_the_devkit() -> None:
    pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")
    from lift3d_ros.evaluation.detection import class_ranges, detection_metrics

    scenes = noisy_scenes(0.8)
    metrics = detection_metrics(scenes)
    assert 0.1 < metrics.mean_ap < 0.9
    assert mean_ap(scenes, class_ranges()) == pytest.approx(metrics.mean_ap, abs=1e-12)


def test_a_drawn_set_of_scenes_scores_as_if_its_scenes_were_all_there_is() -> None:
    scenes = noisy_scenes(0.8)
    drawn = bootstrap_mean_ap(scenes, RANGES, num_draws=3, seed=5)
    weights = np.random.default_rng(5).multinomial(6, np.full(6, 1 / 6), size=3)
    for value, counts in zip(drawn, weights, strict=True):
        repeated = [scene for scene, count in zip(scenes, counts, strict=True) for _ in range(count)]
        # A scene that is drawn twice is one step of recall here, two in the repeated list.
        assert value == pytest.approx(mean_ap(repeated, RANGES), abs=2e-4)
    assert len(set(drawn)) > 1


def test_two_detectors_are_scored_on_the_same_drawn_scenes() -> None:
    good, worse = (bootstrap_mean_ap(noisy_scenes(noise), RANGES, num_draws=40) for noise in (0.4, 0.8))
    assert np.array_equal(good, bootstrap_mean_ap(noisy_scenes(0.4), RANGES, num_draws=40))
    assert (good - worse).std() < np.hypot(good.std(), worse.std())


def test_the_interval_over_seeds_is_that_of_students_t() -> None:
    interval = t_interval([0.01, 0.03])  # mean 0.02, standard error 0.01, t of one degree of freedom 12.706
    assert interval.mean == pytest.approx(0.02)
    assert interval.high - interval.mean == pytest.approx(0.12706, abs=1e-5)
    assert interval.verdict == "not separated"
    assert t_interval([0.020, 0.021]).verdict == "higher"
    assert t_interval([-0.020, -0.021, -0.020]).verdict == "lower"


def test_one_seed_separates_nothing() -> None:
    interval = t_interval([0.5])
    assert interval.verdict == "not separated"
    assert interval.text == "+0.500 [one seed]"


def test_differences_are_paired_by_seed() -> None:
    # Seeds differ by far more than variants, which pairing takes out.
    scores = {"a": {0: run(0.30), 1: run(0.10)}, "b": {0: run(0.28), 1: run(0.081), 2: run(0.9)}, "c": {3: run(0.1)}}
    found = compare(scores, [Pair("a over b", "a", "b"), Pair("a over c", "a", "c")])
    assert list(found) == ["a over b"]  # a and c have no seed in common
    entry = found["a over b"]
    assert entry["seeds"] == [0, 1]
    assert entry["mAP"]["each"] == pytest.approx([0.02, 0.019])
    assert entry["mAP"]["verdict"] == "higher"


def test_figures_that_are_not_defined_are_no_numbers_in_the_file() -> None:
    undefined = RunScore({**dict.fromkeys(FIGURES, 0.1), "mAVE": np.nan}, np.full(50, 0.1))
    scores = {"a": {0: undefined}, "b": {0: run(0.1)}}
    document = {"runs": summarise(scores), "differences": compare(scores, [Pair("a over b", "a", "b")])}
    for entry in document["runs"].values():
        entry["description"] = "words"
    text = json.dumps(document, allow_nan=False)
    assert document["runs"]["a"]["mean"]["mAVE"] is None
    assert "| `a` | words | 0.100 | 0.100 | - |" in comparison_tables(json.loads(text))


def test_detections_on_other_data_are_refused() -> None:
    nothing = boxes(np.zeros((0, 3)), np.zeros(0), np.zeros(0))
    with pytest.raises(DatasetError, match=r"run\.safetensors: holds 1 frames of scene 'one'"):
        score_run({"one": {5: nothing}}, {"one": {6: nothing}}, "run.safetensors")
