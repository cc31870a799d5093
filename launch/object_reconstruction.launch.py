"""Starts the object reconstructor: ros2 launch lift3d_ros object_reconstruction.launch.py image:=/front/image."""

from launch import LaunchDescription
from lift3d_ros.nodes.launch_node import LaunchArgument, launch_node

ARGUMENTS = {
    "image": LaunchArgument("topics.image", "topic of the pictures of one camera"),
    "camera_info": LaunchArgument("topics.camera_info", "topic of the calibration of this camera"),
    "boxes": LaunchArgument("topics.boxes", "topic of detected objects, which are reconstructed"),
    "boxes_type": LaunchArgument(
        "topics.boxes_type", "lift3d_ros (BevDetectionArray) or vision_msgs (Detection2DArray)"
    ),
    "mask": LaunchArgument("topics.mask", "topic of masks of the pictures"),
    "depth": LaunchArgument("topics.depth", "topic of depth pictures registered to the pictures, for the size"),
    "folder": LaunchArgument("output.folder", "folder in which a .glb file of each object is written"),
}


def generate_launch_description() -> LaunchDescription:
    return launch_node("object_reconstruction", ARGUMENTS, results="meshes", rviz="object_reconstruction.rviz")
