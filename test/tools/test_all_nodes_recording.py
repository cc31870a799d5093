"""The recording of all nodes holds the keypoints of people where the pictures show them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from lift3d_ros.bags.keypoint_messages import KEYPOINTS
from lift3d_ros.bags.reader import open_bag
from lift3d_ros.bags.write_scene import write_scene
from lift3d_ros.datasets.frames import Scene, read_scene
from lift3d_ros.errors import Lift3dError
from lift3d_ros.geometry.boxes import corners
from lift3d_ros.geometry.camera import project
from lift3d_ros.geometry.rigid import invert, transform_points

CAMERA = "front"


@pytest.fixture
def scene(repository: Path) -> Scene:
    """Frames in which the front camera sees people."""
    whole = read_scene(repository / "demo" / "street")
    return replace(whole, frames=whole.frames[6:10])


@pytest.fixture
def keypoints(scene: Scene, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(repository / "tools"))
    module = __import__("all_nodes_recording")
    yield module.pedestrian_keypoints(scene, CAMERA)
    sys.modules.pop("all_nodes_recording")


def test_the_joints_of_each_person_fill_the_box_of_its_label(scene: Scene, keypoints: Any) -> None:
    camera, compared = scene.cameras[CAMERA], 0
    for frame, found in zip(scene.frames, keypoints, strict=True):
        image = frame.images[CAMERA]
        assert found.stamp_ns == image.stamp_ns
        assert frame.boxes is not None
        T_cam_base = invert(image.T_world_base @ camera.T_base_cam) @ frame.T_world_base
        for person in found.instances:
            (row,) = np.flatnonzero(frame.boxes.track_ids == person.track_id)
            points = transform_points(T_cam_base, corners(frame.boxes)[row])
            pixels = project(camera.model, points)[0]
            low, high = pixels.min(axis=0), pixels.max(axis=0)
            if (low < 0).any() or (high > [camera.model.width, camera.model.height]).any():
                continue
            compared += 1
            height = high[1] - low[1]
            assert (person.points >= low - 0.15 * height).all()
            assert (person.points <= high + 0.15 * height).all()
            assert np.ptp(person.points[:, 1]) > 0.75 * height
    assert compared >= 4


def test_keypoints_of_a_scene_are_recorded_beside_its_pictures(tmp_path: Path, scene: Scene, keypoints: Any) -> None:
    write_scene(scene, tmp_path / "bag", keypoints={CAMERA: keypoints})
    with open_bag(tmp_path / "bag") as reader:
        (topic,) = reader.topics_of(KEYPOINTS)
        messages = [message.message for message in reader.messages([topic.name])]
    assert topic.name == f"/{CAMERA}/keypoints"
    assert [len(message.instances) for message in messages] == [len(found.instances) for found in keypoints]
    assert {message.header.frame_id for message in messages} == {scene.cameras[CAMERA].model.frame_id}


def test_a_camera_that_the_street_does_not_have_is_refused(
    tmp_path: Path, scene: Scene, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(repository / "tools"))
    module = __import__("all_nodes_recording")
    monkeypatch.setattr(module, "simulate", lambda options: ())
    monkeypatch.setattr(module, "read_scene", lambda folder: scene)
    with pytest.raises(Lift3dError, match=r"--camera left: not in the simulated street; expected one of .*front"):
        module.simulated_bag(tmp_path, 4, "left")
    made = [module.simulated_bag(tmp_path, 4, camera) for camera in (CAMERA, "back")]
    assert made[0] != made[1]
    sys.modules.pop("all_nodes_recording")
