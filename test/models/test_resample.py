"""Resizing by matrices gives the pictures that torch and OpenCV give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lift3d_ros.models.backbones.resample import resampling_matrix


def resized(picture: Any, rows: int, columns: int, kernel: Any, **options: Any) -> Any:
    down = resampling_matrix(picture.shape[0], rows, kernel, **options)
    across = resampling_matrix(picture.shape[1], columns, kernel, **options)
    return down @ picture @ across.T


@pytest.mark.parametrize(("rows", "columns"), [(23, 40), (9, 8), (17, 13), (1, 5)])
@pytest.mark.parametrize(
    ("kernel", "options", "theirs"),
    [
        pytest.param("linear", {}, {"mode": "bilinear", "align_corners": False}, id="linear"),
        pytest.param(
            "linear", {"is_antialiased": True}, {"mode": "bilinear", "antialias": True}, id="antialiased linear"
        ),
        pytest.param("cubic", {}, {"mode": "bicubic", "align_corners": False}, id="cubic"),
        pytest.param(
            "cubic", {"aligns_corners": True}, {"mode": "bicubic", "align_corners": True}, id="cubic by corners"
        ),
        pytest.param("cubic", {"is_antialiased": True}, {"mode": "bicubic", "antialias": True}, id="antialiased cubic"),
    ],
)
def test_pictures_are_those_of_torch(kernel: Any, options: Any, theirs: Any, rows: int, columns: int) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    picture = np.random.default_rng(0).random((17, 13))
    expected = torch.nn.functional.interpolate(torch.tensor(picture)[None, None], size=(rows, columns), **theirs)
    np.testing.assert_allclose(resized(picture, rows, columns, kernel, **options), expected[0, 0], atol=1e-6)


@pytest.mark.parametrize(("rows", "columns"), [(17, 13), (9, 5), (8, 13), (40, 31)])
def test_averaging_areas_is_that_of_opencv(rows: int, columns: int) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    picture = np.random.default_rng(1).random((17, 13))
    expected = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(resized(picture, rows, columns, "area"), expected, atol=1e-6)


def test_even_grey_stays_even_grey() -> None:
    for kernel in ("linear", "cubic", "area"):
        for target in (3, 8, 29):
            np.testing.assert_allclose(resampling_matrix(8, target, kernel).sum(axis=1), 1.0)


def test_a_matrix_is_shared_and_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        resampling_matrix(4, 8, "linear")[0, 0] = 2.0
