"""Results and frame sets survive writing and reading with all digits; damaged files are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.errors import Lift3dError
from lift3d_ros.replay.results import detections_to_json, read_detections, timings_to_json
from lift3d_ros.replay.sets import frame_set_to_json, read_sets
from lift3d_ros.types import (
    BevDetections,
    Boxes3D,
    CameraImage,
    CameraModel,
    CameraUse,
    CameraView,
    EgoMotion,
    FrameSet,
    ModelIdentity,
)

STAMP_NS = 1_533_151_603_547_590_123


def detections() -> BevDetections:
    generator = np.random.default_rng(0)
    velocities = generator.normal(size=(2, 2))
    velocities[1] = np.nan
    boxes = Boxes3D(
        frame_id="base_link",
        class_names=("car", "bus"),
        centers=generator.normal(size=(2, 3)),
        sizes=generator.uniform(1, 5, (2, 3)),
        yaws=generator.normal(size=2),
        velocities=velocities,
        scores=np.array([0.9, 0.1]),
        labels=np.array([1, 0]),
        track_ids=np.array([7, -1]),
    )
    return BevDetections(
        STAMP_NS,
        boxes,
        (CameraUse("front", True, STAMP_NS - 5, 5e-9), CameraUse("back", False)),
        ModelIdentity("dfa3d_tiny", "ab" * 32, False, "torch"),
        "fused",
        {"prepare": 0.0125, "inference": 0.25},
        ("camera 'back': no picture",),
    )


def frame_set() -> FrameSet:
    model = CameraModel(
        "front", "front_optical", 800, 450, np.array([[600.1, 0, 400.2], [0, 600.3, 225.4], [0, 0, 1]]),
        "plumb_bob", np.array([0.1, -0.2, 0.003, 0.004, 0.0]),
    )  # fmt: skip
    image = CameraImage("front", STAMP_NS - 40_000_001, "front_optical", "jpeg", np.zeros(4, np.uint8))
    T_base_cam = np.array([[0, 0, 1, 1.7], [-1, 0, 0, 0.1], [0, -1, 0, 1.5], [0, 0, 0, 1.0]])
    T_reference_capture = np.eye(4)
    T_reference_capture[0, 3] = -1 / 3
    ego = EgoMotion(STAMP_NS, T_base_cam, "map", np.array([25 / 3, 0.1, 0.0]), np.array([0.0, 0.0, 1 / 7]))
    views = {"front": CameraView(image, model, T_base_cam, T_reference_capture)}
    return FrameSet(STAMP_NS, views, ("back",), "base_link", ego)


def test_detections_come_back_with_all_digits(tmp_path: Path) -> None:
    written = detections()
    (tmp_path / "detections.jsonl").write_text(detections_to_json(written) + "\n")
    (tmp_path / "timing.jsonl").write_text(timings_to_json(written.stamp_ns, written.timings_s) + "\n")
    (found,) = read_detections(tmp_path / "detections.jsonl", tmp_path / "timing.jsonl")
    for name in ("centers", "sizes", "yaws", "velocities", "scores", "labels", "track_ids"):
        np.testing.assert_array_equal(getattr(found.boxes, name), getattr(written.boxes, name))
    assert (found.cameras, found.model, found.temporal_state) == (written.cameras, written.model, "fused")
    assert found.problems == written.problems
    assert found.timings_s == pytest.approx(written.timings_s)


def test_a_frame_set_comes_back_with_all_digits_and_takes_its_pictures(tmp_path: Path) -> None:
    written = frame_set()
    path = tmp_path / "sets.jsonl"
    path.write_text(frame_set_to_json(written) + "\n")
    (recorded,) = read_sets(path)
    found = recorded.with_images({"front": written.views["front"].image})
    assert (found.stamp_ns, found.missing, found.base_frame) == (written.stamp_ns, ("back",), "base_link")
    assert found.ego is not None
    assert written.ego is not None
    for name in ("T_world_base", "linear_velocity", "angular_velocity"):
        np.testing.assert_array_equal(getattr(found.ego, name), getattr(written.ego, name))
    for name in ("T_base_cam", "T_reference_capture"):
        np.testing.assert_array_equal(getattr(found.views["front"], name), getattr(written.views["front"], name))
    np.testing.assert_array_equal(found.views["front"].model.distortion, written.views["front"].model.distortion)


@pytest.mark.parametrize("line", ["{", "[]", '{"stamp_ns": 1}', "3"])
def test_damaged_lines_are_named_with_file_and_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(Lift3dError, match=r"results\.jsonl, line 1: not a recorded frame set"):
        list(read_sets(path))
    with pytest.raises(Lift3dError, match=r"results\.jsonl, line 1: not a detection"):
        list(read_detections(path))
    with pytest.raises(Lift3dError, match="cannot be read"):
        list(read_sets(tmp_path / "absent.jsonl"))
