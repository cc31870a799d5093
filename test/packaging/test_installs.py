"""The package from a wheel, an editable install and a colcon install: the same files, and all of them are found."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

import lift3d_ros

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED_FOLDERS = ("config", "launch", "models", "msg", "srv", "action")
GENERATED_FOLDERS = ("msg", "srv", "action")  # of the Python tree, made from the interfaces
IN_TREE = "viz/report_page/page.html.j2"

# Prints where the package lies and where each resource is found, as JSON in the last line.
PROBE = """
import json, sys
from pathlib import Path
import lift3d_ros
from lift3d_ros.resources import find_resource
package = Path(lift3d_ros.__file__).parent
print(json.dumps([str(package), {name: str(find_resource(name)) for name in json.loads(sys.argv[1])}]))
"""


@dataclass(frozen=True)
class Install:
    """One installed package: its interpreter, and the folders that hold its parts."""

    python: Path
    package: Path
    share: Path
    executables: Path

    def run(self, command: list[str], folder: Path, **variables: str) -> str:
        """Run a command outside of the source tree with nothing in the environment that points to the package."""
        cleared = ("PYTHONPATH", "AMENT_PREFIX_PATH", "LIFT3D_MODELS_DIR", "PYTHONHOME", "VIRTUAL_ENV")
        environment = {name: value for name, value in os.environ.items() if name not in cleared}
        environment |= {"PATH": f"{self.python.parent}{os.pathsep}{environment['PATH']}", **variables}
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def probe(self, names: list[str], folder: Path, **variables: str) -> tuple[Path, dict[str, Path]]:
        """Return the folder of the imported package and the path of each resource."""
        output = self.run([str(self.python), "-c", PROBE, json.dumps(names)], folder, **variables)
        package, found = json.loads(output.splitlines()[-1])
        return Path(package), {name: Path(path) for name, path in found.items()}


def files_below(folder: Path) -> set[str]:
    """Return the files below a folder as relative paths, without compiled Python."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix() for path in paths}


def source_resources() -> list[str]:
    """Return every file that must be found, wherever the package is installed."""
    return sorted(f"{folder}/{name}" for folder in SHARED_FOLDERS for name in files_below(REPOSITORY / folder))


def bare_environment(folder: Path) -> Path:
    """Make a virtual environment that sees what is installed here, apart from this package; return its Python."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    python = folder / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    for origin in map(Path, sys.path):
        if origin.name not in ("site-packages", "dist-packages") or not origin.is_dir():
            continue
        for entry in origin.iterdir():
            is_ours = entry.name.startswith(("lift3d_ros", "__editable__"))
            if not is_ours and entry.suffix != ".pth" and not (packages / entry.name).exists():
                (packages / entry.name).symlink_to(entry)
    return python


def pip(*arguments: str) -> None:
    """Run pip without network."""
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    index = next(i for i, a in enumerate(arguments) if a in ("wheel", "install"))
    command = [sys.executable, "-m", "pip", *arguments[: index + 1], *options, *arguments[index + 1 :]]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


def installed(python: Path) -> Install:
    """Return where pip puts the parts of the package for an interpreter."""
    prefix = python.parents[1]
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(prefix), "platbase": str(prefix)}))
    return Install(python, packages / "lift3d_ros", prefix / "share/lift3d_ros", prefix / "lib/lift3d_ros")


@pytest.fixture(scope="module")
def source_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what is packaged, so that building leaves nothing in the source tree."""
    for package in ("pip", "setuptools", "wheel"):
        if not importlib.util.find_spec(package):
            pytest.skip(f"{package} is not installed")
    copy = tmp_path_factory.mktemp("source") / "lift3d_ros"
    copy.mkdir()
    for name in ("lift3d_ros", *SHARED_FOLDERS, "scripts"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "package.xml", "README.md", "LICENSE"):
        if (REPOSITORY / name).exists():
            shutil.copy(REPOSITORY / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(source_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Install:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", str(source_copy), "--wheel-dir", str(folder))
    python = bare_environment(folder / "environment")
    pip("--python", str(python), "install", *map(str, folder.glob("lift3d_ros-*.whl")))
    return installed(python)


@pytest.fixture(scope="module")
def editable(source_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Install:
    python = bare_environment(tmp_path_factory.mktemp("editable") / "environment")
    pip("--python", str(python), "install", "--editable", str(source_copy))
    return Install(python, source_copy / "lift3d_ros", source_copy, source_copy / "scripts")


@pytest.fixture(scope="module")
def colcon() -> Install:
    """Return the colcon install that this Python runs from."""
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]
    for prefix in map(Path, prefixes):
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(prefix), "platbase": str(prefix)}))
        if (prefix / "share/lift3d_ros/cmake").is_dir() and (packages / "lift3d_ros/msg").is_dir():
            share, executables = prefix / "share/lift3d_ros", prefix / "lib/lift3d_ros"
            return Install(Path(sys.executable), packages / "lift3d_ros", share, executables)
    pytest.skip(f"no colcon install in {', '.join(prefixes)}: run 'make setup' with CPython 3.11, or colcon build")


