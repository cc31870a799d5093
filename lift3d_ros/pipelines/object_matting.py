"""Finds the object of a picture by a matting network, through the package rembg where that is installed.

rembg keeps its networks in a folder of its own (``U2NET_HOME``), and fetches one that is missing there when it is first
asked for.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any

import cv2
import numpy as np

from lift3d_ros.errors import Lift3dError
from lift3d_ros.types import UInt8Array

# Apache-2.0; what newer releases of rembg take by themselves is not for commercial use.
_NETWORK = "u2net"
_SURE = 128
# Of the longer side of the picture: how far a soft edge, as of fur, reaches.
_SOFT_EDGE = 0.01


def check_rembg() -> None:
    """Refuse to look for objects by rembg where it is not installed.

    Raises:
        Lift3dError: it is not.
    """
    missing = [package for package in ("rembg", "onnxruntime") if importlib.util.find_spec(package) is None]
    if missing:
        raise Lift3dError(
            f"finding objects by rembg needs {' and '.join(missing)}, not installed for this Python; 'pip install "
            f"{' '.join(missing)}' in an environment of its own (rembg wants numpy 2), or say what the "
            "object is by a mask or a box"
        )


def matting(rgb: UInt8Array) -> UInt8Array:
    """Return alpha (H, W) of the object that stands out in a picture (H, W, 3).

    Raises:
        Lift3dError: rembg is not installed, or has no network.
    """
    from PIL import Image

    return without_haze(np.asarray(_session().predict(Image.fromarray(rgb))[0], dtype=np.uint8))


def without_haze(alpha: UInt8Array) -> UInt8Array:
    """Return alpha (H, W) with soft edges only beside what is surely the object.

    Networks leave a little all over the picture, and the object would seem to reach as far as that.
    """
    reach = 2 * round(_SOFT_EDGE * max(alpha.shape)) + 3
    is_beside = cv2.dilate((alpha >= _SURE).astype(np.uint8), np.ones((reach, reach), np.uint8))
    return np.where(is_beside > 0, alpha, 0).astype(np.uint8)


@functools.cache
def _session() -> Any:
    check_rembg()
    try:
        rembg = importlib.import_module("rembg")
    except (Exception, SystemExit) as error:  # older releases end the process where a package is missing
        raise Lift3dError(
            f"rembg is installed and cannot be loaded ({_sentence(error)}); 'pip install rembg[cpu]' brings what it "
            "needs"
        ) from None
    try:
        return rembg.new_session(_NETWORK)
    except Exception as error:  # of rembg, of what it downloads with, of onnxruntime
        raise Lift3dError(
            f"rembg cannot open its network {_NETWORK} ({_sentence(error)}); it is fetched when it is first used, so "
            f"do that with access to the Internet, or copy {_NETWORK}.onnx into a folder and name that in U2NET_HOME"
        ) from None


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
