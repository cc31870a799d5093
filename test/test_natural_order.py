"""Numbers in names count as numbers."""

from __future__ import annotations

import pytest

from lift3d_ros.natural_order import natural_order


@pytest.mark.parametrize(
    "names",
    [
        ["1", "2", "10"],
        ["bag_9.mcap", "bag_10.mcap", "bag_10_a.mcap"],
        ["front", "front2", "front10"],
        ["7a", "07b"],
        ["01", "1"],
        ["x²", "x³"],  # digits that are no numbers
    ],
)
def test_names_are_in_the_order_in_which_people_count(names: list[str]) -> None:
    assert sorted(set(names), key=natural_order) == names
