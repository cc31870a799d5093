"""What each module needs when it is loaded: no ROS outside nodes/, no torch outside the networks and their backends."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

ROS = (
    r"(rclpy|rcl_interfaces|rpyutils|builtin_interfaces|\w+_msgs|std_srvs|(ament|rosidl|tf2)_\w+|launch|launch_\w+"
    r"|message_filters|cv_bridge|sensor_msgs_py|rosbag2_py|lift3d_ros\.(msg|srv|action))(\.|$)"
)
TORCH = r"(torch|torchvision|safetensors\.torch)(\.|$)"
NEEDS_TORCH = re.compile(r"lift3d_ros\.(bench\.|ops\.|models\.|training\.|engines\.(torch_engine|export)$)")

# Imports every module that is named and prints module -> what went wrong, as JSON in the last line.
PROGRAM = """
import importlib, json, re, sys

blocked, names = re.compile(sys.argv[1]), json.loads(sys.argv[2])

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if blocked.match(name):
            raise ModuleNotFoundError(f"{name} is blocked by this test", name=name)

sys.meta_path.insert(0, Blocked())
problems = {}
for name in names:
    try:
        importlib.import_module(name)
    except Exception as error:
        problems[name] = f"{type(error).__name__}: {error}"
print(json.dumps(problems))
"""


def source_modules() -> list[str]:
    """Return the dotted name of every module of the source tree."""
    paths = sorted((REPOSITORY / "lift3d_ros").rglob("*.py"))
    parts = [path.relative_to(REPOSITORY).with_suffix("").parts for path in paths]
    return [".".join(p[:-1] if p[-1] == "__init__" else p) for p in parts]


NODES = [name for name in source_modules() if name.startswith("lift3d_ros.nodes")]
CORE = [name for name in source_modules() if name not in NODES]
WITHOUT_TORCH = [name for name in CORE if not NEEDS_TORCH.match(name)]


def import_problems(blocked: str, names: list[str], folder: Path) -> dict[str, str]:
    """Import modules in a fresh process started in `folder` and return what went wrong."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, blocked, json.dumps(names)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    problems: dict[str, str] = json.loads(result.stdout.splitlines()[-1])
    return problems


# The folder of the source tree comes first in the path of 'python -c', so new modules need no new installation.
@pytest.fixture(scope="module")
def problems_without_ros() -> dict[str, str]:
    return import_problems(ROS, CORE, REPOSITORY)


@pytest.fixture(scope="module")
def problems_without_torch() -> dict[str, str]:
    return import_problems(TORCH, WITHOUT_TORCH, REPOSITORY)


@pytest.mark.parametrize("name", CORE)
def test_outside_of_nodes_nothing_needs_ros(name: str, problems_without_ros: dict[str, str]) -> None:
    if NEEDS_TORCH.match(name) and not importlib.util.find_spec("torch"):
        pytest.skip("torch is not installed")
    if name.endswith("_triton") and not importlib.util.find_spec("triton"):
        pytest.skip("triton is not installed; it comes with torch for CUDA")
    assert name not in problems_without_ros, problems_without_ros[name]


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_only_networks_and_their_backends_need_torch(name: str, problems_without_torch: dict[str, str]) -> None:
    assert name not in problems_without_torch, problems_without_torch[name]


def test_the_block_works() -> None:
    problems = import_problems(ROS, ["lift3d_ros.nodes.messages"], REPOSITORY)
    assert "is blocked by this test" in problems["lift3d_ros.nodes.messages"]


def test_the_detector_is_among_the_modules_without_torch() -> None:
    for name in ("lift3d_ros.pipelines.bev_detection", "lift3d_ros.engines.onnxruntime_engine", "lift3d_ros.cli.main"):
        assert name in WITHOUT_TORCH


def test_nodes_are_loaded_without_torch(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed: no ROS 2 on this machine")
    pytest.importorskip("lift3d_ros.msg", reason="the interfaces are not built: run 'make setup'")
    names = NODES
    if not importlib.util.find_spec("launch"):  # comes with a ROS 2 distribution; test/launch has a stand-in
        names = [name for name in NODES if not name.startswith("lift3d_ros.nodes.launch_")]
    # Not in the source tree, which has no generated messages.
    assert import_problems(TORCH, names, tmp_path) == {}


def test_our_messages_are_imported_in_nodes_only() -> None:
    """import-linter cannot tell lift3d_ros.msg from lift3d_ros, so imports inside functions are looked up here."""
    offenders = {name for name in CORE for i in imports_of(name) if re.match(r"lift3d_ros\.(msg|srv|action)(\.|$)", i)}
    assert offenders == set()


def imports_of(name: str) -> set[str]:
    """Return the dotted names that a module imports anywhere, those inside functions too."""
    path = REPOSITORY.joinpath(*name.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found
