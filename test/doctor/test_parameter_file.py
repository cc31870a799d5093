"""A parameter file is read as the ROS launch system reads it for one node."""

from __future__ import annotations

from pathlib import Path

import pytest

from lift3d_ros.doctor.parameter_file import NodeParameters, read_node_parameters
from lift3d_ros.errors import ConfigError
from lift3d_ros.resources import find_resource


@pytest.mark.parametrize(
    ("text", "namespace", "values"),
    [
        ("/**: {ros__parameters: {cameras: [a], qos: {depth: 2}}}", "/", {"cameras": ["a"], "qos.depth": 2}),
        ("bev_detection: {ros__parameters: {qos.depth: 2}}", "/", {"qos.depth": 2}),
        ("/car/bev_detection: {ros__parameters: {model: m}}", "/car", {"model": "m"}),
        ("car: {bev_detection: {ros__parameters: {model: m}}}", "/car", {"model": "m"}),
        ("/**/bev_detection: {ros__parameters: {model: m}}", "/", {"model": "m"}),
        (
            "bev_detection: {ros__parameters: {model: own}}\n/**: {ros__parameters: {model: all, rig: r}}",
            "/",
            {"model": "own", "rig": "r"},
        ),
        (
            "other: {ros__parameters: {x: 1}}\n/**: {ros__parameters: {use_sim_time: true, cameras: [], rig: r}}",
            "/",
            {"rig": "r"},
        ),
    ],
)
def test_parameters_of_the_node(tmp_path: Path, text: str, namespace: str, values: dict[str, object]) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    assert read_node_parameters(path, "bev_detection") == NodeParameters(namespace, values)


def test_the_shipped_file_can_be_read() -> None:
    values = read_node_parameters(find_resource("config/bev_detection.yaml"), "bev_detection").values
    assert values["qos.reliability"] == "best_effort"


@pytest.mark.parametrize("text", ["cameras: [front]", "other: {ros__parameters: {x: 1}}", "just text", ""])
def test_a_file_without_parameters_of_the_node_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"params\.yaml"):
        read_node_parameters(path, "bev_detection")
