"""The vector of the published checkpoints says what the vehicle did, over a whole circle and across gaps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import rpy_matrix, yaw_matrix
from lift3d_ros.models.dfa3d.can_bus import ACCELERATION_AT_REST, absolute_can_bus, can_bus_difference
from lift3d_ros.models.dfa3d.config import Dfa3dConfig, preset
from lift3d_ros.types import EgoMotion

DETECTORS = (
    "det_from_features",
    "det_base_from_images",
    "det_small_from_images",
    "det_lidar_depth_from_features",
)


def base_config() -> Dfa3dConfig:
    config = preset("bevformer-base")
    assert config is not None
    return config


def circle(num_frames: int, radius: float = 20.0) -> list[Any]:
    """Vectors of a vehicle that drives once around a circle to the left, starting with heading 37 degrees."""
    vectors = []
    for angle in np.linspace(0.0, 2 * np.pi, num_frames + 1):
        heading = np.deg2rad(37.0) + angle
        position = [radius * np.sin(heading), -radius * np.cos(heading), 0.3]
        vectors.append(absolute_can_bus(EgoMotion(0, make_transform(yaw_matrix(heading), position))))
    return vectors


def load_case(shared_dir: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return configuration and arrays of a numeric case."""
    folder = shared_dir / "parity" / "dfa3d"
    if not (folder / f"{name}.npz").is_file():
        pytest.skip(f"no numeric case {name} in {folder}")
    index = json.loads((folder / "INDEX.json").read_text())
    config = next(case["config"] for case in index["cases"] if case["name"] == name)
    with np.load(folder / f"{name}.npz") as archive:
        return config, {key: archive[key] for key in archive.files}


def test_each_number_is_where_the_published_checkpoints_expect_it() -> None:
    T_world_base = make_transform(rpy_matrix(0.02, -0.03, -0.5), [100.0, -40.0, 2.0])
    ego = EgoMotion(7, T_world_base, linear_velocity=np.array([8.0, 0.1, 0.2]), angular_velocity=np.array([1, 2, 3.0]))
    vector = absolute_can_bus(ego, acceleration=[0.5, -0.1, 9.8])
    assert vector.shape == (18,)
    assert vector.dtype == np.float64
    np.testing.assert_allclose(vector[:3], [100.0, -40.0, 2.0])
    w, x, y, z = vector[3:7]
    turned = np.array([1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)])
    np.testing.assert_allclose(turned, T_world_base[:3, 0], atol=1e-12)
    np.testing.assert_allclose(vector[7:16], [0.5, -0.1, 9.8, 1, 2, 3, 8.0, 0.1, 0.2])
    assert vector[16] == pytest.approx(2 * np.pi - 0.5)
    assert vector[17] == pytest.approx(360.0 - np.degrees(0.5))


def test_what_is_not_known_is_zero() -> None:
    vector = absolute_can_bus(EgoMotion(0, np.eye(4)))
    np.testing.assert_array_equal(vector, np.eye(18)[3])
    np.testing.assert_array_equal(absolute_can_bus(EgoMotion(0, np.eye(4)), ACCELERATION_AT_REST)[7:10], [0, 0, 9.81])


def test_the_scalar_of_the_quaternion_can_stand_in_all_four_places() -> None:
    vector = absolute_can_bus(EgoMotion(0, make_transform(yaw_matrix(1.0), [0, 0, 0])), repeats_quaternion_scalar=True)
    np.testing.assert_allclose(vector[3:7], np.cos(0.5))


@pytest.mark.parametrize("yaw", [0.0, -1e-17, 1e-17, np.pi, -np.pi, 6.28, -0.01])
def test_the_heading_lies_between_0_and_360_degrees(yaw: float) -> None:
    vector = absolute_can_bus(EgoMotion(0, make_transform(yaw_matrix(yaw), [0, 0, 0])))
    assert 0.0 <= vector[16] < 2 * np.pi
    assert 0.0 <= vector[17] < 360.0
    assert np.cos(vector[16]) == pytest.approx(np.cos(yaw))


def test_standing_still_with_heading_0_the_quaternion_does_not_flip() -> None:
    quaternions = [
        absolute_can_bus(EgoMotion(0, make_transform(yaw_matrix(noise), [0, 0, 0])))[3:7] for noise in (-1e-6, 0, 1e-6)
    ]
    np.testing.assert_allclose(quaternions, np.tile([1.0, 0, 0, 0], (3, 1)), atol=1e-5)


def test_around_a_circle_the_heading_jumps_once_and_wrapped_never() -> None:
    vectors = circle(24)
    pairs = list(zip(vectors[1:], vectors[:-1], strict=True))
    raw = np.array([can_bus_difference(now, before)[17] for now, before in pairs])
    assert sorted(np.round(raw, 6)) == [-345.0] + [15.0] * 23
    wrapped = [can_bus_difference(now, before, wraps_yaw=True)[17] for now, before in pairs]
    np.testing.assert_allclose(wrapped, 15.0, atol=1e-9)


def test_a_first_frame_and_a_frame_after_a_gap_have_no_difference() -> None:
    vector = circle(8)[3]
    kept = vector.copy()
    first = can_bus_difference(vector, None)
    np.testing.assert_array_equal(first[[0, 1, 2, 17]], 0.0)
    np.testing.assert_array_equal(first[3:17], vector[3:17])
    np.testing.assert_array_equal(vector, kept)


def test_the_published_encoder_received_these_differences(shared_dir: Path) -> None:
    _, arrays = load_case(shared_dir, "mod_encoder_sequence")
    absolute = arrays["in.can_bus_abs"]
    found = [can_bus_difference(now, before) for now, before in zip(absolute, [None, *absolute[:-1]], strict=True)]
    np.testing.assert_allclose(found, arrays["out.can_bus_delta"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_published_detectors_received_these_differences(shared_dir: Path, name: str) -> None:
    config, arrays = load_case(shared_dir, name)
    absolute = arrays["in.can_bus_abs"]
    scenes = config.get("scene_tokens", ["one"] * len(absolute))
    for t, current in enumerate(absolute):
        previous = absolute[t - 1] if t and scenes[t] == scenes[t - 1] else None
        found = can_bus_difference(current, previous)
        np.testing.assert_allclose(found, arrays[f"out.can_bus_t{t}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["mod_encoder_sequence", *DETECTORS])
def test_pose_and_heading_of_the_numeric_cases_come_from_their_pose(shared_dir: Path, name: str) -> None:
    for expected in load_case(shared_dir, name)[1]["in.can_bus_abs"]:
        ego = EgoMotion(0, make_transform(yaw_matrix(expected[16]), expected[:3]))
        found = absolute_can_bus(ego)
        np.testing.assert_allclose(found[[0, 1, 2, 16, 17]], expected[[0, 1, 2, 16, 17]], atol=1e-9)
        # The same rotation; the sign of a quaternion is free.
        assert abs(found[3:7] @ expected[3:7]) == pytest.approx(1.0)
