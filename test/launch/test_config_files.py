"""Files that other programs read parse: RViz, Fast DDS, and the parameter files of the nodes."""

from __future__ import annotations

import importlib
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import yaml

from lift3d_ros.config import iterate_settings
from lift3d_ros.nodes.bev_detection_config import BevDetectionNodeConfig
from lift3d_ros.nodes.object_reconstruction_config import ObjectReconstructionNodeConfig
from lift3d_ros.nodes.point_features_config import PointFeaturesNodeConfig
from lift3d_ros.nodes.skeleton_lifting_config import SkeletonLiftingNodeConfig

CONFIG = Path(__file__).resolve().parents[2] / "config"
FAST_DDS = "{http://www.eprosima.com}"
RVIZ_FILES = sorted((CONFIG / "rviz").iterdir())
DDS_FILES = sorted((CONFIG / "dds").glob("fastdds*.xml"))
# What each view is for: class of the display, topic.
SHOWN = {
    "bev_detection.rviz": ("MarkerArray", "bev_detection/markers"),
    "skeletons.rviz": ("MarkerArray", "skeleton_lifting/markers"),
    "point_features.rviz": ("PointCloud2", "point_features/colored"),
    "object_reconstruction.rviz": ("MarkerArray", "object_reconstruction/markers"),
}
YAML_FILES = sorted(CONFIG.rglob("*.yaml"))


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: path.name)
def test_yaml_files_hold_a_mapping(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_there_are_rviz_files() -> None:
    assert {path.name for path in RVIZ_FILES} == set(SHOWN)


@pytest.mark.parametrize("path", RVIZ_FILES, ids=lambda path: path.name)
def test_rviz_shows_results_in_a_fixed_frame(path: Path) -> None:
    manager = yaml.safe_load(path.read_text(encoding="utf-8"))["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"]
    displays = {display["Class"]: display for display in manager["Displays"]}
    kind, topic = SHOWN[path.name]
    assert displays[f"rviz_default_plugins/{kind}"]["Topic"]["Value"] == topic
    assert all(":" not in name and name.count("/") == 1 for name in displays)


@pytest.mark.parametrize("path", RVIZ_FILES, ids=lambda path: path.name)
def test_rviz_listens_to_topics_that_the_node_publishes(path: Path) -> None:
    manager = yaml.safe_load(path.read_text(encoding="utf-8"))["Visualization Manager"]
    topics = [display["Topic"]["Value"] for display in manager["Displays"] if "Topic" in display]
    assert topics
    for topic in topics:
        node, name = topic.split("/")
        assert name in importlib.import_module(f"lift3d_ros.nodes.{node}_config").OUTPUT_TOPICS


def test_there_is_a_dds_profile() -> None:
    assert CONFIG / "dds/fastdds_shared_memory.xml" in DDS_FILES


@pytest.mark.parametrize("path", DDS_FILES, ids=lambda path: path.name)
def test_the_dds_profile_holds_a_burst_of_all_cameras(path: Path) -> None:
    root = ElementTree.parse(path).getroot()
    assert root.tag == f"{FAST_DDS}dds"
    transports = {
        str(transport.findtext(f"{FAST_DDS}transport_id")): transport
        for transport in root.iter(f"{FAST_DDS}transport_descriptor")
    }
    (memory,) = (t for t in transports.values() if t.findtext(f"{FAST_DDS}type") == "SHM")
    assert int(str(memory.findtext(f"{FAST_DDS}segment_size"))) >= 20_000_000
    assert int(str(memory.findtext(f"{FAST_DDS}maxMessageSize"))) > 1920 * 1080 * 3, "a picture goes in one piece"


@pytest.mark.parametrize("path", DDS_FILES, ids=lambda path: path.name)
def test_the_dds_profile_replaces_the_small_default_segment_and_keeps_the_network(path: Path) -> None:
    root = ElementTree.parse(path).getroot()
    (participant,) = root.iter(f"{FAST_DDS}participant")
    assert participant.get("is_default_profile") == "true"
    assert participant.findtext(f"{FAST_DDS}rtps/{FAST_DDS}useBuiltinTransports") == "false"
    used = [e.text for e in participant.iterfind(f"{FAST_DDS}rtps/{FAST_DDS}userTransports/{FAST_DDS}transport_id")]
    declared = [e.text for e in root.iterfind(f".//{FAST_DDS}transport_descriptor/{FAST_DDS}transport_id")]
    kinds = [e.text for e in root.iterfind(f".//{FAST_DDS}transport_descriptor/{FAST_DDS}type")]
    assert sorted(map(str, used)) == sorted(map(str, declared))
    assert {"SHM", "UDPv4"} <= set(kinds)


@pytest.mark.parametrize(
    ("node", "config_class"),
    [
        ("bev_detection", BevDetectionNodeConfig),
        ("skeleton_lifting", SkeletonLiftingNodeConfig),
        ("point_features", PointFeaturesNodeConfig),
        ("object_reconstruction", ObjectReconstructionNodeConfig),
    ],
)
def test_a_parameter_file_names_every_parameter_of_its_node_and_no_other(node: str, config_class: type[Any]) -> None:
    content = yaml.safe_load((CONFIG / f"{node}.yaml").read_text(encoding="utf-8"))
    parameters = content["/**"]["ros__parameters"]
    names = set()
    for name, value in parameters.items():
        names |= {f"{name}.{inner}" for inner in value} if isinstance(value, dict) else {name}
    assert names == {setting.name for setting in iterate_settings(config_class)}
