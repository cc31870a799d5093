"""Cells that a surface passes, or may pass between the nodes, are told from those that it cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lift3d_ros.geometry.surface_cells import crossed, may_hold_surface, nodes_of, split, spread, widened


def slope(zero_at: float, num_cells: int = 20) -> Any:
    """Values that fall by 1 from plane to plane and are 0 at a place along the first axis."""
    return np.broadcast_to((zero_at - np.arange(num_cells + 1.0))[:, None, None], (num_cells + 1,) * 3).astype("f4")


def planes_of(is_cell: Any) -> list[int]:
    assert (is_cell.all(axis=(1, 2)) == is_cell.any(axis=(1, 2))).all()
    return np.flatnonzero(is_cell.any(axis=(1, 2))).tolist()


@pytest.mark.parametrize(
    ("zero_at", "may"),
    [
        pytest.param(10.5, [10], id="in the middle of cells"),
        pytest.param(10.2, [9, 10], id="close to the cells before"),
        pytest.param(7.9, [7, 8], id="close to the cells behind, where planes are searched apart"),
    ],
)
def test_cells_are_looked_into_up_to_half_a_step_away(zero_at: float, may: list[int]) -> None:
    values = slope(zero_at)
    assert planes_of(crossed(values)) == [int(zero_at)]
    assert planes_of(may_hold_surface(values, 0.0)) == may


def test_densities_are_compared_by_their_logarithm() -> None:
    relative = 25.0 * (np.exp(2.0 * slope(10.5)) - 1.0)
    near = set(planes_of(may_hold_surface(relative.astype("f4"), 25.0)))
    assert {10} <= near <= {9, 10, 11}  # and not all the way in, where they rise the fastest


def test_a_sheet_between_two_nodes_is_close_to_both() -> None:
    """Values of a sheet of 0.8 steps about 10.5: both nodes beside it are outside and have the same value."""
    values = (0.4 - np.abs(10.5 - np.arange(21.0)))[:, None, None] * np.ones((1, 21, 21))
    assert not crossed(values.astype("f4")).any()
    assert planes_of(may_hold_surface(values.astype("f4"), 0.0)) == [9, 10, 11]


def test_cells_nodes_and_halves_belong_together() -> None:
    is_cell = np.zeros((3, 3, 3), bool)
    is_cell[0, 1, 2] = True
    assert nodes_of(is_cell).sum() == 8
    assert widened(is_cell).sum() == 2 * 3 * 2
    assert np.argwhere(split(is_cell)).min(axis=0).tolist() == [0, 2, 4]
    assert split(is_cell).sum() == 8
    values = np.arange(27.0, dtype=np.float32).reshape(3, 3, 3)
    fine = spread(values)
    assert fine.shape == (5, 5, 5)
    np.testing.assert_array_equal(fine[::2, ::2, ::2], values)
    assert fine[1, 3, 4] == values[0, 1, 2]
