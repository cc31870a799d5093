"""The launch description of one node: its arguments, its environment, the node itself and RViz. Needs ROS alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from launch.actions import OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from lift3d_ros.launching import is_true, parameter_overrides
from lift3d_ros.nodes.launch_description import SHARED_ARGUMENTS, launch_description, start_action, values_of
from lift3d_ros.pipelines.backends import BACKENDS
from lift3d_ros.resources import find_resource


@dataclass(frozen=True)
class LaunchArgument:
    """A launch argument that sets one parameter of the node; empty, it leaves what the parameter file says."""

    parameter: str
    description: str


_OF_EVERY_NODE = {
    "model": LaunchArgument("model", "a name of 'lift3d weights list', or the path of an exported .onnx file"),
    "backend": LaunchArgument("engine.backend", f"runtime of the network: {', '.join(BACKENDS)}"),
}


def launch_node(name: str, arguments: Mapping[str, LaunchArgument], *, results: str, rviz: str) -> LaunchDescription:
    """Return the description for the node called `name`.

    Args:
        arguments: those of this node alone, by the name that the user types.
        results: what the node publishes, for the help texts.
        rviz: file of config/rviz that shows them.
    """
    of_parameters = {
        **arguments,
        **_OF_EVERY_NODE,
        "output_frame": LaunchArgument("output_frame", f"frame of the published {results}"),
    }
    # name: (default, description)
    declared = {
        "params_file": (str(find_resource(f"config/{name}.yaml")), "parameter file of the node"),
        **{argument: ("", one.description) for argument, one in of_parameters.items()},
        **SHARED_ARGUMENTS,
        "rviz": ("false", f"true: open RViz with a view of the {results}"),
        "fixed_frame": ("", "frame in which RViz shows them; empty: output_frame, else that of the view"),
    }
    parameters = {argument: one.parameter for argument, one in of_parameters.items()}

    def start_node(context: LaunchContext) -> list[Node]:
        values = values_of(declared, context)
        return [start_action(name, values, values["params_file"], parameter_overrides(values, parameters))]

    def start_viewer(context: LaunchContext) -> list[Node]:
        values = values_of(declared, context)
        if is_true(values, "build_only"):
            return []
        overrides = parameter_overrides(values, parameters)
        frame = values["fixed_frame"] or values["output_frame"]
        return [
            Node(
                package="rviz2",
                executable="rviz2",
                namespace=values["namespace"],
                arguments=["-d", str(find_resource(f"config/rviz/{rviz}")), *(["-f", frame] if frame else [])],
                parameters=[{"use_sim_time": bool(overrides.get("use_sim_time", False))}],
            )
        ]

    return launch_description(
        declared,
        OpaqueFunction(function=start_node),
        OpaqueFunction(function=start_viewer, condition=IfCondition(LaunchConfiguration("rviz"))),
    )
