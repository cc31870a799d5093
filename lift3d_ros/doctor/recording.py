"""Checks a recording and draws the calibration of each of its cameras."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from lift3d_ros.bags.check import check_streams
from lift3d_ros.bags.discover import BagStreams, CameraTopics, discover
from lift3d_ros.bags.reader import BagReader
from lift3d_ros.doctor.pictures import LOOK_AT_THEM, write_calibration_picture
from lift3d_ros.doctor.report import Check, Report, Section, count_text, fail, ok, warn
from lift3d_ros.errors import CalibrationError, ImageError
from lift3d_ros.geometry.rig import Rig, RigCamera
from lift3d_ros.pipelines.calibration_check import check_calibration
from lift3d_ros.types import CameraView

_PICTURE = "calibration picture"
_RECORD_AGAIN = "correct it where it is recorded, or give a rig file (--rig)"


def check_recording(bag: Path, rig: Rig | None, folder: Path) -> Report:
    """Look at the streams of `bag` and write a calibration picture of each camera into `folder`.

    Raises:
        BagError: there is no recording, it cannot be read, or no camera is found in it.
        ConfigError: the folder cannot be written to.
    """
    with BagReader(bag) as reader:
        streams = discover(reader, rig)
        check = check_streams(reader, streams, rig)
        sections = [
            Section(
                f"camera '{name}'",
                (
                    _found(camera, None if rig is None else rig.cameras[name]),
                    *_say_all(fail, check.cameras[name].problems),
                    *_say_all(warn, check.cameras[name].notes),
                    *_draw(check.cameras[name].view, folder),
                ),
            )
            for name, camera in streams.cameras.items()
        ]
    lines = [(line.name, line.level) for section in sections for line in section.checks]
    is_any_drawn = (_PICTURE, "OK") in lines
    views = {name: camera.view for name, camera in check.cameras.items() if camera.view is not None}
    plausibility = tuple(_check_plausibility(views))
    whole = Section("recording", (*_check_whole(streams, check.notes, is_any_drawn=is_any_drawn), *plausibility))
    return Report(f"recording {bag}", (whole, *sections))


def _check_whole(streams: BagStreams, problems: Sequence[str], *, is_any_drawn: bool) -> tuple[Check, ...]:
    motion = f"{streams.world_frame} -> {streams.base_frame}" if streams.world_frame else "none"
    found = ok("streams", f"{count_text(len(streams.cameras), 'camera')}, ego motion {motion}")
    remedy = "record /tf or an Odometry topic for ego motion; copy or record a damaged file again"
    look = [ok("calibration pictures", LOOK_AT_THEM)] if is_any_drawn else []
    return (found, *(warn("streams", problem, remedy) for problem in problems), *look)


def _check_plausibility(views: Mapping[str, CameraView]) -> Iterator[Check]:
    """Say what cannot be right about the rig as a whole; nothing where no camera is calibrated."""
    sentences = check_calibration(views)
    for sentence in sentences:
        text, _, remedy = sentence.rpartition("; ")
        yield warn("calibration", text, remedy)
    if views and not sentences:
        yield ok("calibration", "plausible")


def _found(camera: CameraTopics, of_rig: RigCamera | None) -> Check:
    is_calibrated_by_rig = of_rig is not None and of_rig.calibration is not None
    calibration = "calibration from the rig file" if is_calibrated_by_rig else camera.info_topic or "no calibration"
    return ok("streams", f"{camera.image_topic}, {calibration}, frame '{camera.frame_id}'")


def _say_all(say: Callable[[str, str, str], Check], sentences: Sequence[str]) -> Iterator[Check]:
    for sentence in sentences:
        # Most sentences end with what to do.
        text, _, remedy = sentence.rpartition("; ")
        yield say("streams", text or sentence, remedy if text else _RECORD_AGAIN)


def _draw(view: CameraView | None, folder: Path) -> Iterator[Check]:
    """Draw the calibration of a camera; nothing where it cannot be used, since the reasons are given already."""
    if view is None:
        return
    try:
        yield ok(_PICTURE, str(write_calibration_picture(folder, view)))
    except (CalibrationError, ImageError) as error:
        yield fail(_PICTURE, f"cannot be drawn: {error}", _RECORD_AGAIN)
