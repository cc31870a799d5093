"""Which of the arguments of a process belong to one of its nodes alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from lift3d_ros.errors import ConfigError, nearest_name_hint
from lift3d_ros.launching import PARAMS

_PARAMETER, _REMAPPING = ("-p", "--param"), ("-r", "--remap")


def arguments_of(name: str, given: Sequence[str]) -> list[str]:
    """Return the ROS arguments of a node alone, to be given to it beside those of the process.

    Files of `--params` are read for this node only, so that they can say ``/**``. What `-p NODE:NAME:=VALUE` sets goes
    before them, and, unlike with the arguments of the process, reaches a node in a namespace, too.

    Args:
        name: of the node before any remapping.
        given: the arguments of the process.
    """
    files, values = list[str](), list[str]()
    for option, value in pairwise(given):
        if option == PARAMS and value.startswith(f"{name}="):
            files += ["--params-file", value.partition("=")[2]]
        elif option in _PARAMETER and value.startswith(f"{name}:") and not value.startswith(f"{name}:="):
            # The first where the file says /** or nothing, the second where it names the node.
            values += ["-p", value.removeprefix(f"{name}:"), "-p", value]
    return ["--ros-args", *files, *values] if files or values else []


def check_node_names(given: Sequence[str], names: Sequence[str]) -> None:
    """Refuse a parameter or remapping of a node that is not there, which ROS would silently leave unused.

    Args:
        given: the arguments of the process.
        names: of the nodes before any remapping; names that they are given by remapping are known, too.

    Raises:
        ConfigError: with the nearest name.
    """
    rules = [(option, value) for option, value in pairwise(given) if option in (*_PARAMETER, *_REMAPPING)]
    known = [*names, *(value.partition(":=")[2] for option, value in rules if "__node:=" in value)]
    for option, value in rules:
        node, is_of_node, rest = value.partition(":=")[0].partition(":")
        is_kind = rest.startswith("//")  # rostopic:///name
        if is_of_node and not is_kind and node not in known:
            raise ConfigError(
                f"{option} {value}: no node is called '{node}'{nearest_name_hint(node, known)}; "
                f"expected one of {', '.join(known)}"
            )
