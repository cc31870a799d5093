"""A wrong calibration is told in a sentence with the camera's name; real and unusual rigs are left in peace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lift3d_ros.bags.discover import discover
from lift3d_ros.bags.reader import BagReader
from lift3d_ros.datasets.frames import read_scene
from lift3d_ros.errors import CalibrationError
from lift3d_ros.geometry.rig import load_rig
from lift3d_ros.geometry.rigid import invert, make_transform
from lift3d_ros.geometry.rotations import rpy_matrix, yaw_matrix
from lift3d_ros.pipelines.calibration_check import CalibrationWatch, check_calibration
from lift3d_ros.pipelines.frame_sets import SyncConfig
from lift3d_ros.replay.bag_frames import BagFrames
from lift3d_ros.types import CameraImage, CameraModel, CameraView, FrameSet

Views = dict[str, CameraView]
Change = Callable[[Views], Views]

_BODY_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
# Position and yaw as somebody would write them down for a car.
CAR = {
    "front": ([1.70, 0.00, 1.51], 0.0),
    "front_left": ([1.53, 0.49, 1.51], 55.0),
    "front_right": ([1.55, -0.49, 1.50], -55.0),
    "back": ([0.03, 0.00, 1.58], 180.0),
    "back_left": ([1.04, 0.48, 1.56], 110.0),
    "back_right": ([1.02, -0.48, 1.56], -110.0),
}
RENAMED = {name: f"camera_{i}" for i, name in enumerate(CAR)}


def camera(name: str, T_base_cam: Any, *, model: CameraModel | None = None, focal: float = 0.79) -> CameraView:
    if model is None:
        intrinsics = np.array([[1600 * focal, 0.0, 815.0], [0.0, 1600 * focal, 491.0], [0.0, 0.0, 1.0]])
        model = CameraModel(name, f"{name}_optical", 1600, 900, intrinsics)
    image = CameraImage(name, 0, model.frame_id, "jpeg", np.zeros(0, np.uint8))
    return CameraView(image, model, T_base_cam)


def mounting(position: Any, yaw_deg: float, *, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> Any:
    return make_transform(rpy_matrix(*np.deg2rad([roll_deg, pitch_deg, yaw_deg])) @ _BODY_OPTICAL, position)


def car() -> Views:
    return {
        name: camera(name, mounting(position, yaw), focal=0.5 if name == "back" else 0.79)
        for name, (position, yaw) in CAR.items()
    }


def with_mountings(change: Callable[[str, Any], Any], *names: str) -> Change:
    """Change the mounting of the named cameras, of all where none is named."""

    def apply(views: Views) -> Views:
        return {
            name: camera(name, change(name, view.T_base_cam), model=view.model) if not names or name in names else view
            for name, view in views.items()
        }

    return apply


def with_intrinsics(change: Callable[[Any], Any], *names: str) -> Change:
    def apply(views: Views) -> Views:
        models = {name: replace(view.model, intrinsics=change(view.model.intrinsics)) for name, view in views.items()}
        return {
            name: camera(name, view.T_base_cam, model=models[name]) if not names or name in names else view
            for name, view in views.items()
        }

    return apply


def without_direction_in_names(change: Change) -> Change:
    def apply(views: Views) -> Views:
        return {RENAMED[name]: camera(RENAMED[name], view.T_base_cam, model=view.model) for name, view in
                change(views).items()}  # fmt: skip

    return apply


def from_written_angles(change: Callable[[float], float]) -> Change:
    return with_mountings(lambda name, _: mounting(CAR[name][0], change(CAR[name][1])))


def moved(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Change:
    return with_mountings(lambda _, T: make_transform(np.eye(3), [x, y, z]) @ T)


def turned(degrees: float) -> Change:
    return with_mountings(lambda _, T: make_transform(yaw_matrix(np.deg2rad(degrees)), np.zeros(3)) @ T)


def scaled_position(T: Any, factor: float) -> Any:
    return make_transform(T[:3, :3], T[:3, 3] * factor)


def optical_rpy(roll: float, pitch: float, yaw: float, position: Any) -> Any:
    """A static transform of an optical frame by angles in radians, as they are handed to a publisher."""
    return make_transform(rpy_matrix(roll, pitch, yaw), position)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda views: views, id="as measured"),
        pytest.param(without_direction_in_names(lambda views: views), id="names without direction"),
        pytest.param(turned(45.0), id="rig turned by 45 degrees"),
        pytest.param(turned(-45.0), id="rig turned by -45 degrees"),
        pytest.param(moved(z=-1.2), id="base frame at axle height"),
        pytest.param(moved(x=-3.5), id="base frame at the front bumper"),
        pytest.param(moved(z=2.6), id="on the roof of a lorry"),
        pytest.param(with_mountings(lambda n, _: mounting(CAR[n][0], CAR[n][1], pitch_deg=35.0)), id="pitched down"),
        pytest.param(with_mountings(lambda n, _: mounting(CAR[n][0], CAR[n][1], roll_deg=10.0)), id="rolled a little"),
        pytest.param(
            with_intrinsics(lambda K: K - [[0, 0, 0], [0, 0, 200.0], [0, 0, 0]]), id="pictures cropped at the top"
        ),
        pytest.param(with_intrinsics(lambda K: K * [[1, 1, 1], [1, 0.75, 1], [1, 1, 1]]), id="pixels not square"),
        pytest.param(lambda views: {n: views[n] for n in ("front_left", "back")}, id="two cameras"),
    ],
)
def test_rigs_that_are_only_unusual_give_no_sentence(change: Change) -> None:
    assert check_calibration(change(car())) == []


@pytest.mark.parametrize("name", CAR)
def test_a_single_camera_gives_no_sentence(name: str) -> None:
    assert check_calibration({name: car()[name]}) == []


def test_stereo_wide_and_fisheye_cameras_and_small_robots_give_no_sentence() -> None:
    stereo = {
        "left": camera("left", mounting([0.1, 0.06, 0.25], 0.0)),
        "right": camera("right", mounting([0.1, -0.06, 0.25], 0.0)),
    }
    assert check_calibration(stereo) == []
    around = {
        f"{side}_{eye}": camera(f"{side}_{eye}", mounting([0.3 * np.cos(a) - s * np.sin(a),
                                                           0.3 * np.sin(a) + s * np.cos(a), 0.25], np.degrees(a)))
        for side, a in (("front", 0.0), ("left", np.pi / 2), ("rear", np.pi), ("right", -np.pi / 2))
        for eye, s in (("left", 0.05), ("right", -0.05))
    }  # fmt: skip
    assert check_calibration(around) == []
    assert check_calibration({"nose": camera("nose", mounting([0.2, 0.0, 0.25], 0.0, pitch_deg=-10.0))}) == []
    forward = {
        "tele": camera("tele", mounting([1.6, 0.1, 1.4], 0.5), focal=2.5),
        "wide": camera("wide", mounting([1.6, 0.0, 1.4], -0.5), focal=0.4),
        "roof": camera("roof", mounting([0.5, 0.0, 2.0], 0.0)),
    }
    assert check_calibration(forward) == []
    intrinsics = np.array([[330.0, 0, 640], [0, 330.0, 400], [0, 0, 1]])
    fisheye = CameraModel("f", "f", 1280, 800, intrinsics, "equidistant", np.array([0.05, 0.01, 0.0, 0.0]))
    surround = {
        name: camera(name, mounting(position, yaw, pitch_deg=pitch), model=fisheye)
        for name, position, yaw, pitch in (
            ("front", [3.7, 0.0, 0.6], 0.0, 25.0),
            ("left", [2.0, 1.0, 1.0], 90.0, 60.0),
            ("right", [2.0, -1.0, 1.0], -90.0, 60.0),
            ("rear", [-1.0, 0.0, 0.9], 180.0, 40.0),
        )
    }
    assert check_calibration(surround) == []


def test_two_front_cameras_beside_others_give_no_sentence() -> None:
    """A second camera behind the windscreen has a name of the same side; nothing tells that it is wrong."""
    views = car()
    views["front_roof"] = camera("front_roof", mounting([0.9, 0.0, 1.9], 0.0))
    del views["back"]
    assert check_calibration(views) == []


def test_mirror_cameras_of_a_lorry_that_look_back_give_no_sentence() -> None:
    views = {
        "front": camera("front", mounting([3.0, 0.0, 2.5], 0.0)),
        "front_left": camera("front_left", mounting([2.6, 1.3, 2.4], 172.0)),
        "front_right": camera("front_right", mounting([2.6, -1.3, 2.4], -172.0)),
        "side_left": camera("side_left", mounting([1.0, 1.2, 2.2], 90.0)),
        "side_right": camera("side_right", mounting([1.0, -1.2, 2.2], -90.0)),
    }
    assert check_calibration(views) == []


def test_the_example_rig_and_the_bundled_street_give_no_sentence(repository: Path) -> None:
    rig = load_rig(repository / "config" / "rigs" / "nuscenes_like.yaml")
    views = {n: camera(n, c.T_base_cam, model=c.model(n)) for n, c in rig.cameras.items()}
    assert len(views) == 6
    assert check_calibration(views) == []
    assert check_calibration(views_of_scene(repository / "demo" / "street")) == []


def test_real_scenes_give_no_sentence_in_any_frame_of_reference_that_is_usual(shared_dir: Path) -> None:
    folders = sorted((shared_dir / "data" / "driving").glob("*/meta.json"))
    assert folders
    for meta in folders:
        views = views_of_scene(meta.parent)
        assert check_calibration(views) == [], meta.parent.name
        assert check_calibration(moved(z=-1.2)(views)) == [], meta.parent.name
        assert check_calibration(turned(45.0)(views)) == [], meta.parent.name
        for name, view in views.items():
            assert check_calibration({name: view}) == []


def test_real_recordings_give_no_sentence(shared_dir: Path) -> None:
    bags = [path for path in sorted((shared_dir / "data" / "bags").iterdir()) if "nc_" in path.name]
    assert bags
    for bag in bags:
        views = views_of_bag(bag)
        assert len(views) == 6
        assert check_calibration(views) == [], bag.name


def test_the_calibration_of_a_robot_with_one_camera_gives_no_sentence(shared_dir: Path) -> None:
    """This recording has no transforms; the camera is put where it fits on a small robot."""
    views = views_of_bag(shared_dir / "data" / "bags" / "raspicam_fiducials.bag", mount_height=0.25)
    assert len(views) == 1
    assert check_calibration(views) == []


ALL = list(CAR)
SIDES = ["front_left", "front_right", "back_left", "back_right"]

FAULTS = [
    pytest.param(
        with_mountings(lambda n, T: T @ make_transform(np.linalg.inv(_BODY_OPTICAL), np.zeros(3))),
        ALL, "seem to be body axes (x forward, z up)", "optical frame", id="body axes in place of optical axes",
    ),
    pytest.param(
        with_mountings(lambda n, T: make_transform(np.eye(3), T[:3, 3]), "back"),
        ["back"], "seem to be body axes", "optical frame", id="no rotation at all",
    ),
    pytest.param(
        with_mountings(lambda n, T: T @ make_transform(rpy_matrix(-np.pi / 2, 0, 0), np.zeros(3)), "front"),
        ["front"], "looks 90 deg", "order of axes", id="looks down: y and z exchanged",
    ),
    pytest.param(with_mountings(lambda n, T: invert(T)), ALL, "seems to be its inverse", "invert", id="T_cam_base"),
    pytest.param(
        with_mountings(lambda n, T: scaled_position(T, 1000.0)), ALL, "at most 20 m", "millimetres", id="millimetres"
    ),
    pytest.param(
        with_mountings(lambda n, T: scaled_position(T, 100.0), "back_left"),
        ["back_left"], "position (104, 48, 156) m", "millimetres", id="one camera in centimetres",
    ),
    pytest.param(moved(x=600.0, y=1600.0), ALL, "at most 20 m", "position on a map", id="pose on a map"),
    pytest.param(moved(z=-1.8), ALL, "0.2 to 4.5 m above the ground", "position", id="below the ground"),
    pytest.param(moved(z=9.0), ALL, "10.51 m high", "base frame that lies lower", id="far above the ground"),
    pytest.param(
        with_mountings(lambda n, T: make_transform(T[:3, :3], np.zeros(3)), "front"),
        ["front"], "0.00 m high", "position", id="no position",
    ),
    pytest.param(
        with_mountings(lambda n, T: np.diag([1.0, -1.0, -1.0, 1.0]) @ T),
        ALL, "seems to have z down", "REP-103", id="base frame x forward, y right, z down",
    ),
    pytest.param(
        from_written_angles(np.deg2rad), ALL, "the same way within 5.1 deg", "degrees", id="radians read as degrees"
    ),
    pytest.param(
        from_written_angles(np.rad2deg), ["front_left", "front_right"], "with x forward, y left", "radians",
        id="degrees read as radians",
    ),
    pytest.param(
        with_mountings(lambda n, T: optical_rpy(-90.0, 0.0, -90.0 + CAR[n][1], T[:3, 3])),
        ["front_left", "front_right"], "with x forward, y left", "radians", id="optical, degrees read as radians",
    ),
    pytest.param(
        with_mountings(lambda n, T: mounting(T[:3, 3] * [1, -1, 1], -CAR[n][1])),
        SIDES, "the side that the name tells", "signs of y and yaw", id="mirrored",
    ),
    pytest.param(
        from_written_angles(lambda yaw: -yaw), SIDES, "the side that the name tells", "signs of y", id="yaw mirrored"
    ),
    pytest.param(
        with_mountings(lambda n, _: mounting(*CAR["back" if n == "front" else "front"]), "front", "back"),
        ["front", "back"], "the side that the name tells", "exchanged", id="front and back exchanged",
    ),
    pytest.param(
        with_mountings(lambda n, _: mounting(*CAR["front"]), "back_left"),
        ["front", "back_left"], "same way from the same place", "copied", id="the same mounting twice",
    ),
    pytest.param(
        with_mountings(lambda n, T: mounting(T[:3, 3], 0.0), "front_left"),
        ["front", "front_left"], "seen by no camera", "copied", id="the same direction twice",
    ),
    pytest.param(
        with_mountings(lambda n, T: mounting(T[:3, 3], CAR[n][1], roll_deg=178.0), "back"),
        ["back"], "upside down", "180 deg", id="upside down",
    ),
    pytest.param(
        with_mountings(lambda n, T: mounting(T[:3, 3], CAR[n][1], roll_deg=90.0), "front"),
        ["front"], "rolled 90 deg", "order of axes", id="on its side",
    ),
    pytest.param(
        with_mountings(lambda n, T: mounting(T[:3, 3], CAR[n][1], pitch_deg=60.0), "front"),
        ["front"], "looks 60 deg down", "order of axes", id="pitched too far",
    ),
    pytest.param(
        with_mountings(lambda n, T: mounting(T[:3, 3], CAR[n][1], pitch_deg=-25.0), "front"),
        ["front"], "horizon in row 1", "check the pitch", id="sees nothing of the ground",
    ),
    pytest.param(
        with_intrinsics(lambda K: np.diag([2.0, 2.0, 1.0]) @ K, "front"),
        ["front"], "as if calibrated for about 33", "of this size", id="intrinsics of pictures twice as large",
    ),
    pytest.param(
        with_intrinsics(lambda K: np.diag([0.5, 0.5, 1.0]) @ K),
        ALL, "as if calibrated for about 8", "of this size", id="intrinsics of pictures half as large",
    ),
    pytest.param(
        with_intrinsics(lambda K: np.diag([0.8, 0.8, 1.0]) @ K, "back"),
        ["back"], "as if calibrated for about 13", "of this size", id="intrinsics of pictures scaled by 0.8",
    ),
    pytest.param(
        with_intrinsics(lambda K: np.array([[1, 0, 1500], [0, 1, 0], [0, 0, 1]]) @ K, "front"),
        ["front"], "principal point (2315, 491)", "check cx", id="principal point far outside",
    ),
    pytest.param(
        with_intrinsics(lambda K: np.diag([1 / 1266, 1 / 1266, 1.0]) @ K, "front"),
        ["front"], "field of view 1", "fx and fy in pixels", id="focal length not in pixels",
    ),
    pytest.param(
        with_intrinsics(lambda K: K * [[30, 1, 1], [1, 30, 1], [1, 1, 1]], "front"),
        ["front"], "field of view 2.", "fx and fy", id="focal length far too long",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("inject", "cameras", "found", "remedy"), FAULTS)
def test_a_fault_is_told_with_cameras_found_expected_and_remedy(
    inject: Change, cameras: list[str], found: str, remedy: str
) -> None:
    sentences = check_calibration(inject(car()))
    told = [sentence for sentence in sentences if found in sentence]
    assert told, sentences
    for name in cameras:
        assert any(f"'{name}'" in sentence for sentence in told), (name, sentences)
    others = [name for name in CAR if name not in cameras]
    assert not any(f"'{name}'" in sentence for sentence in sentences for name in others), sentences
    for sentence in told:
        assert sentence.startswith("camera")
        assert "; expected " in sentence
        assert remedy in sentence.rpartition("; ")[2]
        is_seen_in_pictures = not any(text in sentence for text in ("principal point", "field of view", "at most 20 m"))
        assert ("'lift3d doctor --bag BAG --out DIR' draws" in sentence) == is_seen_in_pictures


@pytest.mark.parametrize(
    "inject",
    [
        pytest.param(from_written_angles(lambda yaw: -yaw), id="yaw mirrored"),
        pytest.param(from_written_angles(np.rad2deg), id="degrees read as radians"),
        pytest.param(from_written_angles(np.deg2rad), id="radians read as degrees"),
        pytest.param(
            with_mountings(lambda n, T: optical_rpy(-90.0, 0.0, -90.0 + CAR[n][1], T[:3, 3])),
            id="optical, degrees read as radians",
        ),
        pytest.param(with_mountings(lambda n, T: invert(T)), id="T_cam_base"),
        pytest.param(with_mountings(lambda n, T: mounting(T[:3, 3], 0.0), "front_left"), id="the same direction twice"),
    ],
)
def test_faults_are_seen_without_the_help_of_names(inject: Change) -> None:
    assert check_calibration(without_direction_in_names(inject)(car()))


@pytest.mark.parametrize("name", CAR)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(invert, id="T_cam_base"),
        pytest.param(lambda T: T @ make_transform(np.linalg.inv(_BODY_OPTICAL), np.zeros(3)), id="body axes"),
        pytest.param(lambda T: scaled_position(T, 1000.0), id="millimetres"),
        pytest.param(lambda T: np.diag([1.0, -1.0, -1.0, 1.0]) @ T, id="z down"),
        pytest.param(lambda T: np.eye(4), id="identity"),
    ],
)
def test_a_fault_of_the_only_camera_is_seen(name: str, change: Callable[[Any], Any]) -> None:
    (sentence,) = check_calibration({name: camera(name, change(car()[name].T_base_cam))})
    assert f"'{name}'" in sentence


def test_a_fault_in_one_camera_of_a_real_rig_names_that_camera(shared_dir: Path) -> None:
    for meta in sorted((shared_dir / "data" / "driving").glob("*/meta.json")):
        views = views_of_scene(meta.parent)
        for name in views:
            for change in (invert, lambda T: np.eye(4), lambda T: scaled_position(T, 1000.0)):
                broken = with_mountings(lambda _, T, change=change: change(T), name)(views)
                (sentence,) = check_calibration(broken)
                assert f"'{name}'" in sentence


def test_a_mirrored_transform_cannot_even_be_made() -> None:
    with pytest.raises(CalibrationError, match=r"'front'.*mirrored"):
        camera("front", np.diag([1.0, -1.0, 1.0, 1.0]) @ mounting(*CAR["front"]))


def test_the_same_fault_of_several_cameras_is_one_sentence() -> None:
    (sentence,) = check_calibration(moved(z=-1.8)(car()))
    assert sentence.startswith("cameras 'front' (-0.29 m high), 'front_left' (-0.29 m high), 'front_right'")


def test_the_watch_looks_again_only_when_a_calibration_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = CalibrationWatch()
    good, bad = car(), moved(z=-1.8)(car())
    assert watch.look_at(FrameSet(0, good)) == ()
    # A lost camera is no news; the others are judged together with what is known of it.
    assert watch.look_at(FrameSet(1, {"front": good["front"]})) == ()
    (sentence,) = watch.look_at(FrameSet(2, {"back": bad["back"]}))
    assert "'back': -0.22 m high" in sentence
    assert watch.look_at(FrameSet(3, {"front": good["front"]})) == (sentence,)
    same = watch.look_at(FrameSet(4, {"back": bad["back"]}))
    assert same is watch.look_at(FrameSet(5, {"back": moved(z=-1.8)(car())["back"]}))
    assert watch.look_at(FrameSet(6, good)) == ()


def test_checking_a_rig_takes_milliseconds() -> None:
    views = moved(z=-1.8)(car())
    start = time.perf_counter()
    check_calibration(views)
    assert time.perf_counter() - start < 0.1


def views_of_scene(folder: Path) -> Views:
    return {n: camera(n, c.T_base_cam, model=c.model) for n, c in read_scene(folder).cameras.items()}


def views_of_bag(path: Path, mount_height: float | None = None) -> Views:
    with BagReader(path) as reader:
        return dict(next(BagFrames(reader, discover(reader), SyncConfig(), None, mount_height).frame_sets()).views)
