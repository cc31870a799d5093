"""Any of the task nodes in one process: libraries, middleware and the context of a GPU are there once."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn, cast

from lift3d_ros.errors import ConfigError
from lift3d_ros.launching import BUILD_ONLY, PARAMS, PERCEPTION_NODES, chosen_nodes
from lift3d_ros.nodes.arguments import check_node_names
from lift3d_ros.nodes.run import AnyNode, own_arguments, run_process

_CLASSES = {name: "".join(word.capitalize() for word in name.split("_")) + "Node" for name in PERCEPTION_NODES}


def make_node(name: str) -> AnyNode:
    """Return a task node; what it needs is imported now, so that nodes that are not chosen need nothing."""
    module = importlib.import_module(f"lift3d_ros.nodes.{name}")
    return cast("AnyNode", getattr(module, _CLASSES[name])())


def chosen_makers(arguments: list[str]) -> list[Callable[[], AnyNode]]:
    """Return what makes the nodes that the arguments of the command name.

    Raises:
        ConfigError: nodes that are not known, or a parameter file that is not there or of no chosen node.
    """
    parser = argparse.ArgumentParser(
        prog="perception", description=__doc__, epilog="-p NODE:NAME:=VALUE and -r NODE:NAME:=TOPIC are for one node."
    )
    parser.add_argument("--nodes", default=",".join(PERCEPTION_NODES), help="names, separated by commas (default: all)")
    parser.add_argument(PARAMS, action="append", default=[], metavar="NODE=FILE", help="parameter file of one node")
    parser.add_argument(BUILD_ONLY, action="store_true", help="build the engines that the models need, and end")
    given = parser.parse_args(arguments)
    names = chosen_nodes(given.nodes, "--nodes")
    for text in given.params:
        name, _, file = text.partition("=")
        if name not in names:
            raise ConfigError(f"{PARAMS} {text}: expected NODE=FILE with a node of {', '.join(names)}")
        if not Path(file).is_file():
            raise ConfigError(f"{PARAMS} {text}: there is no such file")
    return [partial(make_node, name) for name in names]


def main() -> NoReturn:
    """Run the nodes."""
    try:
        makers = chosen_makers(own_arguments())
        check_node_names(sys.argv, PERCEPTION_NODES)
    except ConfigError as error:
        print(f"perception: error: {error}", file=sys.stderr)
        sys.exit(2)
    run_process(makers)
