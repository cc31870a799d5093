"""The launch description of several nodes that pass their results on. Needs ROS alone."""

from __future__ import annotations

from launch.actions import OpaqueFunction
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from lift3d_ros.launching import PERCEPTION_NODES, is_true, parameter_overrides, perception_wiring
from lift3d_ros.nodes.launch_description import (
    SHARED_ARGUMENTS,
    launch_description,
    start_action,
    start_together,
    values_of,
)
from lift3d_ros.resources import find_resource


def launch_perception() -> LaunchDescription:
    """Return the description for any of the nodes."""
    # name: (default, description)
    declared = {
        "nodes": (",".join(PERCEPTION_NODES), "nodes to start, separated by commas"),
        "rig": ("", "rig file of the detector: topics, calibration and mounting of the cameras"),
        "camera": ("", "namespace of the camera of keypoints and objects, for example front"),
        "cloud": ("", "topic of the point cloud"),
        "one_process": ("false", "true: all nodes in one process, which takes less memory; one that crashes ends all"),
        **{f"{name}_params": ("", f"parameter file of {name}; empty: the installed one") for name in PERCEPTION_NODES},
        **SHARED_ARGUMENTS,
    }

    def start_nodes(context: LaunchContext) -> list[Node]:
        values = values_of(declared, context)
        common = parameter_overrides(values, {})
        wiring = perception_wiring(values["nodes"], values["rig"], values["camera"], values["cloud"])
        files = {name: values[f"{name}_params"] or str(find_resource(f"config/{name}.yaml")) for name in wiring}
        if is_true(values, "one_process"):
            return [start_together(values, wiring, files, common)]
        return [
            start_action(name, values, files[name], {**common, **wired.parameters}, wired.remappings)
            for name, wired in wiring.items()
        ]

    return launch_description(declared, OpaqueFunction(function=start_nodes))
