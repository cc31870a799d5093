"""Which arguments of a process reach one of its nodes alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import rclpy

from lift3d_ros.errors import ConfigError
from lift3d_ros.launching import NodeWiring, one_process_arguments
from lift3d_ros.nodes.arguments import arguments_of, check_node_names

GIVEN = [
    "perception", "--params", "points=points.yaml", "--params", "boxes=boxes=new.yaml", "--ros-args",
    "-p", "points:model:=mine", "--param", "points:topics.cloud:=/a:b", "-p", "threads:=1", "-r", "points:cloud:=/c",
]  # fmt: skip


def test_a_node_gets_its_files_before_its_parameters() -> None:
    own = ["--ros-args", "--params-file", "points.yaml", "-p", "model:=mine", "-p", "points:model:=mine"]
    assert arguments_of("points", GIVEN) == [*own, "-p", "topics.cloud:=/a:b", "-p", "points:topics.cloud:=/a:b"]
    assert arguments_of("boxes", GIVEN) == ["--ros-args", "--params-file", "boxes=new.yaml"]


@pytest.mark.parametrize("name", ["point", "threads", "other"])
def test_a_node_that_is_not_named_gets_nothing(name: str) -> None:
    assert arguments_of(name, GIVEN) == []


def test_what_launch_gives_to_single_nodes_becomes_arguments_of_one_process() -> None:
    wiring = {"boxes": NodeWiring({"rig": "007"}), "points": NodeWiring({}, (("boxes", "boxes/detections"),))}
    own, ros = one_process_arguments(wiring, {"boxes": "b.yaml", "points": "p.yaml"}, {"use_sim_time": True})
    assert own == ["--nodes", "boxes,points", "--params", "boxes=b.yaml", "--params", "points=p.yaml"]
    assert ros[:4] == ["-p", "boxes:use_sim_time:=true", "-p", 'boxes:rig:="007"'], "a text, and no number"
    assert ros[4:] == ["-p", "points:use_sim_time:=true", "-r", "points:boxes:=boxes/detections"]


def test_a_parameter_of_a_node_that_is_not_there_is_refused() -> None:
    check_node_names([*GIVEN, "-r", "points:__node:=left", "-p", "left:model:=x"], ["points", "boxes"])
    with pytest.raises(ConfigError, match=r"-p pionts:model:=mine: no node is called 'pionts'; did you mean 'points'"):
        check_node_names([*GIVEN, "-p", "pionts:model:=mine"], ["points", "boxes"])
    with pytest.raises(ConfigError, match=r"-r right:cloud:=/c: no node is called 'right'"):
        check_node_names([*GIVEN, "-r", "right:cloud:=/c"], ["points", "boxes"])
    check_node_names(["-r", "rostopic:///points:=/other"], ["points"])


@pytest.mark.ros
@pytest.mark.parametrize("namespace", ["/", "/car"])
@pytest.mark.parametrize("key", ["/**", "points"])
def test_the_command_line_goes_before_files(namespace: str, key: str, tmp_path: Path) -> None:
    own, shared = tmp_path / "own.yaml", tmp_path / "shared.yaml"
    for file, value in ((own, "own"), (shared, "shared")):
        file.write_text(f"{key}: {{ros__parameters: {{model: {value}, {value}: true}}}}\n")
    given = ["perception", "--params", f"points={own}", "--ros-args", "-r", f"__ns:={namespace}"]
    given += ["--params-file", str(shared), "-p", "points:model:=line"]
    rclpy.init(args=given)
    try:
        node = rclpy.create_node("points", cli_args=arguments_of("points", given))
        overrides = {name: parameter.value for name, parameter in node._parameter_overrides.items()}
    finally:
        rclpy.shutdown()
    of_files = {"own": True, "shared": True} if key == "/**" or namespace == "/" else {}
    assert overrides == {"model": "line", **of_files}, "ROS takes a name in a file for one with the root namespace"
