"""What lies in the cache folder, and what of it nothing would use any more; a runtime is asked for its version only.

Graphs and engines are found again by what decides them: source code of the networks, weights, version of the runtime.
When one of these changes, what was made before stays behind.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from lift3d_ros.engines.engine_cache import LOCK_ENDING, RECORD_ENDING, EngineCache, EngineRecord, is_abandoned
from lift3d_ros.engines.graph_cache import GRAPH_ENDING, graph_folder, is_cached_name, is_of_other_sources
from lift3d_ros.engines.tensorrt_api import TensorRtBackend, load_tensorrt
from lift3d_ros.errors import EngineError
from lift3d_ros.weights.manifest import sha256_of

_TIMINGS = re.compile(r"timing-(?P<backend>tensorrt|tensorrt_rtx)-(?P<version>[^-]+)-.*\.cache")
_OTHER_SOURCES = "exported by another version of this package"

VersionOf = Callable[[str], "str | None"]


@dataclass(frozen=True)
class CacheEntry:
    """One thing in the cache folder.

    Args:
        text: what it is, for a person.
        paths: files and folders that belong to it.
        unused: why nothing would use it any more; empty where something may.
    """

    kind: Literal["graph", "engine", "timings", "remains"]
    text: str
    paths: tuple[Path, ...]
    size: int
    unused: str = ""
    is_damaged: bool = False


def installed_version(backend: str) -> str | None:
    """Return the version of a runtime that builds engines; None where it is not installed, so that it is not known."""
    with contextlib.suppress(EngineError):
        return load_tensorrt(cast("TensorRtBackend", backend)).version
    return None


def cache_contents(cache: EngineCache, version_of: VersionOf = installed_version) -> list[CacheEntry]:
    """Return everything in the folders of graphs and engines that was put there by this package."""
    return [*_graphs(), *_engines(cache, version_of), *_timings(cache.folder, version_of), *_remains(cache)]


def delete(entries: Iterable[CacheEntry]) -> None:
    """Delete what entries are made of.

    Raises:
        EngineError: a folder cannot be written.
    """
    for entry in entries:
        for path in entry.paths:
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise EngineError(
                    f"{path}: cannot be deleted ({error.strerror or error}); make the cache folder writable, or delete "
                    "it as the user whom it belongs to"
                ) from None


def engine_text(record: EngineRecord) -> str:
    """Return what an engine is, in one line."""
    key = record.key
    return (
        f"{key['model']} {key['precision']}, {key['backend']} {key['version']}, {key['gpu']}: "
        f"{record.size / 1e6:.1f} MB, built in {record.facts.get('seconds', '?')} s"
    )


def _graphs() -> Iterator[CacheEntry]:
    for path in sorted(graph_folder().glob(f"*{GRAPH_ENDING}")):
        if is_cached_name(path.stem):
            size = _size_of(path)
            unused = _OTHER_SOURCES if is_of_other_sources(path.stem) else ""
            yield CacheEntry("graph", f"{path.stem}: {size / 1e6:.1f} MB", (path, _lock_of(path)), size, unused)


def _engines(cache: EngineCache, version_of: VersionOf) -> Iterator[CacheEntry]:
    for record in cache.records():
        endings = (RECORD_ENDING, record.path.suffix, LOCK_ENDING)
        paths = tuple(record.path.with_suffix(ending) for ending in endings)
        problem = cache.problem_of(record)
        unused = problem or _why_unused(record.key, version_of)
        yield CacheEntry("engine", engine_text(record), paths, record.size, unused, bool(problem))
    of_provider = cache.folder / "onnxruntime"
    if of_provider.is_dir():
        size = _size_of(of_provider)
        text = f"of the TensorRT provider of ONNX Runtime: {size / 1e6:.1f} MB"
        yield CacheEntry("engine", text, (of_provider,), size)


def _why_unused(key: dict[str, Any], version_of: VersionOf) -> str:
    """Return why no node would ask for an engine again; GPUs that are not here may come back."""
    model, installed = str(key["model"]), version_of(str(key["backend"]))
    if installed is not None and installed != key["version"]:
        return f"{key['backend']} {installed} is installed"
    if is_of_other_sources(model):
        return f"its graph was {_OTHER_SOURCES}"
    graph = graph_folder() / f"{model}{GRAPH_ENDING}"
    if is_cached_name(model) and graph.is_file() and sha256_of(graph) != key["graph_sha256"]:
        return "its graph was exported again since"
    return ""


def _timings(folder: Path, version_of: VersionOf) -> Iterator[CacheEntry]:
    for path in sorted(folder.glob("timing-*.cache")):
        if found := _TIMINGS.fullmatch(path.name):
            installed, size = version_of(found["backend"]), _size_of(path)
            is_other = installed is not None and installed != found["version"]
            unused = f"{found['backend']} {installed} is installed" if is_other else ""
            yield CacheEntry("timings", f"{path.stem}: {size / 1e6:.1f} MB", (path,), size, unused)


def _remains(cache: EngineCache) -> Iterator[CacheEntry]:
    folder = graph_folder()
    locks = folder.glob(f"*{GRAPH_ENDING}{LOCK_ENDING}")
    orphans = [path for path in locks if not path.with_suffix("").exists()]
    drafts = [path for path in folder.glob(".*-*") if path.is_dir()]
    for path in sorted((*(path for path in (*orphans, *drafts) if is_abandoned(path)), *cache.strays())):
        yield CacheEntry("remains", path.name, (path,), _size_of(path), "left by an interrupted run or another version")


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}{LOCK_ENDING}")


def _size_of(path: Path) -> int:
    total = 0
    for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
        with contextlib.suppress(OSError):  # another process removes it
            total += file.lstat().st_size if file.is_file() else 0
    return total
