"""Installs what lies outside the Python tree to the places that CMakeLists.txt uses; all else is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

SHARED_FOLDERS = ("config", "launch", "models", "msg", "srv", "action")
SHARE = Path("share/lift3d_ros")


def data_files() -> list[tuple[str, list[str]]]:
    """Return (target folder, files) for everything under the shared folders, and the executables."""
    by_target: dict[str, list[str]] = {
        str(SHARE): ["LICENSE", "package.xml"],
        "lib/lift3d_ros": sorted(map(str, Path("scripts").iterdir())),
    }
    for folder in SHARED_FOLDERS:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                by_target.setdefault(str(SHARE / path.parent), []).append(str(path))
    return list(by_target.items())


setup(
    packages=find_packages(include=["lift3d_ros", "lift3d_ros.*"]),
    package_data={"lift3d_ros": ["py.typed", "viz/report_page/*"]},
    data_files=data_files(),
)
