"""Checks a recording and draws the calibration of each of its cameras."""

from __future__ import annotations

from pathlib import Path

from lift3d_ros.bags.check import check_streams
from lift3d_ros.bags.discover import BagStreams, CameraTopics, discover
from lift3d_ros.bags.messages import camera_model_from_msg, image_from_msg
from lift3d_ros.bags.reader import BagMessage, BagReader
from lift3d_ros.doctor.pictures import LOOK_AT_THEM, write_calibration_picture
from lift3d_ros.doctor.report import Check, Report, Section, count_text, fail, ok, warn
from lift3d_ros.errors import CalibrationError, ImageError, TransformError
from lift3d_ros.geometry.rig import Rig, RigCamera
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.types import CameraView

_RECORD_AGAIN = "correct it where it is recorded, or give a rig file (--rig)"


def check_recording(bag: Path, rig: Rig | None, folder: Path) -> Report:
    """Look at the streams of `bag` and write a calibration picture of each camera into `folder`.

    Raises:
        BagError: there is no recording, it cannot be read, or no camera is found in it.
        ConfigError: the folder cannot be written to.
    """
    with BagReader(bag) as reader:
        streams = discover(reader, rig)
        problems = check_streams(reader, streams, rig)
        topics = {topic for camera in streams.cameras.values() for topic in (camera.image_topic, camera.info_topic)}
        first = reader.first_messages(topic for topic in topics if topic is not None)
        sections: list[Section] = []
        is_any_drawn = False
        for name, camera in streams.cameras.items():
            of_rig = None if rig is None else rig.cameras[name]
            drawn: Check
            try:
                view = _view(name, camera, of_rig, streams.base_frame, streams.transforms.tree, first)
                path = write_calibration_picture(folder, view)
                drawn = ok("calibration picture", str(path))
                is_any_drawn = True
            except (CalibrationError, ImageError, TransformError) as error:
                drawn = fail("calibration picture", f"cannot be drawn: {error}", _RECORD_AGAIN)
            sections.append(Section(f"camera '{name}'", _check_camera(camera, problems.get(name, []), drawn)))
    whole = Section("recording", _check_whole(streams, problems.get(None, []), is_any_drawn=is_any_drawn))
    return Report(f"recording {bag}", (whole, *sections))


def _check_whole(streams: BagStreams, problems: list[str], *, is_any_drawn: bool) -> tuple[Check, ...]:
    motion = f"{streams.world_frame} -> {streams.base_frame}" if streams.world_frame else "none"
    found = ok("streams", f"{count_text(len(streams.cameras), 'camera')}, ego motion {motion}")
    remedy = "record /tf or an Odometry topic for ego motion; copy or record a damaged file again"
    look = [ok("calibration pictures", LOOK_AT_THEM)] if is_any_drawn else []
    return (found, *(warn("streams", problem, remedy) for problem in problems), *look)


def _check_camera(camera: CameraTopics, problems: list[str], drawn: Check) -> tuple[Check, ...]:
    """Return what `bags.check` says; it is a failure where the camera cannot be used, as the missing picture shows."""
    calibration = camera.info_topic or "calibration from the rig file"
    checks = [ok("streams", f"{camera.image_topic}, {calibration}, frame '{camera.frame_id}'")]
    is_useless = drawn.level == "FAIL"
    say = fail if is_useless else warn
    for problem in problems:
        # Most sentences end with what to do.
        text, _, remedy = problem.rpartition("; ")
        checks.append(say("streams", text, remedy) if text else say("streams", problem, _RECORD_AGAIN))
    if not (is_useless and problems):  # otherwise the picture fails for the reasons given already
        checks.append(drawn)
    return tuple(checks)


def _view(
    name: str,
    camera: CameraTopics,
    of_rig: RigCamera | None,
    base_frame: str,
    tree: TransformTree,
    first: dict[str, BagMessage],
) -> CameraView:
    model = None if of_rig is None else of_rig.model(name)
    if model is None:
        if camera.info_topic is None or camera.info_topic not in first:
            raise CalibrationError(f"no calibration beside {camera.image_topic}")
        message = first[camera.info_topic].message
        model = camera_model_from_msg(message, name, camera.info_topic, is_rectified=camera.is_rectified)
    T_base_cam = None if of_rig is None else of_rig.T_base_cam
    if T_base_cam is None:
        T_base_cam = tree.lookup_static(base_frame, camera.frame_id)
    image = image_from_msg(first[camera.image_topic].message, name, camera.image_topic)
    return CameraView(image, model, T_base_cam)
