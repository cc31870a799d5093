"""Writes what is derived from the code: the parameter files of the nodes and the tables of their topics and parameters.

Run it after changing a parameter: .venv/bin/python tools/generate_reference.py; a test compares the files.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lift3d_ros.config import Setting, iterate_settings
from lift3d_ros.nodes import (
    bev_detection_config,
    object_reconstruction_config,
    point_features_config,
    skeleton_lifting_config,
)
from lift3d_ros.nodes.bev_detection_config import BevDetectionNodeConfig
from lift3d_ros.nodes.object_reconstruction_config import ObjectReconstructionNodeConfig
from lift3d_ros.nodes.point_features_config import PointFeaturesNodeConfig
from lift3d_ros.nodes.skeleton_lifting_config import SkeletonLiftingNodeConfig

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- generated: {name} -->", "<!-- end of {name} -->"


def main() -> int:
    """Write the files, or with --check only compare them; 1 where one is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; exit status 1 where a file differs")
    is_check = parser.parse_args().check
    outdated = []
    for path, content in generated_files().items():
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            outdated.append(path)
            if not is_check:
                path.write_text(content, encoding="utf-8")
    for path in outdated:
        print(f"{'out of date' if is_check else 'written'}: {path.relative_to(ROOT)}")
    return 1 if is_check and outdated else 0


def generated_files() -> dict[Path, str]:
    """Return path -> content of every generated file."""
    files = {
        ROOT / "config" / "bev_detection.yaml": parameter_file("bev_detection", BevDetectionNodeConfig),
        ROOT / "config" / "skeleton_lifting.yaml": parameter_file("skeleton_lifting", SkeletonLiftingNodeConfig),
        ROOT / "config" / "point_features.yaml": parameter_file("point_features", PointFeaturesNodeConfig),
        ROOT / "config" / "object_reconstruction.yaml": parameter_file(
            "object_reconstruction", ObjectReconstructionNodeConfig
        ),
    }
    documents = (
        (ROOT / "docs" / "bev_node.md", bev_topics(), BevDetectionNodeConfig),
        (ROOT / "docs" / "skeleton_node.md", skeleton_topics(), SkeletonLiftingNodeConfig),
        (ROOT / "docs" / "point_node.md", point_topics(), PointFeaturesNodeConfig),
        (ROOT / "docs" / "object_node.md", object_topics(), ObjectReconstructionNodeConfig),
    )
    for path, topics, config_class in documents:
        if path.exists():
            text = with_section(path.read_text(encoding="utf-8"), "topics", topics)
            files[path] = with_section(text, "parameters", parameter_table(config_class))
    return files


def parameter_file(node: str, config_class: type[Any]) -> str:
    """Return the YAML file of a node: every parameter with its default and what it means."""
    lines = [
        f"# Parameters of the {node} node with their defaults; made by tools/generate_reference.py.",
        "# All are read at start. Doubles need a decimal point: 1.0, not 1.",
        "/**:",
        "  ros__parameters:",
    ]
    group = ""
    for setting in iterate_settings(config_class):
        *groups, name = setting.name.split(".")
        if groups and groups[0] != group:
            group = groups[0]
            lines += ["", f"    {group}:"]
        indent = "      " if groups else "    "
        lines += [f"{indent}{line}" for line in _comment(setting)]
        lines.append(f"{indent}{name}: {_yaml_value(setting.default)}")
    return "\n".join(lines) + "\n"


def parameter_table(config_class: type[Any]) -> str:
    """Return the parameters of a node as a Markdown table."""
    rows = ["| parameter | default | meaning |", "|---|---|---|"]
    rows += [
        f"| `{setting.name}` | `{_yaml_value(setting.default)}` | {_description(setting)} |"
        for setting in iterate_settings(config_class)
    ]
    return "\n".join(rows)


def bev_topics() -> str:
    """Return the topics of the bev_detection node as a Markdown table."""
    topics = BevDetectionNodeConfig().topics
    image, info = (pattern.format(camera="<camera>") for pattern in (topics.image, topics.camera_info))
    inputs = [
        f"| in: `{image}` | sensor_msgs/Image | pictures; `{image}/compressed` with `topics.is_compressed` |",
        f"| in: `{info}` | sensor_msgs/CameraInfo | calibration, once or with each picture, latched or not |",
        "| in: `/tf`, `/tf_static` | tf2_msgs/TFMessage | mounting of the cameras, ego motion |",
        "| in: `odom` | nav_msgs/Odometry | ego motion, with `ego_motion: odometry`; or `odometry_topic` of the rig |",
    ]
    return topic_table(inputs, bev_detection_config.OUTPUT_TOPICS, "cameras")


