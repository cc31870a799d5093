"""`make setup` without ROS, `make help` and `make clean`, in a copy of the tree with a Python that installs nothing."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# A Python of a version that has no ROS wheels; the pip of its environments writes down what it is asked for.
PYTHON = """#!/bin/sh
case "$*" in
    *platform.python_version*) echo 3.12.1 ;;
    "-m venv "*)
        mkdir -p "$3/bin"
        printf '#!/bin/sh\\necho "$@" >>"%s"\\n' "$PIP_LOG" >"$3/bin/pip"
        chmod +x "$3/bin/pip"
        ;;
esac
"""
NOTHING_IS_MISSING = "#!/bin/sh\necho installed\n"


def write_executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "tools/bootstrap.sh", "requirements"):
        source, target = REPOSITORY / name, tmp_path / "tree" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    return tmp_path / "tree"


def make(tree: Path, target: str, **variables: str) -> str:
    tools = tree.parent / "bin"
    write_executable(tools / "dpkg-query", NOTHING_IS_MISSING)
    outer = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "WITHOUT_ROS"}
    environment = {
        **outer,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHON": str(write_executable(tools / "other_python", PYTHON)),
        "PIP_LOG": str(tree.parent / "pip.log"),
        **variables,
    }
    done = subprocess.run(["make", target], cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        pytest.param({}, "Python is 3.12.1; the ROS 2 wheels exist for CPython 3.11 only", id="another Python"),
        pytest.param({"WITHOUT_ROS": "1"}, "WITHOUT_ROS is set: the nodes are left out.", id="not wanted"),
    ],
)
def test_without_ros_everything_but_the_nodes_is_set_up_and_that_is_said(
    tree: Path, variables: dict[str, str], reason: str
) -> None:
    said = make(tree, "setup", **variables)
    assert reason in said
    assert said.splitlines()[-1] == "bootstrap: ready: .venv/bin/lift3d --help"
    installed = (tree.parent / "pip.log").read_text()
    assert ".[torch,train,mesh,viz,dev]" in installed
    assert "requirements/ros.txt" not in installed
    assert "building the interfaces" not in said


def test_a_second_setup_does_nothing_again(tree: Path) -> None:
    make(tree, "setup")
    before = (tree.parent / "pip.log").read_text()
    make(tree, "setup")
    assert (tree.parent / "pip.log").read_text() == before


def test_help_lists_every_target(tree: Path) -> None:
    listed = make(tree, "help")
    for target in ("help", "setup", "demo", "test", "test-numpy2", "lint", "format", "clean"):
        assert f"make {target} " in listed


def test_clean_removes_what_was_made_and_nothing_else(tree: Path) -> None:
    make(tree, "setup")
    (tree / "out" / "demo").mkdir(parents=True)
    make(tree, "clean")
    assert {path.name for path in tree.iterdir()} == {"Makefile", "pyproject.toml", "tools", "requirements"}
