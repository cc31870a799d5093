"""Launch files build what they promise; a recording stub stands in where the launch package is not installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lift3d_ros.config import iterate_settings
from lift3d_ros.errors import ConfigError
from lift3d_ros.nodes.bev_detection_config import BevDetectionNodeConfig
from lift3d_ros.nodes.object_reconstruction_config import ObjectReconstructionNodeConfig
from lift3d_ros.nodes.point_features_config import PointFeaturesNodeConfig
from lift3d_ros.nodes.skeleton_lifting_config import SkeletonLiftingNodeConfig

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = sorted((REPOSITORY / "launch").glob("*.launch.py"))
ACTIONS = {
    "launch": ("LaunchContext", "LaunchDescription"),
    "launch.actions": ("DeclareLaunchArgument", "OpaqueFunction", "SetEnvironmentVariable"),
    "launch.conditions": ("IfCondition",),
    "launch.substitutions": ("LaunchConfiguration",),
    "launch_ros": (),
    "launch_ros.actions": ("LifecycleNode", "Node"),
}


@dataclass
class Recorded:
    """What a launch file created: the class name and the arguments."""

    kind: str
    positional: tuple[Any, ...]
    named: dict[str, Any]

    def perform(self, context: dict[str, str]) -> str:
        """Return the value of a LaunchConfiguration."""
        return context[self.positional[0]]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put recording stand-ins of the launch packages into sys.modules."""
    for name, classes in ACTIONS.items():
        module = ModuleType(name)
        for kind in classes:
            setattr(module, kind, lambda *args, kind=kind, **named: Recorded(kind, args, named))
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import the modules with the launch packages again, in each test with those that it has."""
    for name in ("launch_description", "launch_node", "launch_perception"):
        monkeypatch.delitem(sys.modules, f"lift3d_ros.nodes.{name}", raising=False)


def load(path: Path) -> ModuleType:
    """Execute a launch file as launch does."""
    spec = importlib.util.spec_from_file_location(path.name.replace(".", "_"), path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def described(path: Path) -> list[Recorded]:
    """Return the entities of the launch description."""
    entities: list[Recorded] = load(path).generate_launch_description().positional[0]
    return entities


def of_kind(entities: list[Recorded], kind: str) -> list[Recorded]:
    return [entity for entity in entities if entity.kind == kind]


def test_there_are_launch_files() -> None:
    names = ("bev_detection", "skeleton_lifting", "point_features", "object_reconstruction", "perception")
    assert {f"{name}.launch.py" for name in names} <= {path.name for path in FILES}


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_argument_is_described_and_has_a_default(path: Path) -> None:
    arguments = of_kind(described(path), "DeclareLaunchArgument")
    assert arguments
    for argument in arguments:
        (name,) = argument.positional
        assert isinstance(argument.named["default_value"], str), name
        assert len(argument.named["description"]) > 10, name


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_environment_is_set_before_the_node_starts(path: Path) -> None:
    kinds = [entity.kind for entity in described(path)]
    variables = {e.positional[0] for e in of_kind(described(path), "SetEnvironmentVariable")}
    assert {"FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"} & variables
    assert "MALLOC_TRIM_THRESHOLD_" in variables
    last_variable = max(i for i, kind in enumerate(kinds) if kind == "SetEnvironmentVariable")
    assert last_variable < kinds.index("OpaqueFunction")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_launch_needs_nothing_but_ros_where_the_other_packages_are_in_an_environment_of_the_nodes(path: Path) -> None:
    program = f"""
import importlib.util, sys
from types import ModuleType
for name, classes in {ACTIONS!r}.items():
    sys.modules[name] = module = ModuleType(name)
    for kind in classes:
        setattr(module, kind, lambda *args, **named: args)
