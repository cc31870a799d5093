"""Starts the skeleton lifter: ros2 launch lift3d_ros skeleton_lifting.launch.py keypoints:=/front/keypoints."""

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from launch import LaunchContext, LaunchDescription
from lift3d_ros.launching import node_environment, skeleton_lifting_overrides
from lift3d_ros.resources import find_resource

# name: (default, description); an empty default leaves what params_file says.
ARGUMENTS = {
    "params_file": (str(find_resource("config/skeleton_lifting.yaml")), "parameter file of the node"),
    "keypoints": ("", "topic of the 2D keypoints of one camera"),
    "keypoints_type": ("", "lift3d_ros (Keypoints2DArray) or yolo_ros (yolo_msgs/DetectionArray)"),
    "camera_info": ("", "topic of the calibration of this camera"),
    "depth": ("", "topic of depth pictures registered to the pictures of the keypoints, for scale"),
    "boxes": ("", "topic of detected 3D boxes, for scale"),
    "gravity_frame": ("", "frame whose z axis points up"),
    "model": ("", "model name of models/manifest.yaml, or the path of an exported .onnx file"),
    "backend": ("", "runtime of the network: auto, onnxruntime or torch"),
    "output_frame": ("", "frame of the published metric skeletons"),
    "autostart": ("", "true: configure and activate at start; false: leave that to a lifecycle manager"),
    "use_sim_time": ("", "true: take the time from /clock, for recordings that are played"),
    "namespace": ("", "namespace of the node and its topics"),
    "log_level": ("info", "debug, info, warn or error"),
    "rviz": ("false", "true: open RViz with a view of the skeletons"),
    "fixed_frame": ("", "frame in which RViz shows them; empty: output_frame, else base_link"),
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
    overrides = skeleton_lifting_overrides(values)
    return [
        LifecycleNode(
            package="lift3d_ros",
            executable="skeleton_lifting",
            name="skeleton_lifting",
            namespace=values["namespace"],
            parameters=[values["params_file"], *([overrides] if overrides else [])],
            arguments=["--ros-args", "--log-level", values["log_level"]],
            output="screen",
        )
    ]


def start_viewer(context: LaunchContext) -> list[Node]:
    values = arguments_in(context)
    overrides = skeleton_lifting_overrides(values)
    frame = values["fixed_frame"] or values["output_frame"]
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            namespace=values["namespace"],
            arguments=["-d", str(find_resource("config/rviz/skeletons.rviz")), *(["-f", frame] if frame else [])],
            parameters=[{"use_sim_time": bool(overrides.get("use_sim_time", False))}],
        )
    ]
