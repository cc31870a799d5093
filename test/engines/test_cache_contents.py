"""The cache folder says what it holds and what of it nothing would use any more, and nothing else is ever deleted."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from lift3d_ros.engines import cache_contents, graph_cache
from lift3d_ros.engines.cache_contents import CacheEntry, delete
from lift3d_ros.engines.engine_cache import EngineCache, EngineKey, NewEngine
from lift3d_ros.errors import EngineError
from lift3d_ros.weights.manifest import sha256_of

VERSIONS = {"tensorrt": "10.3.0"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineCache:
    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path))
    return EngineCache()


def graph(content: bytes = b"graph", name: str = "lifter") -> Path:
    return graph_cache.cached_graph(name, {}, lambda path: path.write_bytes(content))


def build(cache: EngineCache, graph: Path, version: str = "10.3.0", backend: str = "tensorrt") -> None:
    key = EngineKey(graph.stem, sha256_of(graph), "float16", backend, version, "Orin")
    cache.obtain(key, lambda: NewEngine(b"engine", {}), lambda data, record: None)


def contents(cache: EngineCache) -> list[CacheEntry]:
    return cache_contents.cache_contents(cache, VERSIONS.get)


def unused(cache: EngineCache) -> dict[str, str]:
    return {entry.text.partition(":")[0]: entry.unused for entry in contents(cache) if entry.unused}


def grow_old(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (1, 1))


def test_what_the_present_version_finds_again_is_not_called_unused(cache: EngineCache, tmp_path: Path) -> None:
    build(cache, graph())
    (tmp_path / "engines" / "timing-tensorrt-10.3.0-Orin.cache").write_bytes(b"1")
    assert [entry.kind for entry in contents(cache)] == ["graph", "engine", "timings"]
    assert unused(cache) == {}


def test_a_graph_of_other_source_code_and_its_engines_are_unused(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = graph()
    build(cache, old)
    monkeypatch.setattr(graph_cache, "_source_digest", lambda: b"of another version")
    new = graph()
    build(cache, new)
    reason = "exported by another version of this package"
    assert list(unused(cache).values()) == [reason, f"its graph was {reason}"]
    delete(entry for entry in contents(cache) if entry.unused)
    assert not old.exists()
    assert new.is_file()
    assert [record.key["model"] for record in cache.records()] == [new.stem]


@pytest.mark.parametrize(
    "stem", ["lift3d-lfm-05a4d96fbe8349f3", "lift3d-lrm-tiny-6d2c39c23ad87f56.field", "lfm-00000000-05a4d96fbe8349f3"]
)
def test_names_of_earlier_versions_are_known(cache: EngineCache, stem: str) -> None:
    graph_cache.graph_folder().mkdir()
    (graph_cache.graph_folder() / f"{stem}.onnx").write_bytes(b"1")
    assert list(unused(cache)) == [stem]


def test_a_file_that_a_user_put_there_is_neither_listed_nor_deleted(cache: EngineCache, tmp_path: Path) -> None:
    folder = graph_cache.graph_folder()
    folder.mkdir()
    own = [folder / "points-int8.onnx", folder / "notes.txt", tmp_path / "lifter-05a4d96fbe8349f3.onnx"]
    for path in own:
        path.write_bytes(b"mine")
    grow_old(*own)
    assert contents(cache) == []


def test_an_engine_of_a_graph_that_a_user_named_may_be_used(cache: EngineCache, tmp_path: Path) -> None:
    own = tmp_path / "points-int8.onnx"
    own.write_bytes(b"mine")
    build(cache, own)
    own.unlink()
    assert unused(cache) == {}


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("other runtime", "tensorrt 10.3.0 is installed"),
        ("graph exported again", "its graph was exported again since"),
        ("truncated", "has 1 bytes of 6"),
    ],
)
def test_an_engine_that_cannot_be_found_again_is_unused_and_the_reason_is_told(
    cache: EngineCache, how: str, reason: str
) -> None:
    path = graph()
    build(cache, path, "10.2.0" if how == "other runtime" else "10.3.0")
    if how == "graph exported again":
        path.write_bytes(b"other weights")
    if how == "truncated":
        cache.records()[0].path.write_bytes(b"e")
    (found,) = unused(cache).values()
    assert reason in found


def test_an_engine_of_a_runtime_that_is_not_installed_may_be_used_elsewhere(cache: EngineCache) -> None:
    build(cache, graph(), "1.7.1.116", "tensorrt_rtx")
    assert unused(cache) == {}


def test_what_was_measured_for_another_runtime_is_unused(cache: EngineCache, tmp_path: Path) -> None:
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "timing-tensorrt-10.2.0-Orin.cache").write_bytes(b"1")
    assert unused(cache) == {"timing-tensorrt-10.2.0-Orin": "tensorrt 10.3.0 is installed"}


def test_what_interrupted_runs_left_is_unused_after_an_hour(cache: EngineCache, tmp_path: Path) -> None:
    kept = graph()
    build(cache, kept)
    drafts = [kept.parent / f".lifter-05a4d96fbe8349f3-{end}" for end in ("old", "new")]
    for draft in drafts:
        draft.mkdir()
        (draft / "lifter.onnx").write_bytes(bytes(1000))
    locks = [kept.parent / "gone-05a4d96fbe8349f3.onnx.lock", tmp_path / "engines" / "gone.lock"]
    record = tmp_path / "engines" / "other.json"
    for path in (*locks, record):
        path.write_bytes(b"")
    assert unused(cache) == {}
    grow_old(drafts[0], *locks, record, *kept.parent.glob("lifter*.lock"), *cache.folder.glob("*"))
    assert set(unused(cache)) == {drafts[0].name, *(path.name for path in locks), record.name}
    delete(entry for entry in contents(cache) if entry.unused)
    assert not drafts[0].exists()
    assert drafts[1].is_dir()
    assert kept.is_file()
    assert len(cache.records()) == 1


def test_engines_of_the_provider_of_onnxruntime_are_listed_as_one(cache: EngineCache, tmp_path: Path) -> None:
    (tmp_path / "engines" / "onnxruntime").mkdir(parents=True)
    (tmp_path / "engines" / "onnxruntime" / "a.engine").write_bytes(bytes(3000))
    (entry,) = contents(cache)
    assert (entry.kind, entry.size, entry.unused) == ("engine", 3000, "")
    delete([entry])
    assert not (tmp_path / "engines" / "onnxruntime").exists()


def test_a_folder_that_cannot_be_written_is_named_when_deleting(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph()
    entries = contents(cache)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(EngineError, match=r"lifter-.*\.onnx: cannot be deleted \(Permission denied\); make the cache"):
        delete(entries)
