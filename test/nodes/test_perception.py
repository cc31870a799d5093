"""perception.launch.py: the nodes that it starts accept what it gives them, and boxes reach the other nodes."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ros_system import EXECUTABLES, NodeProcess, Observer

from lift3d_ros.launching import PERCEPTION_NODES

pytest.importorskip("torch")
pytestmark = [pytest.mark.ros, pytest.mark.launch]

# Random weights do for listening: method and configuration of each node's model.
MODELS = {
    "skeleton_lifting": ("lfm", "lift3d-lfm-small"),
    "point_features": ("i2p_mae", "lift3d-points-small"),
    "object_reconstruction": ("lrm", "lift3d-lrm-tiny"),
}
LAUNCH_FILE = Path(__file__).resolve().parents[2] / "launch" / "perception.launch.py"


class Action:
    """Stands in for every action of the launch packages, and keeps its arguments."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        self.positional, self.named = positional, named

    def perform(self, context: dict[str, str]) -> str:
        return context[self.positional[0]]


def started(arguments: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the arguments of the nodes that the launch file starts."""
    for name in ("launch", "launch.actions", "launch.substitutions", "launch_ros", "launch_ros.actions"):
        module = ModuleType(name)
        module.__getattr__ = lambda _: Action  # type: ignore[method-assign]
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "lift3d_ros.nodes.launch_perception", raising=False)
    spec = importlib.util.spec_from_file_location("perception", LAUNCH_FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delitem(sys.modules, "lift3d_ros.nodes.launch_perception")
    entities = module.generate_launch_description().positional[0]
    defaults = {e.positional[0]: e.named["default_value"] for e in entities if "default_value" in e.named}
    (function,) = (e.named["function"] for e in entities if "function" in e.named)
    return [action.named for action in function(defaults | arguments)]


def command_line(node: dict[str, Any]) -> list[str]:
    """Return what launch_ros puts behind the name of the executable."""
    line = [*node["arguments"], "--ros-args", "-r", f"__ns:={node['namespace'] or '/'}"]
    if "name" not in node:
        return line
    line += ["-r", f"__node:={node['name']}"]
    for source, target in node["remappings"]:
        line += ["-r", f"{source}:={target}"]
    file, *overrides = node["parameters"]
    line += ["--params-file", file]
    for name, value in (overrides[0] if overrides else {}).items():
        line += ["-p", f"{name}:={str(value).lower() if isinstance(value, bool) else value}"]
    return line


@pytest.fixture
def random_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models with the names of their nodes."""
    entries = [f"  {name}: {{method: {m}, preset: {p}, licence: x, source: a test}}" for name, (m, p) in MODELS.items()]
    (tmp_path / "manifest.yaml").write_text("\n".join(["models:", *entries, ""]))
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path))


@pytest.mark.parametrize("namespace", ["", "/car"])
def test_the_nodes_that_are_installed_start_together_and_listen_to_the_detector(
    namespace: str, random_weights: None, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The detector is not needed for the wiring, and takes long to open.
    others = [name for name in PERCEPTION_NODES[1:] if (EXECUTABLES / name).exists()]
    arguments = {"nodes": ",".join(["bev_detection", *others]), "camera": "front", "namespace": namespace}
    nodes = {node["name"]: node for node in started(arguments, monkeypatch)}
    assert "object_reconstruction" in nodes
    with contextlib.ExitStack() as stack:
        for name in others:
            options = ["-p", f"model:={name}", "-p", "engine.backend:=torch"]
            stack.enter_context(NodeProcess(name, *command_line(nodes[name]), *options))
        topic = f"{namespace}/bev_detection/detections"
        # Diagnostics arrive each second, so this is looked at until it is true.
        observer.wait_until(lambda: listening(observer, topic) >= set(others), f"{others} that listen to {topic}")


def test_the_nodes_of_one_process_listen_to_the_detector(
    random_weights: None, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (EXECUTABLES / "perception").exists():
        pytest.skip("perception is not installed; run 'make setup'")
    names = ["point_features", "object_reconstruction"]
    # The detector is there, but takes long to open.
    arguments = {"nodes": ",".join(["bev_detection", *names]), "camera": "front", "namespace": "/car"}
    (process,) = started({**arguments, "one_process": "true"}, monkeypatch)
    options = ["-p", "bev_detection:autostart:=false"]
    for name in names:
        options += ["-p", f"{name}:model:={name}", "-p", f"{name}:engine.backend:=torch"]
    with NodeProcess("perception", *command_line(process), *options):
        topic = "/car/bev_detection/detections"
        observer.wait_until(lambda: listening(observer, topic) >= set(names), f"{names} that listen to {topic}")
        images = observer.node.get_subscriptions_info_by_topic("/car/front/image")
        assert {info.node_name for info in images} >= {"object_reconstruction"}


def listening(observer: Observer, topic: str) -> set[str]:
    """Return the nodes that subscribe to a topic."""
    return {info.node_name for info in observer.node.get_subscriptions_info_by_topic(topic)} - {"observer"}
