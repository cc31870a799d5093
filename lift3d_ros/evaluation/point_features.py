"""Measures frozen features of clouds: a linear SVM on those of one split, right answers on those of another.

The SVM sees clean training clouds; harder conditions change the test clouds alone. Letters: N clouds, P points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.point_cloud_changes import brought_to, first_points, noisy, occluded, to_unit_sphere, turned
from lift3d_ros.datasets.point_clouds import CloudSet
from lift3d_ros.errors import DatasetError
from lift3d_ros.evaluation.few_shot import FewShot, few_shot_scores
from lift3d_ros.evaluation.linear_probe import LinearProbe
from lift3d_ros.evaluation.point_descriptors import describe_shapes
from lift3d_ros.models.i2p_mae.cloud_groups import batch_groups, group_cloud
from lift3d_ros.pipelines.point_network import PointSource, load_point_network
from lift3d_ros.types import Float32Array, ModelIdentity

if TYPE_CHECKING:
    from lift3d_ros.pipelines.point_engine import PointEngine

CLEAN = "clean"
_Z = 1.96
_CLOUDS_AT_ONCE = 32

Describe = Callable[[Float32Array], NDArray[Any]]
"""Clouds (N, P, 3) to features (N, C)."""


@dataclass(frozen=True)
class Condition:
    """How test clouds differ from clean ones.

    Args:
        is_turned: by a random angle about the up axis.
        points: only so many points of each are known; 0 for as many as the encoder takes.
        noise: standard deviation on each coordinate, radii of the cloud.
        hidden: share of the points that is missing on one side.
    """

    name: str
    title: str
    is_turned: bool = False
    points: int = 0
    noise: float = 0.0
    hidden: float = 0.0


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """What gives features.

    Args:
        num_points: points of a cloud that it takes.
        fills_gaps: whether points between neighbours are added to a cloud of fewer points; else they come again.
        standardises: whether features have no common unit, see :class:`LinearProbe`.
    """

    identity: ModelIdentity
    describe: Describe
    num_points: int
    fills_gaps: bool = False
    standardises: bool = False


@dataclass(frozen=True, eq=False)
class PointEvaluation:
    """Right answers under each condition.

    Args:
        class_names: of the labels, in their order.
        labels: (N,) of the test clouds.
        predicted: condition -> (N,).
        cost: of the SVM; it and what follows is not there where a trained classifier answered.
        num_training: clouds that the SVM was fitted to.
        feature_dims: numbers that describe a cloud.
        few_shot: right answers after few labelled clouds.
        cross_validation: share of right answers on the training clouds when the cost was chosen; None where it was
            given.
    """

    model: ModelIdentity
    class_names: tuple[str, ...]
    labels: NDArray[np.int64]
    predicted: Mapping[str, NDArray[np.int64]]
    conditions: tuple[Condition, ...]
    cost: float | None = None
    num_training: int | None = None
    feature_dims: int | None = None
    few_shot: Mapping[str, FewShot] = field(default_factory=dict)
    cross_validation: float | None = None

    def accuracy(self, condition: str = CLEAN) -> float:
        """Return the share of right answers."""
        return float((self.predicted[condition] == self.labels).mean())

    def per_class(self, condition: str = CLEAN) -> dict[str, dict[str, float]]:
        """Return accuracy and number of clouds of each class that the test split has."""
        right = self.predicted[condition] == self.labels
        return {
            name: {"accuracy": float(right[own].mean()), "clouds": int(own.sum())}
            for number, name in enumerate(self.class_names)
            if (own := self.labels == number).any()
        }

    def confusion(self, condition: str = CLEAN) -> NDArray[np.int64]:
        """Return how often clouds of a class (row) were taken for a class (column)."""
        count = len(self.class_names)
        return np.bincount(self.labels * count + self.predicted[condition], minlength=count**2).reshape(count, count)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for metrics.json."""
        per_class = self.per_class()
        return {
            "accuracy": self.accuracy(),
            "accuracy_interval": _interval(self.accuracy(), len(self.labels)),
            "mean_class_accuracy": float(np.mean([row["accuracy"] for row in per_class.values()])),
            "per_class": per_class,
            "confusion": self.confusion(),
            "class_names": self.class_names,
            "conditions": {
                condition.name: {"accuracy": self.accuracy(condition.name), "condition": condition}
                for condition in self.conditions
            },
            "few_shot": dict(self.few_shot),
            "svm_cost": self.cost,
            "svm_cross_validation": self.cross_validation,
            "num_training_clouds": self.num_training,
            "num_test_clouds": len(self.labels),
            "feature_dims": self.feature_dims,
            "notes": (
                "accuracy_interval is Wilson's, 95 %, of the drawn test clouds; another seed of the training is not "
                "in it.",
                *(
                    ()
                    if self.cost is None
                    else ("The cost of the SVM was chosen on the training clouds, unless given.",)
                ),
            ),
        }


def encoder_features(source: PointSource, *, device: str = "cpu") -> FeatureSet:
    """Return the features of a frozen encoder.

    Raises:
        EngineError: torch is not installed.
        WeightsError: the weights do not fit.
    """
    network, identity = load_point_network(source)
    from lift3d_ros.models.i2p_mae.describe import describe_clouds  # needs torch, which descriptors do not

    def describe(points: Float32Array) -> NDArray[Any]:
        return describe_clouds(network, source.config.tokens, points, device=device)

    return FeatureSet(identity, describe, source.config.num_points, source.config.fills_gaps)


