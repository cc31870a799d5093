"""EfficientNet-Lite0: inverted bottlenecks without squeeze-and-excitation, made for processors and edge accelerators.

Names of weights are those of the published PyTorch ones without the leading underscores (``blocks.3.project_conv``).
Source: EfficientNet (arXiv 1905.11946), table 1; the Lite variant has ReLU6 and no squeeze-and-excitation.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.backbones.config import BackboneConfig

# Number of blocks, kernel, stride of the first block, expansion, channels.
_GROUPS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_LAST_GROUP_OF_STAGE = {1: 1, 2: 2, 3: 4, 4: 6}
_STEM_CHANNELS = 32
_NORM_EPS = 1e-3


class SamePaddingConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow does: with stride 2, more at the right and at the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', ceil(H / stride), ceil(W / stride))."""
        padding = []
        for size, kernel, stride in zip(x.shape[-2:], self.kernel_size, self.stride, strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            padding.append((total // 2, total - total // 2))
        (top, bottom), (left, right) = padding
        if top == bottom and left == right:
            return F.conv2d(x, self.weight, None, self.stride, (top, left), self.dilation, self.groups)
        padded = F.pad(x, (left, right, top, bottom))
        return F.conv2d(padded, self.weight, None, self.stride, 0, self.dilation, self.groups)


class InvertedBottleneck(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection, and a shortcut where the shape stays."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand_conv: nn.Module = nn.Identity()
        self.bn0: nn.Module = nn.Identity()
        if expansion != 1:
            self.expand_conv = nn.Conv2d(in_channels, hidden, 1, bias=False)
            self.bn0 = nn.BatchNorm2d(hidden, eps=_NORM_EPS)
        self.depthwise_conv = SamePaddingConv2d(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden, eps=_NORM_EPS)
        self.project_conv = nn.Conv2d(hidden, out_channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels, eps=_NORM_EPS)
        self.has_expansion = expansion != 1
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C in, H, W) to (N, C out, H / stride, W / stride)."""
        out = F.relu6(self.bn0(self.expand_conv(x))) if self.has_expansion else x
        out = F.relu6(self.bn1(self.depthwise_conv(out)))
        out = self.bn2(self.project_conv(out))
        result: Tensor = out + x if self.has_shortcut else out
        return result


class EfficientNetLite(nn.Module):
    """Features at the strides of `config.output_stages`; blocks behind the last of them are not built."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.conv_stem = SamePaddingConv2d(3, _STEM_CHANNELS, 3, 2, bias=False)
        self.bn0 = nn.BatchNorm2d(_STEM_CHANNELS, eps=_NORM_EPS)
        self.num_stages = max(config.output_stages)
        self.blocks = nn.ModuleList()
        outputs: dict[int, int] = {}  # number of a block whose output is a feature -> its channels
        channels = _STEM_CHANNELS
        for group, (count, kernel, stride, expansion, width) in enumerate(_GROUPS):
            if group > _LAST_GROUP_OF_STAGE[self.num_stages]:
                break
            for block in range(count):
                self.blocks.append(InvertedBottleneck(channels, width, kernel, stride if block == 0 else 1, expansion))
                channels = width
            if any(_LAST_GROUP_OF_STAGE[stage] == group for stage in config.output_stages):
                outputs[len(self.blocks) - 1] = channels
        self.outputs = tuple(outputs)
        self.out_channels = tuple(outputs.values())
        self.has_frozen_norms = config.has_frozen_norms
        if config.has_frozen_norms:
            for norm in self._norms():
                norm.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map pictures (N, 3, H, W) to the features of the output stages, finest first."""
        x = F.relu6(self.bn0(self.conv_stem(x)))
        features = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.outputs:
                features.append(x)
        return features

    def train(self, mode: bool = True) -> EfficientNetLite:
        """Switch to training; frozen norms stay with their stored statistics."""
        super().train(mode)
        if self.has_frozen_norms:
            for norm in self._norms():
                norm.eval()
        return self

    def _norms(self) -> Iterator[nn.Module]:
        return (module for module in self.modules() if isinstance(module, nn.BatchNorm2d))
