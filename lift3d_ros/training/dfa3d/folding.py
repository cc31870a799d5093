"""Batch norms folded into their convolutions, for blocks whose norms use stored statistics.

Frozen stages and earlier frames make most of the work of a step on the largest maps. Folding gives the same numbers up
to rounding in less than half of the time on a CPU, which is busy with moving those maps; so does bfloat16 again.
"""

from __future__ import annotations

import operator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.backbones.efficientnet_lite import EfficientNetLite, InvertedBottleneck
from lift3d_ros.ops.channel_bias import add_bias_


def fold_stored_norms(backbone: EfficientNetLite, *, is_short: bool) -> None:
    """Let the backbone fold its norms wherever they use stored statistics.

    Args:
        is_short: on a CPU, compute in bfloat16 up to the first block that is trained.
    """
    kept = _FoldedWeights()
    backbone.forward = partial(_forward, backbone, kept, is_short=is_short)  # type: ignore[method-assign]
    for block in backbone.blocks:
        assert isinstance(block, InvertedBottleneck)
        block.forward = partial(_block, block, kept)  # type: ignore[method-assign]


class _Folded(NamedTuple):
    """A convolution with its norm.

    Args:
        weight, bias: the weight in the type of the map, the bias in its own.
        sources: what they were computed from.
        stamps: by which a change of the sources is noticed.
    """

    weight: Tensor
    bias: Tensor
    sources: tuple[Tensor, ...]
    stamps: tuple[tuple[int, int], ...]


class _FoldedWeights:
    """Folds norms into their convolutions, frozen ones only when their numbers have changed."""

    def __init__(self) -> None:
        self._kept: dict[tuple[nn.Module, torch.dtype], _Folded] = {}

    def fold(
        self, convolution: nn.Conv2d, norm: nn.modules.batchnorm._BatchNorm, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Return weight and bias, the weight as `dtype`."""
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        used = (convolution.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var)
        if any(source.requires_grad or source.is_inference() for source in used):
            return _fold(*used, norm.eps, dtype)
        # A norm in training changes its statistics without a new version of them, but counts the batches.
        sources = (*used, norm.num_batches_tracked)
        stamps = tuple((source._version, source.data_ptr()) for source in sources)
        kept = self._kept.get((convolution, dtype))
        is_same = kept is not None and all(map(operator.is_, kept.sources, sources))
        if kept is None or not is_same or kept.stamps != stamps:
            with torch.inference_mode(mode=False):  # those made in a validation could not be used in training
                kept = _Folded(*_fold(*used, norm.eps, dtype), sources, stamps)
            self._kept[convolution, dtype] = kept
        return kept.weight, kept.bias


def _fold(
    weight: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    gain = scale * torch.rsqrt(variance + eps)
    return (weight * gain[:, None, None, None]).to(dtype), shift - mean * gain


def _forward(backbone: EfficientNetLite, kept: _FoldedWeights, x: Tensor, *, is_short: bool) -> list[Tensor]:
    dtype = x.dtype
    if is_short and not x.is_cuda and not _wants_gradient(backbone.conv_stem, x):
        x = x.to(torch.bfloat16)
    x = _convolve(x, backbone.conv_stem, backbone.bn0, kept, is_clamped=True)
    features = []
    for number, block in enumerate(backbone.blocks):
        assert isinstance(block, InvertedBottleneck)
        if x.dtype != dtype and _wants_gradient(block.project_conv, x):
            x = x.to(dtype)
        x = block(x)
        if number in backbone.outputs:
            features.append(x.to(dtype))
    return features


def _wants_gradient(convolution: nn.Conv2d, x: Tensor) -> bool:
    return torch.is_grad_enabled() and (x.requires_grad or convolution.weight.requires_grad)


def _block(block: InvertedBottleneck, kept: _FoldedWeights, x: Tensor) -> Tensor:
    if block.bn2.training:
        return InvertedBottleneck.forward(block, x)
    out = x
    if block.has_expansion:
        assert isinstance(block.expand_conv, nn.Conv2d)
        out = _convolve(x, block.expand_conv, block.bn0, kept, is_clamped=True)
    out = _convolve(out, block.depthwise_conv, block.bn1, kept, is_clamped=True)
    return _convolve(out, block.project_conv, block.bn2, kept, shortcut=x if block.has_shortcut else None)


def _convolve(
    x: Tensor,
    convolution: nn.Conv2d,
    norm: nn.Module,
    kept: _FoldedWeights,
    *,
    shortcut: Tensor | None = None,
    is_clamped: bool = False,
) -> Tensor:
    """Return what a convolution with the padding of TensorFlow and its norm give, plus a shortcut, or after ReLU6."""
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    if norm.training:
        result: Tensor = norm(convolution(x))
    else:
        weight, bias = kept.fold(convolution, norm, x.dtype)
        before, after = [], []
        for size, kernel, stride in zip(x.shape[-2:], convolution.kernel_size, convolution.stride, strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            before.append(total // 2)
            after.append(total - total // 2)
        if before != after:
            right, bottom = after[1] - before[1], after[0] - before[0]
            if x.is_cuda:
                x, after = F.pad(x, (0, right, 0, bottom)), before
            else:  # a kernel with zeros before it reads the same, and spares a copy of the map
                weight = F.pad(weight, (right, 0, bottom, 0))
        form = (convolution.stride, after, convolution.dilation, convolution.groups)
        wants_gradient = torch.is_grad_enabled() and any(part.requires_grad for part in (x, weight, bias))
        if _adds_bias_apart(x) and not wants_gradient:
            return add_bias_(F.conv2d(x, weight, None, *form), bias, shortcut, is_clamped=is_clamped)
        result = F.conv2d(x, weight, bias.to(x.dtype), *form)
    if shortcut is not None:
        result = result.add_(shortcut)
    return F.relu6(result, inplace=True) if is_clamped else result


def _adds_bias_apart(x: Tensor) -> bool:
    """Tell whether a convolution adds its bias in another pass over the map, as those of cuDNN do in torch."""
    return x.is_cuda
