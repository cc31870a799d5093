"""The launch description of several nodes that pass their results on. Needs ROS alone."""

from __future__ import annotations

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from launch import LaunchContext, LaunchDescription
from lift3d_ros.launching import PERCEPTION_NODES, node_environment, parameter_overrides, perception_wiring
from lift3d_ros.resources import find_resource


def launch_perception() -> LaunchDescription:
    """Return the description for any of the nodes."""
    # name: (default, description)
    declared = {
        "nodes": (",".join(PERCEPTION_NODES), "nodes to start, separated by commas"),
        "rig": ("", "rig file of the detector: topics, calibration and mounting of the cameras"),
        "camera": ("", "namespace of the camera of keypoints and objects, for example front"),
        "cloud": ("", "topic of the point cloud"),
        **{f"{name}_params": ("", f"parameter file of {name}; empty: the installed one") for name in PERCEPTION_NODES},
        "autostart": ("", "true: configure and activate at start; false: leave that to a lifecycle manager"),
        "use_sim_time": ("", "true: take the time from /clock, for recordings that are played"),
        "namespace": ("", "namespace of the nodes and their topics"),
        "log_level": ("info", "debug, info, warn or error"),
    }

    def start_nodes(context: LaunchContext) -> list[LifecycleNode]:
        values = {argument: LaunchConfiguration(argument).perform(context) for argument in declared}
        common = parameter_overrides(values, {})
        wiring = perception_wiring(values["nodes"], values["rig"], values["camera"], values["cloud"])
        return [
            LifecycleNode(
                package="lift3d_ros",
                executable=name,
                name=name,
                namespace=values["namespace"],
                parameters=[
                    values[f"{name}_params"] or str(find_resource(f"config/{name}.yaml")),
                    *([{**common, **wired.parameters}] if common or wired.parameters else []),
                ],
                remappings=list(wired.remappings),
                arguments=["--ros-args", "--log-level", values["log_level"]],
                output="screen",
            )
            for name, wired in wiring.items()
        ]

    return LaunchDescription(
        [
            *(DeclareLaunchArgument(key, default_value=d, description=text) for key, (d, text) in declared.items()),
            *(SetEnvironmentVariable(variable, value) for variable, value in node_environment().items()),
            OpaqueFunction(function=start_nodes),
        ]
    )
