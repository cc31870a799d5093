"""Windows lie where boxes are seen, and what they show moves boxes along and across the ray."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dfa3d_configs import SMALL  # noqa: E402
from dfa3d_ring import camera_ring, inputs, run  # noqa: E402

from lift3d_ros.errors import ConfigError  # noqa: E402
from lift3d_ros.models.dfa3d.box_code import encode_boxes  # noqa: E402
from lift3d_ros.models.dfa3d.config import RefinementConfig  # noqa: E402
from lift3d_ros.models.dfa3d.detector import build_detector  # noqa: E402
from lift3d_ros.models.dfa3d.refinement import PictureRefinement  # noqa: E402

CONFIG = replace(SMALL, refinement=RefinementConfig(channels=6, hidden=16, window=5))
FOCAL = 0.6 * CONFIG.image_width
FRONT, LEFT = camera_ring(CONFIG, [0.0, 90.0])


def boxes(*centers: tuple[float, float, float], yaw: float = 0.0) -> Any:
    """Return the codes (1, Q, 10) of boxes of 4 x 2 x 1.5 m."""
    count = len(centers)
    sizes = torch.tensor([[4.0, 2.0, 1.5]]).repeat(count, 1)
    return encode_boxes(torch.tensor(centers), sizes, torch.full((count,), yaw), torch.zeros(count, 2))[None]


def matrices(*cameras: np.ndarray[Any, Any]) -> Any:
    return torch.from_numpy(np.stack(cameras))


@pytest.fixture
def refinement() -> PictureRefinement:
    torch.manual_seed(0)
    return PictureRefinement(CONFIG, (3, 4, 32))


def maps(num_cameras: int, refinement: PictureRefinement) -> list[Any]:
    height, width = CONFIG.padded_size
    shapes = [(3, height // 4, width // 4), (4, height // 8, width // 8), (32, height // 16, width // 16)]
    return refinement.features([torch.randn(num_cameras, *shape) for shape in shapes])


def always(refinement: PictureRefinement, *numbers: float) -> None:
    """Let the module answer the same to every window: pixels along and aside, then the other numbers of a code."""
    bias = torch.zeros(8 + len(CONFIG.class_names))
    bias[: len(numbers)] = torch.tensor(numbers)
    with torch.no_grad():
        refinement.corrections[-1].bias.copy_(bias)


def refined(refinement: PictureRefinement, codes: Any, cameras: Any, sample: Any = None) -> tuple[Any, Any]:
    sample = torch.zeros(len(cameras), dtype=torch.int64) if sample is None else sample
    logits = torch.zeros(*codes.shape[:2], len(CONFIG.class_names))
    return refinement(maps(len(cameras), refinement), logits, codes, cameras, sample)


def test_a_window_holds_the_corners_of_its_box(refinement: PictureRefinement) -> None:
    codes = boxes((20.0, 3.0, 0.75), yaw=0.4)
    windows = refinement.find_windows(codes, matrices(FRONT, LEFT), torch.zeros(2, dtype=torch.int64))
    c, s = math.cos(0.4), math.sin(0.4)
    found = []
    for forward in (-2.0, 2.0):
        for left in (-1.0, 1.0):
            for up in (-0.75, 0.75):
                point = [20.0 + forward * c - left * s, 3.0 + forward * s + left * c, 0.75 + up, 1.0]
                u, v, depth, _ = FRONT @ np.array(point)
                found.append(((u / depth + 0.5) / CONFIG.image_width, (v / depth + 0.5) / CONFIG.image_height))
    assert int(windows.camera[0, 0]) == 0
    assert bool(windows.is_seen[0, 0])
    np.testing.assert_allclose(windows.low[0, 0].numpy(), np.min(found, axis=0), atol=1e-5)
    np.testing.assert_allclose(windows.high[0, 0].numpy(), np.max(found, axis=0), atol=1e-5)
    np.testing.assert_allclose(windows.ray[0, 0].numpy(), [20.0, 3.0, 0.75 - 1.5], atol=1e-4)
    assert float(windows.focal[0, 0]) == pytest.approx(FOCAL, rel=1e-5)


def test_the_picture_that_shows_a_box_nearest_to_its_middle_is_looked_at(refinement: PictureRefinement) -> None:
    codes = boxes((20.0, 4.0, 0.75), (4.0, 20.0, 0.75), (-20.0, 0.0, 0.75))
    windows = refinement.find_windows(codes, matrices(LEFT, FRONT), torch.zeros(2, dtype=torch.int64))
    assert windows.camera[0, :2].tolist() == [1, 0]
    assert windows.is_seen[0].tolist() == [True, True, False]


def test_cameras_of_other_samples_are_not_looked_at(refinement: PictureRefinement) -> None:
    codes = torch.cat([boxes((20.0, 0.0, 0.75)), boxes((20.0, 0.0, 0.75))])
    cameras = matrices(FRONT, LEFT, FRONT, FRONT)
    windows = refinement.find_windows(codes, cameras, torch.tensor([1, 0, 1, -1]))
    assert windows.is_seen[:, 0].tolist() == [False, True]
    assert int(windows.camera[1, 0]) in (0, 2)


def test_before_training_nothing_is_changed(refinement: PictureRefinement) -> None:
    codes = boxes((20.0, 3.0, 0.75), (-7.0, 1.0, 0.5))
    logits, corrected = refined(refinement, codes, matrices(FRONT, LEFT))
    torch.testing.assert_close(corrected, codes)
    assert not logits.any()


def test_a_pixel_along_the_ray_is_a_pixel_of_the_ground(refinement: PictureRefinement) -> None:
    always(refinement, 1.0, 0.0)
    codes = boxes((20.0, 0.0, 0.75), (12.0, 5.0, 0.75), (-20.0, 0.0, 0.75))
    corrected = refined(refinement, codes, matrices(FRONT))[1]
    for (x, y), moved in zip([(20.0, 0.0), (12.0, 5.0)], corrected[0, :2, :2].tolist(), strict=True):
        distance = math.hypot(x, y)
        step = distance**2 / (FOCAL * 1.5)
        assert moved == pytest.approx([x * (1 + step / distance), y * (1 + step / distance)], rel=1e-4)
    torch.testing.assert_close(corrected[0, 2], codes[0, 2])  # which no camera sees


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_a_pixel_aside_is_to_the_right_in_the_picture(refinement: PictureRefinement, is_mirrored: bool) -> None:
    always(refinement, 0.0, 1.0)
    camera = FRONT.copy()
    if is_mirrored:  # the world's left and right are swapped, and the picture is as it was
        camera[:, 1] *= -1
    codes = boxes((20.0, -2.0, 0.75))
    corrected = refined(refinement, codes, matrices(camera))[1]
    before, after = (camera @ np.array([*code[0, 0, [0, 1, 4]].tolist(), 1.0]) for code in (codes, corrected))
    assert after[0] / after[2] - before[0] / before[2] == pytest.approx(1.0, abs=0.02)
    assert after[2] == pytest.approx(before[2], abs=0.02)


def test_the_other_numbers_of_a_box_and_its_classes_are_corrected(refinement: PictureRefinement) -> None:
    always(refinement, 0.0, 0.0, 1.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.7)
    codes = boxes((20.0, 0.0, 0.75))
    logits, corrected = refined(refinement, codes, matrices(FRONT))
    changes = (corrected - codes)[0, 0]
    assert changes[[2, 3, 4, 5]].tolist() == pytest.approx([0.2, 0.0, 0.2, -0.2], abs=1e-5)
    assert changes[[0, 1, 6, 7, 8, 9]].abs().max() < 1e-5
    assert logits[0, 0].tolist() == pytest.approx([0.7] + [0.0] * 9)


def test_a_turn_is_told_from_where_the_box_is_seen(refinement: PictureRefinement) -> None:
    always(refinement, *[0.0] * 6, 1.0, 0.0)
    codes = boxes((10.0, 10.0, 0.75))
    change = (refined(refinement, codes, matrices(FRONT))[1] - codes)[0, 0, 6:8]
    assert change.tolist() == pytest.approx([0.5 * math.sqrt(0.5)] * 2, abs=1e-5)  # away from the camera


def test_windows_read_their_own_place(refinement: PictureRefinement) -> None:
    """With maps that hold their own coordinates, each place of a window reads where it lies."""
    height, width = CONFIG.padded_size
    x = ((torch.arange(width // 4) + 0.5) / (width // 4)).expand(6, height // 4, -1)
    codes = boxes((20.0, 3.0, 0.75))
    windows = refinement.find_windows(codes, matrices(FRONT), torch.zeros(1, dtype=torch.int64))
    refinement.convs = torch.nn.Identity()
    shown = refinement._look([x[None]], windows)[0, 0]
    low, size = float(windows.low[0, 0, 0]), float((windows.high - windows.low)[0, 0, 0])
    low, size = low - 0.25 * size - 4 / width, 1.5 * size + 8 / width
    expected = [low + size * (i + 0.5) / 5 for i in range(5)]
    for row in shown:
        assert row.tolist() == pytest.approx(expected, abs=1e-4)


def test_gradients_reach_the_pictures_and_not_the_boxes_before(refinement: PictureRefinement) -> None:
    torch.nn.init.normal_(refinement.corrections[-1].weight)
    codes = boxes((20.0, 3.0, 0.75)).requires_grad_()
    seen = [level.detach().requires_grad_() for level in maps(1, refinement)]
    logits = torch.zeros(1, 1, len(CONFIG.class_names))
    _, corrected = refinement(seen, logits, codes, matrices(FRONT), torch.zeros(1, dtype=torch.int64))
    corrected.sum().backward()
    assert codes.grad is None
    assert all(level.grad is not None and level.grad.abs().sum() > 0 for level in seen)


def test_a_detector_with_refinement_reads_its_pictures_twice() -> None:
    network = build_detector(CONFIG, seed=0)
    values = inputs(CONFIG)
    before = run(network, values)
    assert network.refinement is not None
    always(network.refinement, 1.0)
    after = run(network, values)
    assert float((before[1] - after[1])[..., :2].abs().max()) > 0.1
    torch.testing.assert_close(before[2], after[2])


def test_boxes_beside_all_cameras_stay_finite(refinement: PictureRefinement) -> None:
    torch.nn.init.normal_(refinement.corrections[-1].weight)
    codes = boxes((0.0, 0.0, 1.5), (0.3, 0.0, 1.5), (1e3, 1e3, 0.0), (-1.0, 0.2, 0.0))
    for numbers in refined(refinement, codes, matrices(FRONT, LEFT)):
        assert bool(numbers.isfinite().all())


def test_stages_that_the_pyramid_reads_already_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"refinement\.stages"):
        replace(CONFIG, refinement=RefinementConfig(channels=6, stages=(2, 3)))
