"""One street, one renderer and one rendered frame for all tests of this folder: making them takes seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lift3d_ros.datasets.frames import SceneCamera
from lift3d_ros.geometry.rig import load_rig
from lift3d_ros.simulation.gl_context import RenderingError
from lift3d_ros.simulation.scene_writer import DriveFrame, DriveRenderer, DriveSettings, rig_cameras
from lift3d_ros.simulation.street import Street, make_street


@pytest.fixture(scope="session")
def settings() -> DriveSettings:
    """The settings of the bundled demo scene."""
    return DriveSettings()


@pytest.fixture(scope="session")
def cameras(repository: Path, settings: DriveSettings) -> Mapping[str, SceneCamera]:
    return rig_cameras(load_rig(repository / "config" / "rigs" / "nuscenes_like.yaml"), settings.width)


@pytest.fixture(scope="session")
def street(settings: DriveSettings) -> Street:
    return make_street(settings.seed, settings.duration_s)


@pytest.fixture(scope="session")
def drive(street: Street, cameras: Mapping[str, SceneCamera], settings: DriveSettings) -> Iterator[DriveRenderer]:
    try:
        renderer = DriveRenderer(street, cameras, settings)
    except RenderingError as error:
        pytest.skip(str(error))
    with renderer:
        yield renderer


@pytest.fixture(scope="session")
def first_frame(drive: DriveRenderer) -> DriveFrame:
    return drive.frame(0)
