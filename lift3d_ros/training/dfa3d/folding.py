"""Batch norms folded into their convolutions, for blocks that run as in inference while others train.

Frozen stages and earlier frames make most of the work of a step on the largest maps. Folding gives the same numbers up
to rounding in less than half of the time on a CPU, which is busy with moving those maps.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.backbones.efficientnet_lite import EfficientNetLite, InvertedBottleneck


def fold_where_nothing_is_trained(backbone: EfficientNetLite) -> None:
    """Let each block fold its norms whenever they use stored statistics and no gradient is wanted."""
    for block in backbone.blocks:
        assert isinstance(block, InvertedBottleneck)
        block.forward = partial(_forward, block)  # type: ignore[method-assign]


def _forward(block: InvertedBottleneck, x: Tensor) -> Tensor:
    is_trained = torch.is_grad_enabled() and (x.requires_grad or block.project_conv.weight.requires_grad)
    if is_trained or block.bn2.training:
        return InvertedBottleneck.forward(block, x)
    out = x
    if block.has_expansion:
        assert isinstance(block.expand_conv, nn.Conv2d)
        assert isinstance(block.bn0, nn.modules.batchnorm._BatchNorm)
        out = F.relu6(_folded(x, block.expand_conv, block.bn0), inplace=True)
    out = F.relu6(_folded(out, block.depthwise_conv, block.bn1), inplace=True)
    out = _folded(out, block.project_conv, block.bn2)
    return out.add_(x) if block.has_shortcut else out


def _folded(x: Tensor, convolution: nn.Conv2d, norm: nn.modules.batchnorm._BatchNorm) -> Tensor:
    """Return what a convolution with the padding of TensorFlow and its norm give."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight, bias = convolution.weight * gain[:, None, None, None], norm.bias - norm.running_mean * gain
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
