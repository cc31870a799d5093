"""Recipes with changes from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lift3d_ros.config import flat_facts
from lift3d_ros.errors import ConfigError
from lift3d_ros.training.recipe import read_recipe


def test_changes_replace_values_and_make_groups(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("run:\n  max_steps: 3\n")
    values, where = read_recipe(path, ["run.learning_rate=2e-3", "data.only=[a, b]"])
    assert values == {"run": {"max_steps": 3, "learning_rate": 0.002}, "data": {"only": ["a", "b"]}}
    assert str(path) in where
    assert "data.only" in where


@pytest.mark.parametrize(
    ("change", "message"),
    [("run", "expected NAME=VALUE"), ("run.max_steps.a=1", "is no group"), ("run.a=[", "not valid YAML")],
)
def test_a_wrong_change_is_explained(change: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("run:\n  max_steps: 3\n")
    with pytest.raises(ConfigError, match=message):
        read_recipe(path, [change])


def test_facts_have_dotted_names_and_plain_lists() -> None:
    assert flat_facts({"a": {"b": (1, 2)}, "c": None}) == {"a.b": [1, 2], "c": None}
