"""How the map of the last frame follows the vehicle in the way of the published models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.models.dfa3d.config import Dfa3dConfig  # noqa: E402
from lift3d_ros.models.dfa3d.history import BevGrid  # noqa: E402

CONFIG = Dfa3dConfig(bev_height=20, bev_width=20, rotation_center=(10.0, 10.0), ego_input="can_bus")


@pytest.mark.parametrize(
    ("direction_deg", "expected"),
    [
        pytest.param(0, [0.0, 0.02], id="forward"),
        pytest.param(180, [0.0, -0.02], id="backward"),
        pytest.param(-90, [0.01, 0.0], id="to the right"),
    ],
)
def test_the_shift_is_a_fraction_of_width_and_height_of_the_grid(direction_deg: float, expected: list[float]) -> None:
    grid = BevGrid(replace(CONFIG, point_range=(-50.0, -25.0, -5.0, 50.0, 25.0, 3.0)))
    heading = 2.0
    can_bus = torch.zeros(1, 18)
    direction = heading + np.deg2rad(direction_deg)
    can_bus[0, :2], can_bus[0, 16] = torch.tensor([np.cos(direction), np.sin(direction)]), heading
    np.testing.assert_allclose(grid.shift_of_can_bus(can_bus)[0], expected, atol=1e-7)


def test_what_lay_ahead_lies_to_the_right_after_a_turn_to_the_left() -> None:
    """Rows grow forward and columns to the right; a quarter turn to the left."""
    history = torch.zeros(1, 400, 1)
    history[0, 15 * 20 + 10] = 1.0  # five cells ahead
    turned = BevGrid(CONFIG).turn_to_nearest_cell(history, torch.tensor([90.0]))[0, :, 0].reshape(20, 20)
    (row,), (column,) = np.nonzero(turned.numpy())
    assert (row, column) in {(9, 15), (10, 15)}
