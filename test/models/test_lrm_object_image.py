"""An object is cut out and framed whatever its shape, and a picture without one is an error with a remedy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lift3d_ros.errors import ImageError
from lift3d_ros.models.lrm.config import ObjectImageConfig, preset
from lift3d_ros.models.lrm.object_image import PixelBox, foreground_box, pad_object, prepare_object, recentre_object


def picture(box: PixelBox, size: tuple[int, int] = (90, 120)) -> Any:
    """A red object on a blue ground that does not belong to it."""
    rgba = np.zeros((*size, 4), np.uint8)
    rgba[..., 2] = 200
    rgba[box.top : box.bottom, box.left : box.right] = (255, 0, 0, 255)
    return rgba


def config_of(name: str) -> ObjectImageConfig:
    config = preset(name)
    assert config is not None
    return config.image


PLACES = [
    pytest.param(PixelBox(20, 30, 60, 90), id="in the middle"),
    pytest.param(PixelBox(0, 0, 90, 120), id="all of the picture"),
    pytest.param(PixelBox(0, 100, 90, 120), id="at the border"),
    pytest.param(PixelBox(89, 119, 90, 120), id="one pixel in a corner"),
    pytest.param(PixelBox(45, 0, 46, 120), id="one row"),
]


@pytest.mark.parametrize("box", PLACES)
@pytest.mark.parametrize("name", ["lift3d-lrm-tiny", "triposr", "openlrm-base-1.1"])
def test_the_object_fills_its_share_wherever_it_was(name: str, box: PixelBox) -> None:
    config = config_of(name)
    found = prepare_object(picture(box), config)
    assert found.shape == (3, config.side, config.side)
    assert found.dtype == np.float32
    assert found.min() >= 0.0
    assert found.max() <= 255.0
    red = (found[0] - found[2]) > 64.0  # where the object is, more than a fourth
    if box.height == box.width == 1 and config.framing == "padded":
        assert red.all()  # there is no share of a pixel to leave
        return
    np.testing.assert_allclose(found[:, 0, 0], 255.0 * config.background, atol=1e-3)
    sides = red.any(axis=0).sum(), red.any(axis=1).sum()
    assert max(sides) == pytest.approx(config.fill * config.side, rel=0.1, abs=3)


@pytest.mark.parametrize("box", PLACES)
def test_boxes_are_found_to_the_last_pixel(box: PixelBox) -> None:
    assert foreground_box(picture(box)[..., 3]) == box


def test_a_picture_without_an_object_is_an_error_that_names_its_size() -> None:
    assert foreground_box(np.zeros((4, 5), np.uint8)) is None
    with pytest.raises(ImageError, match="picture of 120x90 px: no pixel belongs to the object"):
        prepare_object(np.zeros((90, 120, 4), np.uint8), config_of("lift3d-lrm-tiny"))


def test_padding_keeps_pixels_and_centres_them() -> None:
    box = PixelBox(20, 30, 60, 90)
    padded = pad_object(picture(box), box, 0.75)
    assert padded.shape == (80, 80, 4)
    assert foreground_box(padded[..., 3]) == PixelBox(20, 10, 60, 70)


def test_recentring_scales_small_and_large_objects_to_one_size() -> None:
    for box in (PixelBox(20, 30, 60, 90), PixelBox(0, 0, 4, 6)):
        framed = recentre_object(picture(box), box, 100, 0.6)
        found = foreground_box(framed[..., 3])
        assert found is not None
        assert (found.height, found.width) == (40, 60)
        assert found.top == 30
        assert found.left == 20


def test_half_transparent_pixels_mix_with_the_background() -> None:
    rgba = np.full((8, 8, 4), 255, np.uint8)
    rgba[..., :3], rgba[..., 3] = 0, 51
    middle = prepare_object(rgba, config_of("triposr"))[:, 256, 256]
    np.testing.assert_allclose(middle, 255.0 * 0.5 * 0.8, atol=0.5)
