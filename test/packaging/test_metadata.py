"""What the package says about itself: package.xml, versions, requirements, generated files."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

import lift3d_ros

REPOSITORY = Path(__file__).resolve().parents[2]
MANIFEST = ElementTree.parse(REPOSITORY / "package.xml").getroot()
REQUIREMENTS = sorted((REPOSITORY / "requirements").glob("*.txt"))


def declared_in_package_xml(*tags: str) -> set[str]:
    return {str(element.text) for tag in tags for element in MANIFEST.iter(tag)}


def imported_packages(folder: Path) -> set[str]:
    """Return the top-level packages that the modules below a folder import, inside functions too."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"lift3d_ros"}


def is_ros(name: str) -> bool:
    return bool(re.fullmatch(r"rclpy|\w+_(interfaces|msgs|srvs)|message_filters|tf2_ros|launch(_ros)?", name))


def test_package_xml_is_valid() -> None:
    catkin_pkg = pytest.importorskip("catkin_pkg.package", reason="catkin_pkg is not installed")
    warnings: list[str] = []
    package = catkin_pkg.parse_package(str(REPOSITORY / "package.xml"), warnings=warnings)
    assert warnings == []
    assert package.name == "lift3d_ros"
    assert package.get_build_type() == "ament_cmake"


def test_versions_agree() -> None:
    assert MANIFEST.findtext("version") == lift3d_ros.__version__


def test_packages_of_the_interfaces_are_declared() -> None:
    used = {
        match[1]
        for folder in ("msg", "srv", "action")
        for path in (REPOSITORY / folder).iterdir()
        for match in re.finditer(r"^(\w+)/\w+", path.read_text(encoding="utf-8"), re.MULTILINE)
    } - {"lift3d_ros"}
    assert {"geometry_msgs", "sensor_msgs", "std_msgs"} <= used
    assert used <= declared_in_package_xml("depend")
    cmake = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    generated = re.search(r"rosidl_generate_interfaces\((.*?)\)\s*$", cmake, re.DOTALL | re.MULTILINE)
    assert generated
    assert used <= set(generated[1].partition("DEPENDENCIES")[2].split())
    assert used <= set(re.findall(r"find_package\((\w+) REQUIRED\)", cmake))
    assert "action_msgs" in declared_in_package_xml("depend"), "the code generated from actions needs it"


def test_ros_packages_that_nodes_and_launch_files_import_are_declared() -> None:
    imported = imported_packages(REPOSITORY / "lift3d_ros/nodes") | imported_packages(REPOSITORY / "launch")
    assert {"rclpy", "launch", "launch_ros"} <= imported
    assert {name for name in imported if is_ros(name)} - declared_in_package_xml("depend", "exec_depend") == set()


def test_ros_packages_that_are_declared_are_used() -> None:
    declared = {name for name in declared_in_package_xml("exec_depend") if is_ros(name)}
    used = imported_packages(REPOSITORY / "lift3d_ros") | imported_packages(REPOSITORY / "test")
    expected_beside = {"message_filters"}  # as package.xml says
    assert declared - used - expected_beside == set()


def pyproject() -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib", reason="tomllib comes with Python 3.11")
    content: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    return content


def ranges() -> dict[str, Any]:
    """Return distribution -> accepted versions, over all dependencies and extras of pyproject.toml."""
    requirements = pytest.importorskip("packaging.requirements", reason="packaging is not installed")
    project = pyproject()["project"]
    lines = [*project["dependencies"], *(x for extra in project["optional-dependencies"].values() for x in extra)]
    parsed = [requirements.Requirement(line) for line in lines]
    return {normalised(r.name): r.specifier for r in parsed if r.name != "lift3d_ros"}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path) -> dict[str, str]:
    """Return distribution -> version of a requirements file; every line must be a pin."""
    lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    found = {}
    for line in filter(None, lines):
        match = re.fullmatch(r"([\w.-]+)==([\w.!+]+)", line)
        assert match, f"{path.name}: {line!r} is not of the form name==version"
        found[normalised(match[1])] = match[2]
    return found


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_requirements_are_pins_without_addresses(path: Path) -> None:
    """Where packages come from is a matter of the machine: PIP_INDEX_URL, PIP_FIND_LINKS."""
    assert pins(path)
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"\w+://|^-|\bwww\.|@", text, re.MULTILINE) == []


