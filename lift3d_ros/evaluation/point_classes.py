"""Measures a classifier of clouds that was trained together with its encoder: right answers on the clouds of a split.

Letters: N clouds, P points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.point_clouds import CloudSet
from lift3d_ros.errors import DatasetError
from lift3d_ros.evaluation.point_features import CLEAN, Condition, PointEvaluation, changed_clouds
from lift3d_ros.pipelines.point_network import load_point_classifier
from lift3d_ros.types import Float32Array, ModelIdentity

Classify = Callable[[Float32Array], NDArray[np.int64]]
"""Clouds (N, P, 3) to classes (N,)."""


@dataclass(frozen=True, eq=False)
class CloudClassifier:
    """What names clouds.

    Args:
        num_points: points of a cloud that it takes.
        class_names: of its classes; empty where they have no names.
        fills_gaps: see :class:`lift3d_ros.evaluation.point_features.FeatureSet`.
    """

    identity: ModelIdentity
    classify: Classify
    num_points: int
    class_names: tuple[str, ...] = ()
    fills_gaps: bool = False


def trained_classifier(path: Path, *, device: str = "cpu") -> CloudClassifier:
    """Return the classifier of a file that ``lift3d train i2p_mae --stage finetune`` wrote.

    Raises:
        EngineError: torch is not installed.
        WeightsError: the file holds no classifier, or is damaged.
    """
    network, source, class_names, identity = load_point_classifier(path)
    from lift3d_ros.models.i2p_mae.describe import classify_clouds  # needs torch

    def classify(points: Float32Array) -> NDArray[np.int64]:
        return classify_clouds(network, source.config.tokens, points, device=device)

    return CloudClassifier(identity, classify, source.config.num_points, class_names, source.config.fills_gaps)


def evaluate_classifier(
    classifier: CloudClassifier,
    test: CloudSet,
    conditions: Sequence[Condition] = (),
    *,
    normalises: bool = True,
    seed: int = 0,
) -> PointEvaluation:
    """Score the test clouds clean and under `conditions`.

    Args:
        normalises: bring each cloud to the unit sphere, also after it was changed.
        seed: of the changes.

    Raises:
        DatasetError: a test cloud has no label, or their classes are not those of the classifier.
    """
    if not test.has_labels:
        raise DatasetError("a cloud of the test files has no label; expected 'labels' from 0 in every file")
    known = classifier.class_names
    if known and test.class_names and test.class_names != known:
        raise DatasetError(
            f"the test files name other classes ({', '.join(test.class_names[:3])}, ...) than the classifier was "
            f"trained with ({', '.join(known[:3])}, ...); give files of the same data set"
        )
    if known and test.num_classes > len(known):
        raise DatasetError(
            f"the test files have {test.num_classes} classes, the classifier knows {len(known)}; give files of "
            "the data set that it was trained with"
        )
    everything = (Condition(CLEAN, CLEAN), *conditions)
    predicted = {
        condition.name: classifier.classify(
            changed_clouds(
                test,
                condition,
                classifier.num_points,
                normalises=normalises,
                seed=seed,
                fills_gaps=classifier.fills_gaps,
            )
        )
        for condition in everything
    }
    names = known or tuple(test.class_name(label) for label in range(test.num_classes))
    return PointEvaluation(classifier.identity, names, test.labels, predicted, everything)
