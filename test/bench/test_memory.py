"""The measured peak is what a call really takes, also what it has given back by its end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.bench.memory import ask_fresh_process, peak_of_call  # noqa: E402
from lift3d_ros.errors import Lift3dError  # noqa: E402

MEGABYTE = 1 << 20


def answer(question: dict[str, int]) -> int | None:
    """Take memory in steps: all of it is free again at the end, and some was free before."""
    torch.ones(question["before"] * MEGABYTE // 4)

    def call() -> None:
        for size in (question["peak"] // 2, question["peak"]):
            torch.ones(size * MEGABYTE // 4)

    return peak_of_call(call, "cpu")


@pytest.fixture
def as_module(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}:{Path(__file__).parents[2]}")
    return Path(__file__).stem


@pytest.mark.parametrize("before", [0, 100])
def test_the_peak_of_a_call_is_measured_whatever_was_freed_before(as_module: str, before: int) -> None:
    peak = ask_fresh_process(as_module, {"before": before, "peak": 60})
    if peak is None:
        pytest.skip("this system does not tell the peak memory of a process")
    assert 58 * MEGABYTE < peak < 66 * MEGABYTE


def test_a_process_that_fails_says_why(as_module: str) -> None:
    with pytest.raises(Lift3dError, match=r"failed with status 1: .*KeyError: 'before'"):
        ask_fresh_process(as_module, {})


if __name__ == "__main__":
    print(json.dumps(answer(json.loads(sys.argv[1]))))