sys.path.insert(0, {str(REPOSITORY)!r})
spec = importlib.util.spec_from_file_location("launch_file", {str(path)!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert module.generate_launch_description()
assert "numpy" not in sys.modules and importlib.util.find_spec("yaml") is None
"""
    # -S: no site-packages at all.
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("stub")
def test_the_detector_is_started_with_the_arguments() -> None:
    entities = described(REPOSITORY / "launch/bev_detection.launch.py")
    context = {
        argument.positional[0]: argument.named["default_value"]
        for argument in of_kind(entities, "DeclareLaunchArgument")
    }
    context |= {"namespace": "front_car", "backend": "onnxruntime", "autostart": "false", "log_level": "debug"}
    function, _ = of_kind(entities, "OpaqueFunction")
    (node,) = function.named["function"](context)
    assert node.kind == "LifecycleNode"
    assert node.named["package"] == "lift3d_ros"
    assert (REPOSITORY / "scripts" / node.named["executable"]).is_file()
    assert node.named["namespace"] == "front_car"
    assert node.named["arguments"] == ["--ros-args", "--log-level", "debug"]
    parameter_file, overrides = node.named["parameters"]
    assert Path(parameter_file).is_file()
    assert overrides == {"engine.backend": "onnxruntime", "autostart": False}


@pytest.mark.usefixtures("stub")
def test_the_skeleton_lifter_is_started_with_the_arguments() -> None:
    entities = described(REPOSITORY / "launch/skeleton_lifting.launch.py")
    context = {a.positional[0]: a.named["default_value"] for a in of_kind(entities, "DeclareLaunchArgument")}
    context |= {"keypoints": "/front/keypoints", "gravity_frame": "odom", "use_sim_time": "true"}
    function, _ = of_kind(entities, "OpaqueFunction")
    (node,) = function.named["function"](context)
    assert (node.kind, node.named["name"]) == ("LifecycleNode", "skeleton_lifting")
    assert (REPOSITORY / "scripts" / node.named["executable"]).is_file()
    parameter_file, overrides = node.named["parameters"]
    assert Path(parameter_file).name == "skeleton_lifting.yaml"
    assert overrides == {
        "topics.keypoints": "/front/keypoints",
        "input.gravity_frame": "odom",
        "use_sim_time": True,
    }


@pytest.mark.usefixtures("stub")
def test_the_point_encoder_is_started_with_the_arguments() -> None:
    entities = described(REPOSITORY / "launch/point_features.launch.py")
    context = {a.positional[0]: a.named["default_value"] for a in of_kind(entities, "DeclareLaunchArgument")}
    context |= {
        "cloud": "/lidar/points",
        "boxes": "/boxes",
        "boxes_type": "vision_msgs",
        "classifier": "my.safetensors",
    }
    function, viewer = of_kind(entities, "OpaqueFunction")
    (node,) = function.named["function"](context)
    assert (node.kind, node.named["name"]) == ("LifecycleNode", "point_features")
    assert (REPOSITORY / "scripts" / node.named["executable"]).is_file()
    parameter_file, overrides = node.named["parameters"]
    assert Path(parameter_file).name == "point_features.yaml"
    assert overrides == {
        "topics.cloud": "/lidar/points",
        "topics.boxes": "/boxes",
        "topics.boxes_type": "vision_msgs",
        "encoder.classifier": "my.safetensors",
    }
    (rviz,) = viewer.named["function"](context)
    assert Path(rviz.named["arguments"][1]).name == "point_features.rviz"


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("bev_detection", BevDetectionNodeConfig),
        ("skeleton_lifting", SkeletonLiftingNodeConfig),
        ("point_features", PointFeaturesNodeConfig),
        ("object_reconstruction", ObjectReconstructionNodeConfig),
    ],
)
def test_arguments_set_only_parameters_that_the_node_has(name: str, config: type) -> None:
    path = REPOSITORY / "launch" / f"{name}.launch.py"
    declared = {setting.name for setting in iterate_settings(config)}
    assert {argument.parameter for argument in load(path).ARGUMENTS.values()} <= declared
    entities = described(path)
    context = {a.positional[0]: "true" for a in of_kind(entities, "DeclareLaunchArgument")}
    (node,) = of_kind(entities, "OpaqueFunction")[0].named["function"](context)
    _, overrides = node.named["parameters"]
    assert {"model", "engine.backend", "output_frame", "autostart"} < overrides.keys()
    assert overrides.keys() <= declared | {"use_sim_time"}  # that one every node has from rclpy


def perceiving(arguments: dict[str, str]) -> list[Recorded]:
    """Return the actions by which `perception.launch.py` starts nodes."""
    entities = described(REPOSITORY / "launch/perception.launch.py")
    defaults = {a.positional[0]: a.named["default_value"] for a in of_kind(entities, "DeclareLaunchArgument")}
    assert arguments.keys() <= defaults.keys()
    (function,) = of_kind(entities, "OpaqueFunction")
    actions: list[Recorded] = function.named["function"](defaults | arguments)
    return actions


def perceiving_by_name(arguments: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return name of the node -> arguments of its action, where each has a process of its own."""
    return {action.named["name"]: action.named for action in perceiving(arguments)}


@pytest.mark.usefixtures("stub")
def test_perception_starts_the_chosen_nodes_and_hands_the_boxes_of_the_detector_on() -> None:
    nodes = perceiving_by_name(
        {
            "nodes": "object_reconstruction, bev_detection",
            "rig": "/car/rig.yaml",
            "camera": "front",
            "namespace": "car",
            "use_sim_time": "true",
        }
    )
    assert list(nodes) == ["bev_detection", "object_reconstruction"]
    detector, reconstructor = nodes.values()
    assert detector["parameters"][1] == {"use_sim_time": True, "rig": "/car/rig.yaml"}
    assert detector["remappings"] == []
    assert Path(reconstructor["parameters"][0]).name == "object_reconstruction.yaml"
    assert reconstructor["parameters"][1] == {"use_sim_time": True, "topics.boxes": "boxes"}
    assert ("boxes", "bev_detection/detections") in reconstructor["remappings"]
    assert ("image", "front/image") in reconstructor["remappings"]
    assert {node["namespace"] for node in nodes.values()} == {"car"}


@pytest.mark.usefixtures("stub")
def test_perception_without_the_detector_leaves_the_topics_of_boxes_alone(tmp_path: Path) -> None:
    nodes = perceiving_by_name({"nodes": "skeleton_lifting", "skeleton_lifting_params": str(tmp_path / "mine.yaml")})
    assert list(nodes) == ["skeleton_lifting"]
    assert nodes["skeleton_lifting"]["parameters"] == [str(tmp_path / "mine.yaml")]
    assert nodes["skeleton_lifting"]["remappings"] == []


@pytest.mark.usefixtures("stub")
def test_perception_in_one_process_gives_each_node_what_it_would_have_alone(tmp_path: Path) -> None:
    mine = str(tmp_path / "mine.yaml")
    arguments = {
        "nodes": "object_reconstruction, bev_detection",
        "rig": "/car/rig.yaml",
        "camera": "front",
        "namespace": "car",
        "use_sim_time": "true",
        "bev_detection_params": mine,
    }
    (action,) = perceiving({**arguments, "one_process": "true"})
    assert action.kind == "Node"
    assert (REPOSITORY / "scripts" / action.named["executable"]).is_file()
    assert action.named["namespace"] == "car"
    assert "name" not in action.named, "launch would give it to every node of the process"
    given = action.named["arguments"]
    assert given[:4] == ["--nodes", "bev_detection,object_reconstruction", "--params", f"bev_detection={mine}"]
    assert given[given.index("--ros-args") :][:3] == ["--ros-args", "--log-level", "info"]
    for name, alone in perceiving_by_name(arguments).items():
        file, overrides = alone["parameters"]
        assert f"{name}={file}" in given
        of_node = [text.removeprefix(f"{name}:") for text in given if text.startswith(f"{name}:")]
        expected = [f"{parameter}:={json.dumps(value)}" for parameter, value in overrides.items()]
        assert of_node == expected + [f"{source}:={target}" for source, target in alone["remappings"]]


@pytest.mark.usefixtures("stub")
def test_perception_in_one_process_builds_the_engines_of_all_nodes() -> None:
    (action,) = perceiving({"one_process": "true", "build_only": "true"})
    assert action.named["arguments"][:2] == ["--build-only", "--nodes"]
    with pytest.raises(RuntimeError, match="the engines of perception are not built"):
        action.named["on_exit"](SimpleNamespace(returncode=1, process_name="perception"), {})
    with pytest.raises(ConfigError, match="launch argument 'one_process' is 'both'; expected true or false"):
        perceiving({"one_process": "both"})


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            "bev_detection,object_reconstuction",
            r"did you mean 'object_reconstruction'\?; expected some of bev_detection",
        ),
        (" , ", "is empty; expected some of bev_detection, skeleton_lifting, point_features, object_reconstruction"),
    ],
)
def test_perception_refuses_nodes_that_it_does_not_know(nodes: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        perceiving({"nodes": nodes})


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize(
    ("arguments", "frame"),
    [({}, []), ({"output_frame": "map"}, ["-f", "map"]), ({"output_frame": "map", "fixed_frame": "a"}, ["-f", "a"])],
)
def test_rviz_shows_skeletons_in_the_frame_that_there_is(arguments: dict[str, str], frame: list[str]) -> None:
    entities = described(REPOSITORY / "launch/skeleton_lifting.launch.py")
    context = {a.positional[0]: a.named["default_value"] for a in of_kind(entities, "DeclareLaunchArgument")}
    _, function = of_kind(entities, "OpaqueFunction")
    (viewer,) = function.named["function"](context | arguments)
    assert Path(viewer.named["arguments"][1]).name == "skeletons.rviz"
    assert viewer.named["arguments"][2:] == frame


@pytest.mark.usefixtures("stub")
def test_rviz_opens_only_when_asked_for() -> None:
    entities = described(REPOSITORY / "launch/bev_detection.launch.py")
    defaults = {a.positional[0]: a.named["default_value"] for a in of_kind(entities, "DeclareLaunchArgument")}
    assert defaults["rviz"] == "false"
    _, function = of_kind(entities, "OpaqueFunction")
    assert function.named["condition"].positional[0].positional == ("rviz",)
    context = defaults | {"namespace": "car", "output_frame": "odom", "use_sim_time": "true"}
    (viewer,) = function.named["function"](context)
    assert viewer.named["executable"] == "rviz2"
    assert Path(viewer.named["arguments"][1]).is_file()
    assert viewer.named["arguments"][2:] == ["-f", "odom"]
    assert viewer.named["namespace"] == "car"
    assert viewer.named["parameters"] == [{"use_sim_time": True}]


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_build_only_starts_no_node_but_a_build_whose_failure_is_the_failure_of_the_launch(path: Path) -> None:
    entities = described(path)
    context = {a.positional[0]: a.named["default_value"] for a in of_kind(entities, "DeclareLaunchArgument")}
    start, *viewer = of_kind(entities, "OpaqueFunction")
    actions = start.named["function"](context | {"build_only": "true"})
    assert actions
    for action in actions:
        assert action.kind == "Node"
        assert action.named["arguments"][0] == "--build-only"
        assert action.named["on_exit"](SimpleNamespace(returncode=0, process_name="a node"), context) is None
        with pytest.raises(RuntimeError, match="the engines of a node are not built"):
            action.named["on_exit"](SimpleNamespace(returncode=1, process_name="a node"), context)
    assert all(one.named["function"](context | {"build_only": "true"}) == [] for one in viewer)
    with pytest.raises(ConfigError, match="launch argument 'build_only' is 'yess'; expected true or false"):
        start.named["function"](context | {"build_only": "yess"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_real_launch_package_accepts_the_file(path: Path) -> None:
    for package in ("launch.launch_description_sources", "launch_ros.actions"):
        pytest.importorskip(package, reason="no launch packages: they come with a ROS 2 distribution")
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    import launch

    description = PythonLaunchDescriptionSource(str(path)).get_launch_description(launch.LaunchContext())
    assert {argument.name for argument in description.get_launch_arguments()}
