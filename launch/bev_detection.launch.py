"""Starts the surround-camera 3D detector: ros2 launch lift3d_ros bev_detection.launch.py rig:=/path/rig.yaml."""

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchContext, LaunchDescription
from lift3d_ros.launching import bev_detection_overrides, node_environment
from lift3d_ros.resources import find_resource

# name: (default, description); an empty default leaves what params_file says.
ARGUMENTS = {
    "params_file": (str(find_resource("config/bev_detection.yaml")), "parameter file of the node"),
    "rig": ("", "rig file with topics, calibration and mounting of the cameras"),
    "model": ("", "model name of models/manifest.yaml, or the path of an exported .onnx file"),
    "backend": ("", "runtime of the network: auto, onnxruntime or torch"),
    "output_frame": ("", "frame of the published boxes"),
    "autostart": ("", "true: configure and activate at start; false: leave that to a lifecycle manager"),
    "use_sim_time": ("", "true: take the time from /clock, for recordings that are played"),
    "namespace": ("", "namespace of the node and its topics"),
    "log_level": ("info", "debug, info, warn or error"),
    "rviz": ("false", "true: open RViz with a view of the boxes"),
}


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(name, default_value=d, description=text) for name, (d, text) in ARGUMENTS.items()),
            *(SetEnvironmentVariable(name, value) for name, value in node_environment().items()),
            OpaqueFunction(function=start_node),
            OpaqueFunction(function=start_viewer, condition=IfCondition(LaunchConfiguration("rviz"))),
        ]
    )


def arguments_in(context: LaunchContext) -> dict[str, str]:
    return {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}


def start_node(context: LaunchContext) -> list[LifecycleNode]:
    values = arguments_in(context)
    overrides = bev_detection_overrides(values)
    return [
        LifecycleNode(
            package="lift3d_ros",
            executable="bev_detection",
            name="bev_detection",
            namespace=values["namespace"],
            parameters=[values["params_file"], *([overrides] if overrides else [])],
            arguments=["--ros-args", "--log-level", values["log_level"]],
            output="screen",
        )
    ]


def start_viewer(context: LaunchContext) -> list[Node]:
    values = arguments_in(context)
    overrides = bev_detection_overrides(values)
    frame = ["-f", values["output_frame"]] if values["output_frame"] else []
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            namespace=values["namespace"],
            arguments=["-d", str(find_resource("config/rviz/bev_detection.rviz")), *frame],
            parameters=[{"use_sim_time": bool(overrides.get("use_sim_time", False))}],
        )
    ]
