"""A whole detector is timed through the engine protocol, with its stages and its memory."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.bench.detector import DetectorBench, bench_detector, check_presets
from lift3d_ros.errors import ConfigError, EngineError
from lift3d_ros.pipelines.bev_engine import EngineConfig

TORCH = EngineConfig("torch", threads=1)


@pytest.mark.parametrize("preset", ["tiny", "lift3d-bev-tiny"])
def test_stages_and_memory_of_a_detector_are_measured(preset: str) -> None:
    result = bench_detector(preset, DetectorBench((TORCH,), num_cameras=1, rounds=1))
    engine = result["engines"]["torch cpu float32"]
    stages = result["torch_stages_median_ms"]["torch cpu float32"]
    refinement = ["refinement"] if preset == "lift3d-bev-tiny" else []
    assert list(stages) == ["features", "depth", "projection", "encoder", "decoder", *refinement]
    assert all(elapsed > 0 for elapsed in stages.values())
    assert engine["min_ratio"] == 1.0
    # The whole frame is not far from the sum of its stages, on a machine that may be busy.
    assert sum(stages.values()) / 5 < engine["median_ms"] < sum(stages.values()) * 5
    # The weights of this model take 20 MB.
    assert engine["peak_bytes"] is None or engine["peak_bytes"] > 20e6


def test_an_unknown_configuration_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="--config 'dfa3d-bas' is not known; did you mean 'dfa3d-base'"):
        check_presets(["tiny", "dfa3d-bas"])


def test_a_configuration_that_needs_other_inputs_is_refused() -> None:
    with pytest.raises(EngineError, match="measured depth"):
        check_presets(["dfa3d-base-gtdepth"])
