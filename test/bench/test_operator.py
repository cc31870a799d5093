"""The operator is measured beside its plain forms, each with time, memory and error; what does not fit is computed."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.bench import operator as bench  # noqa: E402
from lift3d_ros.bench.operator import OperatorBench, bench_operator  # noqa: E402
from lift3d_ros.bench.operator_cases import CASES, OperatorCase, find_form, random_inputs  # noqa: E402
from lift3d_ros.bench.reference_forms import product_volume_bytes  # noqa: E402
from lift3d_ros.errors import EngineError  # noqa: E402

SMALL = OperatorCase(300, ((12, 20), (6, 10)), bins=16)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "CASES", {"small": SMALL})


@pytest.mark.usefixtures("small")
def test_every_form_gets_time_memory_and_a_small_error() -> None:
    (result,) = bench_operator(OperatorBench(rounds=2, threads=1))
    forms: dict[str, Any] = result["forms"]
    assert {"product_volume", "four_nearest", "embedding_bag", "gather"} <= set(forms)
    assert result["operator"] in forms
    for entry in forms.values():
        assert entry["relative_rms_error"] < 1e-5
        assert entry["forward"]["min_ms"] > 0
        assert entry["forward_backward"]["min_ms"] > entry["forward"]["min_ms"]
        assert entry["peak_extra_bytes"] is None or entry["peak_extra_bytes"] > 0
    own = forms[result["operator"]]
    assert own["forward"]["min_ratio"] == own["peak_ratio"] == 1.0
    naive = forms["product_volume"]["forward"]
    assert naive["min_ratio"] == pytest.approx(naive["min_ms"] / own["forward"]["min_ms"], abs=0.01)


@pytest.mark.usefixtures("small")
def test_features_of_16_bits_are_compared_with_reference_forms_in_32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "peak_bytes", lambda *_: None)
    (result,) = bench_operator(OperatorBench(dtype="bfloat16", rounds=1))
    assert result["forms"]["product_volume"]["dtype"] == "float32"
    assert result["forms"]["embedding_bag"]["dtype"] == "bfloat16"
    assert 1e-3 < result["forms"]["embedding_bag"]["relative_rms_error"] < 5e-3
    assert result["operator"] == "embedding_bag"


@pytest.mark.usefixtures("small")
def test_a_volume_that_does_not_fit_is_not_built_but_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "available_bytes", lambda device: 1000)
    monkeypatch.setattr(bench, "peak_bytes", lambda *_: 1000)
    (result,) = bench_operator(OperatorBench(rounds=1))
    expected = 8 * 32 * 16 * 12 * 20 * 4
    entry = result["forms"]["product_volume"]
    assert entry == {"does_not_fit": True, "computed_volume_bytes": expected, "peak_ratio": expected / 1000}


def test_the_cases_are_those_of_the_published_sizes() -> None:
    base = CASES["base camera"]
    assert sum(height * width for height, width in base.levels) == 30825
    assert product_volume_bytes(base.heads, base.channels, base.bins, base.levels) == pytest.approx(2.66e9, rel=0.01)
    assert CASES["one level"] == OperatorCase(2500, ((23, 40),), 112)


def test_random_scores_differ_from_pixel_to_pixel() -> None:
    scores = random_inputs(SMALL).depth_scores[0]
    assert (scores.std(dim=0) > 0.1 * scores.mean(dim=0)).all()


def test_a_device_that_torch_cannot_use_is_named() -> None:
    with pytest.raises(EngineError, match="--device 'hip:3': torch cannot use it"):
        bench_operator(OperatorBench(device="hip:3"))


def test_forms_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="no form of the operator is called 'naive'"):
        find_form("naive")
