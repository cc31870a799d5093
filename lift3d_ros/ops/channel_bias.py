"""What follows a convolution without bias, in place: a bias, a shortcut or ReLU6, in one pass over a map.

Letters: N pictures, C channels.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import Literal

import torch
from torch import Tensor

from lift3d_ros.errors import EngineError

Implementation = Literal["auto", "triton", "torch"]


@torch.no_grad()
def add_bias_(
    x: Tensor,
    bias: Tensor,
    shortcut: Tensor | None = None,
    *,
    is_clamped: bool = False,
    implementation: Implementation = "auto",
) -> Tensor:
    """Add a bias to each channel of `x` and then a shortcut, in place and without gradients; return `x`.

    Args:
        x: (N, C, H, W), any floating type.
        bias: (C,), any floating type.
        shortcut: of the shape of `x`.
        is_clamped: clamp the sum to 0..6, which is ReLU6; NaN stays.
        implementation: ``triton`` (comes with torch for CUDA) is for bfloat16 and float32 in channels-last order, adds
            in float32 and rounds once; ``torch`` rounds after each addition; ``auto`` takes the first one on a GPU
            where it can.

    Raises:
        ValueError: shapes that do not fit together, or a map that ``triton`` cannot take.
        EngineError: ``triton`` was asked for and is not installed.
    """
    if x.dim() != 4 or bias.shape != x.shape[1:2] or (shortcut is not None and shortcut.shape != x.shape):
        raise ValueError(
            f"a map of shape {tuple(x.shape)}, a bias of {tuple(bias.shape)} and a shortcut of "
            f"{None if shortcut is None else tuple(shortcut.shape)} do not fit together"
        )
    is_fit = all(_fits_kernel(part) for part in (x, shortcut) if part is not None)
    if implementation == "auto":
        implementation = "triton" if is_fit and x.is_cuda and _has_triton() else "torch"
    if implementation == "triton":
        if not _has_triton():
            raise EngineError("implementation 'triton': not installed; 'pip install triton', or use 'auto'")
        if not is_fit:
            raise ValueError("'triton' takes bfloat16 or float32 maps in channels-last order")
        from lift3d_ros.ops import channel_bias_triton

        channel_bias_triton.add_bias_(x, bias, shortcut, is_clamped=is_clamped)
        return x
    x.add_(bias.to(x.dtype)[:, None, None])
    if shortcut is not None:
        x.add_(shortcut)
    return x.clamp_(0.0, 6.0) if is_clamped else x


def _fits_kernel(part: Tensor) -> bool:
    is_known = part.dtype in (torch.bfloat16, torch.float32)
    return is_known and part.is_contiguous(memory_format=torch.channels_last)


@functools.lru_cache(maxsize=1)
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None
