"""Recipes of ``lift3d train``: a YAML file with ``--set`` changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import yaml

from lift3d_ros.config import from_mapping, read_yaml_mapping
from lift3d_ros.errors import ConfigError, nearest_name_hint

Recipe = TypeVar("Recipe")


def load_recipe_of(
    kind: type[Recipe],
    path: Path,
    changes: Sequence[str],
    preset: Callable[[str], Any | None],
    known: Sequence[str],
) -> Recipe:
    """Read a recipe whose ``network`` replaces some of the fields of its ``preset``.

    Args:
        kind: of the recipe; its ``preset`` is the default.
        changes: ``name=value`` with dotted names, as of ``--set``; values as in YAML.
        preset: returns the configuration of a name, None where there is none.
        known: names that it knows.

    Raises:
        ConfigError: the file or a change does not fit; names it and the nearest known name.
    """
    values, where = read_recipe(path, changes)
    name = str(values.get("preset", getattr(kind, "preset")))  # noqa: B009
    base = preset(name)
    if base is None:
        raise ConfigError(f"{where}: preset '{name}' is not known{nearest_name_hint(name, known)}; known: {known}")
    replaced = values.get("network", {})
    if not isinstance(replaced, Mapping):
        raise ConfigError(f"{where}: 'network' must be a group of 'name: value' lines, got {replaced!r}")
    return from_mapping(kind, {**values, "network": _merged(dataclasses.asdict(base), replaced)}, where)


def read_recipe(path: Path, changes: Sequence[str] = ()) -> tuple[dict[str, Any], str]:
    """Return the values of a recipe with changes applied, and where they come from, for messages.

    Args:
        changes: ``name=value`` with dotted names; values as in YAML.

    Raises:
        ConfigError: the file cannot be read, or a change is no ``name=value``.
    """
    values = dict(read_yaml_mapping(path))
    where = str(path)
    for change in changes:
        name, sign, text = change.partition("=")
        if not sign or not name:
            raise ConfigError(f"--set '{change}': expected NAME=VALUE, for example run.max_steps=1000")
        where = f"{path} with --set {change}"
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"--set '{change}': the value is not valid YAML: {' '.join(str(error).split())}"
            ) from None
        with suppress(TypeError, ValueError):
            value = float(value) if isinstance(value, str) else value  # YAML takes 2e-3 for text
        _put(values, name.split("."), value, change)
    return values, where


def _put(values: dict[str, Any], path: Sequence[str], value: Any, change: str) -> None:
    *groups, last = path
    for found in groups:
        inner = values.get(found)
        if inner is not None and not isinstance(inner, Mapping):
            raise ConfigError(f"--set '{change}': '{found}' is no group of settings")
        values[found] = dict(inner or {})
        values = values[found]
    values[last] = value


def _merged(base: Mapping[str, Any], replaced: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in replaced.items():
        inner = merged.get(name)
        is_group = isinstance(inner, Mapping) and isinstance(value, Mapping)
        merged[name] = _merged(inner, value) if is_group else value  # type: ignore[arg-type]
    return merged
