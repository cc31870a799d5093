"""Damaged and wrong input is read as far as it is whole, or answered with file and remedy."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from lift3d_ros.bags.check import check_streams
from lift3d_ros.bags.discover import discover
from lift3d_ros.bags.reader import open_bag, package_typestore
from lift3d_ros.errors import BagError, Lift3dError

WriteBag = Callable[..., Path]


def raw_messages(path: Path) -> list[tuple[str, int, bytes]]:
    with open_bag(path) as reader:
        return [(message.topic, message.log_ns, message.raw) for message in reader.messages()]


def storage_file(folder: Path) -> Path:
    return next(file for file in folder.iterdir() if file.name != "metadata.yaml")


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def error_of(path: Path) -> str:
    with pytest.raises(BagError) as caught:
        raw_messages(path)
    return str(caught.value)


def test_a_missing_path_is_answered_with_the_nearest_name(write_bag: WriteBag) -> None:
    folder = write_bag("drive_monday")
    message = error_of(folder.with_name("drive_mondya"))
    assert "drive_mondya: not found; did you mean 'drive_monday'?" in message
    assert "expected a rosbag2 folder" in message


def test_an_empty_folder_is_told_from_a_recording(tmp_path: Path) -> None:
    assert re.search(r"a folder without metadata.yaml \(it is empty\); expected a rosbag2 folder", error_of(tmp_path))
    (tmp_path / "readme.txt").write_text("x")
    assert "no recording in it, but readme.txt" in error_of(tmp_path)


def test_a_folder_of_ros1_bags_names_them(write_ros1_bag: Callable[..., Path]) -> None:
    path = write_ros1_bag()
    assert f"recordings in it: {path.name}" in error_of(path.parent)


@pytest.mark.parametrize("suffix", [".bag", ".mcap", ".db3"])
def test_another_file_with_the_name_of_a_recording_is_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"notes{suffix}"
    path.write_text("# Drive of Monday\nWe drove around the block.\n" * 50)
    message = error_of(path)
    assert f"notes{suffix}: not a {suffix} recording: it starts with b'# Drive" in message
    path.write_bytes(b"")
    assert "the file is empty" in error_of(path)


def test_another_kind_of_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "drive.mp4"
    path.write_bytes(b"x")
    assert "a file of kind '.mp4'; expected a rosbag2 folder" in error_of(path)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("has_metadata", [True, False])
def test_a_truncated_rosbag2_is_read_from_its_beginning(
    write_bag: WriteBag, caplog: pytest.LogCaptureFixture, storage: str, has_metadata: bool
) -> None:
    folder = write_bag(storage=storage, count=40)
    whole = raw_messages(folder)
    cut(storage_file(folder), 0.6)
    if not has_metadata:
        (folder / "metadata.yaml").unlink()
    caplog.set_level(logging.WARNING)
    found = raw_messages(folder)
    assert found == whole[: len(found)]
    assert len(found) > 0.3 * len(whole)
    text = caplog.text
    assert storage_file(folder).name in text
    assert f"its first {len(found)} messages" in text
    assert "repair it with" in text
    assert ("metadata.yaml is missing" in text) is not has_metadata


@pytest.mark.parametrize("compression", [None, "bz2", "lz4"])
@pytest.mark.parametrize("is_active", [True, False])
def test_a_truncated_ros1_bag_is_read_from_its_beginning(
    write_ros1_bag: Callable[..., Path], caplog: pytest.LogCaptureFixture, compression: str | None, is_active: bool
) -> None:
    path = write_ros1_bag(compression)
    whole = raw_messages(path)
    cut(path, 0.6)
    if is_active:  # what is left behind when the recorder is killed
        path = path.rename(path.with_name("small.bag.active"))
    caplog.set_level(logging.WARNING)
    found = raw_messages(path)
    assert found == whole[: len(found)]
    assert len(found) > 0.2 * len(whole)
    assert f"its first {len(found)} messages" in caplog.text
    assert "rosbag reindex" in caplog.text


@pytest.mark.parametrize("kind", ["mcap", "sqlite3", "ros1"])
def test_a_recording_cut_anywhere_is_read_or_answered(
    write_bag: WriteBag, write_ros1_bag: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    path = write_ros1_bag("lz4") if kind == "ros1" else storage_file(write_bag(storage=kind, count=12))
    whole, content = raw_messages(path), path.read_bytes()
    part = tmp_path / f"part{path.suffix}"
    for length in np.linspace(0, len(content) - 1, 40).astype(int).tolist():
        part.write_bytes(content[:length])
        with contextlib.suppress(BagError):
            found = raw_messages(part)
            assert found == whole[: len(found)]


def test_a_file_that_ends_in_zeros_is_read_up_to_them(write_bag: WriteBag, tmp_path: Path) -> None:
    content = storage_file(write_bag(count=40)).read_bytes()
    part = tmp_path / "part.mcap"
    part.write_bytes(content[: len(content) // 2] + bytes(200_000))
    assert 20 < len(raw_messages(part)) < 121


@pytest.mark.parametrize("kind", ["mcap", "sqlite3", "ros1"])
def test_nothing_readable_is_an_error_with_a_remedy(
    write_bag: WriteBag, write_ros1_bag: Callable[..., Path], kind: str
) -> None:
    path = write_ros1_bag() if kind == "ros1" else storage_file(write_bag(storage=kind))
    path.write_bytes(path.read_bytes()[:60])
    message = error_of(path)
    assert str(path) in message
    assert "it is truncated or damaged: repair it with" in message


def test_split_recordings_without_metadata_are_read_in_order(write_bag: WriteBag, tmp_path: Path) -> None:
    folder = tmp_path / "split"
    folder.mkdir()
    for number in (2, 10, 1):
        part = storage_file(write_bag(f"part{number}", count=number))
        shutil.copy(part, folder / f"split_{number}.mcap")
    with open_bag(folder) as reader:
        counts = [message.log_ns for message in reader.messages(["/front/camera_info"])]
        assert len(counts) == 13
        assert {t.name: t.count for t in reader.topics}["/front/camera_info"] == 13
        assert counts[1:3] == counts[3:5]
        assert len(reader.problems) == 1


def test_damaged_metadata_is_no_obstacle(write_bag: WriteBag, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_bag()
    whole = raw_messages(folder)
    for content in ("", "rosbag2_bagfile_information: [", "rosbag2_bagfile_information:\n  version: 8\n"):
        (folder / "metadata.yaml").write_text(content)
        assert raw_messages(folder) == whole
        assert "metadata.yaml is damaged" in caplog.text


def test_metadata_that_names_an_absent_file_tells_which_are_there(write_bag: WriteBag) -> None:
    folder = write_bag()
    storage_file(folder).rename(folder / "renamed.mcap")
    message = error_of(folder)
    assert f"{folder / 'metadata.yaml'}: names bag.mcap, which the folder does not have" in message
    assert "recordings in it: renamed.mcap" in message
    assert "rename the files" in message


def test_messages_in_a_write_ahead_log_are_told(write_bag: WriteBag, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_bag(storage="sqlite3")
    (folder / "bag.db3-wal").write_bytes(b"log")
    assert len(raw_messages(folder)) == 10
    assert "its last messages lie in bag.db3-wal and are not read" in caplog.text
    assert "wal_checkpoint" in caplog.text


@pytest.fixture
def compressed_mcap(tmp_path: Path) -> Path:
    """An mcap file with one zstd chunk that is damaged in its middle."""
    store = package_typestore()
    writer = Writer(tmp_path / "zstd", version=8, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/text", "std_msgs/msg/String", typestore=store)
        for i in range(500):
            message = store.types["std_msgs/msg/String"](data=f"message {i} {i * i}")
            writer.write(connection, i, store.serialize_cdr(message, "std_msgs/msg/String"))
    return tmp_path / "zstd" / "zstd.mcap"


def test_a_damaged_compressed_chunk_is_an_error_with_a_remedy(compressed_mcap: Path) -> None:
    assert len(raw_messages(compressed_mcap)) == 500
    content = bytearray(compressed_mcap.read_bytes())
    start = content.index(b"\x28\xb5\x2f\xfd") + 20
    content[start : start + 64] = b"\xff" * 64
    compressed_mcap.write_bytes(bytes(content))
    message = error_of(compressed_mcap)
    assert str(compressed_mcap) in message
    assert "mcap recover" in message


def test_a_compressed_chunk_that_breaks_off_gives_what_it_holds(compressed_mcap: Path) -> None:
    whole = raw_messages(compressed_mcap)
    cut(compressed_mcap, 0.7)
    with contextlib.suppress(BagError):  # a compressor may hold everything back until its block is whole
        found = raw_messages(compressed_mcap)
        assert found == whole[: len(found)]


def test_definitions_survive_in_a_truncated_recording(write_bag: WriteBag) -> None:
    folder = write_bag(count=40)
    cut(storage_file(folder), 0.5)
    with open_bag(folder) as reader:
        assert reader._definitions["sensor_msgs/msg/CameraInfo"].format == MessageDefinitionFormat.MSG
        for message in reader.messages(["/front/camera_info"]):
            assert message.message.width == 32


def test_shared_recordings_are_read_after_truncation(shared_dir: Path, tmp_path: Path) -> None:
    for name in ("nc_nuscenes_scene0103_mcap", "nc_nuscenes_scene0103_sqlite3"):
        folder = Path(shutil.copytree(shared_dir / "data" / "bags" / name, tmp_path / name))
        whole = raw_messages(folder)
        cut(storage_file(folder), 0.5)
        found = raw_messages(folder)
        assert found == whole[: len(found)]
        assert len(found) > 50


def test_two_damaged_files_are_read_at_the_same_time(write_bag: WriteBag) -> None:
    files = [storage_file(write_bag(name, storage="sqlite3", count=30)) for name in ("a", "b")]
    for file in files:
        cut(file, 0.6)
    with open_bag(files[0]) as first, open_bag(files[1]) as second:
        pairs = list(zip(first.messages(), second.messages(), strict=True))
    assert len(pairs) > 20
    assert all(a.raw == b.raw for a, b in pairs)


def test_an_index_that_promises_too_much_is_told(write_bag: WriteBag) -> None:
    folder = write_bag(pictures={}, mounted=False, moving=True)
    metadata = folder / "metadata.yaml"
    text = metadata.read_text().replace("name: /tf\n", "name: /tg\n")
    metadata.write_text(text)
    with open_bag(folder) as reader, pytest.raises(BagError, match=r"no message of topic '/tg' can be read"):
        reader.first_messages(["/tg"])


@pytest.mark.parametrize("kind", ["mcap", "sqlite3", "ros1"])
def test_random_damage_never_ends_in_another_error(
    write_bag: WriteBag, write_ros1_bag: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    path = write_ros1_bag("bz2") if kind == "ros1" else storage_file(write_bag(storage=kind, count=8))
    content = np.frombuffer(path.read_bytes(), np.uint8)
    part = tmp_path / f"part{path.suffix}"
    generator = np.random.default_rng(3)
    for _ in range(40):
        damaged = content.copy()
        # Half of the damage goes to the index at the end, where a byte matters more.
        start = 13 if generator.random() < 0.5 else max(13, len(content) - 4000)
        places = generator.integers(start, len(content), generator.integers(1, 20))
        damaged[places] = generator.integers(0, 256, len(places))
        part.write_bytes(damaged.tobytes())
        with contextlib.suppress(Lift3dError), open_bag(part) as reader:
            check_streams(reader, discover(reader))
            for message in reader.messages():
                _ = message.message


def test_a_definition_without_a_needed_field_is_told(write_bag: WriteBag) -> None:
    file = storage_file(write_bag())
    file.write_bytes(file.read_bytes().replace(b"string frame_id", b"string frXme_id"))
    with open_bag(file) as reader, pytest.raises(BagError, match=r"lacks 'std_msgs/msg/Header\.frame_id'"):
        _ = next(reader.messages(["/front/camera_info"])).message
