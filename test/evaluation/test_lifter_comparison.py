"""Tables of variants of the lifter: medians, pairs and intervals by hand."""

from __future__ import annotations

import pytest

from lift3d_ros.evaluation.lifter_comparison import LifterScores, part_rows, set_rows

GROUPS = {"horse": "animal", "cow": "animal", "couch": "object"}


def scores(horse: float, cow: float, couch: float) -> LifterScores:
    clean = {"horse": horse, "cow": cow, "couch": couch}
    others = {name: {key: 2.0 * value for key, value in clean.items()} for name in ("sides_unknown", "damaged")}
    return LifterScores({"clean": clean, **others, "without_leaves": {"horse": 0.9}}, GROUPS)


RUNS = {
    "lfm": {0: scores(0.2, 0.3, 0.4), 1: scores(0.3, 0.4, 0.5)},
    "worse": {0: scores(0.3, 0.4, 0.5), 1: scores(0.41, 0.51, 0.61), 2: scores(0.0, 0.0, 0.0)},
    "without_couch": {0: scores(0.2, 0.3, 0.8)},
}


def test_rows_have_medians_over_sets_and_means_over_seeds() -> None:
    row = part_rows(RUNS, "lfm", ["lfm"])["lfm"]
    assert row["clean"] == pytest.approx(0.35)
    assert row["damaged"] == pytest.approx(0.70)
    assert row["without_leaves"] == pytest.approx(0.9)
    assert row["seeds"] == "0.300, 0.400"
    assert row["difference"] == row["verdict"] == ""


def test_differences_are_paired_by_seed_and_by_set() -> None:
    row = part_rows(RUNS, "lfm", ["lfm", "worse", "never trained"])["worse"]
    # 0.10 and 0.11: mean 0.105, standard error 0.005, t of one degree of freedom 12.706.
    assert row["difference"] == "+0.105 [+0.041, +0.169]"
    assert row["verdict"] == "worse"
    assert row["over_sets"] == "[+0.105, +0.105]"  # the same in every set


def test_a_set_that_was_left_out_stands_beside_the_same_set_trained() -> None:
    row = set_rows(RUNS, "lfm", {"without_couch": "couch", "without_horse": "horse"})
    assert list(row) == ["without_couch"]
    assert row["without_couch"] == {
        "set": "couch",
        "variant": pytest.approx(0.8),
        "variant_seeds": "0.800",
        "all": pytest.approx(0.45),
        "all_seeds": "0.400, 0.500",
    }


def test_groups_have_medians_of_their_own() -> None:
    assert scores(0.2, 0.4, 0.9).median("clean", "animal") == pytest.approx(0.3)
