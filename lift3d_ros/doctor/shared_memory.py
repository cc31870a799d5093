"""Checks the shared memory of Fast DDS: room, segments, profile, and the heap settings for large pictures.

The process that sends owns the segment, and the default one holds half a megabyte: a raw picture is cut into pieces
there, and one lost piece loses the picture.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lift3d_ros.doctor.report import Check, Section, bytes_text, fail, ok, warn
from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.launching import recommended_environment

SHARED_MEMORY = Path("/dev/shm")
DEFAULT_SEGMENT_BYTES = 512 * 1024
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
_BEFORE_FASTDDS_3 = ("humble", "iron", "jazzy")
_MALLOC = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")
_SEGMENT_NAME = re.compile(r"fast(dds|rtps)_[0-9a-f]{16}")
_LARGEST_PROFILE = 1 << 20
_SMALL_ROOM = 256e6


@dataclass(frozen=True)
class Segment:
    """One segment of a process that sends; `is_stale` where that process ended without removing it."""

    path: Path
    size: int
    is_stale: bool


@dataclass(frozen=True)
class FastDdsProfile:
    """What a profile file gives to a participant; `problem` says why it has no effect."""

    segment_bytes: int
    problem: str = ""


def list_segments(folder: Path = SHARED_MEMORY) -> list[Segment]:
    """Return the segments of all processes of this machine."""
    segments = []
    try:
        paths = sorted(path for path in folder.iterdir() if _SEGMENT_NAME.fullmatch(path.name))
    except OSError:
        return []
    for path in paths:
        try:
            segments.append(Segment(path, path.stat().st_size, _is_stale(path)))
        except FileNotFoundError:  # its process ended just now
            continue
    return segments


def profile_file(env: Mapping[str, str]) -> Path | None:
    """Return the profile that the environment names, None where it names none."""
    return next((Path(env[name]) for name in PROFILE_VARIABLES if env.get(name)), None)


def read_profile(path: Path) -> FastDdsProfile:
    """Return the shared-memory segment of the default participant of a Fast DDS profile.

    Raises:
        ConfigError: the file is missing, too large or not XML.
    """
    try:
        if path.stat().st_size > _LARGEST_PROFILE:
            raise ConfigError(f"{path}: larger than {_LARGEST_PROFILE} bytes; expected a Fast DDS profile")
        root = ET.fromstring(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ET.ParseError as error:
        raise ConfigError(f"{path}: not valid XML ({error})") from None
    transports = {
        _text(entry, "transport_id"): entry
        for entry in root.iterfind(".//{*}transport_descriptor")
        if _text(entry, "type") == "SHM"
    }
    default = DEFAULT_SEGMENT_BYTES
    participants = [
        entry for entry in root.iterfind(".//{*}participant") if entry.get("is_default_profile", "").lower() == "true"
    ]
    if not participants:
        return FastDdsProfile(default, 'no participant has is_default_profile="true"')
    used = [entry.text or "" for entry in participants[0].iterfind(".//{*}userTransports/{*}transport_id")]
    chosen = next((transports[name.strip()] for name in used if name.strip() in transports), None)
    if chosen is None:
        return FastDdsProfile(default, "the default participant names no transport of type SHM in userTransports")
    if _text(participants[0], ".//useBuiltinTransports").lower() != "false":
        return FastDdsProfile(default, "useBuiltinTransports is not false, so the small segment stays in use")
    size = _text(chosen, "segment_size")
    return FastDdsProfile(int(size)) if size.isdigit() else FastDdsProfile(default, "segment_size is not a number")


def segment_bytes(env: Mapping[str, str]) -> int:
    """Return the segment that a process with this environment sends through."""
    path = profile_file(env)
    try:
        return DEFAULT_SEGMENT_BYTES if path is None else read_profile(path).segment_bytes
    except ConfigError:
        return DEFAULT_SEGMENT_BYTES


def check_shared_memory(
    env: Mapping[str, str], *, has_ros: bool, rmw: str = "", folder: Path = SHARED_MEMORY
) -> Section:
    """Look at room, segments, profile and heap settings; without ROS only at what is there."""
    checks = [_check_room(folder, segment_bytes(env)), *_check_segments(folder)]
    if not has_ros:
        checks.append(ok("profile", "not needed without ROS"))
    elif rmw and "fastrtps" not in rmw and "fastdds" not in rmw:
        checks.append(ok("profile", f"not used by {rmw}"))
    else:
        checks += _check_profile(env)
    if has_ros:
        checks.append(_check_heap(env))
    return Section("shared memory", tuple(checks))


def _check_room(folder: Path, segment: int) -> Check:
    name, remedy = str(folder), "give a container more: docker run --ipc=host, or --shm-size=2g"
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return fail(name, f"cannot be looked at ({error.strerror or error})", "mount a tmpfs there")
    text = f"{bytes_text(usage.total)}, {bytes_text(usage.free)} free"
    if usage.free < segment:
        return fail(name, f"{text}; one process alone needs a segment of {bytes_text(segment)}", remedy)
    if usage.free < _SMALL_ROOM:
        return warn(name, f"{text}: little for several processes that send pictures", remedy)
    return ok(name, text)


def _check_segments(folder: Path) -> list[Check]:
    segments = list_segments(folder)
    live = [segment for segment in segments if not segment.is_stale]
    stale = [segment for segment in segments if segment.is_stale]
    sizes = ", ".join(bytes_text(size) for size in sorted({segment.size for segment in live}))
    checks = [ok("segments in use", f"{len(live)}" + (f" ({sizes})" if live else ""))]
    if stale:
        total = sum(segment.size for segment in stale)
        names = " ".join(f"{segment.path}*" for segment in stale[:3])
        more = " ..." if len(stale) > 3 else ""
        text = f"{len(stale)} left behind by processes that were killed, {bytes_text(total)}: {names}{more}"
        remedy = "'fastdds shm clean' removes them, or remove the files while no node runs"
        checks.append(warn("stale segments", text, remedy))
    return checks


def _check_profile(env: Mapping[str, str]) -> list[Check]:
    name, checks = "profile", []
    wanted = PROFILE_VARIABLES[env.get("ROS_DISTRO") in _BEFORE_FASTDDS_3]
    given = [variable for variable in PROFILE_VARIABLES if env.get(variable)]
    remedy = f"export {wanted}={_shipped_profile()} for every process that sends pictures; our launch files set it"
    if len(given) == 2:
        text = f"{' and '.join(given)} are both set: Fast DDS loads the profile twice and complains"
        checks.append(warn(name, text, f"unset {next(variable for variable in given if variable != wanted)}"))
    elif given and given[0] != wanted and wanted == PROFILE_VARIABLES[1]:
        text = f"{given[0]} is set, which Fast DDS of {env['ROS_DISTRO']} does not read"
        return [warn(name, text, f"use {wanted} instead")]
    path = profile_file(env)
    if path is None:
        text = f"none is set: segments of {bytes_text(DEFAULT_SEGMENT_BYTES)}, through which raw pictures get lost"
        return [warn(name, text, remedy)]
    try:
        profile = read_profile(path)
    except ConfigError as error:
        return [*checks, fail(name, str(error), remedy)]
    if profile.problem:
        return [*checks, warn(name, f"{path}: {profile.problem}", remedy)]
    return [*checks, ok(name, f"{path}: segments of {bytes_text(profile.segment_bytes)}")]


def _check_heap(env: Mapping[str, str]) -> Check:
    missing = [variable for variable in _MALLOC if not env.get(variable)]
    if not missing:
        return ok("heap settings", ", ".join(f"{variable}={env[variable]}" for variable in _MALLOC))
    try:
        values = recommended_environment()
    except Lift3dError:
        values = {}
    exports = " ".join(f"{variable}={values.get(variable, '...')}" for variable in missing)
    text = f"{', '.join(missing)} not set: memory of each picture goes back to the system and is fetched again"
    return warn("heap settings", text, f"export {exports}; our launch files do")


def _is_stale(segment: Path) -> bool:
    """Whether nobody holds the lock beside the segment, as its owner does while it lives."""
    try:
        lock = os.open(f"{segment}_el", os.O_RDONLY)
    except FileNotFoundError:
        return True
    except OSError:  # another user's
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _text(entry: ET.Element, name: str) -> str:
    parent, _, leaf = name.rpartition("/")
    found = entry.find(f"{parent}/{{*}}{leaf}" if parent else f"{{*}}{leaf}")
    return "" if found is None or found.text is None else found.text.strip()


def _shipped_profile() -> str:
    try:
        return str(next(value for name, value in recommended_environment().items() if name in PROFILE_VARIABLES))
    except Lift3dError:
        return "<profile>"