def colcon_prefix(colcon: Install) -> str:
    return str(colcon.share.parents[1])


@pytest.mark.parametrize("kind", ["wheel", "editable", "colcon"])
def test_every_resource_is_found_from_outside_of_the_source_tree(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    install: Install = request.getfixturevalue(kind)
    variables = {"AMENT_PREFIX_PATH": colcon_prefix(install)} if kind == "colcon" else {}
    package, found = install.probe(source_resources(), tmp_path, **variables)
    assert package == install.package
    assert (package / IN_TREE).is_file()
    assert {"models/manifest.yaml", "config/bev_detection.yaml", "config/dds/fastdds_shared_memory.xml"} <= set(found)
    assert {name: path for name, path in found.items() if path != install.share / name} == {}


def test_a_virtual_environment_with_a_colcon_install_needs_no_variable(colcon: Install, tmp_path: Path) -> None:
    if colcon_prefix(colcon) != sys.prefix:
        pytest.skip(f"the colcon install is in {colcon_prefix(colcon)}, not in the virtual environment")
    _, found = colcon.probe(["models/manifest.yaml"], tmp_path)
    assert found == {"models/manifest.yaml": colcon.share / "models/manifest.yaml"}


@pytest.mark.parametrize("kind", ["wheel", "editable", "colcon"])
def test_the_command_runs(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    install: Install = request.getfixturevalue(kind)
    commands = [str(install.executables / "lift3d")]
    if kind != "colcon":
        commands.append(str(install.python.parent / "lift3d"))
    for command in commands:
        assert install.run([command, "--version"], tmp_path) == f"lift3d_ros {lift3d_ros.__version__}\n"


def test_the_wheel_holds_the_source_tree_and_nothing_else(wheel: Install) -> None:
    assert files_below(wheel.package) == files_below(REPOSITORY / "lift3d_ros")
    assert files_below(wheel.share) == {"LICENSE", "package.xml", *source_resources()}
    own = {entry.name for entry in wheel.package.parent.iterdir() if not entry.is_symlink()}
    assert {name for name in own if not name.endswith(".dist-info")} == {"lift3d_ros"}


def test_the_wheel_and_the_colcon_install_hold_the_same_files(wheel: Install, colcon: Install) -> None:
    """Run 'make setup' after adding or deleting a file, before this test."""
    tree = {
        name
        for name in files_below(colcon.package)
        # Code generated from the interfaces: lift3d_ros/msg/..., _lift3d_ros_s.ep....c, lift3d_ros_s__....so.
        if not name.startswith(tuple(f"{folder}/" for folder in GENERATED_FOLDERS))
        and not name.startswith(("_lift3d_ros_s.", "lift3d_ros_s__"))
    }
    assert tree == files_below(wheel.package)
    share = {
        name
        for name in files_below(colcon.share)
        if name.startswith(("LICENSE", *(f"{folder}/" for folder in SHARED_FOLDERS)))
        and not name.endswith((".idl", ".json"))  # generated from the interfaces
    }
    assert {*share, "package.xml"} == files_below(wheel.share)
    assert files_below(colcon.executables) == files_below(wheel.executables)


@pytest.mark.parametrize("kind", ["wheel", "colcon"])
def test_executables_can_be_executed(kind: str, request: pytest.FixtureRequest) -> None:
    install: Install = request.getfixturevalue(kind)
    names = files_below(install.executables)
    assert names == files_below(REPOSITORY / "scripts")
    assert [name for name in names if not os.access(install.executables / name, os.X_OK)] == []
