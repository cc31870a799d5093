"""Cameras find their learned embedding by name, never by position."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from lift3d_ros.errors import ConfigError
from lift3d_ros.models.dfa3d.config import NUSCENES_CAMERAS, Dfa3dConfig
from lift3d_ros.pipelines.camera_slots import embedding_rows

SIX = replace(Dfa3dConfig(), camera_names=NUSCENES_CAMERAS)


@pytest.mark.parametrize(
    "cameras",
    [
        pytest.param(NUSCENES_CAMERAS, id="the same names"),
        pytest.param([f"CAM_{name.upper()}" for name in NUSCENES_CAMERAS], id="nuScenes"),
        pytest.param([f"camera_{name}" for name in NUSCENES_CAMERAS], id="prefix"),
        pytest.param([f"{name}_camera" for name in NUSCENES_CAMERAS], id="suffix"),
        pytest.param([name.replace("_", "-") for name in NUSCENES_CAMERAS], id="hyphens"),
        pytest.param([f"/{name.replace('_', '/')}" for name in NUSCENES_CAMERAS], id="namespaces"),
        pytest.param([name.replace("_", "") for name in NUSCENES_CAMERAS], id="no separator"),
        pytest.param([name.replace("back", "rear") for name in NUSCENES_CAMERAS], id="rear"),
        pytest.param(
            ["Front", "FrontRight", "FrontLeft", "Back", "BackLeftCam", "CamBackRight"], id="capitals between words"
        ),
    ],
)
def test_usual_spellings_of_a_name_mean_the_same_camera(cameras: list[str]) -> None:
    assert embedding_rows(cameras, SIX, {}) == dict(zip(cameras, range(6), strict=True))


def test_the_order_of_the_cameras_does_not_matter() -> None:
    expected = {name: row for row, name in enumerate(NUSCENES_CAMERAS)}
    for cameras in itertools.islice(itertools.permutations(NUSCENES_CAMERAS), 0, None, 37):
        assert embedding_rows(cameras, SIX, {}) == expected


def test_fewer_cameras_than_embeddings_keep_their_own() -> None:
    assert embedding_rows(["back", "front_left"], SIX, {}) == {"back": 3, "front_left": 2}


def test_the_rig_file_decides_for_cameras_of_any_name() -> None:
    explicit = {"port": "front_left", "front": "back", "unused": "front"}
    assert embedding_rows(["port", "front", "back_right"], SIX, explicit) == {"port": 2, "front": 3, "back_right": 5}


def test_a_model_without_camera_names_takes_any_cameras() -> None:
    cameras = [f"camera_{i:02d}" for i in range(12)]
    assert embedding_rows(cameras, replace(SIX, camera_names=()), {}) == dict.fromkeys(cameras, 0)


@pytest.mark.parametrize(
    ("cameras", "explicit", "expected"),
    [
        pytest.param(
            ["front", "camera_07"],
            {},
            "camera 'camera_07': its name tells no .*; expected one of front, front_right.*'embedding: NAME'",
            id="name without a direction",
        ),
        pytest.param(
            ["a"], {"a": "front_lefft"}, "'a': embedding 'front_lefft' of the rig.*did you mean 'front_left'", id="typo"
        ),
        pytest.param(
            ["cam_front", "front_camera"],
            {},
            "'cam_front' and 'front_camera' would both use .* 'front'; .*'embedding: NAME'",
            id="two spellings of one name",
        ),
        pytest.param(
            ["front", "side"], {"side": "front"}, "'front' and 'side' would both use", id="one asked for twice"
        ),
        pytest.param(
            [*NUSCENES_CAMERAS, "left"], {}, r"7 cameras \(.*left\); this model has 6 camera embeddings", id="too many"
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_cameras_named(
    cameras: list[str], explicit: dict[str, str], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        embedding_rows(cameras, SIX, explicit)