def test_pins_lie_within_the_ranges_of_pyproject() -> None:
    pinned = pins(REPOSITORY / "requirements/venv.txt")
    accepted = ranges()
    missing = accepted.keys() - pinned.keys() - {"openvino", "tensorrt-rtx", "rembg"}  # of choice
    assert missing == set(), "requirements/venv.txt lacks a pin"
    outside = {n: v for n, v in pinned.items() if n in accepted and not accepted[n].contains(v, prereleases=True)}
    assert outside == {}


def test_requirements_files_agree_on_common_pins() -> None:
    first, *others = (pins(path) for path in REQUIREMENTS)
    for other in others:
        assert {n for n in first.keys() & other.keys() if first[n] != other[n]} == set()


def test_imported_packages_are_declared_in_pyproject() -> None:
    """A package that only comes along with another one is gone when that one changes."""
    owners = importlib.metadata.packages_distributions()
    imported = {name for name in imported_packages(REPOSITORY / "lift3d_ros") if not is_ros(name)}
    undeclared = {
        name
        for name in imported
        if name in owners and not {normalised(owner) for owner in owners[name]} & ranges().keys()
    }
    assert "numpy" in imported
    assert undeclared == set()


def test_generated_files_are_up_to_date() -> None:
    result = subprocess.run(
        [sys.executable, "tools/generate_reference.py", "--check"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert result.returncode == 0, f"{result.stdout}{result.stderr}run tools/generate_reference.py"


def test_no_file_names_a_machine() -> None:
    """Paths of one machine and addresses of package registries belong to the environment, not to the repository."""
    machine = "|".join(["work", "root", r"home/(?!user\b|you\b|\$)[a-z]\w*", "Users/[A-Za-z]"])
    registry = "|".join([r"pypi\.", "pythonhosted", r"download\.pytorch", "artifactory", "nexus", "devpi", "registry"])
    pattern = re.compile(rf"(?<![\w.~>}}-])/(?:{machine})/|https?://[^\s/]*(?:{registry})")
    offenders = []
    for path in repository_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures and weights
        offenders += [f"{path.relative_to(REPOSITORY)}: {match[0]}" for match in pattern.finditer(text)]
    assert offenders == []


def repository_files() -> list[Path]:
    """Return what git tracks or would track; without git, what lies in the folders of the project."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        ignored = {"build", "install", "log", "out", "__pycache__"}
        paths = (p.relative_to(REPOSITORY) for p in REPOSITORY.rglob("*"))
        listed = [str(p) for p in paths if not ignored & set(p.parts) and not p.parts[0].startswith((".venv", ".git"))]
    return [REPOSITORY / name for name in listed if name and (REPOSITORY / name).is_file()]


def test_no_message_advises_a_package_of_this_name_on_a_public_index() -> None:
    """There it is not ours; extras are installed from the source tree."""
    for path in (
        *(REPOSITORY / "lift3d_ros").rglob("*.py"),
        *(path for path in repository_files() if path.suffix == ".md"),
    ):
        advised = re.findall(r"pip install[^\n]*?\blift3d_ros", path.read_text(encoding="utf-8"))
        assert advised == [], path


def test_files_that_the_documents_name_exist() -> None:
    for document in (*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")):
        text = document.read_text(encoding="utf-8")
        named = re.findall(r"[`(]((?:[\w.]+/)+[\w.]*\w\.(?:py|md|yaml|xml|json|msg|jpg))[`)#]", text)
        ours = [name for name in named if "my_" not in name and "MyResult" not in name]
        places = (document.parent, REPOSITORY, REPOSITORY / "lift3d_ros")
        assert [name for name in ours if not any((place / name).exists() for place in places)] == [], document
