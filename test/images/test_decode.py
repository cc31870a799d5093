"""Every usual encoding gives the same picture, and damaged messages are explained instead of drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lift3d_ros.errors import ImageError
from lift3d_ros.images.decode import decode, decode_depth, image_size
from lift3d_ros.types import CameraImage

H, W = 48, 64
Y, X = np.mgrid[0:H, 0:W]
PICTURE = np.stack([40 + 2 * X, 60 + 3 * Y, 200 - X - Y], axis=-1).astype(np.uint8)  # smooth RGB


def image(encoding: str, pixels: np.ndarray, width: int = W, height: int = H, **changes: Any) -> CameraImage:
    data = np.frombuffer(pixels.tobytes(), dtype=np.uint8)
    fields = {"width": width, "height": height, "step": data.size // height, "source": "/front/image", **changes}
    return CameraImage("front", 0, "front_optical", encoding, data, **fields)


def mosaic(pattern: str) -> np.ndarray:
    """Return the raw picture of a sensor whose first rows see the colours of `pattern`."""
    raw = np.empty((H, W), np.uint8)
    for index, colour in enumerate(pattern):
        row, column = divmod(index, 2)
        raw[row::2, column::2] = PICTURE[row::2, column::2, "rgb".index(colour)]
    return raw


def yuv422(order: str) -> np.ndarray:
    planes = cv2.cvtColor(PICTURE, cv2.COLOR_RGB2YUV_I420)
    luma = planes[:H]
    u, v = (np.repeat(planes[start : start + H // 4].reshape(H // 2, -1), 2, axis=0) for start in (H, H + H // 4))
    packed = np.empty((H, W, 2), np.uint8)
    luma_at = order.index("y")
    packed[..., luma_at] = luma
    packed[:, ::2, 1 - luma_at], packed[:, 1::2, 1 - luma_at] = u, v
    return packed


def semi_planar(order: str) -> np.ndarray:
    planes = cv2.cvtColor(PICTURE, cv2.COLOR_RGB2YUV_I420)
    u, v = planes[H : H + H // 4].reshape(-1), planes[H + H // 4 :].reshape(-1)
    chroma = np.stack([u, v] if order == "nv12" else [v, u], axis=-1).reshape(H // 2, W)
    return np.concatenate([planes[:H], chroma])


def grey() -> np.ndarray:
    return PICTURE[..., 0]


@pytest.mark.parametrize(
    ("encoding", "pixels", "tolerance"),
    [
        pytest.param("rgb8", PICTURE, 0, id="rgb8"),
        pytest.param("bgr8", PICTURE[..., ::-1], 0, id="bgr8"),
        pytest.param("8UC3", PICTURE[..., ::-1], 0, id="8UC3"),
        pytest.param("rgba8", np.dstack([PICTURE, X]).astype(np.uint8), 0, id="rgba8"),
        pytest.param("bgra8", np.dstack([PICTURE[..., ::-1], X]).astype(np.uint8), 0, id="bgra8"),
        pytest.param("8UC4", np.dstack([PICTURE[..., ::-1], X]).astype(np.uint8), 0, id="8UC4"),
        pytest.param("rgb16", PICTURE.astype("<u2") << 8, 0, id="rgb16"),
        pytest.param("rgba16", np.dstack([PICTURE, X]).astype("<u2") << 8, 0, id="rgba16"),
        pytest.param("bgra16", np.dstack([PICTURE[..., ::-1], X]).astype("<u2") << 8, 0, id="bgra16"),
        pytest.param("bgr16", PICTURE[..., ::-1].astype("<u2") << 8, 0, id="bgr16"),
        *(pytest.param(f"bayer_{p}8", mosaic(p), 6, id=p) for p in ("rggb", "bggr", "gbrg", "grbg")),
        *(
            pytest.param(f"bayer_{p}16", mosaic(p).astype("<u2") << 8, 6, id=f"{p}16")
            for p in ("rggb", "bggr", "gbrg", "grbg")
        ),
        *(pytest.param(name, yuv422("uy"), 8, id=name) for name in ("yuv422", "uyvy")),
        *(pytest.param(name, yuv422("yu"), 8, id=name) for name in ("yuv422_yuy2", "yuyv")),
        pytest.param("nv12", semi_planar("nv12"), 8, id="nv12"),
        pytest.param("nv21", semi_planar("nv21"), 8, id="nv21"),
    ],
)
def test_colour_encodings_give_the_same_picture(encoding: str, pixels: np.ndarray, tolerance: int) -> None:
    step = pixels.shape[1] * pixels[0, 0].nbytes
    found = decode(image(encoding, pixels, step=step)).astype(int)
    assert found.shape == (H, W, 3)
    assert np.abs(found[2:-2, 2:-2] - PICTURE[2:-2, 2:-2]).max() <= tolerance


@pytest.mark.parametrize("encoding", ["mono8", "8UC1", "mono16"])
def test_grey_pictures_have_three_equal_channels(encoding: str) -> None:
    pixels = grey().astype("<u2") << 8 if encoding == "mono16" else grey()
    found = decode(image(encoding, pixels))
    for channel in range(3):
        np.testing.assert_array_equal(found[..., channel], grey())


@pytest.mark.parametrize("with_last_padding", [True, False])
def test_padded_rows_are_cut(with_last_padding: bool) -> None:
    padded = np.zeros((H, W * 3 + 17), np.uint8)
    padded[:, : W * 3] = PICTURE.reshape(H, -1)
    data = padded.reshape(-1)[: None if with_last_padding else -17]
    found = decode(CameraImage("front", 0, "f", "rgb8", data, W, H, W * 3 + 17))
    np.testing.assert_array_equal(found, PICTURE)


def test_big_endian_pixels_are_swapped() -> None:
    pixels = (grey().astype(np.uint16) << 8).astype(">u2")
    np.testing.assert_array_equal(decode(image("mono16", pixels, is_bigendian=True))[..., 0], grey())


@pytest.mark.parametrize("is_bigendian", [False, True])
def test_depth_is_in_metres_with_zero_for_no_measurement(is_bigendian: bool) -> None:
    order = ">" if is_bigendian else "<"
    millimetres = (1000 + X).astype(f"{order}u2")
    found = decode_depth(image("16UC1", millimetres, is_bigendian=is_bigendian))
    np.testing.assert_allclose(found, 1.0 + X / 1000, rtol=1e-6)
    metres = (X / 10).astype(f"{order}f4")
    metres[0, 0] = np.nan
    found = decode_depth(image("32FC1", metres, is_bigendian=is_bigendian))
    assert found[0, 0] == 0
    assert found[0, 20] == pytest.approx(2.0)


@pytest.mark.parametrize("extension", ["jpeg", "png"])
def test_compressed_pictures_are_decoded_and_sized(extension: str) -> None:
    data = compressed(extension)
    found = decode(CameraImage("front", 0, "f", extension, data))
    assert np.abs(found.astype(int) - PICTURE).max() <= (10 if extension == "jpeg" else 0)
    assert image_size(CameraImage("front", 0, "f", extension, data)) == (W, H)
    padded = np.concatenate([data, np.zeros(10_000, np.uint8)])
    np.testing.assert_array_equal(decode(CameraImage("front", 0, "f", extension, padded)), found)


def compressed(extension: str) -> np.ndarray:
    flags = [cv2.IMWRITE_JPEG_QUALITY, 98] if extension == "jpeg" else []
    return cv2.imencode(f".{extension}", PICTURE[..., ::-1], flags)[1]


def test_a_reduced_jpeg_is_half_as_large() -> None:
    assert decode(CameraImage("front", 0, "f", "jpeg", compressed("jpeg")), reduction=2).shape == (H // 2, W // 2, 3)


@pytest.mark.parametrize("extension", ["jpeg", "png"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.95, 0.995])
def test_truncated_pictures_are_refused_by_topic(extension: str, share: float) -> None:
    data = compressed(extension)
    cut = CameraImage("front", 0, "f", extension, data[: int(share * data.size)], source="/front/image/compressed")
    with pytest.raises(ImageError, match=r"topic '/front/image/compressed'.*(truncated|not a readable)"):
        decode(cut)


def test_truncated_real_pictures_are_refused_and_whole_ones_read(shared_dir: Path) -> None:
    for path in sorted((shared_dir / "data" / "driving").glob("*/images/*/000.jpg")):
        data = np.fromfile(path, dtype=np.uint8)
        whole = decode(CameraImage("front", 0, "f", "jpeg", data, source=str(path)))
        assert (whole.shape[1], whole.shape[0]) == image_size(CameraImage("front", 0, "f", "jpeg", data))
        with pytest.raises(ImageError, match="truncated"):
            decode(CameraImage("front", 0, "f", "jpeg", data[: data.size * 2 // 3], source=str(path)))


def test_a_picture_that_would_fill_the_memory_is_refused() -> None:
    data = compressed("png")
    data = data.copy()
    data[16:24] = np.frombuffer((60_000).to_bytes(4, "big") * 2, np.uint8)
    with pytest.raises(ImageError, match="60000x60000 is too large; expected at most"):
        decode(CameraImage("front", 0, "f", "png", data))


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        pytest.param(image("rgb9", PICTURE), "'rgb9' is not known; did you mean 'rgb8'.*known: rgb8, bgr8", id="name"),
        pytest.param(image("rgb8", PICTURE, step=100), "has step 100; expected at least 192", id="step"),
        pytest.param(image("rgb8", PICTURE[:20], step=192), "has 3840 bytes; expected 9216", id="length"),
        pytest.param(image("nv12", PICTURE[..., 0], step=64), "has 3072 bytes; expected 4608", id="nv12 length"),
        pytest.param(image("rgb8", PICTURE, width=0), "expected a size between", id="no width"),
        pytest.param(image("16UC1", X.astype("<u2")), "is a depth picture; expected colour", id="depth as colour"),
    ],
)
def test_wrong_messages_name_topic_found_and_expected(subject: CameraImage, expected: str) -> None:
    with pytest.raises(ImageError, match=f"topic '/front/image': .*{expected}"):
        decode(subject)


def test_colour_is_not_taken_for_depth() -> None:
    with pytest.raises(ImageError, match="'rgb8' is not a depth picture"):
        decode_depth(image("rgb8", PICTURE))
