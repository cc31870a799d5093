"""Reads the file of --params: settings of a run, or the parameter file of the node that does the same."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from lift3d_ros.config import iterate_settings, read_yaml_mapping
from lift3d_ros.doctor.parameter_file import is_parameter_file, read_node_parameters
from lift3d_ros.errors import ConfigError, nearest_name_hint
from lift3d_ros.resources import find_resource

logger = logging.getLogger(__name__)

_TOPICS = "topics."


def read_run_settings(path: Path, kind: type[Any], node: str) -> dict[str, Any]:
    """Return what a file gives to a run, by the names that `kind` has.

    Of the parameter file of a node, what the run does not have is left out, and named in one line. So are topics that
    the file leaves as they are by default: in a recording the only topic of a type is found by its type.

    Args:
        kind: settings of the run.
        node: that does the same; its own parameters may stand in the file.

    Raises:
        ConfigError: the file is missing or not YAML, or is the parameter file of another node, or has a name that the
            node does not have.
    """
    document = read_yaml_mapping(path)
    if not is_parameter_file(document):
        return dict(document)
    relative = f"config/{node}.yaml"
    defaults = read_node_parameters(find_resource(relative), node).values
    known = {setting.name for setting in iterate_settings(kind)}
    used: dict[str, Any] = {}
    left_out: list[str] = []
    for name, value in read_node_parameters(path, node).values.items():
        if name not in defaults:
            raise ConfigError(
                f"{path}: unknown name '{name}'{nearest_name_hint(name, defaults)}; all names of the node '{node}' are "
                f"in {relative}"
            )
        if name not in known or (name.startswith(_TOPICS) and value == defaults[name]):
            left_out.append(name)
        else:
            used[name] = value
    if left_out:
        names = ", ".join(_with_whole_groups(left_out, used))
        logger.info("%s: parameters of the node '%s' that are left out here: %s", path, node, names)
    return _nested(used)


def _with_whole_groups(left_out: Collection[str], used: Collection[str]) -> list[str]:
    """Return names with the group alone in place of its names, where no name of the group is used."""
    used_groups = {name.partition(".")[0] for name in used}
    shown = (name if name.partition(".")[0] in used_groups else name.partition(".")[0] for name in left_out)
    return list(dict.fromkeys(shown))


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted names as groups; an empty text in a list stands for nothing, as in the node."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        group, _, leaf = name.rpartition(".")
        target = nested.setdefault(group, {}) if group else nested
        target[leaf] = [item for item in value if item != ""] if isinstance(value, list) else value
    return nested
