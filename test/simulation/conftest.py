"""One simulator, one rendered drive and one renderer for all tests of this folder: making them takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lift3d_ros.simulation.drive import Simulator
from lift3d_ros.simulation.frame import SimulatedFrame
from lift3d_ros.simulation.gl_context import RenderingError
from lift3d_ros.simulation.renderer import Renderer
from lift3d_ros.simulation.settings import SimulationSettings

DRIVE_SEED = 21


@pytest.fixture(scope="session")
def small_settings() -> SimulationSettings:
    """Two frames of small pictures, as they leave the renderer."""
    return SimulationSettings(
        frames=2, width=400, sensor=False, dark_or_wet=0.0, other_weather=0.0, ego_speed=(4.0, 8.0), min_visible_px=6
    )


@pytest.fixture(scope="session")
def simulator(small_settings: SimulationSettings) -> Iterator[Simulator]:
    made = Simulator(small_settings, None)
    try:
        assert made.renderer.device
    except RenderingError as error:
        pytest.skip(str(error))
    with made:
        yield made


@pytest.fixture(scope="session")
def drive(simulator: Simulator) -> tuple[SimulatedFrame, ...]:
    return tuple(simulator.drive(DRIVE_SEED))


@pytest.fixture(scope="session")
def renderer() -> Iterator[Renderer]:
    """An empty renderer; tests remove what they add, and set the light back."""
    try:
        made = Renderer()
    except RenderingError as error:
        pytest.skip(str(error))
    with made:
        yield made
