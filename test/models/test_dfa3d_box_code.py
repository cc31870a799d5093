"""Box codes describe a box completely, in either way of counting yaw, and reading yaw needs no torch."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from lift3d_ros.models.dfa3d.yaw_code import code_yaw_from_heading, heading_from_code_yaw

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.models.dfa3d.box_code import decode_codes, encode_boxes  # noqa: E402

YAW_CODES: Any = ("heading", "mmdet3d")
LENGTH, WIDTH, HEIGHT = 4.5, 1.9, 1.6


def boxes(count: int = 50, seed: int = 0) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Any:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    yaws = (random(count) * 2 - 1) * math.pi
    return random(count, 3) * 100 - 50, random(count, 3) * 10 + 0.2, yaws, random(count, 2) * 40 - 20


def code_of_one_box(heading: float, yaw_code: Any) -> list[float]:
    code = encode_boxes(
        torch.tensor([[10.0, -20.0, 0.5]]),
        torch.tensor([[LENGTH, WIDTH, HEIGHT]]),
        torch.tensor([heading]),
        torch.tensor([[3.0, -1.0]]),
        yaw_code,
    )
    assert code.shape == (1, 10)
    return code[0].tolist()


def test_the_ten_numbers_are_in_the_order_of_published_weights() -> None:
    expected = [10.0, -20.0, math.log(WIDTH), math.log(LENGTH), 0.5, math.log(HEIGHT), 0.6, 0.8, 3.0, -1.0]
    assert code_of_one_box(math.atan2(0.6, 0.8), "heading") == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("heading", "published"),
    [
        pytest.param(-math.pi / 2, 0.0, id="along -y"),
        pytest.param(math.pi, math.pi / 2, id="along -x, a quarter turn to the right"),
        pytest.param(0.0, -math.pi / 2, id="along +x, a quarter turn to the left"),
    ],
)
def test_published_yaw_counts_from_minus_y_to_the_right(heading: float, published: float) -> None:
    code = code_of_one_box(heading, "mmdet3d")
    assert code[6:8] == pytest.approx([math.sin(published), math.cos(published)], abs=1e-6)
    assert heading_from_code_yaw(published, "mmdet3d") == pytest.approx(
        math.remainder(heading, math.tau), abs=1e-9
    ) or (abs(heading) == pytest.approx(math.pi))


@pytest.mark.parametrize("yaw_code", YAW_CODES)
def test_a_decoded_code_is_the_box_it_was_made_from(yaw_code: Any) -> None:
    original = boxes()
    decoded = decode_codes(encode_boxes(*original, yaw_code), yaw_code)
    for found, expected in zip(decoded, original, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


def test_decoding_keeps_the_layout_of_layers_and_samples() -> None:
    codes = encode_boxes(*boxes(24)).reshape(3, 2, 4, 10)
    decoded = decode_codes(codes)
    assert decoded.yaws.shape == (3, 2, 4)
    torch.testing.assert_close(decoded.sizes[1, 1], decode_codes(codes[1, 1]).sizes)


@pytest.mark.parametrize("yaw_code", YAW_CODES)
def test_numbers_arrays_and_tensors_are_converted_alike(yaw_code: Any) -> None:
    angles = np.linspace(-math.pi, math.pi, 37, endpoint=False)
    for convert in (code_yaw_from_heading, heading_from_code_yaw):
        found = convert(angles, yaw_code)
        assert isinstance(found, np.ndarray)
        np.testing.assert_allclose(convert(torch.from_numpy(angles), yaw_code).numpy(), found, atol=1e-12)
        np.testing.assert_allclose([convert(float(angle), yaw_code) for angle in angles], found, atol=1e-12)
        assert np.abs(found).max() <= math.pi
    turned = heading_from_code_yaw(code_yaw_from_heading(angles, yaw_code), yaw_code)
    np.testing.assert_allclose(np.exp(1j * turned), np.exp(1j * angles), atol=1e-12)


def test_a_box_without_extent_or_velocity_has_a_code_that_is_not_finite() -> None:
    centers, sizes, yaws, velocities = boxes(3)
    sizes[0, 1] = 0.0
    velocities[1] = math.nan
    assert encode_boxes(centers, sizes, yaws, velocities).isfinite().all(-1).tolist() == [False, False, True]


def test_yaw_is_read_where_torch_is_not_installed() -> None:
    program = "import sys; import lift3d_ros.models.dfa3d.yaw_code; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
