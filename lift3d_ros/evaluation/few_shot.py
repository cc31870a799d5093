"""How well few labelled clouds suffice: a linear SVM on frozen features of some classes, drawn several times.

Source: the few-shot protocol of ModelNet40 (fact sheet I2P-MAE, section 11.10): 5 or 10 classes, 10 or 20 clouds each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.evaluation.linear_probe import LinearProbe

SETTINGS = ((5, 10), (5, 20), (10, 10), (10, 20))
"""Classes, and clouds of each."""

_DRAWS = 10


@dataclass(frozen=True)
class FewShot:
    """Shares of right answers over the draws."""

    ways: int
    shots: int
    mean: float
    deviation: float
    draws: int


def few_shot_scores(
    features: NDArray[Any],
    labels: NDArray[np.int64],
    test_features: NDArray[Any],
    test_labels: NDArray[np.int64],
    *,
    cost: float,
    standardises: bool = False,
    seed: int = 0,
) -> Mapping[str, FewShot]:
    """Draw classes and training clouds of them, and score all test clouds of these classes.

    Args:
        features, labels: (N, C) and (N,) of the training clouds.
        cost: of the SVM; too few clouds are there to choose one in each draw.
        seed: of the draws, so that every encoder meets the same ones.

    Returns:
        By names such as ``5_way_10_shot``; without settings for which there are too few classes or clouds.
    """
    found = {}
    for ways, shots in SETTINGS:
        tested, counts = np.unique(labels[np.isin(labels, test_labels)], return_counts=True)
        usable = tested[counts >= shots]
        if len(usable) < ways:
            continue
        rng = np.random.default_rng((seed, ways, shots))
        right = []
        for _ in range(_DRAWS):
            classes = rng.choice(usable, ways, replace=False)
            rows = np.concatenate([rng.choice(np.flatnonzero(labels == one), shots, replace=False) for one in classes])
            probe = LinearProbe(features[rows], labels[rows], cost=cost, standardises=standardises)
            queries = np.isin(test_labels, classes)
            right.append(float((probe.predict(test_features[queries]) == test_labels[queries]).mean()))
        found[f"{ways}_way_{shots}_shot"] = FewShot(
            ways, shots, float(np.mean(right)), float(np.std(right, ddof=1)), _DRAWS
        )
    return found
