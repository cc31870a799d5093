"""A trained classifier is scored on the clouds of a split, if its classes are those of the split."""

from __future__ import annotations

import numpy as np
import pytest
from point_files import CLASSES, shapes

from lift3d_ros.datasets.point_clouds import CloudSet
from lift3d_ros.errors import DatasetError
from lift3d_ros.evaluation.point_classes import CloudClassifier, evaluate_classifier
from lift3d_ros.evaluation.point_features import CLEAN, Condition
from lift3d_ros.types import Float32Array, ModelIdentity


def clouds() -> CloudSet:
    points, labels = shapes(4, 100)
    return CloudSet(points.astype(np.float32), labels, CLASSES)


def by_extents(points: Float32Array) -> np.ndarray:
    """Tell a ball, a rod and a plate by how many of their axes are long."""
    is_long = np.ptp(points, axis=1) > 0.7
    return np.select([is_long.sum(axis=1) == 3, is_long.sum(axis=1) == 1], [0, 1], 2)


def classifier(class_names: tuple[str, ...] = CLASSES) -> CloudClassifier:
    return CloudClassifier(ModelIdentity("extents", "", is_trained=True), by_extents, 100, class_names)


def test_right_answers_are_counted_under_each_condition() -> None:
    blind = Condition("blind", "one point", points=1)
    result = evaluate_classifier(classifier(), clouds(), (blind,))
    assert (result.accuracy(CLEAN), result.accuracy("blind")) == (1.0, pytest.approx(1 / 3))
    figures = result.to_json()
    assert (figures["svm_cost"], figures["num_training_clouds"], figures["class_names"]) == (None, None, CLASSES)
    assert figures["per_class"]["rod"] == {"accuracy": 1.0, "clouds": 4}


def test_clouds_of_other_classes_or_without_labels_are_refused() -> None:
    known = clouds()
    with pytest.raises(DatasetError, match="a cloud of the test files has no label"):
        evaluate_classifier(classifier(), CloudSet(known.points, np.full(12, -1), CLASSES))
    with pytest.raises(DatasetError, match=r"name other classes \(ball, rod, plate, \.\.\.\)"):
        evaluate_classifier(classifier(("a", "b", "c")), known)
    with pytest.raises(DatasetError, match="have 3 classes, the classifier knows 2"):
        evaluate_classifier(classifier(("a", "b")), CloudSet(known.points, known.labels))
