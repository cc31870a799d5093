"""Frozen features are scored by hand-checked figures, clean and under harder conditions."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
pytest.importorskip("torch", reason="torch is not installed")

from point_files import CLASSES, shapes

from lift3d_ros.datasets.point_clouds import CloudSet
from lift3d_ros.errors import DatasetError
from lift3d_ros.evaluation.encoder_comparison import CONDITIONS, pair_rows, variant_rows
from lift3d_ros.evaluation.few_shot import few_shot_scores
from lift3d_ros.evaluation.point_features import (
    CLEAN,
    Condition,
    FeatureSet,
    PointEvaluation,
    changed_clouds,
    descriptor_features,
    evaluate_points,
)
from lift3d_ros.training.variants import Pair
from lift3d_ros.types import ModelIdentity


def clouds(count: int, seed: int = 0) -> CloudSet:
    points, labels = shapes(count, 100, seed)
    return CloudSet(points.astype(np.float32), labels, CLASSES)


def evaluation(predicted: list[int], labels: list[int]) -> PointEvaluation:
    return PointEvaluation(
        ModelIdentity("a model", "", is_trained=True),
        CLASSES,
        np.array(labels),
        {CLEAN: np.array(predicted)},
        (Condition(CLEAN, CLEAN),),
        0.1,
        10,
        4,
    )


def test_figures_are_those_that_are_counted_by_hand() -> None:
    result = evaluation([0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1])
    assert result.accuracy() == pytest.approx(4 / 6)
    assert result.per_class() == {
        "ball": {"accuracy": pytest.approx(2 / 3), "clouds": 3},
        "rod": {"accuracy": pytest.approx(2 / 3), "clouds": 3},
    }
    assert result.confusion().tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]
    low, high = result.to_json()["accuracy_interval"]
    assert (low, high) == (pytest.approx(0.300, abs=1e-3), pytest.approx(0.903, abs=1e-3))  # Wilson, 4 of 6


def test_descriptors_tell_simple_shapes_apart_also_when_they_are_turned() -> None:
    result = evaluate_points(descriptor_features(100), clouds(12), clouds(5, 1), CONDITIONS)
    assert result.accuracy() == 1.0
    assert result.accuracy("rotated") == 1.0
    assert set(result.predicted) == {CLEAN, "rotated", "points_256", "noise", "occluded"}


def test_the_svm_is_fitted_to_clean_clouds_and_only_test_clouds_are_changed() -> None:
    seen = []

    def describe(points: np.ndarray) -> np.ndarray:
        seen.append(points)
        return points[:, :4].reshape(len(points), -1)

    features = FeatureSet(ModelIdentity("a test", "", is_trained=True), describe, 100)
    evaluate_points(features, clouds(4), clouds(2, 1), CONDITIONS)
    assert [len(points) for points in seen] == [12, 6, 6, 6, 6, 6]
    np.testing.assert_allclose(seen[0], changed_clouds(clouds(4), Condition(CLEAN, ""), 100))


@pytest.mark.parametrize("condition", [*CONDITIONS, Condition("few", "", points=10)])
def test_changed_clouds_keep_their_number_of_points_and_fill_the_unit_sphere(condition: Condition) -> None:
    found = changed_clouds(clouds(2), condition, 150, seed=1)
    assert (found.shape, found.dtype) == ((6, 150, 3), np.float32)
    np.testing.assert_allclose(np.linalg.norm(found, axis=2).max(axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(found, changed_clouds(clouds(2), condition, 150, seed=1))
    if condition.name == "few":
        assert all(len(np.unique(cloud, axis=0)) == 10 for cloud in found)
    if condition.name == "occluded":
        assert all(len(np.unique(cloud, axis=0)) <= 70 for cloud in found)


def test_clouds_are_used_as_stored_where_that_is_asked_for() -> None:
    found = changed_clouds(clouds(2), Condition(CLEAN, ""), 50, normalises=False)
    np.testing.assert_array_equal(found, clouds(2).points[:, :50])


def test_few_points_come_again_or_have_others_between_them() -> None:
    few = Condition("few", "", points=10)
    again, filled = (changed_clouds(clouds(2), few, 50, fills_gaps=fills) for fills in (False, True))
    assert all(len(np.unique(cloud, axis=0)) == 10 for cloud in again)
    assert all(len(np.unique(cloud, axis=0)) > 30 for cloud in filled)


def test_a_condition_of_more_points_than_a_cloud_has_changes_nothing() -> None:
    known = CloudSet(clouds(2).points[:, :10], clouds(2).labels, CLASSES)
    expected, found = (
        changed_clouds(known, condition, 50, fills_gaps=True)
        for condition in (Condition(CLEAN, ""), Condition("few", "", points=20))
    )
    np.testing.assert_array_equal(found, expected)


def test_few_labelled_clouds_are_scored_where_there_are_enough_classes() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 12)
    features = np.eye(6)[labels] + 0.05 * rng.standard_normal((72, 6))
    scores = few_shot_scores(features, labels, features, labels, cost=1.0)
    assert list(scores) == ["5_way_10_shot"]  # no class has 20 clouds, and there are no 10 classes
    found = scores["5_way_10_shot"]
    assert (found.ways, found.shots, found.mean, found.deviation, found.draws) == (5, 10, 1.0, 0.0, 10)
    noise = rng.standard_normal((72, 6))
    chance = few_shot_scores(noise, labels, rng.standard_normal((72, 6)), labels, cost=1.0)["5_way_10_shot"]
    assert chance.mean == pytest.approx(0.2, abs=0.12)
    assert evaluate_points(descriptor_features(100), clouds(3), clouds(2, 1), has_few_shot=True).few_shot == {}


def test_labels_that_do_not_belong_together_are_named() -> None:
    known, features = clouds(3), descriptor_features(100)
    unknown = CloudSet(known.points, np.full(9, -1), CLASSES)
    with pytest.raises(DatasetError, match="a cloud of the test files has no label"):
        evaluate_points(features, known, unknown)
    with pytest.raises(DatasetError, match="a cloud of the training files has no label"):
        evaluate_points(features, unknown, known)
    first_two = CloudSet(known.points[known.labels < 2], known.labels[known.labels < 2], CLASSES)
    with pytest.raises(DatasetError, match=r"1 classes that no training file has \(plate\)"):
        evaluate_points(features, first_two, known)
    with pytest.raises(DatasetError, match="name different classes"):
        evaluate_points(features, known, CloudSet(known.points, known.labels, ("a", "b", "c")))


def test_variants_are_compared_seed_by_seed() -> None:
    runs = {
        "one": {0: {CLEAN: 0.5, "noise": 0.4}, 1: {CLEAN: 0.6, "noise": 0.5}, 2: {CLEAN: 0.55, "noise": 0.4}},
        "other": {0: {CLEAN: 0.40}, 1: {CLEAN: 0.51}, 2: {CLEAN: 0.44}},
        "alone": {7: {CLEAN: 0.9}},
    }
    rows = variant_rows(runs, ["one", "other", "absent"])
    assert list(rows) == ["one", "other"]
    assert rows["one"]["clean"] == pytest.approx(0.55)
    assert rows["one"]["seeds"] == "0.500, 0.600, 0.550"
    pairs = pair_rows(runs, [Pair("better", "one", "other"), Pair("no seed", "one", "alone")])
    assert list(pairs) == ["better"]
    assert (pairs["better"]["verdict"], pairs["better"]["seeds"]) == ("higher", [0, 1, 2])
    swapped = pair_rows(runs, [Pair("worse", "other", "one")])
    assert swapped["worse"]["verdict"] == "lower"
