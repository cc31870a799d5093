"""A recording taken apart for labelling holds what was recorded: pictures, calibration, poses, and labels."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from drive import Drive

from lift3d_ros.bags.from_frames import bag_from_frames
from lift3d_ros.cli.main import main as lift3d
from lift3d_ros.datasets.frames import frame_set, read_scene
from lift3d_ros.geometry.rigid import invert


def to_frames(*arguments: str | Path) -> int:
    return lift3d(["bag", "to-frames", *map(str, arguments)])


def test_a_scene_comes_back_from_its_recording(repository: Path, tmp_path: Path) -> None:
    pytest.importorskip("rosbags", reason="rosbags is not installed")
    bag = tmp_path / "bag"
    bag_from_frames(repository / "demo" / "street", bag)
    assert to_frames(bag, "--out", tmp_path / "scene") == 0
    before, after = read_scene(repository / "demo" / "street"), read_scene(tmp_path / "scene")
    assert (len(after.frames), set(after.cameras)) == (len(before.frames), set(before.cameras))
    start = invert(before.frames[0].T_world_base)  # the world of a recording begins where the drive begins
    for old, new in zip(before.frames, after.frames, strict=True):
        assert new.stamp_ns == old.stamp_ns
        np.testing.assert_allclose(new.T_world_base, start @ old.T_world_base, atol=1e-4)
        assert old.boxes is not None
        assert new.boxes is not None
        np.testing.assert_allclose(new.boxes.centers, old.boxes.centers, atol=1e-3)
        np.testing.assert_array_equal(new.boxes.track_ids, old.boxes.track_ids)
        for name, image in old.images.items():
            assert new.images[name].path.read_bytes() == image.path.read_bytes()
            assert new.images[name].stamp_ns == image.stamp_ns
        for name, view in frame_set(after, new).views.items():
            np.testing.assert_allclose(
                view.T_cam_reference, frame_set(before, old).views[name].T_cam_reference, atol=1e-3
            )
            np.testing.assert_allclose(view.model.intrinsics, before.cameras[name].model.intrinsics)


def test_raw_pictures_keep_their_pixels(tmp_path: Path) -> None:
    pytest.importorskip("rosbags", reason="rosbags is not installed")
    drive = Drive(frames=3, is_compressed=False)
    assert to_frames(drive.write(tmp_path / "drive"), "--out", tmp_path / "scene", "--every", "2") == 0
    scene = read_scene(tmp_path / "scene")
    assert [frame.boxes for frame in scene.frames] == [None, None]
    recorded = drive.picture("front", 2)
    assert recorded is not None
    written = cv2.imread(str(scene.frames[1].images["front"].path))
    np.testing.assert_array_equal(written, recorded.data.reshape(written.shape))


def test_labels_in_the_folder_are_not_overwritten_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rosbags", reason="rosbags is not installed")
    bag = Drive(frames=1).write(tmp_path / "drive")
    assert to_frames(bag, "--out", tmp_path / "scene") == 0
    meta = tmp_path / "scene" / "meta.json"
    document = json.loads(meta.read_text(encoding="utf-8"))
    document["frames"][0]["boxes"] = []
    meta.write_text(json.dumps(document), encoding="utf-8")
    assert to_frames(bag, "--out", tmp_path / "scene") == 2
    assert "maybe with labels" in capsys.readouterr().err
    assert json.loads(meta.read_text(encoding="utf-8")) == document


def test_a_recording_without_motion_is_refused_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rosbags", reason="rosbags is not installed")
    bag = Drive(frames=1, has_ego_motion=False).write(tmp_path / "drive")
    assert to_frames(bag, "--out", tmp_path / "scene") == 2
    assert "Record /tf or an odometry topic" in capsys.readouterr().err
