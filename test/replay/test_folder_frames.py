"""Folders of pictures become frame sets in the order of their names, and results tell which files made them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from lift3d_ros.geometry.rig import Rig, RigCalibration, RigCamera, RigMounting
from lift3d_ros.replay.folder_frames import FolderFrames
from lift3d_ros.replay.sets import frame_set_to_json

CAMERA = RigCamera(calibration=RigCalibration(32, 24, 30.0, 30.0, 15.5, 11.5), mounting=RigMounting((1.0, 0.0, 1.5)))


@pytest.mark.parametrize("names", [("1", "2", "10"), ("frame_9", "frame_10", "frame_11")])
def test_pictures_are_taken_in_the_order_of_their_numbers_and_named(names: tuple[str, ...], tmp_path: Path) -> None:
    for camera in ("front", "back"):
        (tmp_path / camera).mkdir()
        for name in names:
            assert cv2.imwrite(str(tmp_path / camera / f"{name}.png"), np.zeros((24, 32, 3), np.uint8))
    frames = FolderFrames(tmp_path, Rig(cameras={"front": CAMERA, "back": CAMERA}), period_s=0.5)
    documents = [json.loads(frame_set_to_json(frame_set)) for frame_set in frames.frame_sets()]
    assert [document["stamp_ns"] for document in documents] == [500_000_000, 1_000_000_000, 1_500_000_000]
    for document, name in zip(documents, names, strict=True):
        for camera in ("front", "back"):
            assert document["views"][camera]["source"] == str(tmp_path / camera / f"{name}.png")
