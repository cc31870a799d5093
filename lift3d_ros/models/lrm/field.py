"""The radiance field that three feature planes and a small network make: density and colour of any point.

Letters: N objects, P points, C channels of the planes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.lrm.config import FieldConfig, ViewConfig

# exp of it is far beyond opaque, and its products are still numbers of float32.
_LARGEST_EXPONENT = 60.0
# Of the distance of the assumed camera: no point is taken as nearer to it.
_NEAREST = 0.05


class TriplaneField(nn.Module):
    """Reads points from planes; `query` gives what a mesh or a picture needs."""

    def __init__(self, config: FieldConfig, channels: int, view: ViewConfig | None = None) -> None:
        """Prepare for planes of `channels`; a field that is laid out as a view has to know it."""
        super().__init__()
        if config.layout == "view" and view is None:
            raise ValueError("this field is laid out as the view of a camera: 'view' is missing")
        self.config = config
        self.view = view if config.layout == "view" else None
        width = config.hidden_width
        num_places = 3 * (1 + 2 * config.num_octaves) if config.num_octaves else 0
        widths = [3 * channels + num_places, *[width] * (config.num_layers - 1), 4]
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
        places = self.places(points)
        features = sample_planes(planes, places, self.config.plane_axes).permute(0, 2, 1, 3).flatten(2)
        if self.config.num_octaves:
            features = torch.cat([features, _waves(places, self.config.num_octaves).to(features.dtype)], dim=-1)
        raw = self.layers(features).to(torch.float32)
        overshoot = self.config.color_overshoot
        return raw[..., 0], torch.sigmoid(raw[..., 1:]) * (1.0 + 2.0 * overshoot) - overshoot

    def places(self, points: Tensor) -> Tensor:
        """Return where points (..., 3) of the object frame lie on the axes of the planes, -1..1 within them."""
        if self.view is None:
            return points / self.config.half_side
        azimuth, distance, zoom = math.radians(self.view.azimuth_deg), self.view.distance, 2.0 * self.view.focal
        x, y, z = points.unbind(dim=-1)
        right = math.cos(azimuth) * y - math.sin(azimuth) * x
        forward = -math.cos(azimuth) * x - math.sin(azimuth) * y
        scale = zoom / (distance + forward).clamp(min=_NEAREST * distance)
        return torch.stack([right * scale, forward / self.config.half_side, z * scale], dim=-1)

    def query(self, planes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return density (N, P), 1 / unit of the object frame, and colour (N, P, 3) at points (N, P, 3)."""
        raw, color = self(planes, points)
        return self.density(raw), color

    def density(self, raw: Tensor) -> Tensor:
        """Return the density of a raw one, in float32: half precision overflows where it is opaque."""
        if self.config.density == "softplus":
            return F.softplus(raw - 1.0)
        return torch.exp((raw - 1.0).clamp(max=_LARGEST_EXPONENT))


def _waves(places: Tensor, num_octaves: int) -> Tensor:
    """Return places (N, P, 3), and sines and cosines of them, (N, P, 3 + 6 octaves)."""
    angles = [places * (math.pi * 2.0**octave) for octave in range(num_octaves)]
    return torch.cat([places, *(wave for angle in angles for wave in (angle.sin(), angle.cos()))], dim=-1)


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