def skeleton_topics() -> str:
    """Return the topics of the skeleton_lifting node as a Markdown table."""
    topics = SkeletonLiftingNodeConfig().topics
    inputs = [
        f"| in: `{topics.keypoints}` | lift3d_ros/Keypoints2DArray | 2D keypoints of one camera; with "
        "`topics.keypoints_type: yolo_ros` yolo_msgs/DetectionArray |",
        f"| in: `{topics.camera_info}` | sensor_msgs/CameraInfo | its calibration, once or with each picture, latched "
        "or not |",
        "| in: `topics.depth` | sensor_msgs/Image | optional: depth registered to the pictures of the keypoints |",
        "| in: `topics.boxes` | lift3d_ros/BevDetectionArray | optional: detected 3D boxes |",
        "| in: `/tf`, `/tf_static` | tf2_msgs/TFMessage | optional: direction of gravity, `output_frame` |",
    ]
    return topic_table(inputs, skeleton_lifting_config.OUTPUT_TOPICS, "inputs")


def point_topics() -> str:
    """Return the topics of the point_features node as a Markdown table."""
    topics = PointFeaturesNodeConfig().topics
    inputs = [
        f"| in: `{topics.cloud}` | sensor_msgs/PointCloud2 | clouds of any layout; x, y, z in float32 or float64 |",
        "| in: `topics.boxes` | lift3d_ros/BevDetectionArray | optional: 3D boxes of the objects to encode; with "
        "`topics.boxes_type: vision_msgs` vision_msgs/Detection3DArray |",
        "| in: `/tf`, `/tf_static` | tf2_msgs/TFMessage | optional: frames of boxes and cloud, `output_frame` |",
    ]
    return topic_table(inputs, point_features_config.OUTPUT_TOPICS, "inputs")


def object_topics() -> str:
    """Return the topics of the object_reconstruction node as a Markdown table."""
    topics = ObjectReconstructionNodeConfig().topics
    inputs = [
        f"| in: `{topics.image}` | sensor_msgs/Image | pictures; `{topics.image}/compressed` with "
        "`topics.is_compressed` |",
        f"| in: `{topics.camera_info}` | sensor_msgs/CameraInfo | their calibration, once or with each picture, "
        "latched or not |",
        f"| in: `{topics.boxes}` | lift3d_ros/BevDetectionArray | detected objects, which are reconstructed; with "
        "`topics.boxes_type: vision_msgs` vision_msgs/Detection2DArray |",
        "| in: `topics.mask` | sensor_msgs/Image | optional: masks of the pictures |",
        "| in: `topics.depth` | sensor_msgs/Image | optional: depth registered to the pictures |",
        "| in: `/tf`, `/tf_static` | tf2_msgs/TFMessage | place of 3D boxes in front of the camera, `output_frame` |",
        "| service: `~/reconstruct` | lift3d_ros/ReconstructObject | a picture and where the object is: a mesh |",
        "| action: `~/reconstruct` | lift3d_ros/ReconstructObject | the same with progress, and can be cancelled |",
    ]
    return topic_table(inputs, object_reconstruction_config.OUTPUT_TOPICS, "inputs")


def topic_table(inputs: list[str], outputs: Mapping[str, tuple[str, str]], watched: str) -> str:
    """Return a Markdown table of topics; `watched` is whose health the diagnostics tell."""
    rows = ["| topic | type | what it carries |", "|---|---|---|", *inputs]
    rows += [f"| out: `~/{name}` | {kind} | {text} |" for name, (kind, text) in outputs.items()]
    rows.append(
        f"| out: `/diagnostics` | diagnostic_msgs/DiagnosticArray | health of {watched} and pipeline, in words |"
    )
    return "\n".join(rows)


def with_section(text: str, name: str, content: str) -> str:
    """Return `text` with the part between the two markers of `name` replaced."""
    begin, end = BEGIN.format(name=name), END.format(name=name)
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{content}\n{end}{after}" if rest else text


def _description(setting: Setting) -> str:
    parts = [setting.help]
    if setting.choices:
        parts.append(f"one of {', '.join(setting.choices)}")
    if setting.minimum is not None and setting.maximum is not None:
        unit = f" {setting.unit}" if setting.unit else ""
        parts.append(f"{setting.minimum:g} to {setting.maximum:g}{unit}")
    return "; ".join(parts)


def _comment(setting: Setting) -> Iterator[str]:
    for line in textwrap.wrap(_description(setting), 100):
        yield f"# {line}"


def _yaml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return '[""]' if not value else "[" + ", ".join(map(_yaml_value, value)) + "]"
    if isinstance(value, str):
        return f'"{value}"' if not value or "{" in value else value
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
