"""Reads what a ROS parameter file gives to one node, without ROS and alike for all distributions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lift3d_ros.config import read_yaml_mapping
from lift3d_ros.errors import ConfigError

_KEY = "ros__parameters"
# The node takes time from its stamps; whether time is simulated is seen from /clock.
_LEFT_OUT = ("use_sim_time", "start_type_description_service", "qos_overrides")


@dataclass(frozen=True)
class NodeParameters:
    """Parameters with dotted names, and the namespace of the node, ``/`` where the file names none."""

    namespace: str
    values: Mapping[str, Any]


def is_parameter_file(document: Mapping[str, Any]) -> bool:
    """Return whether all that a YAML file holds are parameters of nodes."""
    return bool(document) and all(any(_entries({key: value}, "")) for key, value in document.items())


def read_node_parameters(path: Path, node: str) -> NodeParameters:
    """Return the parameters of `node`; those under its name override those under a wildcard.

    Raises:
        ConfigError: the file is missing or not YAML, or holds nothing for the node.
    """
    entries = [(name, values) for name, values in _entries(read_yaml_mapping(path), "") if _matches(name, node)]
    if not entries:
        raise ConfigError(
            f"{path}: holds no parameters of '{node}'; expected '/**:' or '{node}:' with '{_KEY}:' below it, as in "
            "config/bev_detection.yaml"
        )
    values: dict[str, Any] = {}
    namespace = "/"
    for name, given in sorted(entries, key=lambda entry: "*" not in entry[0]):
        values.update(_dotted(given, ""))
        above = name.rpartition("/")[0]
        if "*" not in name and above:
            namespace = above
    # YAML knows empty lists, parameters do not.
    return NodeParameters(namespace, {name: value for name, value in values.items() if value not in ([], None)})


def _entries(document: Mapping[str, Any], above: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (full name, parameters) of each node; namespaces may be part of the name or levels of their own."""
    for key, value in document.items():
        name = f"{above}/{str(key).strip('/')}"
        if not isinstance(value, Mapping):
            continue
        if isinstance(value.get(_KEY), Mapping):
            yield name, value[_KEY]
        else:
            yield from _entries(value, name)


def _matches(name: str, node: str) -> bool:
    return name.rpartition("/")[2] in (node, "*", "**")


def _dotted(values: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if not above and str(key).partition(".")[0] in _LEFT_OUT:
            continue
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
