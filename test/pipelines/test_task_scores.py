"""Scores of a task are perfect for equal outputs, and fall for what a user would notice."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lift3d_ros.engines.numerics import ComparedRun
from lift3d_ros.engines.protocol import Arrays
from lift3d_ros.models.dfa3d.config import Dfa3dConfig, preset
from lift3d_ros.pipelines.task_scores import (
    LIMITS,
    descriptor_scores,
    detector_scores,
    field_scores,
    planes_scores,
    skeleton_scores,
)


@pytest.fixture
def config() -> Dfa3dConfig:
    config = preset("lift3d-bev-tiny")
    assert config is not None
    return dataclasses.replace(config, suppression_m=0.0)


def boxes(config: Dfa3dConfig, moved_m: float = 0.0, logit: float = 1.0) -> Arrays:
    """Return twenty boxes in a row, the first of which is somewhere else or has another score."""
    logits = np.full((1, 20, len(config.class_names)), -9.0, np.float32)
    logits[0, :, 0] = 1.0
    logits[0, 0, 0] = logit
    codes = np.zeros((1, 20, 10), np.float32)
    codes[0, :, 0] = np.linspace(-15.0, 15.0, 20)
    codes[0, :, 1] = 5.0
    codes[0, 0, 1] += moved_m
    return {"class_logits": logits, "box_codes": codes}


@pytest.mark.parametrize(
    ("changes", "kept"),
    [({}, 1.0), ({"moved_m": 0.4}, 1.0), ({"moved_m": 0.6}, 0.95), ({"logit": 0.5}, 0.95), ({"logit": 0.9}, 1.0)],
)
def test_a_box_is_kept_within_half_a_metre_and_a_twentieth_of_score(
    config: Dfa3dConfig, changes: dict[str, float], kept: float
) -> None:
    scores = detector_scores(config)([ComparedRun({}, boxes(config), boxes(config, **changes))])
    assert [score.value for score in scores] == pytest.approx([kept, kept])


def test_a_box_that_float32_does_not_have_counts_as_well(config: Dfa3dConfig) -> None:
    fewer = boxes(config, logit=-9.0)
    kept, confirmed = detector_scores(config)([ComparedRun({}, fewer, boxes(config))])
    assert kept.value == 1.0
    assert confirmed.value == pytest.approx(0.95)


def test_which_box_is_the_last_one_reported_rounding_may_decide(config: Dfa3dConfig) -> None:
    with_cut = dataclasses.replace(config, max_detections=19)
    first_is_last = boxes(config, logit=0.99)
    first_is_sure = boxes(config, logit=1.01)
    scores = detector_scores(with_cut)([ComparedRun({}, first_is_last, first_is_sure)])
    assert [score.value for score in scores] == [1.0, 1.0]


def test_the_error_of_a_skeleton_is_relative_to_its_size_and_blind_to_turns() -> None:
    rng = np.random.default_rng(0)
    shape = rng.standard_normal((2, 6, 3)).astype(np.float32)
    exists = np.arange(6) < np.array([[6], [4]])
    turned = shape @ np.linalg.qr(rng.standard_normal((3, 3)))[0].astype(np.float32)
    if np.linalg.det(np.linalg.lstsq(shape[0], turned[0], rcond=None)[0]) < 0:
        turned = -turned
    expected = {"shape": shape, "sign_logit": np.array([2.0, -0.1], np.float32)}
    found = {"shape": 3.0 * turned, "sign_logit": np.array([1.0, 0.1], np.float32)}  # an undecided sign may change
    error, mirrors = skeleton_scores([ComparedRun({"exists": exists}, expected, found)])
    assert error.value < 1e-6
    assert mirrors.value == 1.0
    noisy = {**found, "shape": shape + 0.05 * rng.standard_normal(shape.shape), "sign_logit": -found["sign_logit"]}
    error, mirrors = skeleton_scores([ComparedRun({"exists": exists}, expected, noisy)])
    assert 0.01 < error.value < 0.1
    assert not error.is_accepted
    assert mirrors.value == 0.5


def test_descriptors_are_judged_by_the_worst_cosine_and_by_their_neighbours() -> None:
    rng = np.random.default_rng(0)
    right = rng.standard_normal((8, 16)).astype(np.float32)
    cosine, neighbours = descriptor_scores([ComparedRun({}, {"descriptor": right}, {"descriptor": right + 1e-4})])
    assert cosine.value == pytest.approx(1.0, abs=1e-6)
    assert neighbours.value == 1.0
    other = right.copy()
    other[3] = rng.standard_normal(16)
    cosine, neighbours = descriptor_scores([ComparedRun({}, {"descriptor": right}, {"descriptor": other})])
    assert not cosine.is_accepted
    assert neighbours.value < 1.0


def test_planes_and_fields_are_judged_by_solid_and_colours() -> None:
    def ask(planes: NDArray[np.float32]) -> Arrays:
        flat = planes.reshape(1, -1)
        return {"density": flat * 20.0, "color": np.repeat(np.clip(flat, 0, 1)[..., None], 3, axis=2)}

    planes = np.linspace(0.0, 1.0, 300, dtype=np.float32).reshape(1, 3, 1, 10, 10)
    score = planes_scores(ask, 10.0)
    assert all(one.is_accepted for one in score([ComparedRun({}, {"planes": planes}, {"planes": planes})]))
    worse = score([ComparedRun({}, {"planes": planes}, {"planes": planes + 0.1})])
    assert [one.is_accepted for one in worse] == [False, False, False]
    assert worse[0].value == pytest.approx(20.0, abs=0.01)
    equal = field_scores(10.0)([ComparedRun({}, ask(planes), ask(planes))])
    assert [one.value for one in equal] == [1.0, 100.0]


def test_a_field_that_gives_no_number_for_planes_that_are_finite_is_refused() -> None:
    def ask(planes: NDArray[np.float32]) -> Arrays:
        flat = planes.reshape(1, -1)
        color = np.repeat(flat[..., None], 3, axis=2)
        return {"density": flat * 20.0, "color": np.where(color > 2.0, np.nan, color)}

    planes = np.linspace(0.0, 1.0, 300, dtype=np.float32).reshape(1, 3, 1, 10, 10)
    found = planes + 2.0 * (planes == planes.max())
    colors = planes_scores(ask, 10.0)([ComparedRun({}, {"planes": planes}, {"planes": found})])[-1]
    assert np.isnan(colors.value)
    assert not colors.is_accepted


def test_the_documentation_names_every_limit_with_its_value(repository: Path) -> None:
    text = (repository / "docs" / "engines.md").read_text(encoding="utf-8")
    for limit in LIMITS:
        assert f"| {limit.metric} | {'at most' if limit.is_error else 'at least'} {limit.value:g} |" in text
