"""Engines in the cache are found again, verified, made once, and kept within a size."""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lift3d_ros.engines import engine_cache
from lift3d_ros.engines.engine_cache import EngineCache, EngineKey, EngineRecord, NewEngine
from lift3d_ros.errors import EngineError

KEY = EngineKey("bev", "ab12", "float16", "tensorrt", "10.3.0", "Orin (compute capability 8.7, driver for CUDA 12)")


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


class Builder:
    """Counts builds and loads."""

    def __init__(self, data: bytes = b"engine") -> None:
        self.data, self.builds = data, 0

    def build(self) -> NewEngine:
        self.builds += 1
        return NewEngine(self.data, {"seconds": 1.0})

    def load(self, data: bytes, record: EngineRecord) -> bytes:
        if data.startswith(b"bad"):
            raise EngineError("does not fit this GPU")
        return data


def obtain(cache: EngineCache, builder: Builder, key: EngineKey = KEY, **more: Any) -> bytes:
    return cache.obtain(key, builder.build, builder.load, **more)


def test_an_engine_is_built_once_and_found_again(cache: EngineCache) -> None:
    builder = Builder()
    assert cache.find(KEY, builder.load) is None
    assert [obtain(cache, builder) for _ in range(3)] == [b"engine"] * 3
    assert builder.builds == 1
    assert cache.find(KEY, builder.load) == b"engine"
    (record,) = cache.records()
    assert record.key["gpu"].startswith("Orin")
    assert record.facts == {"seconds": 1.0}
    assert cache.problem_of(record) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"gpu": "RTX 3060"}, "at hand has gpu Orin .*, wanted is RTX 3060", id="foreign GPU"),
        pytest.param({"version": "10.7.0"}, "at hand has version 10.3.0, wanted is 10.7.0", id="other version"),
        pytest.param(
            {"precision": "float32"}, "at hand has precision float16, wanted is float32", id="other precision"
        ),
        pytest.param({"graph_sha256": "cd"}, "those at hand have other graph_sha256", id="other weights"),
        pytest.param({"profile": {"rows": [[1], [2], [3]]}}, "has profile {}, wanted is", id="other sizes"),
    ],
)
def test_an_engine_for_something_else_is_not_taken_and_one_line_says_why(
    cache: EngineCache, caplog: pytest.LogCaptureFixture, change: dict[str, Any], reason: str
) -> None:
    builder = Builder()
    obtain(cache, builder)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        obtain(cache, builder, dataclasses.replace(KEY, **change))
    assert builder.builds == 2
    (line,) = caplog.messages
    assert re.search(reason, line), line


def damage(cache: EngineCache, how: str) -> None:
    (record,) = cache.records()
    data, note = record.path, record.path.with_suffix(".json")
    if how == "truncated":
        data.write_bytes(data.read_bytes()[:3])
    elif how == "changed":
        data.write_bytes(b"enginE")
    elif how == "missing":
        data.unlink()
    elif how == "record damaged":
        note.write_text("{")
    elif how == "other release":
        note.write_text(json.dumps({**json.loads(note.read_text()), "format": 0}))
    else:
        document = json.loads(note.read_text())
        data.write_bytes(b"bad engine")
        sha256 = engine_cache.hashlib.sha256(b"bad engine").hexdigest()
        note.write_text(json.dumps({**document, "size": 10, "sha256": sha256}))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("truncated", "has 3 bytes of 6"),
        ("changed", "is damaged: its hash differs"),
        ("missing", "cannot be read"),
        ("record damaged", "is damaged"),
        ("other release", "was written by another release"),
        ("unloadable", "does not load (does not fit this GPU)"),
    ],
)
def test_an_engine_that_cannot_be_used_is_built_again_and_one_line_says_why(
    cache: EngineCache, caplog: pytest.LogCaptureFixture, how: str, reason: str
) -> None:
    builder = Builder()
    obtain(cache, builder)
    damage(cache, how)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert obtain(cache, builder) == b"engine"
    assert builder.builds == 2
    (line,) = caplog.messages
    assert reason in line
    assert obtain(cache, builder) == b"engine"
    assert builder.builds == 2


