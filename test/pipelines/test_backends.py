"""Every setting of a backend takes the same names, and pipelines hand on what their engine says of itself."""

from __future__ import annotations

from typing import Any

import pytest
from known_shapes import known_lifter

from lift3d_ros.config import iterate_settings
from lift3d_ros.engines.open_graph import GRAPH_BACKENDS
from lift3d_ros.pipelines.backends import AUTOMATIC_BACKENDS, BACKENDS
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.keypoint_sets import KeypointSetLifter
from lift3d_ros.pipelines.point_encoder import PointEncoderConfig
from lift3d_ros.pipelines.point_settings import RuntimeConfig


@pytest.mark.parametrize("config", [EngineConfig, RuntimeConfig, PointEncoderConfig])
def test_every_setting_takes_the_same_backends(config: type[Any]) -> None:
    choices = {setting.name: setting.choices for setting in iterate_settings(config)}
    assert choices["backend"] == BACKENDS


def test_everything_that_runs_a_graph_or_is_taken_by_itself_can_be_asked_for() -> None:
    assert {"auto", *GRAPH_BACKENDS, *AUTOMATIC_BACKENDS} <= set(BACKENDS)


def test_a_pipeline_says_what_its_engine_says() -> None:
    lifter, engine = known_lifter()
    pipeline = KeypointSetLifter(lifter)
    assert pipeline.notice == ""
    engine.notice = "serving with onnxruntime while the engine is built"
    assert pipeline.notice == "serving with onnxruntime while the engine is built"
