"""How alike pictures are: PSNR and SSIM by scikit-image, LPIPS where its weights are there."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import numpy as np

from lift3d_ros.errors import Lift3dError
from lift3d_ros.evaluation.object_lpips import Lpips
from lift3d_ros.types import UInt8Array


@dataclass(frozen=True)
class PictureErrors:
    """Of one picture, or means of several; LPIPS is None where it cannot be computed."""

    psnr: float
    ssim: float
    lpips: float | None = None


def check_scikit_image() -> None:
    """Refuse to start without the package that computes the figures.

    Raises:
        Lift3dError: it is not installed.
    """
    if importlib.util.find_spec("skimage") is None:
        raise Lift3dError("measuring pictures needs scikit-image, which is not installed; 'pip install scikit-image'")


def picture_errors(found: UInt8Array, truth: UInt8Array, lpips: Lpips | None = None) -> PictureErrors:
    """Compare two pictures (H, W, 3), background and all."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    difference = np.abs(found.astype(np.int64) - truth)
    # Equal pictures have no noise; the figure stays a number.
    psnr = float(peak_signal_noise_ratio(truth, found, data_range=255)) if difference.any() else 100.0
    ssim = float(structural_similarity(truth, found, channel_axis=2, data_range=255))
    return PictureErrors(psnr, ssim, None if lpips is None else lpips(found, truth))


def mean_errors(errors: list[PictureErrors]) -> PictureErrors:
    """Return the means over pictures."""
    known = [one.lpips for one in errors if one.lpips is not None]
    return PictureErrors(
        float(np.mean([one.psnr for one in errors])),
        float(np.mean([one.ssim for one in errors])),
        float(np.mean(known)) if known else None,
    )
