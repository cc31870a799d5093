"""The operator of :mod:`lift3d_ros.ops.channel_bias` as one GPU kernel in Triton, which reads and writes a map once."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 2048  # numbers of one program: two or four loads of 16 bytes for each thread


def add_bias_(x: Tensor, bias: Tensor, shortcut: Tensor | None, *, is_clamped: bool) -> None:
    """Add in place; arguments as in ``add_bias_`` there, maps in channels-last order."""
    count = x.numel()
    if not count:
        return
    _add_bias[(triton.cdiv(count, _BLOCK),)](
        x,
        bias.float().contiguous(),
        x if shortcut is None else shortcut,
        count,
        x.shape[1],
        HAS_SHORTCUT=shortcut is not None,
        IS_CLAMPED=is_clamped,
        BLOCK=_BLOCK,
    )


# The number of channels is no constant, as the kernel would be compiled for each one.
@triton.jit
def _add_bias(
    x, bias, shortcut, count, channels,
    HAS_SHORTCUT: tl.constexpr, IS_CLAMPED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0).to(tl.int64) * BLOCK  # a map may have more than 2^31 numbers
    step = tl.arange(0, BLOCK)
    place = first + step
    is_inside = place < count
    # The remainder of 64 bit once, and of 32 bit for each number: the long one costs more than the memory.
    channel = ((first % channels).to(tl.int32) + step) % channels
    value = tl.load(x + place, mask=is_inside, other=0.0).to(tl.float32) + tl.load(bias + channel)
    if HAS_SHORTCUT:
        value += tl.load(shortcut + place, mask=is_inside, other=0.0).to(tl.float32)
    if IS_CLAMPED:
        value = tl.where(value < 0.0, 0.0, tl.where(value > 6.0, 6.0, value))  # minimum and maximum would drop NaN
    tl.store(x + place, value.to(x.dtype.element_ty), mask=is_inside)
