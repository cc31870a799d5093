"""The depth head is told focal length, principal point, height, pitch and roll, whatever the heading of its camera."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lift3d_ros.errors import ConfigError  # noqa: E402
from lift3d_ros.geometry.rotations import rpy_matrix  # noqa: E402
from lift3d_ros.models.dfa3d.camera_views import CameraViews, camera_views  # noqa: E402
from lift3d_ros.models.dfa3d.config import DepthConfig, Dfa3dConfig  # noqa: E402
from lift3d_ros.models.dfa3d.depth_head import LightDepthHead, build_depth_head  # noqa: E402

BODY_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def camera(focal: float, height: float, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Return the projection of a camera, model frame to a picture of 704 x 256."""
    T_model_cam = np.eye(4)
    T_model_cam[:3, :3] = rpy_matrix(roll, pitch, yaw) @ BODY_OPTICAL
    T_model_cam[:3, 3] = [1.0, -0.4, height]
    K = np.eye(4)
    K[:3, :3] = [[focal, 0.0, 340.0], [0.0, focal, 150.0], [0.0, 0.0, 1.0]]
    return K @ np.linalg.inv(T_model_cam)


CONFIG = Dfa3dConfig(depth=DepthConfig(num_bins=56, range=(2.0, 58.0), focal_px=560.0))


def views(*cameras: np.ndarray) -> CameraViews:
    return camera_views(torch.tensor(np.stack(cameras)).float(), (16, 44), CONFIG)


def facts(*cameras: np.ndarray) -> np.ndarray:
    return views(*cameras).facts.numpy()


def test_heights_are_those_of_points_at_the_depth_of_a_bin() -> None:
    matrix = camera(700.0, 1.9, 0.7, 0.03, 0.02)
    heights = views(matrix).heights[0]
    row, column, number = 11, 30, 8
    depth = (2.5 + number) * 700 / 560
    u, v = 16 * column + 7.5, 16 * row + 7.5
    point = np.linalg.inv(matrix) @ [u * depth, v * depth, depth, 1.0]
    assert float(heights[number, row, column]) == pytest.approx(point[2], abs=1e-3)


def test_facts_are_those_of_the_camera() -> None:
    (found,) = facts(camera(700.0, 1.9, 0.7, 0.03, 0.02))
    expected = [math.log(700 / 560), 340 / 704 - 0.5, 150 / 256 - 0.5, 0.4, -10 * math.sin(0.03), -10 * 0.02]
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_the_heading_of_the_camera_does_not_matter() -> None:
    first, second = facts(camera(500.0, 1.5, 0.0, 0.05), camera(500.0, 1.5, 2.0, 0.05))
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_a_camera_of_twice_the_focal_length_sees_the_same_features_at_twice_the_depth() -> None:
    head = LightDepthHead(8, CONFIG.depth).eval()
    assert head.prior is not None
    depths = torch.arange(56) + 2.5
    logits = (-((depths - 15.5) ** 2) / 8)[None, :, None, None].expand(2, -1, 3, 4)
    scores = head.prior.in_own_bins(logits, torch.tensor([1.0, 2.0])).softmax(dim=1)
    near, far = ((scores[i] * depths[:, None, None]).sum(0) for i in range(2))
    torch.testing.assert_close(near, torch.full((3, 4), 15.5), atol=0.05, rtol=0)
    torch.testing.assert_close(far, torch.full((3, 4), 31.0), atol=0.1, rtol=0)


def test_before_training_the_road_is_expected_where_rays_meet_the_ground() -> None:
    head = LightDepthHead(8, CONFIG.depth).eval()
    torch.nn.init.zeros_(head.depth_conv[1].weight)
    torch.nn.init.zeros_(head.depth_conv[1].bias)
    with torch.no_grad():
        scores = head(torch.zeros(1, 8, 16, 44), views(camera(560.0, 1.5)))
    row = 13  # its middle is 65.5 px below the horizon: 12.8 m away
    assert float(scores[0, :, row, 20].argmax() + 2.5) == pytest.approx(560 * 1.5 / 65.5, abs=1.0)
    assert float(scores[0, 20:, row, 20].sum()) < 0.05


def test_a_head_that_knows_no_cameras_is_not_given_a_reference_one() -> None:
    with pytest.raises(ConfigError, match=r"depth\.focal_px is 560, the head 'aspp' does not know cameras"):
        build_depth_head(8, DepthConfig(source="aspp", focal_px=560.0))
