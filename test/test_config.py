"""Configuration: names, types and ranges are checked, and messages say what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from lift3d_ros.config import from_mapping, group, iterate_settings, load_yaml, setting
from lift3d_ros.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    threshold: float = setting(0.3, "lowest score", minimum=0.0, maximum=1.0)
    mode: Literal["fast", "exact"] = setting("fast", "how")


@dataclass(frozen=True)
class Outer:
    count: int = setting(3, "how many", minimum=1)
    is_on: bool = setting(True, "whether")
    name: str = setting("x", "what")
    limits: tuple[float, float] = setting((0.0, 1.0), "from and to")
    cameras: tuple[str, ...] = setting((), "names")
    optional: str | None = setting(None, "maybe")
    inner: Inner = group(Inner)


@dataclass(frozen=True)
class Table:
    entries: Mapping[str, Inner]


def test_values_override_defaults_by_name_and_integers_become_floats() -> None:
    config = from_mapping(Outer, {"count": 5, "limits": [1, 2], "inner": {"threshold": 1}}, "file.yaml")
    assert config == Outer(count=5, limits=(1.0, 2.0), inner=Inner(threshold=1.0))
    assert isinstance(config.inner.threshold, float)


def test_mappings_of_groups_are_built_entry_by_entry() -> None:
    assert from_mapping(Table, {"entries": {"a": {"mode": "exact"}}}, "f").entries["a"] == Inner(mode="exact")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({"cuont": 5}, r"file: unknown name 'cuont'; did you mean 'count'\?", id="typing error"),
        pytest.param({"inner": {"treshold": 1}}, r"'inner.treshold'; did you mean 'threshold'", id="inside a group"),
        pytest.param({"count": 2.5}, "'count' must be a whole number, got 2.5", id="fraction for a count"),
        pytest.param({"count": True}, "'count' must be a whole number, got True", id="truth value for a count"),
        pytest.param(
            {"inner": {"threshold": True}},
            "'inner.threshold' must be a number, got True; write 1.0 for true$",
            id="truth value for a share",
        ),
        pytest.param({"count": 0}, "'count' is 0; expected 1 to inf", id="below the range"),
        pytest.param({"inner": {"threshold": 1.5}}, "'inner.threshold' is 1.5; expected 0 to 1", id="above the range"),
        pytest.param({"inner": {"threshold": float("nan")}}, "finite", id="not a number"),
        pytest.param({"is_on": "yes"}, "'is_on' must be true or false, got 'yes'", id="text for a truth value"),
        pytest.param({"name": 3}, "'name' must be text", id="number for text"),
        pytest.param({"limits": [1.0]}, "list of 2 values, got 1", id="too short a list"),
        pytest.param({"cameras": "front"}, "'cameras' must be a list", id="text for a list"),
        pytest.param({"cameras": [3]}, r"'cameras\[0\]' must be text", id="number in a list of text"),
        pytest.param({"inner": {"mode": "exakt"}}, "expected one of fast, exact; did you mean 'exact'", id="choice"),
        pytest.param({"inner": 3}, "'inner' must be a group", id="scalar for a group"),
    ],
)
def test_mistakes_are_named_with_found_and_expected(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        from_mapping(Outer, values, "file")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("a: [1", "not valid YAML", id="unclosed list"),
        pytest.param("- 1\n- 2", "expected 'name: value' lines", id="a list"),
        pytest.param("count: 1\nname: a\ncount: 2", "name 'count' is given twice; keep one.*line 3", id="name twice"),
        pytest.param("inner: {mode: fast, mode: exact}", "name 'mode' is given twice", id="twice in a group"),
        pytest.param("on: 1", "name 'on' is no text; put it in quotes", id="truth value for a name"),
        pytest.param("{[a]: 1}", "is no text; put it in quotes", id="list for a name"),
        pytest.param("!!python/object:os.system {}", "not valid YAML", id="python object"),
    ],
)
def test_damaged_yaml_names_the_file(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=rf"settings\.yaml: .*{expected}"):
        load_yaml(Outer, path)
    with pytest.raises(ConfigError, match="file not found"):
        load_yaml(Outer, tmp_path / "absent.yaml")


def test_anchors_and_merged_groups_are_read(tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    path.write_text("entries:\n  a: &a {threshold: 0.5, mode: exact}\n  b: {<<: *a, threshold: 0.7}\n  'on': *a\n")
    table = load_yaml(Table, path)
    assert table.entries == {"a": Inner(0.5, "exact"), "b": Inner(0.7, "exact"), "on": Inner(0.5, "exact")}


def test_settings_are_listed_with_their_description() -> None:
    settings = {leaf.name: leaf for leaf in iterate_settings(Outer)}
    assert list(settings)[:2] == ["count", "is_on"]
    assert settings["inner.threshold"].default == 0.3
    assert settings["inner.threshold"].maximum == 1.0
    assert settings["inner.mode"].choices == ("fast", "exact")
