"""What a recording lacks is said before replay, camera by camera."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lift3d_ros.bags.check import RecordingCheck, check_streams
from lift3d_ros.bags.discover import discover
from lift3d_ros.bags.reader import open_bag
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.geometry.rig import Rig, RigCalibration, RigCamera, RigMounting
from lift3d_ros.types import CameraImage, CameraModel

WriteBag = Callable[..., Path]


def check(path: Path, rig: Rig | None = None) -> RecordingCheck:
    with open_bag(path) as reader:
        return check_streams(reader, discover(reader, rig), rig)


def problems_of(path: Path, rig: Rig | None = None) -> dict[str, str]:
    return {name: "; ".join(found.problems) for name, found in check(path, rig).cameras.items()}


def test_a_complete_recording_has_no_problem(write_bag: WriteBag) -> None:
    found = check(write_bag())
    assert (found.cameras["front"].problems, found.cameras["front"].notes, found.notes) == ((), (), ())
    view = found.cameras["front"].view
    assert view is not None
    assert view.model.width == 32


def test_missing_calibration_names_camera_and_remedy(write_bag: WriteBag) -> None:
    found = problems_of(write_bag(pictures={"/front/image_raw/compressed": None}))
    assert "no CameraInfo beside /front/image_raw/compressed" in found["front"]
    assert "(CameraInfo topics: none); give its intrinsics" in found["front"]


def test_missing_calibration_names_the_camera_info_that_there_is(write_bag: WriteBag) -> None:
    def add(writer: BagWriter) -> None:
        for side in ("left", "right"):
            model = CameraModel(side, "front_optical", 32, 24, np.array([[30.0, 0, 15], [0, 30.0, 11], [0, 0, 1]]))
            writer.camera_info(f"/calib/{side}", model, 1, 1)

    found = problems_of(write_bag(pictures={"/front/image_raw/compressed": None}, extra=add))
    assert "(CameraInfo topics: /calib/left, /calib/right)" in found["front"]


def test_missing_mounting_names_both_frames(write_bag: WriteBag) -> None:
    found = problems_of(write_bag(mounted=False))
    assert "no transform from 'base_link' to its frame 'front_optical'" in found["front"]
    assert "--mount-height" in found["front"]


def test_missing_motion_is_a_problem_of_the_recording(write_bag: WriteBag) -> None:
    assert "no ego motion" in "".join(check(write_bag(moving=False)).notes)


def test_a_rig_fills_in_what_is_missing(write_bag: WriteBag) -> None:
    path = write_bag(pictures={"/front/image_raw/compressed": None}, mounted=False)
    camera = RigCamera(
        calibration=RigCalibration(32, 24, 30.0, 30.0, 15.5, 11.5), mounting=RigMounting((1.0, 0.0, 1.5))
    )
    assert problems_of(path, Rig(cameras={"front": camera})) == {"front": ""}


def test_calibration_of_another_size_is_a_note_and_of_another_shape_a_problem(write_bag: WriteBag) -> None:
    path = write_bag()
    larger = check(path, Rig(cameras={"front": RigCamera(calibration=RigCalibration(320, 240, 300, 300, 155, 115))}))
    assert larger.cameras["front"].problems == ()
    assert "calibration for 320x240 is scaled to pictures of 32x24" in "".join(larger.cameras["front"].notes)
    wider = RigCamera(calibration=RigCalibration(640, 240, 300, 300, 155, 115))
    assert (
        "the picture is 32x24, its calibration is for 640x240"
        in problems_of(path, Rig(cameras={"front": wider}))["front"]
    )


def test_an_uncalibrated_camera_info_names_its_topic(write_bag: WriteBag) -> None:
    def add(writer: BagWriter) -> None:
        model = CameraModel("b", "b", 32, 24, np.array([[30.0, 0, 15], [0, 30.0, 11], [0, 0, 1]]))
        object.__setattr__(model, "intrinsics", np.zeros((3, 3)))
        writer.camera_info("/b/camera_info", model, 1, 1)
        writer.image("/b/image_raw", CameraImage("b", 1, "front_optical", "mono8", np.zeros(4, np.uint8), 2, 2, 2), 1)

    found = check(write_bag(extra=add)).cameras
    assert "topic '/b/camera_info': camera 'b': focal length is fx=0" in "".join(found["b"].problems)
    assert found["b"].notes == ("1 pictures where another camera has 3",)
    assert found["front"].problems == ()


def test_damage_is_a_problem_of_the_recording(write_bag: WriteBag) -> None:
    path = write_bag(count=20)
    file = path / "bag.mcap"
    file.write_bytes(file.read_bytes()[:-2000])
    assert "cut short or damaged" in "".join(check(path).notes)
