"""Finds exported graphs in the cache folder, and has them made there once; imports no torch."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

import lift3d_ros
from lift3d_ros.errors import EngineError
from lift3d_ros.resources import cache_dir

# What decides a graph; how it is run afterwards does not.
_SOURCES = ("models", "ops", "engines/export.py", "engines/protocol.py")
# Hash of the source code, then of the facts; earlier releases mixed them. What was made of a graph may follow.
_NAME = re.compile(r".+?-(?:(?P<sources>[0-9a-f]{8})-)?[0-9a-f]{16}(?:\.\w+)?")
GRAPH_ENDING = ".onnx"

logger = logging.getLogger(__name__)


def cached_graph(
    name: str, facts: Mapping[str, Any], export: Callable[[Path], object], *, is_remade: bool = False
) -> Path:
    """Return the graph of a network; it is exported first where it is not there.

    Args:
        name: of the model, for the name of the file.
        facts: plain data that decides the graph, beside the source code of networks and export.
        export: writes the graph to a path, whole or not at all.
        is_remade: export also what is there, because it does not load.

    Raises:
        EngineError: the cache folder cannot be written; what `export` raises.
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    path = graph_folder() / f"{name}-{_sources()}-{digest[:16]}{GRAPH_ENDING}"
    if path.is_file() and not is_remade:
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if is_remade or not path.is_file():
                logger.info("exporting %s to %s", name, path)
                export(path)
    except OSError as error:
        raise EngineError(
            f"{path.parent}: cannot write to the cache folder ({error.strerror or error}); "
            "name another one in LIFT3D_CACHE_DIR"
        ) from None
    return path


def graph_folder() -> Path:
    """Return where graphs are kept."""
    return cache_dir() / "onnx"


def is_cached_name(stem: str) -> bool:
    """Return whether a graph of this name was put into the folder by :func:`cached_graph`."""
    return _NAME.fullmatch(stem) is not None


def is_of_other_sources(stem: str) -> bool:
    """Return whether a graph of this name was exported by other source code than ours, so that it is not found again.

    Of a graph that a user has named it is not known.
    """
    found = _NAME.fullmatch(stem)
    return found is not None and found["sources"] != _sources()


def _sources() -> str:
    return _source_digest().hex()[:8]


@functools.cache
def _source_digest() -> bytes:
    digest = hashlib.sha256()
    places = [Path(lift3d_ros.__file__).parent / source for source in _SOURCES]
    for path in sorted(path for place in places for path in ([place] if place.is_file() else place.rglob("*.py"))):
        digest.update(path.read_bytes())
    return digest.digest()
