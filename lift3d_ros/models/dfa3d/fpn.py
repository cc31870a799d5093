"""Feature pyramid: lateral 1x1 convolutions, top-down addition, 3x3 output convolutions, no norm."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class FPN(nn.Module):
    """Outputs of `out_channels` channels: the `num_outputs` finest inputs, and coarser levels where there are more."""

    def __init__(self, in_channels: Sequence[int], out_channels: int, num_outputs: int) -> None:
        super().__init__()
        num_inputs = len(in_channels)
        self.lateral_convs = nn.ModuleList(nn.Conv2d(channels, out_channels, 1) for channels in in_channels)
        self.fpn_convs = nn.ModuleList(
            nn.Conv2d(out_channels, out_channels, 3, stride=1 if level < num_inputs else 2, padding=1)
            for level in range(num_outputs)
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Map features (N, C_i, H_i, W_i), finest first, to (N, out_channels, H_i, W_i), finest first."""
        laterals = [conv(feature) for conv, feature in zip(self.lateral_convs, features, strict=True)]
        for i in range(len(laterals) - 1, 0, -1):
            # Upsample to the exact size of the finer level: odd sizes are not doubles of each other.
            laterals[i - 1] = laterals[i - 1] + F.interpolate(laterals[i], size=laterals[i - 1].shape[-2:])
        outputs: list[Tensor] = []
        for level, conv in enumerate(self.fpn_convs):
            outputs.append(conv(laterals[level] if level < len(laterals) else outputs[-1]))
        return outputs
