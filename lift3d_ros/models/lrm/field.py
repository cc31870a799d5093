"""The radiance field that three feature planes and a small network make: density and colour of any point.

Letters: N objects, P points, C channels of the planes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.lrm.config import FieldConfig

# exp of it is far beyond opaque, and its products are still numbers of float32.
_LARGEST_EXPONENT = 60.0


class TriplaneField(nn.Module):
    """Reads points from planes; `query` gives what a mesh or a picture needs."""

    def __init__(self, config: FieldConfig, channels: int) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_width
        widths = [3 * channels, *[width] * (config.num_layers - 1), 4]
        layers: list[nn.Module] = []
        for index in range(config.num_layers):
            layers.append(nn.Linear(widths[index], widths[index + 1]))
            if index < config.num_layers - 1:
                layers.append(nn.ReLU(inplace=True) if config.activation == "relu" else nn.SiLU(inplace=True))
        self.layers = nn.Sequential(*layers)

    def forward(self, planes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return raw density (N, P) and colour (N, P, 3) at points (N, P, 3) of the object frame.

        Args:
            planes: (N, 3, C, R, R).
        """
        features = sample_planes(planes, points / self.config.half_side, self.config.plane_axes)
        raw = self.layers(features.permute(0, 2, 1, 3).flatten(2)).to(torch.float32)
        overshoot = self.config.color_overshoot
        return raw[..., 0], torch.sigmoid(raw[..., 1:]) * (1.0 + 2.0 * overshoot) - overshoot

    def query(self, planes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return density (N, P), 1 / unit of the object frame, and colour (N, P, 3) at points (N, P, 3)."""
        raw, color = self(planes, points)
        return self.density(raw), color

    def density(self, raw: Tensor) -> Tensor:
        """Return the density of a raw one, in float32: half precision overflows where it is opaque."""
        if self.config.density == "softplus":
            return F.softplus(raw - 1.0)
        return torch.exp((raw - 1.0).clamp(max=_LARGEST_EXPONENT))


def sample_planes(planes: Tensor, points: Tensor, plane_axes: Sequence[tuple[int, int]]) -> Tensor:
    """Read each plane where points fall onto it, bilinearly and with zeros outside.

    Args:
        planes: (N, 3, C, H, W); borders of the first and last texels lie at -1 and 1.
        points: (N, P, 3) in -1..1.
        plane_axes: axes along columns and rows of each plane.

    Returns:
        (N, 3, P, C).
    """
    places = torch.stack([torch.stack([points[..., u], points[..., v]], dim=-1) for u, v in plane_axes], dim=1)
    sampled = F.grid_sample(
        planes.flatten(0, 1),
        places.flatten(0, 1)[:, :, None],
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )
    return sampled[..., 0].transpose(1, 2).reshape(-1, 3, points.shape[1], planes.shape[2])
