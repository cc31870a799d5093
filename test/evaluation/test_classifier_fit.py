"""A classifier is fitted to labelled descriptors, and says how well its like do and how sure it may be."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from lift3d_ros.datasets.point_clouds import CloudSet
from lift3d_ros.errors import DatasetError
from lift3d_ros.evaluation.classifier_fit import fit_classifier

NAMES = ("cup", "bowl", "box", "bin")


def clouds(labels: np.ndarray) -> CloudSet:
    return CloudSet(np.zeros((len(labels), 1, 3), np.float32), labels.astype(np.int64), NAMES)


def blobs(count: int, classes: int = 3, noise: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return descriptors around one place for each class, far from the origin and of another scale."""
    rng = np.random.default_rng(seed)
    places = np.random.default_rng(5).standard_normal((classes, 12))
    labels = np.arange(count) % classes
    values = places[labels] + noise * rng.standard_normal((count, 12))
    return (0.02 * values + 7.0).astype(np.float32), labels


def test_classes_that_lie_apart_are_told_apart() -> None:
    values, labels = blobs(90, noise=0.2)
    fitted = fit_classifier(values, clouds(labels), "ab")
    assert fitted.accuracy == 1.0
    assert fitted.classifier.encoder_sha256 == "ab"
    assert fitted.classifier.class_names == NAMES[:3]
    new, truth = blobs(60, noise=0.2, seed=1)
    assert [label for label, _ in fitted.classifier.classify(new)] == [NAMES[label] for label in truth]


def test_probabilities_are_as_high_as_the_answers_are_right() -> None:
    values, labels = blobs(300, noise=2.0)
    fitted = fit_classifier(values, clouds(labels), "")
    new, truth = blobs(3000, noise=2.0, seed=1)
    found = fitted.classifier.classify(new)
    accuracy = np.mean([label == NAMES[true] for (label, _), true in zip(found, truth, strict=True)])
    confidence = np.mean([score for _, score in found])
    assert 0.5 < accuracy < 0.95
    assert abs(confidence - accuracy) < 0.06
    assert fitted.accuracy == pytest.approx(accuracy, abs=0.1)


def test_two_classes_and_labels_with_gaps_are_fine() -> None:
    values, labels = blobs(40, classes=2, noise=0.2)
    fitted = fit_classifier(values, clouds(np.where(labels == 0, 3, 1)), "")
    assert fitted.classifier.class_names == ("bowl", "bin")
    found = fitted.classifier.classify(values)
    assert [label for label, _ in found] == ["bin" if label == 0 else "bowl" for label in labels]
    assert all(score > 0.5 for _, score in found)


def test_with_a_single_cloud_of_a_class_there_is_a_classifier_but_no_accuracy() -> None:
    values, _ = blobs(3, noise=0.1)
    fitted = fit_classifier(values, clouds(np.arange(3)), "")
    assert (fitted.accuracy, fitted.log_loss, fitted.temperature) == (None, None, 1.0)
    assert [label for label, _ in fitted.classifier.classify(values)] == list(NAMES[:3])


def test_one_class_and_unknown_labels_are_named() -> None:
    values, labels = blobs(6)
    with pytest.raises(DatasetError, match="have 1 class"):
        fit_classifier(values, clouds(np.zeros(6)), "")
    with pytest.raises(DatasetError, match="has no label"):
        fit_classifier(values, clouds(np.where(labels == 0, -1, labels)), "")