def test_a_new_engine_that_does_not_load_is_an_error_and_not_a_loop(cache: EngineCache) -> None:
    builder = Builder(b"bad")
    with pytest.raises(EngineError, match="does not fit this GPU"):
        obtain(cache, builder)
    assert builder.builds == 1


def test_of_two_threads_that_ask_one_builds(cache: EngineCache) -> None:
    builder, found = Builder(), []

    def slow() -> NewEngine:
        time.sleep(0.2)
        return builder.build()

    threads = [threading.Thread(target=lambda: found.append(cache.obtain(KEY, slow, builder.load))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, builder.builds) == ([b"engine"] * 2, 1)


def test_of_two_processes_that_ask_one_builds(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from lift3d_ros.engines.engine_cache import *\n"
        "def build():\n"
        "    print('built', flush=True); time.sleep(0.5); return NewEngine(b'x', {})\n"
        f"key = EngineKey({', '.join(repr(value) for value in list(dataclasses.asdict(KEY).values())[:6])})\n"
        "EngineCache(Path(sys.argv[1])).obtain(key, build, lambda data, record: data)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) for _ in range(2)]
    assert sorted(run.communicate(timeout=60)[0] for run in runs) == ["", "built\n"]


def test_the_least_recently_used_engines_go_when_the_folder_is_full(cache: EngineCache) -> None:
    keys = [dataclasses.replace(KEY, model=name) for name in ("a", "b", "c")]
    for number, key in enumerate(keys):
        obtain(cache, Builder(b"x" * 100), key)
        note = cache.folder / f"{key.file_stem}.json"
        os.utime(note, ns=(number, number))
    assert cache.find(keys[0], Builder().load) is not None  # used just now
    removed = cache.prune(200)
    assert [record.key["model"] for record in removed] == ["b"]
    assert {record.key["model"] for record in cache.records()} == {"a", "c"}
    assert not list(cache.folder.glob("b-*.engine"))


def test_a_new_engine_stays_though_it_is_larger_than_the_bound(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, max_bytes=10)
    obtain(cache, Builder(b"x" * 100))
    obtain(cache, Builder(b"y" * 100), dataclasses.replace(KEY, model="other"))
    assert [record.key["model"] for record in cache.records()] == ["other"]


def test_what_an_interrupted_build_left_is_removed_and_what_another_one_writes_now_is_not(cache: EngineCache) -> None:
    obtain(cache, Builder())
    for name in ("old.engine", "new.engine", ".old-x1y2", ".new-x1y2"):
        (cache.folder / name).write_bytes(b"half")
        if "old" in name:
            os.utime(cache.folder / name, (1, 1))
    cache.prune(10**9)
    assert {path.name for path in cache.folder.iterdir() if b"half" in path.read_bytes()} == {"new.engine", ".new-x1y2"}
    assert len(cache.records()) == 1


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match=r"file/engines: cannot write to the folder of engines .*LIFT3D_CACHE_DIR"):
        obtain(EngineCache(tmp_path / "file" / "engines"), Builder())


def test_an_engine_in_a_read_only_folder_is_used(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    obtain(cache, Builder())

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(engine_cache.os, "utime", refuse)
    monkeypatch.setattr(engine_cache.FileLock, "acquire", refuse)
    builder = Builder()
    assert obtain(cache, builder) == b"engine"
    assert builder.builds == 0


def test_an_engine_that_one_user_built_can_be_read_by_another(cache: EngineCache) -> None:
    obtain(cache, Builder())
    (record,) = cache.records()
    assert {path.stat().st_mode & 0o777 for path in (record.path, record.path.with_suffix(".json"))} == {0o644}


def test_a_full_disk_is_named_and_leaves_nothing_behind(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(engine_cache.os, "fsync", fail)
    with pytest.raises(EngineError, match=r"the disk is full; make room with 'lift3d engine prune'"):
        obtain(cache, Builder())
    assert [path.suffix for path in cache.folder.iterdir()] == [".lock"]