def engine_features(opened: PointEngine) -> FeatureSet:
    """Return the features that an engine gives, for example one of a quantised graph."""
    config = opened.config

    def describe(points: Float32Array) -> NDArray[Any]:
        groups = [group_cloud(cloud, config.tokens) for cloud in points]
        runs = (batch_groups(groups[i : i + _CLOUDS_AT_ONCE]) for i in range(0, len(groups), _CLOUDS_AT_ONCE))
        return np.concatenate([opened.engine.run(run, opened.engine.new_state())["descriptor"] for run in runs])

    return FeatureSet(opened.identity, describe, config.num_points, config.fills_gaps)


def descriptor_features(num_points: int = 1024, seed: int = 0) -> FeatureSet:
    """Return the features of classic descriptors; `seed` draws the points that their histograms are made of."""
    identity = ModelIdentity("classic descriptors", "", is_trained=True)
    return FeatureSet(identity, lambda points: describe_shapes(points, seed), num_points, standardises=True)


def evaluate_points(
    features: FeatureSet,
    training: CloudSet,
    test: CloudSet,
    conditions: Sequence[Condition] = (),
    *,
    cost: float | None = None,
    normalises: bool = True,
    has_few_shot: bool = False,
    seed: int = 0,
) -> PointEvaluation:
    """Fit the SVM, and score the test clouds clean and under `conditions`.

    Args:
        cost: of the SVM; None chooses it on the training clouds.
        normalises: bring each cloud to the unit sphere, also after it was changed.
        has_few_shot: also score after few labelled clouds of few classes, with the same cost.
        seed: of the changes and of the draws of few clouds.

    Raises:
        DatasetError: a cloud has no label, or the test split has a class without training clouds.
        Lift3dError: scikit-learn is not installed.
    """
    _check_labels(training, test)
    clean = Condition(CLEAN, CLEAN)
    described = features.describe(
        changed_clouds(training, clean, features.num_points, normalises=normalises, fills_gaps=features.fills_gaps)
    )
    probe = LinearProbe(described, training.labels, cost=cost, standardises=features.standardises)
    tested = {
        condition.name: features.describe(
            changed_clouds(
                test, condition, features.num_points, normalises=normalises, seed=seed, fills_gaps=features.fills_gaps
            )
        )
        for condition in (clean, *conditions)
    }
    few_shot: Mapping[str, FewShot] = {}
    if has_few_shot:
        few_shot = few_shot_scores(
            described, training.labels, tested[CLEAN], test.labels,
            cost=probe.cost, standardises=features.standardises, seed=seed,
        )  # fmt: skip
    named = training if training.class_names else test
    count = max(training.num_classes, test.num_classes)
    return PointEvaluation(
        features.identity,
        tuple(named.class_name(label) for label in range(count)),
        test.labels,
        {name: probe.predict(values) for name, values in tested.items()},
        (clean, *conditions),
        probe.cost,
        len(training),
        described.shape[1],
        few_shot,
        probe.cross_validation,
    )


def changed_clouds(
    clouds: CloudSet,
    condition: Condition,
    num_points: int,
    *,
    normalises: bool = True,
    seed: int = 0,
    fills_gaps: bool = False,
) -> Float32Array:
    """Return clouds (N, num_points, 3) under a condition.

    Noise is in radii of the clean cloud. A changed cloud is centred and scaled by the points that are left.

    Args:
        fills_gaps: where fewer points are known, add some halfway between neighbours; else they come again.
    """
    rng = np.random.default_rng(seed)
    points = first_points(clouds.points, min(clouds.points.shape[1], num_points))
    if normalises:
        points = to_unit_sphere(points)
    if condition.is_turned:
        points = turned(rng, points, clouds.up_axis, 180.0)
    if condition.hidden:
        points = occluded(rng, points, clouds.up_axis, condition.hidden)
    if condition.points:
        points = points[:, : condition.points]
    if condition.noise:
        points = noisy(rng, points, condition.noise)
    points = brought_to(points, num_points, fills_gaps=fills_gaps)
    return to_unit_sphere(points) if normalises else points


def _check_labels(training: CloudSet, test: CloudSet) -> None:
    if not training.has_labels or not test.has_labels:
        which = "test" if training.has_labels else "training"
        raise DatasetError(f"a cloud of the {which} files has no label; expected 'labels' from 0 in every file")
    known = np.unique(training.labels)
    if absent := sorted(set(test.labels.tolist()) - set(known.tolist())):
        names = ", ".join(test.class_name(label) for label in absent[:5])
        raise DatasetError(
            f"the test files have {len(absent)} classes that no training file has ({names}); give training files of "
            "the same data set"
        )
    if training.class_names and test.class_names and training.class_names != test.class_names:
        raise DatasetError(
            "training and test files name different classes; give files of one data set, whose labels mean the same"
        )


def _interval(share: float, count: int) -> tuple[float, float]:
    """Return Wilson's interval of a share of `count` drawn clouds."""
    middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * np.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return float(middle - half), float(middle + half)
