"""How well frozen features tell classes apart: a linear support vector machine on them, by scikit-learn.

Letters: N samples, C features. Source of the protocol: fact sheet I2P-MAE, section 11.7. Published figures chose the
cost on the test split; here it is chosen by cross-validation on the training split.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import Lift3dError
from lift3d_ros.types import Float64Array

COSTS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Costs that are tried, of features divided by their RMS distance from the mean."""

_FOLDS = 3


def check_scikit_learn() -> None:
    """Refuse to go on without scikit-learn.

    Raises:
        Lift3dError: it cannot be imported.
    """
    try:
        import sklearn.svm  # type: ignore[import-untyped]  # noqa: F401
    except ImportError as error:
        raise Lift3dError(
            f"the linear SVM needs scikit-learn, which cannot be imported ({error}); 'pip install scikit-learn'"
        ) from None


class LinearProbe:
    """A linear SVM, one against one, on features of a training split.

    ``cross_validation`` is the share of right answers in the cross-validation that chose ``cost``, None without one.
    """

    def __init__(
        self,
        features: NDArray[Any],
        labels: NDArray[np.int64],
        *,
        cost: float | None = None,
        standardises: bool = False,
        costs: Sequence[float] = COSTS,
    ) -> None:
        """Fit.

        Args:
            features: (N, C), finite.
            labels: (N,) of at least two classes.
            cost: of a wrong answer, C of the SVM; None takes the one of `costs` that a cross-validation finds best.
            standardises: divide each feature by its own standard deviation, where they have no common unit; else all
                by one number, so that a cost means the same for every encoder.

        Raises:
            Lift3dError: scikit-learn is not installed; features are not finite; there is one class only.
        """
        check_scikit_learn()
        values = np.asarray(features, dtype=np.float64)
        if not np.isfinite(values).all():
            raise Lift3dError("the features of the training split are not all finite; look for a failed training")
        if len(np.unique(labels)) < 2:
            raise Lift3dError(f"the training split has {len(np.unique(labels))} class; expected at least two")
        self._mean = values.mean(axis=0)
        spread = values.std(axis=0) if standardises else np.sqrt(values.var(axis=0).mean(keepdims=True))
        self._scale = np.where(spread > 1e-12, spread, 1.0)
        scaled = self._scaled(values)
        self.cross_validation: float | None = None
        if cost is None:
            cost, self.cross_validation = _best_cost(scaled, labels, costs)
        self.cost = cost
        self._machine = _machine(self.cost).fit(scaled, labels)

    def predict(self, features: NDArray[Any]) -> NDArray[np.int64]:
        """Return the label (N,) of each sample."""
        return np.asarray(self._machine.predict(self._scaled(np.asarray(features, dtype=np.float64))), np.int64)

    def _scaled(self, features: Float64Array) -> Float64Array:
        return np.asarray((features - self._mean) / self._scale)


def _machine(cost: float) -> Any:
    from sklearn.svm import SVC

    return SVC(C=cost, kernel="linear")


def _best_cost(features: Float64Array, labels: NDArray[np.int64], costs: Sequence[float]) -> tuple[float, float]:
    """Return the cost with the most right answers in a cross-validation, of equal ones the smallest, and its share."""
    fold = _folds(labels)
    parts = [(fold != number, fold == number) for number in range(_FOLDS)]
    parts = [(kept, held) for kept, held in parts if held.any() and len(np.unique(labels[kept])) > 1]
    right = [
        sum(
            int((_machine(cost).fit(features[kept], labels[kept]).predict(features[held]) == labels[held]).sum())
            for kept, held in parts
        )
        for cost in costs
    ]
    return costs[int(np.argmax(right))], max(right) / max(1, sum(int(held.sum()) for _, held in parts))


def _folds(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the fold (N,) of each sample: those of a class are spread evenly, however few they are."""
    rng = np.random.default_rng(0)
    fold = np.zeros(len(labels), np.int64)
    for number, label in enumerate(np.unique(labels)):
        own = rng.permutation(np.flatnonzero(labels == label))
        fold[own] = (number + np.arange(len(own))) % _FOLDS
    return fold
