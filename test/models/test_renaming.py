"""Names of weights are turned from published ones to ours and back."""

from __future__ import annotations

from lift3d_ros.models.renaming import Renaming

NAMES = Renaming((("old.#.a.#.", "new.#.b.#."), ("old.", "rest."), ("x1.", "y.0.")))


def test_numbers_keep_their_order_and_the_first_pair_counts() -> None:
    assert NAMES.ours("old.12.a.3.weight") == "new.12.b.3.weight"
    assert NAMES.published("new.12.b.3.weight") == "old.12.a.3.weight"
    assert NAMES.ours("old.12.c.weight") == "rest.12.c.weight"
    assert NAMES.ours("x1.bias") == "y.0.bias"


def test_other_names_have_no_counterpart() -> None:
    assert NAMES.ours("older.1.a.2.weight") is None
    assert NAMES.ours("my.old.weight") is None
    assert NAMES.published("old.weight") is None
