"""What the launch descriptions of one node and of several share: arguments, environment, start. Needs ROS alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchContext, LaunchDescription
from lift3d_ros.launching import BUILD_ONLY, NodeWiring, is_true, node_environment, one_process_arguments

# Arguments of every description, name: (default, description).
SHARED_ARGUMENTS: Mapping[str, tuple[str, str]] = {
    "autostart": ("", "true: configure and activate at start; false: leave that to a lifecycle manager"),
    "use_sim_time": ("", "true: take the time from /clock, for recordings that are played"),
    "namespace": ("", "namespace of the nodes and their topics"),
    "log_level": ("info", "debug, info, warn or error"),
    "build_only": ("false", "true: build the engines that the models need, and end; nothing is subscribed to"),
}


def values_of(declared: Mapping[str, tuple[str, str]], context: LaunchContext) -> dict[str, str]:
    """Return what the arguments are, given or by default."""
    return {argument: LaunchConfiguration(argument).perform(context) for argument in declared}


def start_action(
    name: str,
    values: Mapping[str, str],
    params_file: str,
    overrides: Mapping[str, Any],
    remappings: Sequence[tuple[str, str]] = (),
) -> Node:
    """Return the action that starts a node, or lets it build its engines.

    Args:
        name: of its executable, and its own.
        values: of the shared arguments.
        overrides: parameters that go before those of the file.
    """
    action: dict[str, Any] = {
        "package": "lift3d_ros",
        "executable": name,
        "name": name,
        "namespace": values["namespace"],
        "parameters": [params_file, *([dict(overrides)] if overrides else [])],
        "remappings": list(remappings),
        "arguments": ["--ros-args", "--log-level", values["log_level"]],
        "output": "screen",
    }
    if not is_true(values, "build_only"):
        return LifecycleNode(**action)
    return Node(**_building(action))


def start_together(
    values: Mapping[str, str],
    wiring: Mapping[str, NodeWiring],
    files: Mapping[str, str],
    overrides: Mapping[str, Any],
) -> Node:
    """Return the action that starts several nodes in one process, or lets them build their engines.

    Args:
        values: of the shared arguments.
        files: node -> its parameter file.
        overrides: parameters of all nodes that go before those of the files.
    """
    own, ros = one_process_arguments(wiring, files, overrides)
    # Without a name: launch would give it to all of them.
    action: dict[str, Any] = {
        "package": "lift3d_ros",
        "executable": "perception",
        "namespace": values["namespace"],
        "arguments": [*own, "--ros-args", "--log-level", values["log_level"], *ros],
        "output": "screen",
    }
    return Node(**(_building(action) if is_true(values, "build_only") else action))


def _building(action: Mapping[str, Any]) -> dict[str, Any]:
    return {**action, "arguments": [BUILD_ONLY, *action["arguments"]], "on_exit": _end_of_build}


def _end_of_build(event: Any, context: LaunchContext) -> None:
    """Let the launch fail, and so its exit status tell, where a build failed; otherwise it ends with the last build."""
    if event.returncode:
        raise RuntimeError(f"the engines of {event.process_name} are not built; see its last lines above")


def launch_description(declared: Mapping[str, tuple[str, str]], *actions: Any) -> LaunchDescription:
    """Return a description: the arguments, the environment of nodes, then the actions.

    Args:
        declared: argument -> (default, description).
    """
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(key, default_value=d, description=text) for key, (d, text) in declared.items()),
            *(SetEnvironmentVariable(variable, value) for variable, value in node_environment().items()),
            *actions,
        ]
    )
