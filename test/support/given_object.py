"""An engine of the object reconstructor whose field is given: a red ball with a blue half, or what a test likes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from lift3d_ros.engines.protocol import check_inputs
from lift3d_ros.models.lrm.config import LrmConfig, preset
from lift3d_ros.pipelines.object_engine import LrmEngine, field_signature, planes_signature
from lift3d_ros.types import ModelIdentity

RADIUS = 0.5


def ball_density(points: Any) -> Any:
    """Pass 10 at the surface of the ball."""
    return 10.0 * np.exp(20.0 * (RADIUS - np.linalg.norm(points, axis=1)))


def half_blue(points: Any) -> Any:
    """Red where x < 0, blue elsewhere."""
    color = np.zeros((len(points), 3), np.float32)
    color[points[:, 0] < 0.0, 0] = 1.001
    color[points[:, 0] >= 0.0, 2] = 1.001
    return color


class GivenStage:
    """Engine with one function for its work; counts its calls and the largest number of points."""

    name = "given"

    def __init__(self, signature: Any, work: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        self.signature = signature
        self.work = work
        self.num_calls = 0
        self.most_points = 0

    def new_state(self) -> Any:
        return None

    def run(self, inputs: Mapping[str, Any], state: Any) -> dict[str, Any]:
        check_inputs(self.signature, inputs)
        self.num_calls += 1
        if "points" in inputs:
            self.most_points = max(self.most_points, inputs["points"].shape[1])
        return self.work(inputs)


class GivenEngine(LrmEngine):
    """Renders white pictures; its field is a function of the points."""

    def render(
        self, planes: Any, T_object_camera: Any, intrinsics: Any, side: int, occupancy: Any = None
    ) -> Iterator[Any]:
        for _ in range(2):
            yield np.ones((side // 2, side, 3), np.float32)


def given_engine(
    density: Callable[[Any], Any] = ball_density,
    color: Callable[[Any], Any] = half_blue,
    planes: Any = 0.0,
    *,
    is_trained: bool = True,
    name: str = "lift3d-lrm-tiny",
) -> GivenEngine:
    """Return an engine with this field."""
    config = preset(name)
    assert isinstance(config, LrmConfig)
    encoder = SimpleNamespace(on_layer=lambda fraction: None)
    shape = planes_signature(config).outputs[0].shape

    def make_planes(inputs: Mapping[str, Any]) -> dict[str, Any]:
        for number in range(10):
            encoder.on_layer(number / 10)
        return {"planes": np.full(shape, planes, np.float32)}

    def ask(inputs: Mapping[str, Any]) -> dict[str, Any]:
        points = inputs["points"][0]
        return {
            "density": np.asarray(density(points), np.float32)[None],
            "color": np.asarray(color(points), np.float32)[None],
        }

    return GivenEngine(
        GivenStage(planes_signature(config), make_planes),
        GivenStage(field_signature(config), ask),
        dataclasses.replace(config),
        ModelIdentity(name, "0" * 64, is_trained, "given"),
        encoder,
        None,
    )
