"""Shared memory: room, live and stale segments, the Fast DDS profile, heap settings."""

from __future__ import annotations

import fcntl
from collections import namedtuple
from pathlib import Path

import pytest

from lift3d_ros.doctor import shared_memory
from lift3d_ros.doctor.report import Check
from lift3d_ros.doctor.shared_memory import (
    DEFAULT_SEGMENT_BYTES,
    check_shared_memory,
    list_segments,
    read_profile,
    segment_bytes,
)
from lift3d_ros.errors import ConfigError
from lift3d_ros.launching import recommended_environment
from lift3d_ros.resources import find_resource

SHIPPED = find_resource("config/dds/fastdds_shared_memory.xml")
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "shm"
    folder.mkdir()
    return folder


def check(name: str, env: dict[str, str], folder: Path, *, has_ros: bool = True, rmw: str = "") -> Check:
    found = [c for c in check_shared_memory(env, has_ros=has_ros, rmw=rmw, folder=folder).checks if c.name == name]
    return max(found, key=lambda c: ("OK", "WARN", "FAIL").index(c.level))


def test_segments_of_processes_that_were_killed_are_told_from_live_ones(folder: Path) -> None:
    live, stale = folder / "fastdds_0123456789abcdef", folder / "fastrtps_fedcba9876543210"
    for path, size in ((live, 3000), (stale, 2_000_000)):
        path.write_bytes(bytes(size))
        Path(f"{path}_el").touch()
    (folder / "fastdds_port7000").touch()
    (folder / "sem.something").touch()
    with Path(f"{live}_el").open() as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)  # as the owner of a segment does while it lives
        found = {segment.path.name: (segment.size, segment.is_stale) for segment in list_segments(folder)}
        warning = check("stale segments", {}, folder)
    assert found == {live.name: (3000, False), stale.name: (2_000_000, True)}
    assert warning.level == "WARN"
    assert "2.0 MB" in warning.text
    assert str(stale) in warning.text
    assert "fastdds shm clean" in warning.remedy


def test_a_folder_that_is_not_there_has_no_segments(tmp_path: Path) -> None:
    assert list_segments(tmp_path / "absent") == []
    assert check(str(tmp_path / "absent"), {}, tmp_path / "absent").level == "FAIL"


@pytest.mark.parametrize(("free", "level"), [(8e9, "OK"), (200e6, "WARN"), (60e6, "FAIL")])
def test_room_is_compared_with_the_segment(
    folder: Path, monkeypatch: pytest.MonkeyPatch, free: float, level: str
) -> None:
    monkeypatch.setattr(shared_memory.shutil, "disk_usage", lambda _: Usage(64e9, 64e9 - free, free))
    found = check(str(folder), {"FASTDDS_DEFAULT_PROFILES_FILE": str(SHIPPED)}, folder)
    assert found.level == level
    if level != "OK":
        assert "--shm-size" in found.remedy


def test_the_shipped_profile_gives_a_segment_for_many_pictures(folder: Path) -> None:
    assert read_profile(SHIPPED) == shared_memory.FastDdsProfile(100_000_000)
    env = {"FASTDDS_DEFAULT_PROFILES_FILE": str(SHIPPED)}
    assert segment_bytes(env) == 100_000_000
    found = check("profile", env, folder)
    assert found.level == "OK"
    assert "100.0 MB" in found.text


def test_without_a_profile_the_remedy_is_the_line_to_type(folder: Path) -> None:
    found = check("profile", {}, folder)
    assert found.level == "WARN"
    assert "0.5 MB" in found.text
    assert found.remedy.startswith(f"export FASTDDS_DEFAULT_PROFILES_FILE={SHIPPED}")
    assert segment_bytes({}) == DEFAULT_SEGMENT_BYTES
    assert "FASTRTPS_DEFAULT_PROFILES_FILE=" in check("profile", {"ROS_DISTRO": "humble"}, folder).remedy


def test_both_names_of_the_variable_are_one_too_many(folder: Path) -> None:
    names = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
    found = check("profile", dict.fromkeys(names, str(SHIPPED)), folder)
    assert found.level == "WARN"
    assert "twice" in found.text
    assert found.remedy == "unset FASTRTPS_DEFAULT_PROFILES_FILE"
    old = check("profile", dict.fromkeys(names, str(SHIPPED)) | {"ROS_DISTRO": "humble"}, folder)
    assert old.remedy == "unset FASTDDS_DEFAULT_PROFILES_FILE"


def test_a_name_that_an_old_distribution_does_not_read_is_named(folder: Path) -> None:
    env = {"FASTDDS_DEFAULT_PROFILES_FILE": str(SHIPPED), "ROS_DISTRO": "humble"}
    assert "FASTRTPS_DEFAULT_PROFILES_FILE" in check("profile", env, folder).remedy


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('is_default_profile="true"', "", "is_default_profile"),
        ("<useBuiltinTransports>false", "<useBuiltinTransports>true", "useBuiltinTransports"),
        ("<type>SHM</type>", "<type>UDPv6</type>", "type SHM"),
        ("<segment_size>100000000", "<segment_size>much", "not a number"),
    ],
)
def test_a_profile_without_effect_says_why(folder: Path, tmp_path: Path, old: str, new: str, problem: str) -> None:
    path = tmp_path / "profile.xml"
    text = SHIPPED.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert read_profile(path).segment_bytes == DEFAULT_SEGMENT_BYTES
    found = check("profile", {"FASTDDS_DEFAULT_PROFILES_FILE": str(path)}, folder)
    assert found.level == "WARN"
    assert problem in found.text


@pytest.mark.parametrize(
    "content", [None, b"<dds><profiles>", b"", bytes(2 << 20)], ids=["missing", "cut short", "empty", "too large"]
)
def test_a_profile_that_cannot_be_read_is_a_failure(folder: Path, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "profile.xml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"profile\.xml"):
        read_profile(path)
    assert check("profile", {"FASTDDS_DEFAULT_PROFILES_FILE": str(path)}, folder).level == "FAIL"
    assert segment_bytes({"FASTDDS_DEFAULT_PROFILES_FILE": str(path)}) == DEFAULT_SEGMENT_BYTES


def test_another_middleware_and_a_machine_without_ros_need_no_profile(folder: Path) -> None:
    assert check("profile", {}, folder, rmw="rmw_cyclonedds_cpp").level == "OK"
    section = check_shared_memory({}, has_ros=False, folder=folder)
    assert {c.level for c in section.checks if c.name != str(folder)} == {"OK"}


def test_heap_settings_are_those_of_the_launch_files(folder: Path) -> None:
    assert check("heap settings", recommended_environment(), folder).level == "OK"
    env = recommended_environment()
    del env["MALLOC_TOP_PAD_"]
    found = check("heap settings", env, folder)
    assert found.level == "WARN"
    assert "export MALLOC_TOP_PAD_=67108864" in found.remedy
