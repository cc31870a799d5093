"""Built engines in the cache folder: found again, verified, made once when several ask, and kept within a size.

An engine fits one version of the runtime and one kind of GPU. Its key says for what it was built; it lies beside the
engine as JSON with the hash of the file. What does not match, verify or load is built again, with one line that says
why. Imports neither torch nor a runtime.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.errors import EngineError
from lift3d_ros.resources import cache_dir

ENGINE_ENDING, RECORD_ENDING, LOCK_ENDING = ".engine", ".json", ".lock"
DEFAULT_MAX_BYTES = 4_000_000_000
_FORMAT = 1
_UNFINISHED_S = 3600.0

LoadedT = TypeVar("LoadedT")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineKey:
    """All that decides an engine, in words that a user can compare.

    Args:
        graph_sha256: of the ONNX file, which holds the weights.
        profile: input -> smallest, usual and largest shape.
        gpu: name, compute capability and CUDA version of the driver; for engines built ahead of time the targets.
        options: of the build, for example its scratch memory.
    """

    model: str
    graph_sha256: str
    precision: str
    backend: str
    version: str
    gpu: str
    profile: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def file_stem(self) -> str:
        """Name of the files of this engine."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return f"{self.model}-{self.precision}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class EngineRecord:
    """What is known of an engine in the cache.

    Args:
        key: plain data of its :class:`EngineKey`.
        facts: what the builder noted: signature, facts of the model, seconds, layers.
        used_ns: when it was loaded last, in nanoseconds of the system's clock.
    """

    path: Path
    key: dict[str, Any]
    sha256: str
    size: int
    facts: dict[str, Any]
    used_ns: int


@dataclass(frozen=True)
class NewEngine:
    """A built engine and what is to be noted of it."""

    data: bytes
    facts: dict[str, Any]


