"""Batch norms folded into their convolutions, for blocks whose norms use stored statistics.

Frozen stages and earlier frames make most of the work of a step on the largest maps. Folding gives the same numbers up
to rounding in less than half of the time on a CPU, which is busy with moving those maps; so does bfloat16 again.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.backbones.efficientnet_lite import EfficientNetLite, InvertedBottleneck


def fold_stored_norms(backbone: EfficientNetLite, *, is_short: bool) -> None:
    """Let the backbone fold its norms wherever they use stored statistics.

    Args:
        is_short: on a CPU, compute in bfloat16 up to the first block that is trained.
    """
    backbone.forward = partial(_forward, backbone, is_short=is_short)  # type: ignore[method-assign]
    for block in backbone.blocks:
        assert isinstance(block, InvertedBottleneck)
        block.forward = partial(_block, block)  # type: ignore[method-assign]


def _forward(backbone: EfficientNetLite, x: Tensor, *, is_short: bool) -> list[Tensor]:
    dtype = x.dtype
    if is_short and not x.is_cuda and not _wants_gradient(backbone.conv_stem, x):
        x = x.to(torch.bfloat16)
    x = F.relu6(_convolve(x, backbone.conv_stem, backbone.bn0), inplace=True)
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


def _block(block: InvertedBottleneck, x: Tensor) -> Tensor:
    if block.bn2.training:
        return InvertedBottleneck.forward(block, x)
    out = x
    if block.has_expansion:
        assert isinstance(block.expand_conv, nn.Conv2d)
        out = F.relu6(_convolve(x, block.expand_conv, block.bn0), inplace=True)
    out = F.relu6(_convolve(out, block.depthwise_conv, block.bn1), inplace=True)
    out = _convolve(out, block.project_conv, block.bn2)
    return out.add_(x) if block.has_shortcut else out


def _convolve(x: Tensor, convolution: nn.Conv2d, norm: nn.Module) -> Tensor:
    """Return what a convolution with the padding of TensorFlow and its norm give."""
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    if norm.training:
        result: Tensor = norm(convolution(x))
        return result
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight, bias = convolution.weight * gain[:, None, None, None], norm.bias - norm.running_mean * gain
    weight, bias = weight.to(x.dtype), bias.to(x.dtype)
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
    return F.conv2d(x, weight, bias, convolution.stride, after, convolution.dilation, convolution.groups)
