"""The linear SVM on frozen features: what it finds, how its cost is chosen, and what it refuses."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from lift3d_ros.errors import Lift3dError
from lift3d_ros.evaluation.linear_probe import LinearProbe

RNG = np.random.default_rng(0)
LABELS = np.arange(60) % 3
CENTRES = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
FEATURES = CENTRES[LABELS] + 0.5 * RNG.standard_normal((60, 3))


def test_classes_that_a_line_separates_are_told_apart() -> None:
    probe = LinearProbe(FEATURES, LABELS)
    assert (probe.predict(CENTRES) == np.arange(3)).all()


def test_the_result_depends_neither_on_the_unit_of_the_features_nor_on_their_origin() -> None:
    test = CENTRES[LABELS] + 1.5 * RNG.standard_normal((60, 3))
    plain = LinearProbe(FEATURES, LABELS)
    other = LinearProbe(1e-4 * FEATURES + 7.0, LABELS)
    assert plain.cost == other.cost
    assert (plain.predict(test) == other.predict(1e-4 * test + 7.0)).all()


def test_features_without_a_common_unit_need_their_own_scales() -> None:
    noise = 1e4 * RNG.standard_normal((60, 1))
    mixed = np.concatenate([FEATURES[:, :2], noise], axis=1)
    right = [
        (LinearProbe(mixed[:45], LABELS[:45], standardises=own).predict(mixed[45:]) == LABELS[45:]).mean()
        for own in (True, False)
    ]
    assert right[0] == 1.0
    assert right[1] < 0.9


def test_a_given_cost_is_taken_and_else_the_best_of_a_cross_validation() -> None:
    assert LinearProbe(FEATURES, LABELS, cost=0.5).cost == 0.5
    assert LinearProbe(FEATURES, LABELS, costs=(1e-9, 1.0)).cost == 1.0


def test_a_class_with_a_single_sample_is_no_reason_to_stop() -> None:
    assert LinearProbe(FEATURES[:4], np.array([0, 1, 2, 0])).predict(FEATURES[:4]).shape == (4,)


def test_features_that_are_all_equal_give_some_class() -> None:
    assert LinearProbe(np.ones((6, 2)), np.arange(6) % 2).predict(np.ones((1, 2)))[0] in (0, 1)


def test_what_cannot_be_fitted_is_named() -> None:
    with pytest.raises(Lift3dError, match="the training split has 1 class"):
        LinearProbe(FEATURES, np.zeros(60, int))
    with pytest.raises(Lift3dError, match="not all finite"):
        LinearProbe(np.full((60, 3), np.nan), LABELS)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(Lift3dError, match="'pip install scikit-learn'"):
        LinearProbe(FEATURES, LABELS)
