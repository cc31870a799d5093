"""The object is found by mask, alpha or box in pictures of every kind; what cannot be one is an error with a remedy."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from lift3d_ros.errors import ImageError
from lift3d_ros.models.lrm.config import ObjectImageConfig, preset
from lift3d_ros.models.lrm.object_image import PixelBox
from lift3d_ros.pipelines import object_foreground
from lift3d_ros.pipelines.object_foreground import cut_object

BOX = PixelBox(30, 40, 70, 100)


def config_of(name: str = "lift3d-lrm-tiny") -> ObjectImageConfig:
    config = preset(name)
    assert config is not None
    return config.image


def scene(box: PixelBox = BOX, size: tuple[int, int] = (120, 160)) -> Any:
    """A red block before green noise."""
    rng = np.random.default_rng(0)
    rgb = np.zeros((*size, 3), np.uint8)
    rgb[..., 1] = rng.integers(90, 130, size)
    rgb[box.top : box.bottom, box.left : box.right] = (220, 20, 20)
    return rgb


def mask_of(box: PixelBox = BOX, size: tuple[int, int] = (120, 160)) -> Any:
    mask = np.zeros(size, np.uint8)
    mask[box.top : box.bottom, box.left : box.right] = 255
    return mask


def with_alpha(box: PixelBox = BOX) -> Any:
    return np.dstack([scene(box), mask_of(box)])


def around(box: PixelBox, margin: int) -> PixelBox:
    return PixelBox(box.top - margin, box.left - margin, box.bottom + margin, box.right + margin)


@pytest.mark.parametrize("name", ["lift3d-lrm-tiny", "triposr", "openlrm-base-1.1"])
def test_mask_alpha_and_box_give_the_same_view(name: str) -> None:
    config = config_of(name)
    by_mask = cut_object(scene(), config, mask=mask_of())
    assert by_mask.image.shape == (3, config.side, config.side)
    assert by_mask.image.dtype == np.float32
    assert (by_mask.cutting, by_mask.box) == ("mask", BOX)
    by_alpha = cut_object(with_alpha(), config)
    by_box = cut_object(scene(), config, box=BOX, box_cutting="box")
    assert (by_alpha.cutting, by_box.cutting) == ("alpha", "box")
    np.testing.assert_array_equal(by_alpha.image, by_mask.image)
    np.testing.assert_array_equal(by_box.image, by_mask.image)
    np.testing.assert_allclose(by_mask.image[:, 0, 0], 255.0 * config.background, atol=1e-3)
    middle = by_mask.image[:, config.side // 2, config.side // 2]
    np.testing.assert_allclose(middle, (220, 20, 20), atol=2.0)


def test_grabcut_finds_the_object_in_a_larger_box() -> None:
    found = cut_object(scene(), config_of(), box=around(BOX, 12))
    assert found.cutting == "grabcut"
    assert found.problems == ()
    np.testing.assert_allclose(found.box, BOX, atol=2)
    again = cut_object(scene(), config_of(), box=around(BOX, 12))
    np.testing.assert_array_equal(found.image, again.image)


def test_grabcut_fills_holes_and_drops_specks() -> None:
    rgb = scene()
    rgb[45:50, 60:66] = (20, 20, 220)  # a window in the block
    rgb[22:24, 32:34] = (220, 20, 20)  # a speck beside it
    found = cut_object(rgb, config_of(), box=around(BOX, 12))
    np.testing.assert_allclose(found.box, BOX, atol=2)
    blue = found.image[2] - found.image[0]
    assert (blue > 100).any()


def test_where_grabcut_cannot_tell_all_of_the_box_is_taken_and_said() -> None:
    whole = cut_object(scene(), config_of(), box=PixelBox(0, 0, 120, 160))
    assert whole.cutting == "box"
    assert "leaves nothing around the object" in whole.problems[0]
    empty = np.full((120, 160, 3), 128, np.uint8)
    flat = cut_object(empty, config_of(), box=BOX)
    assert flat.cutting in ("box", "grabcut")
    assert flat.box.height <= BOX.height


def test_the_square_is_where_the_view_lies_in_the_picture() -> None:
    for name in ("lift3d-lrm-tiny", "openlrm-base-1.1"):
        config = config_of(name)
        square = cut_object(scene(), config, mask=mask_of()).square
        # Middle of the object and its longer side, as shares of the square.
        middle = (np.array([69.5, 49.5]) - (square.left, square.top)) / square.side
        np.testing.assert_allclose(middle, 0.5, atol=0.02)
        assert 60 / square.side == pytest.approx(config.fill, rel=0.03)


def test_the_square_of_a_huge_picture_is_in_its_own_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = cut_object(scene(), config_of(), mask=mask_of())
    monkeypatch.setattr(object_foreground, "_LARGEST_OBJECT_PX", 20)
    shrunk = cut_object(scene(), config_of(), mask=mask_of())
    np.testing.assert_allclose(shrunk.square, plain.square, atol=4.0)
    assert shrunk.box == plain.box


def test_a_huge_picture_needs_little_beside_itself() -> None:
    picture, box = np.zeros((3000, 4000), np.uint8), PixelBox(500, 500, 2500, 3500)
    picture[box.top : box.bottom, box.left : box.right] = 200
    tracemalloc.start()
    found = cut_object(picture, config_of(), mask=picture)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.image.shape == (3, 128, 128)
    assert found.box == box
    assert found.problems == ()
    assert peak < 100e6


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(lambda rgb: rgb[..., 0], id="grey"),
        pytest.param(lambda rgb: rgb[..., :1], id="one channel"),
        pytest.param(lambda rgb: rgb.astype(np.uint16) * 257, id="16 bit"),
        pytest.param(lambda rgb: (rgb / 255.0).astype(np.float32), id="float"),
        pytest.param(lambda rgb: rgb > 128, id="bool"),
        pytest.param(lambda rgb: np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]), id="opaque alpha"),
        pytest.param(lambda rgb: np.dstack([rgb[..., 0], np.full(rgb.shape[:2], 255, np.uint8)]), id="grey and alpha"),
    ],
)
def test_pictures_of_every_type_are_taken(convert: Any) -> None:
    found = cut_object(convert(scene()), config_of(), mask=mask_of())
    assert found.image.shape == (3, 128, 128)
    assert found.image[0, 64, 64] > 200.0


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(lambda mask: mask > 0, id="bool"),
        pytest.param(lambda mask: mask // 255, id="0 and 1"),
        pytest.param(lambda mask: (mask // 255).astype(np.int64), id="int64"),
        pytest.param(lambda mask: mask / 255.0, id="float"),
        pytest.param(lambda mask: mask[..., None], id="one channel"),
        pytest.param(lambda mask: np.maximum(mask, 9), id="noise of a lossy file"),
    ],
)
def test_masks_of_every_type_are_taken(convert: Any) -> None:
    expected = cut_object(scene(), config_of(), mask=mask_of())
    found = cut_object(scene(), config_of(), mask=convert(mask_of()))
    assert found.box == BOX
    np.testing.assert_array_equal(found.image, expected.image)


def test_of_several_objects_the_box_picks_one() -> None:
    other = PixelBox(5, 5, 20, 20)
    mask = np.maximum(mask_of(), mask_of(other))
    assert cut_object(scene(), config_of(), mask=mask, box=around(BOX, 3)).box == BOX
    assert cut_object(scene(), config_of(), mask=mask, box=around(other, 3)).box == other
    rgba = np.dstack([scene(), mask])
    assert cut_object(rgba, config_of(), box=around(other, 3)).box == other


@pytest.mark.parametrize(
    ("box", "sides"),
    [(PixelBox(0, 40, 70, 100), "top border"), (PixelBox(30, 0, 120, 160), "left, bottom, right borders")],
)
def test_an_object_at_the_border_is_a_warning(box: PixelBox, sides: str) -> None:
    found = cut_object(scene(box), config_of(), mask=mask_of(box))
    assert f"touches the {sides} of the picture" in found.problems[0]


def test_a_small_object_is_a_warning() -> None:
    small = PixelBox(30, 40, 50, 60)
    assert (
        "20 px long and the model was trained with 109"
        in cut_object(scene(), config_of(), mask=mask_of(small)).problems[0]
    )


def test_a_box_that_reaches_beyond_the_picture_is_cut_and_said() -> None:
    found = cut_object(scene(), config_of(), box=PixelBox(30, -20, 70, 100), box_cutting="box")
    assert found.box == PixelBox(30, 0, 70, 100)
    assert "reaches beyond the picture" in found.problems[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({}, "nothing says which pixels are the object", id="nothing"),
        pytest.param({"mask": mask_of() * 0}, "none belongs to the object, the mask is empty", id="empty mask"),
        pytest.param(
            {"mask": mask_of(), "box": PixelBox(80, 110, 110, 150)}, "empty within the box", id="mask outside the box"
        ),
        pytest.param({"mask": mask_of()[:50]}, "mask has 160x50 px, the picture 160x120", id="mask of another size"),
        pytest.param(
            {"mask": mask_of(PixelBox(5, 5, 6, 6))}, "the object has 1x1 px; expected at least 4", id="1 px mask"
        ),
        pytest.param({"mask": np.where(mask_of() > 0, 7, 0).astype(np.int64)}, "numbered", id="numbered objects"),
        pytest.param({"box": PixelBox(50, 50, 51, 51)}, "covers 1x1 px of it; expected at least 4", id="1 px box"),
        pytest.param({"box": PixelBox(50, 158, 90, 300)}, "covers 2x40 px of it", id="box with 2 columns inside"),
        pytest.param({"box": PixelBox(50, 300, 90, 340)}, "lies outside of the picture", id="box outside"),
        pytest.param({"box": PixelBox(-90, -40, -50, -4)}, "lies outside of the picture", id="box left above"),
        pytest.param({"box": PixelBox(90, 50, 40, 80)}, "expected left < right and top < bottom", id="turned box"),
    ],
)
def test_what_is_no_object_is_an_error_that_says_what_to_do(options: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        cut_object(scene(), config_of(), **options)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        pytest.param(np.zeros((4, 5, 6), np.uint8), "shape", id="six channels"),
        pytest.param(np.zeros((0, 5, 3), np.uint8), "shape", id="no rows"),
        pytest.param(np.zeros(5, np.uint8), "shape", id="one axis"),
        pytest.param(np.full((120, 160, 3), 300.0), "expected uint8, uint16, or floats from 0 to 1", id="large floats"),
        pytest.param(
            np.full((120, 160, 3), np.nan), "expected uint8, uint16, or floats from 0 to 1", id="not a number"
        ),
        pytest.param(np.zeros((120, 160, 3), np.int32), "expected uint8, uint16, or floats from 0 to 1", id="int32"),
        pytest.param(np.broadcast_to(np.uint8(0), (20000, 20000)), "expected at most 100000000", id="too large"),
    ],
)
def test_what_is_no_picture_is_an_error_that_names_it(picture: Any, message: str) -> None:
    mask = mask_of() if picture.shape[:2] == (120, 160) else None
    with pytest.raises(ImageError, match=message):
        cut_object(picture, config_of(), mask=mask, name="mug.png")
