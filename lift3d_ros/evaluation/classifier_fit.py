"""Fits the linear classifier of a user's own classes to descriptors of labelled clouds, by scikit-learn.

Letters: N clouds, P points, C channels, L classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.point_clouds import CloudSet
from lift3d_ros.errors import DatasetError
from lift3d_ros.evaluation.linear_probe import check_scikit_learn
from lift3d_ros.pipelines.point_classifier import PointFeatureClassifier
from lift3d_ros.pipelines.point_encoder import PointCloudFrame, PointEncoder
from lift3d_ros.types import Float32Array, Float64Array

COSTS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Inverse strengths of the regularisation that are tried, of features divided by their RMS distance from the mean."""

_DEFAULT_COST = 1.0
_MOST_FOLDS = 3
_ITERATIONS = 500
_TEMPERATURES = tuple(np.geomspace(1.0, 5.0, 33).tolist())
_NEGLIGIBLE_LOSS = 0.003


@dataclass(frozen=True, eq=False)
class FittedClassifier:
    """A classifier, and how well its like do on clouds that they were not fitted to.

    Args:
        accuracy: share of right answers in a cross-validation; None where a class has a single cloud.
        log_loss: mean negative logarithm of the probability of the true class there, after calibration.
        cost: inverse strength of the regularisation.
        temperature: by which logits were divided.
    """

    classifier: PointFeatureClassifier
    accuracy: float | None
    log_loss: float | None
    cost: float
    temperature: float
    folds: int


def describe_set(
    encoder: PointEncoder, clouds: CloudSet, on_cloud: Callable[[], object] = lambda: None
) -> Float32Array:
    """Return the descriptors (N, C) of whole clouds, as the pipeline makes them on a robot.

    Args:
        on_cloud: called after each one.
    """
    rows = []
    for points in clouds.points:
        (features,) = encoder.infer(encoder.prepare(PointCloudFrame(points))).features
        rows.append(features.descriptor)
        on_cloud()
    return np.stack(rows)


def check_classes(clouds: CloudSet) -> None:
    """Refuse clouds that no classifier can be fitted to.

    Raises:
        DatasetError: a cloud has no label, or there are fewer than two classes.
    """
    if not clouds.has_labels:
        raise DatasetError("a cloud of the training files has no label; expected 'labels' from 0 in every file")
    count = len(np.unique(clouds.labels))
    if count < 2:
        raise DatasetError(f"the training files have {count} class; expected clouds of at least two")


def fit_classifier(
    descriptors: Float32Array, clouds: CloudSet, encoder_sha256: str, *, seed: int = 0
) -> FittedClassifier:
    """Fit a multinomial logistic regression whose probabilities can be trusted.

    Strength of the regularisation and temperature are those with which a cross-validation gives the true classes the
    highest probabilities.

    Args:
        descriptors: (N, C) of the clouds.
        seed: of the folds.

    Raises:
        DatasetError: as :func:`check_classes`.
        Lift3dError: scikit-learn is not installed.
    """
    check_scikit_learn()
    check_classes(clouds)
    present, labels = np.unique(clouds.labels, return_inverse=True)
    values = descriptors.astype(np.float64)
    mean = values.mean(axis=0)
    scale = max(float(np.sqrt(values.var(axis=0).mean())), 1e-12)
    scaled = (values - mean) / scale
    folds = min(_MOST_FOLDS, int(np.bincount(labels).min()))
    accuracy, loss, cost, temperature = None, None, _DEFAULT_COST, 1.0
    if folds >= 2:
        logits = {cost: _held_out_logits(scaled, labels, cost, folds, seed) for cost in COSTS}
        choices = [(cost, temperature) for cost in COSTS for temperature in reversed(_TEMPERATURES)]
        losses = {choice: _log_loss(logits[choice[0]] / choice[1], labels) for choice in choices}
        # Few clouds that are all told apart would make it surer and surer: of equally good ones take the least sure.
        good = min(losses.values()) + _NEGLIGIBLE_LOSS
        cost, temperature = next(choice for choice in losses if losses[choice] <= good)
        loss = losses[cost, temperature]
        accuracy = float((logits[cost].argmax(axis=1) == labels).mean())
    weight, bias = _fit(scaled, labels, cost)
    weight, bias = weight / (scale * temperature), bias / temperature
    classifier = PointFeatureClassifier(
        weight.astype(np.float32),
        (bias - weight @ mean).astype(np.float32),
        tuple(clouds.class_name(int(label)) for label in present),
        encoder_sha256,
    )
    return FittedClassifier(classifier, accuracy, loss, cost, temperature, folds)


def _held_out_logits(
    scaled: Float64Array, labels: NDArray[np.int64], cost: float, folds: int, seed: int
) -> Float64Array:
    """Return logits (N, L) of each sample by a classifier that was fitted without it."""
    from sklearn.model_selection import StratifiedKFold  # type: ignore[import-untyped]

    logits = np.zeros((len(scaled), int(labels.max()) + 1))
    for kept, held in StratifiedKFold(folds, shuffle=True, random_state=seed).split(scaled, labels):
        weight, bias = _fit(scaled[kept], labels[kept], cost)
        logits[held] = scaled[held] @ weight.T + bias
    return logits


def _fit(scaled: Float64Array, labels: NDArray[np.int64], cost: float) -> tuple[Float64Array, Float64Array]:
    """Return weight (L, C) and bias (L,)."""
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    with warnings.catch_warnings():
        # With hardly any regularisation the last digits take long, and mean nothing.
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine = LogisticRegression(C=cost, max_iter=_ITERATIONS).fit(scaled, labels)
    weight, bias = np.asarray(machine.coef_), np.asarray(machine.intercept_)
    if len(weight) == 1:  # of two classes scikit-learn gives the second one
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias


def _log_loss(logits: Float64Array, labels: NDArray[np.int64]) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-logs[np.arange(len(labels)), labels].mean())