class EngineCache:
    """The folder of engines."""

    def __init__(self, folder: Path | None = None, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        """Keep engines in `folder`, by default ``engines`` of the cache folder; `max_bytes` bounds all together."""
        self.folder = folder or cache_dir() / "engines"
        self._max_bytes = max_bytes

    def find(self, key: EngineKey, load: Callable[[bytes, EngineRecord], LoadedT]) -> LoadedT | None:
        """Return the loaded engine of `key`, or None with one log line that says why there is none."""
        found = self._try(key, load)
        if isinstance(found, _Absent):
            logger.info("no engine of %s for %s yet: %s", key.model, key.gpu, found.reason)
            return None
        return found

    def obtain(
        self,
        key: EngineKey,
        build: Callable[[], NewEngine],
        load: Callable[[bytes, EngineRecord], LoadedT],
        *,
        is_rebuilt: bool = False,
    ) -> LoadedT:
        """Return the loaded engine of `key`; it is built first where there is none that matches, verifies and loads.

        Of several processes that ask, one builds and the others wait for it.

        Args:
            load: makes of bytes and record what is returned; an EngineError of it means that the engine is unusable.
            is_rebuilt: build also where there is one.

        Raises:
            EngineError: the folder cannot be written or the disk is full; what `build` raises; the new engine does not
                load either.
        """
        if not is_rebuilt and not isinstance(found := self._try(key, load), _Absent):
            return found
        with self._lock(key):
            found = _Absent("asked for") if is_rebuilt else self._try(key, load)  # another process may have built it
            if not isinstance(found, _Absent):
                return found
            logger.info("building %s in %s for %s: %s", key.model, key.precision, key.gpu, found.reason)
            engine = build()
            record = self._write(key, engine)
        with contextlib.suppress(EngineError):  # others may prune at the same time
            self.prune(self._max_bytes, keep=record.path)
        return load(engine.data, record)

    def records(self) -> list[EngineRecord]:
        """Return all engines whose record can be read, the last used first."""
        found = []
        for path in self.folder.glob(f"*{RECORD_ENDING}"):
            with contextlib.suppress(_UnusableError):
                found.append(_read_record(path))
        return sorted(found, key=lambda record: (-record.used_ns, record.path.name))

    def strays(self) -> list[Path]:
        """Return files of no engine that are an hour old: interrupted builds and other releases leave them."""
        engines = {record.path.stem for record in self.records()}
        found = []
        for ending in (ENGINE_ENDING, RECORD_ENDING, LOCK_ENDING):
            found += [path for path in self.folder.glob(f"*{ending}") if path.stem not in engines]
        return [path for path in (*found, *self.folder.glob(".*-*")) if is_abandoned(path)]

    def problem_of(self, record: EngineRecord) -> str:
        """Return what is wrong with the file of an engine; nothing if it is as it was written."""
        try:
            _read_verified(record)
        except _UnusableError as error:
            return str(error)
        return ""

    def remove(self, record: EngineRecord) -> None:
        """Delete an engine.

        Raises:
            EngineError: the folder cannot be written.
        """
        with self._clear_errors():
            for ending in (RECORD_ENDING, ENGINE_ENDING, LOCK_ENDING):
                record.path.with_suffix(ending).unlink(missing_ok=True)

    def note(self, record: EngineRecord, facts: Mapping[str, Any]) -> EngineRecord:
        """Add facts to the record of an engine, and return it.

        Raises:
            EngineError: the folder cannot be written or the disk is full.
        """
        noted = dataclasses.replace(record, facts={**record.facts, **facts})
        with self._clear_errors():
            _write_record(noted)
        return noted

    def prune(self, max_bytes: int, keep: Path | None = None) -> list[EngineRecord]:
        """Delete the engines that were not used for longest until all together have at most `max_bytes`.

        What :meth:`strays` returns goes as well. Returns which engines were deleted.

        Args:
            keep: an engine that stays in any case.

        Raises:
            EngineError: the folder cannot be written.
        """
        for path in self.strays():
            if path != keep:
                with self._clear_errors():
                    path.unlink(missing_ok=True)
        total, removed = 0, []
        for record in self.records():
            total += record.size
            if total > max_bytes and record.path != keep:
                self.remove(record)
                removed.append(record)
                total -= record.size
        return removed

    def _try(self, key: EngineKey, load: Callable[[bytes, EngineRecord], LoadedT]) -> LoadedT | _Absent:
        path = self.folder / f"{key.file_stem}{RECORD_ENDING}"
        if not path.is_file():
            return _Absent(self._nearest(key))
        try:
            record = _read_record(path)
            loaded = load(_read_verified(record), record)
        except _UnusableError as error:
            return _Absent(str(error))
        except EngineError as error:
            return _Absent(f"{record.path.name} does not load ({error})")
        with contextlib.suppress(OSError):  # the folder may be read-only
            os.utime(path)
        return loaded

    def _nearest(self, key: EngineKey) -> str:
        """Say why the engines of this model that are there do not fit."""
        wanted = json.loads(json.dumps(dataclasses.asdict(key)))
        others: list[set[str]] = []
        for record in self.records():
            if record.key.get("model") == key.model:
                others.append({name for name in wanted if record.key.get(name) != wanted[name]})
                if len(others[-1]) == 1 and (name := next(iter(others[-1]))) != "graph_sha256":
                    return f"the one at hand has {name} {record.key.get(name)}, wanted is {wanted[name]}"
        if not others:
            return "there is none"
        closest: set[str] = min(others, key=len)
        return f"those at hand have other {', '.join(sorted(closest))}"

    def _write(self, key: EngineKey, engine: NewEngine) -> EngineRecord:
        path = self.folder / f"{key.file_stem}{ENGINE_ENDING}"
        sha256, size = hashlib.sha256(engine.data).hexdigest(), len(engine.data)
        with self._clear_errors():
            # The record last: an engine counts only with it.
            path.with_suffix(RECORD_ENDING).unlink(missing_ok=True)
            write_atomically(path, engine.data)
            _write_record(EngineRecord(path, dataclasses.asdict(key), sha256, size, engine.facts, 0))
        return _read_record(path.with_suffix(RECORD_ENDING))

    @contextlib.contextmanager
    def _lock(self, key: EngineKey) -> Iterator[None]:
        path = self.folder / f"{key.file_stem}{LOCK_ENDING}"
        with self._clear_errors():
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                logger.info("another process builds %s; waiting for it", key.model)
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise EngineError(
                    f"{self.folder}: the disk is full; make room with 'lift3d engine prune', or name another folder in "
                    "LIFT3D_CACHE_DIR"
                ) from None
            raise EngineError(
                f"{self.folder}: cannot write to the folder of engines ({error.strerror or error}); make it writable, "
                "or name another one in LIFT3D_CACHE_DIR"
            ) from None


class _UnusableError(Exception):
    """A file of the cache that cannot be used; the text says why."""


@dataclass(frozen=True)
class _Absent:
    reason: str


def _write_record(record: EngineRecord) -> None:
    document = {
        "format": _FORMAT,
        "key": record.key,
        "sha256": record.sha256,
        "size": record.size,
        "facts": record.facts,
    }
    write_atomically(record.path.with_suffix(RECORD_ENDING), json.dumps(document, indent=1).encode())


def _read_record(path: Path) -> EngineRecord:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        used_ns = path.stat().st_mtime_ns
        if document["format"] != _FORMAT:
            raise _UnusableError(f"{path.name} was written by another release")
        return EngineRecord(
            path=path.with_suffix(ENGINE_ENDING),
            key=dict(document["key"]),
            sha256=str(document["sha256"]),
            size=int(document["size"]),
            facts=dict(document["facts"]),
            used_ns=used_ns,
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise _UnusableError(f"{path.name} is damaged") from None


def _read_verified(record: EngineRecord) -> bytes:
    try:
        data = record.path.read_bytes()
    except OSError as error:
        raise _UnusableError(f"{record.path.name} cannot be read ({error.strerror or error})") from None
    if len(data) != record.size:
        raise _UnusableError(f"{record.path.name} has {len(data)} bytes of {record.size}")
    if hashlib.sha256(data).hexdigest() != record.sha256:
        raise _UnusableError(f"{record.path.name} is damaged: its hash differs from that of its record")
    return data


def is_abandoned(path: Path) -> bool:
    """Return whether nobody can be writing to a file or folder any more: it was touched an hour ago or earlier."""
    try:
        return time.time() - path.stat().st_mtime > _UNFINISHED_S
    except OSError:  # another process has removed it
        return False
