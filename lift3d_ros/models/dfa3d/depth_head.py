"""Predicts for each feature cell how likely the surface it sees lies in each depth bin."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.errors import ConfigError
from lift3d_ros.models.dfa3d.camera_views import NUM_FACTS, CameraViews
from lift3d_ros.models.dfa3d.config import DepthConfig
from lift3d_ros.ops.deformable_convolution import DeformableConv2d


def build_depth_head(in_channels: int, config: DepthConfig) -> LightDepthHead | AsppDepthHead | None:
    """Return the head that `config.source` names; None where depth is measured or not used.

    Raises:
        ConfigError: the head does not know cameras, and `config.focal_px` wants that.
    """
    match config.source:
        case "light":
            return LightDepthHead(in_channels, config)
        case "aspp":
            if config.focal_px:
                raise ConfigError(
                    f"depth.focal_px is {config.focal_px:g}, the head 'aspp' does not know cameras; set it to 0, "
                    "or depth.source to light"
                )
            return AsppDepthHead(in_channels, config)
        case _:
            return None


def scores_of_codes(codes: Tensor, config: DepthConfig) -> Tensor:
    """Spread code probabilities (N, codes, H, W) over the bins that each code stands for, (N, bins, H, W)."""
    if not config.bins_per_code:
        return codes
    parts, first = [], 0
    for num_bins, group in itertools.groupby(config.bins_per_code):
        count = len(list(group))
        part = codes[:, first : first + count].repeat_interleave(num_bins, dim=1)
        parts.append(part if config.repeats_code_probability else part / num_bins)
        first += count
    return torch.cat(parts, dim=1)


def resize_scores(scores: Tensor, height: int, width: int) -> Tensor:
    """Bring depth scores (N, bins, h, w) to the size of a pyramid level, nearest."""
    if scores.shape[-2:] == (height, width):
        return scores
    return F.interpolate(scores, size=(height, width), mode="nearest")


class LightDepthHead(nn.Module):
    """Two convolutions and a softmax over bins; knows cameras and ground where `config.focal_px` is given."""

    def __init__(self, channels: int, config: DepthConfig) -> None:
        super().__init__()
        self.reduce_conv = _conv_bn_relu(channels)
        self.depth_conv = nn.Sequential(_conv_bn_relu(channels), nn.Conv2d(channels, config.num_bins, 1))
        self.prior = _GroundPrior(channels, config) if config.focal_px else None

    def forward(self, features: Tensor, views: CameraViews | None = None) -> Tensor:
        """Map features (N, C, H, W) to depth scores (N, bins, H, W) that sum to one.

        Args:
            views: of the cameras, for a head that knows them.
        """
        hidden = self.reduce_conv(features)
        if self.prior is None or views is None:
            logits: Tensor = self.depth_conv(hidden)
            return logits.softmax(dim=1)
        hidden, expected = self.prior(hidden, views)
        logits = self.prior.in_own_bins((self.depth_conv(hidden) + expected).float(), views.zoom)
        return logits.softmax(dim=1)


class _GroundPrior(nn.Module):
    """Tells the head how its camera stands, and which bins lie on the ground or below it, where nothing can be seen."""

    def __init__(self, channels: int, config: DepthConfig) -> None:
        super().__init__()
        last = nn.Linear(channels, 2 * channels)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.view = nn.Sequential(nn.Linear(NUM_FACTS, channels), nn.ReLU(inplace=True), last)
        self.reduce = nn.Conv2d(2 * config.num_bins, channels, 1)
        self.gains = nn.Parameter(torch.tensor([[1.5], [-2.0]]).repeat(1, config.num_bins))
        self._range, self._num_bins = config.range, config.num_bins

    def forward(self, hidden: Tensor, views: CameraViews) -> tuple[Tensor, Tensor]:
        """Return features (N, C, h, w) with what is known added, and what the ground alone says of the logits."""
        gain, shift = self.view(views.facts)[..., None, None].chunk(2, dim=1)
        ground = torch.exp(-((views.heights / 0.5) ** 2))
        below = (-views.heights - 0.3).clamp(0.0, 2.0)
        hidden = hidden * (1 + gain) + shift + self.reduce(torch.cat([ground, below], dim=1))
        gains = self.gains[..., None, None]
        return hidden, gains[0] * ground + gains[1] * below

    def in_own_bins(self, logits: Tensor, zoom: Tensor) -> Tensor:
        """Turn logits (N, bins, h, w) over bins of the reference camera into those of cameras with `zoom` (N,).

        An object that is twice as far looks the same through twice the focal length. Two neighbouring bins share each
        by nearness; beyond the range stands its last bin.
        """
        near, far = self._range
        width = (far - near) / self._num_bins
        index = torch.arange(self._num_bins, device=zoom.device, dtype=zoom.dtype)
        depth = near + (index + 0.5) * width
        place = ((depth / zoom[:, None] - near) / width - 0.5).clamp(0, self._num_bins - 1)
        weights = (1 - (place[..., None] - index).abs()).clamp(min=0)
        return torch.bmm(weights, logits.flatten(2)).reshape(logits.shape)


class AsppDepthHead(nn.Module):
    """The published head: residual blocks, dilated branches, a deformable convolution and a softmax over codes."""

    def __init__(self, in_channels: int, config: DepthConfig) -> None:
        super().__init__()
        channels = config.channels
        self.reduce_conv = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )
        self.depth_conv = nn.Sequential(
            *(ResidualBlock(channels) for _ in range(3)),
            DilatedPyramid(channels),
            DeformableConv2d(channels, channels, 3, 1, 1, groups=4, is_modulated=False),
            nn.Conv2d(channels, len(config.bins_per_code) or config.num_bins, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, C, H, W) to code probabilities (N, codes, H, W) that sum to one."""
        logits: Tensor = self.depth_conv(self.reduce_conv(features))
        return logits.softmax(dim=1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with norm around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        result: Tensor = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + x)
        return result


class DilatedPyramid(nn.Module):
    """Atrous spatial pyramid pooling: one 1x1, three dilated 3x3 branches and the mean of the picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.aspp1 = _DilatedBranch(channels, 1)
        self.aspp2 = _DilatedBranch(channels, 6)
        self.aspp3 = _DilatedBranch(channels, 12)
        self.aspp4 = _DilatedBranch(channels, 18)
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.conv1 = nn.Conv2d(5 * channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        mean = self.global_avg_pool(x).expand(-1, -1, *x.shape[-2:])
        branches = [self.aspp1(x), self.aspp2(x), self.aspp3(x), self.aspp4(x), mean]
        result: Tensor = self.relu(self.bn1(self.conv1(torch.cat(branches, dim=1))))
        return result


class _DilatedBranch(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        size, padding = (1, 0) if dilation == 1 else (3, dilation)
        self.atrous_conv = nn.Conv2d(channels, channels, size, padding=padding, dilation=dilation, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.relu(self.bn(self.atrous_conv(x)))
        return result


def _conv_bn_relu(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
    )
