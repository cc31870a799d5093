"""What launch files, the demo and the tests give to a node: environment and parameters, as plain data without ROS."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lift3d_ros.errors import ConfigError, nearest_name_hint
from lift3d_ros.resources import find_resource

# In the order in which results go from one to the next.
PERCEPTION_NODES = ("bev_detection", "skeleton_lifting", "point_features", "object_reconstruction")
DETECTIONS = "bev_detection/detections"
# Option of the executables: build what the model needs, and end.
BUILD_ONLY = "--build-only"
# Option of the executable `perception`: the parameter file of one node, NODE=FILE (`:=` would be a remapping).
PARAMS = "--params"

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def node_environment() -> dict[str, str]:
    """Return the part of `recommended_environment` that the user has not set already."""
    return {name: value for name, value in recommended_environment().items() if name not in os.environ}


def recommended_environment() -> dict[str, str]:
    """Return variables that make large pictures arrive and cost little.

    The Fast DDS profile enlarges the shared-memory segment; the MALLOC variables keep glibc from giving the memory of
    each picture back and faulting it in again.
    """
    # Fast DDS 3 renamed its variable; setting both names makes it load the profile twice and complain.
    is_before_fastdds_3 = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
    return {
        f"{'FASTRTPS' if is_before_fastdds_3 else 'FASTDDS'}_DEFAULT_PROFILES_FILE": str(
            find_resource("config/dds/fastdds_shared_memory.xml")
        ),
        "MALLOC_MMAP_THRESHOLD_": "268435456",
        "MALLOC_TRIM_THRESHOLD_": "1073741824",
        "MALLOC_TOP_PAD_": "67108864",
    }


def parameter_overrides(arguments: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str | bool]:
    """Return the parameters that launch arguments set; empty arguments leave those of the parameter file.

    Args:
        names: launch argument -> parameter of the node, for those that are texts.

    Raises:
        ConfigError: an argument that must be true or false is neither.
    """
    overrides: dict[str, str | bool] = {
        parameter: arguments[argument] for argument, parameter in names.items() if arguments[argument]
    }
    overrides |= {name: is_true(arguments, name) for name in ("autostart", "use_sim_time") if arguments[name]}
    return overrides


def is_true(arguments: Mapping[str, str], name: str) -> bool:
    """Return whether a launch argument says true.

    Raises:
        ConfigError: it says neither true nor false.
    """
    text = arguments[name].lower()
    if text not in _TRUTH:
        raise ConfigError(f"launch argument '{name}' is '{arguments[name]}'; expected true or false")
    return _TRUTH[text]


@dataclass(frozen=True)
class NodeWiring:
    """What one of several nodes gets beside its parameter file.

    Args:
        parameters: name -> value.
        remappings: (name in the node, topic).
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()


def chosen_nodes(nodes: str, where: str) -> list[str]:
    """Return the nodes that a text names, in the order in which results go from one to the next.

    Args:
        nodes: names, separated by commas or spaces.
        where: what the text is, for errors.

    Raises:
        ConfigError: no name, or one that is not known.
    """
    names = nodes.replace(",", " ").split()
    for name in names:
        if name not in PERCEPTION_NODES:
            hint = nearest_name_hint(name, PERCEPTION_NODES)
            raise ConfigError(f"{where} names '{name}'{hint}; expected some of {', '.join(PERCEPTION_NODES)}")
    if not names:
        raise ConfigError(f"{where} is empty; expected some of {', '.join(PERCEPTION_NODES)}")
    return [name for name in PERCEPTION_NODES if name in names]


def perception_wiring(nodes: str, rig: str = "", camera: str = "", cloud: str = "") -> dict[str, NodeWiring]:
    """Return the nodes that are chosen, and how they are wired.

    Where the detector is among them, its boxes go to all others: for scale, as crops of the cloud, as objects.

    Args:
        nodes: names, separated by commas or spaces.
        rig: file for the detector.
        camera: namespace of the camera of keypoints and objects; empty leaves their topics alone.
        cloud: topic of the point cloud; empty leaves it alone.

    Raises:
        ConfigError: no name, or one that is not known.
    """
    names = chosen_nodes(nodes, "launch argument 'nodes'")
    wiring = {}
    for name in names:
        parameters: dict[str, str] = {}
        remappings: list[tuple[str, str]] = []
        if name == "bev_detection":
            parameters |= {"rig": rig} if rig else {}
        elif "bev_detection" in names:
            parameters["topics.boxes"] = "boxes"
            remappings.append(("boxes", DETECTIONS))
        if name == "point_features" and cloud:
            parameters["topics.cloud"] = cloud
        if camera and name in ("skeleton_lifting", "object_reconstruction"):
            inputs = ("keypoints",) if name == "skeleton_lifting" else ("image", "image/compressed")
            remappings += [(topic, f"{camera}/{topic}") for topic in (*inputs, "camera_info")]
        wiring[name] = NodeWiring(parameters, tuple(remappings))
    return wiring


def one_process_arguments(
    wiring: Mapping[str, NodeWiring], files: Mapping[str, str], common: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Return the arguments of the executable `perception` and its ROS arguments, for what each node would get alone.

    Args:
        files: node -> its parameter file.
        common: parameters of all nodes, name -> value.
    """
    own, ros = ["--nodes", ",".join(wiring)], list[str]()
    for name, wired in wiring.items():
        own += [PARAMS, f"{name}={files[name]}"]
        for parameter, value in {**common, **wired.parameters}.items():
            # JSON is YAML: a text stays one, whatever is in it.
            ros += ["-p", f"{name}:{parameter}:={json.dumps(value, ensure_ascii=False)}"]
        for source, target in wired.remappings:
            ros += ["-r", f"{name}:{source}:={target}"]
    return own, ros
