"""Recipes of ``lift3d train``: a YAML file with ``--set`` changes, and the flat facts that a checkpoint keeps of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from lift3d_ros.config import read_yaml_mapping
from lift3d_ros.errors import ConfigError


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


def flat_facts(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested groups as dotted name -> plain value."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_facts(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = list(value) if isinstance(value, tuple) else value
    return flat


def _put(values: dict[str, Any], path: Sequence[str], value: Any, change: str) -> None:
    *groups, last = path
    for found in groups:
        inner = values.get(found)
        if inner is not None and not isinstance(inner, Mapping):
            raise ConfigError(f"--set '{change}': '{found}' is no group of settings")
        values[found] = dict(inner or {})
        values = values[found]
    values[last] = value
