"""Looks once more into the picture around each box that was found, and corrects box and class.

The cells of the BEV map know of the pictures what they have read from features with a stride of 16 px, and at 20 m one
pixel of the line where an object stands on the ground is half a metre of distance. So a window of finer features is cut
out around each projected box, always as large as the box: what is off in the box is off in the window. A second stage
on regions of interest: Mask R-CNN (arXiv 1703.06870), section 3.
Letters: B samples, N cameras of all samples, Q boxes, C channels, R x R places of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lift3d_ros.models.dfa3d.camera_views import CameraAxes, camera_axes
from lift3d_ros.models.dfa3d.config import CODE_SIZE, Dfa3dConfig
from lift3d_ros.ops.deformable_attention_3d import Levels, deformable_attention_3d

_NUM_FACTS = 13
_NEAREST_M = 0.5  # parts of a box that are nearer to a camera, or behind it, are drawn as if they were here
_MARGIN, _MARGIN_PX = 0.25, 4.0  # of a window around its box, as a share of its size and at least
_FARTHEST_OUTSIDE = 0.75  # from the middle of a picture, in pictures, that a centre may lie to be looked at
_HEIGHT_WEIGHT = 0.5  # of how far above or below the middle that is, as pictures reach less far in height
_TYPICAL_HEIGHT_M = 1.5
_SIZE_UNIT, _HEADING_UNIT, _HEIGHT_UNIT_M = 0.2, 0.5, 0.2


class Windows(NamedTuple):
    """Where boxes are seen, each in the picture that shows it nearest to the middle.

    Args:
        camera: (B, Q) int64.
        is_seen: (B, Q) whether any picture shows the box.
        low, high: (B, Q, 2) corners, 0 and 1 at the borders of the padded picture.
        center: (B, Q, 2) of the box.
        ray: (B, Q, 3) metres from the camera to the centre of the box, in the model frame.
        right: (B, Q, 2) unit vector, level, square to the ray, to the right in the picture.
        focal: (B, Q) px.
    """

    camera: Tensor
    is_seen: Tensor
    low: Tensor
    high: Tensor
    center: Tensor
    ray: Tensor
    right: Tensor
    focal: Tensor


class PictureRefinement(nn.Module):
    """Corrects boxes and class logits by what their windows show."""

    margin: Tensor
    axis_weights: Tensor

    def __init__(self, config: Dfa3dConfig, in_channels: Sequence[int]) -> None:
        """Read feature maps of `in_channels`, finest first."""
        super().__init__()
        refinement, num_classes = config.refinement, len(config.class_names)
        channels, hidden, self.size = refinement.channels, refinement.hidden, refinement.window
        self.padded_size, self.origin = config.padded_size, 0.5 if config.pixel_origin == "center" else 0.0
        height, width = self.padded_size
        # Kept on the device: a GPU would wait for numbers that are brought there in each step.
        margin = torch.tensor([_MARGIN_PX / width, _MARGIN_PX / height])
        self.register_buffer("margin", margin, persistent=False)
        self.register_buffer("axis_weights", torch.tensor([1.0, _HEIGHT_WEIGHT]), persistent=False)
        self.lateral = nn.ModuleList(nn.Conv2d(count, channels, 1) for count in in_channels)
        self.convs = nn.Sequential(
            nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True), nn.Flatten(),
        )  # fmt: skip
        self.of_window = nn.Linear(channels * self.size**2, hidden)
        self.of_facts = nn.Linear(_NUM_FACTS + num_classes, hidden)
        self.corrections = nn.Sequential(
            nn.ReLU(inplace=True), nn.Linear(hidden, hidden), nn.ReLU(inplace=True),
            nn.Linear(hidden, CODE_SIZE - 2 + num_classes),
        )  # fmt: skip
        last = self.corrections[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def features(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Bring feature maps (N, C_i, h_i, w_i) to the same number of channels."""
        return [lateral(level) for lateral, level in zip(self.lateral, maps, strict=True)]

    def forward(
        self, features: Sequence[Tensor], logits: Tensor, codes: Tensor, image_from_model: Tensor, sample: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return corrected class logits (B, Q, classes) and box codes (B, Q, 10).

        Args:
            features: (N, C, h, w) of :meth:`features`, finest first.
            logits, codes: what was found.
            image_from_model: (N, 4, 4) into pixels of the padded pictures.
            sample: (N,) int64 sample of each camera, less than 0 for those that are not looked at.
        """
        # Each stage learns to correct what it is given, and not to be given something else.
        codes, logits_in = codes.detach(), logits.detach()
        windows = self.find_windows(codes, image_from_model, sample)
        shown = self._look(features, windows)
        facts = torch.cat([self._facts(codes, windows), logits_in * 0.2], dim=-1)
        hidden = self.of_window(shown).reshape(*codes.shape[:2], -1) + self.of_facts(facts)
        found = self.corrections(hidden) * windows.is_seen[..., None].to(hidden.dtype)
        return logits + found[..., CODE_SIZE - 2 :], self._corrected(codes, found[..., : CODE_SIZE - 2], windows)

    def find_windows(self, codes: Tensor, image_from_model: Tensor, sample: Tensor) -> Windows:
        """Project boxes (B, Q, 10) into the cameras of their samples."""
        batch, queries = codes.shape[:2]
        corners = _corners(codes)  # (B, Q, 9, 3), the centre last
        own = corners.index_select(0, sample.clamp(min=0))  # (N, Q, 9, 3)
        matrices = image_from_model.float()
        # Sums and not a matrix product, which hardware may round to a few bits where that is allowed.
        x, y, z = own.unbind(-1)
        rows = matrices[:, :3, None, None]
        u, v, depth = (
            rows[:, i, ..., 0] * x + rows[:, i, ..., 1] * y + rows[:, i, ..., 2] * z + rows[:, i, ..., 3]
            for i in range(3)
        )
        height, width = self.padded_size
        safe = depth.clamp(min=_NEAREST_M)
        places = torch.stack([(u / safe + self.origin) / width, (v / safe + self.origin) / height], dim=-1)
        places = places.clamp(-4.0, 5.0)
        center = places[:, :, -1]
        off = ((center - 0.5) * self.axis_weights).abs().amax(-1)
        off = torch.where(depth[..., -1] > _NEAREST_M, off, torch.full_like(off, 100.0))
        is_own = sample == torch.arange(batch, device=sample.device)[:, None]  # (B, N)
        off = torch.where(is_own[..., None], off, torch.full_like(off[None], 100.0))  # (B, N, Q)
        least, camera = off.min(dim=1)
        index = (camera * queries + torch.arange(queries, device=camera.device)).reshape(-1)

        def taken(values: Tensor) -> Tensor:
            return values.flatten(0, 1).index_select(0, index).reshape(batch, queries, *values.shape[2:])

        low, high = taken(places.amin(2)), taken(places.amax(2))
        axes = camera_axes(matrices)
        ray = taken(_rays(axes, torch.stack([u, v, depth], dim=-1)[:, :, -1]))
        per_camera = torch.cat([axes.across[:, 0, :2], axes.focal.mean(-1, keepdim=True)], dim=-1)
        chosen = per_camera.index_select(0, camera.reshape(-1)).reshape(batch, queries, 3)
        away = _unit(ray[..., :2])
        right = torch.stack([away[..., 1], -away[..., 0]], dim=-1)
        # In a mirrored world, as augmentation makes it, right is on the other side.
        side = torch.where((right * chosen[..., :2]).sum(-1, keepdim=True) < 0, -1.0, 1.0)
        is_seen = least < _FARTHEST_OUTSIDE
        return Windows(camera, is_seen, low, high, taken(center), ray, right * side, chosen[..., 2])

    def _look(self, features: Sequence[Tensor], windows: Windows) -> Tensor:
        """Return what the windows show, (B * Q, C * R * R)."""
        size = windows.high - windows.low
        low = windows.low - _MARGIN * size - self.margin
        size = (1 + 2 * _MARGIN) * size + 2 * self.margin
        steps = (torch.arange(self.size, device=low.device, dtype=low.dtype) + 0.5) / self.size
        x = (low[..., 0, None] + size[..., 0, None] * steps)[..., None, :]
        y = (low[..., 1, None] + size[..., 1, None] * steps)[..., :, None]
        shape = (*low.shape[:2], self.size, self.size)
        places = torch.stack([x.expand(shape), y.expand(shape)], dim=-1)
        levels: Levels = [(int(level.shape[-2]), int(level.shape[-1])) for level in features]
        value = torch.cat([level.flatten(2).transpose(1, 2) for level in features], dim=1)[:, :, None].float()
        locations = places.reshape(1, -1, 1, 1, 1, 2).expand(-1, -1, -1, len(levels), -1, -1)
        items = windows.camera[..., None].expand(-1, -1, self.size**2).reshape(1, -1)
        sampled = deformable_attention_3d(value, None, locations, torch.ones_like(locations[..., 0]), levels, items)
        pictures = sampled.reshape(-1, self.size, self.size, sampled.shape[-1]).permute(0, 3, 1, 2)
        rows: Tensor = self.convs(pictures.contiguous())
        return rows

    def _facts(self, codes: Tensor, windows: Windows) -> Tensor:
        """Return what is known of boxes and windows, (B, Q, 13), numbers of about one."""
        away = _unit(windows.ray[..., :2])
        sine, cosine = codes[..., 6:7], codes[..., 7:8]
        size = (windows.high - windows.low).clamp(min=1e-3).log()
        return torch.cat(
            [
                0.3 * windows.ray[..., :2].norm(dim=-1, keepdim=True).clamp(min=0.1).log(),
                0.3 * windows.ray[..., 2:],
                codes[..., 2:6] * 0.5,
                cosine * away[..., :1] + sine * away[..., 1:],
                cosine * windows.right[..., :1] + sine * windows.right[..., 1:],
                0.3 * size,
                windows.center - 0.5,
                windows.focal[..., None] / self.padded_size[1],
            ],
            dim=-1,
        )

    def _corrected(self, codes: Tensor, found: Tensor, windows: Windows) -> Tensor:
        """Return box codes moved along the ray, in pixels of the ground there, and across it, in pixels."""
        distance = windows.ray[..., :2].norm(dim=-1, keepdim=True)
        focal = windows.focal[..., None]
        along = (distance**2 / (focal * _TYPICAL_HEIGHT_M)).clamp(min=0.05)
        aside = (distance / focal).clamp(min=0.02)
        away = _unit(windows.ray[..., :2])
        center = codes[..., :2] + found[..., :1] * along * away + found[..., 1:2] * aside * windows.right
        turn = found[..., 6:7] * away + found[..., 7:8] * windows.right  # of (cosine, sine)
        return torch.cat(
            [
                center,
                codes[..., 2:4] + _SIZE_UNIT * found[..., 2:4],
                codes[..., 4:5] + _HEIGHT_UNIT_M * found[..., 4:5],
                codes[..., 5:6] + _SIZE_UNIT * found[..., 5:6],
                codes[..., 6:8] + _HEADING_UNIT * turn.flip(-1),
                codes[..., 8:],
            ],
            dim=-1,
        )


def _unit(vector: Tensor) -> Tensor:
    unit: Tensor = vector / vector.norm(dim=-1, keepdim=True).clamp(min=1e-3)
    return unit


def _rays(axes: CameraAxes, projected: Tensor) -> Tensor:
    """Return metres from the cameras to points (N, Q, 3), given as (u * depth, v * depth, depth)."""
    depth = projected[..., 2:]
    aside = (projected[..., :2] - axes.center[:, None] * depth) / axes.focal[:, None]  # (N, Q, 2)
    along, down = aside[..., :1] * axes.across[:, None, 0], aside[..., 1:] * axes.across[:, None, 1]
    return depth * axes.axis[:, None] + along + down


def _corners(codes: Tensor) -> Tensor:
    """Return the corners and the centre of boxes, (B, Q, 9, 3) metres."""
    width, length, height = codes[..., 2].exp(), codes[..., 3].exp(), codes[..., 5].exp()
    heading = _unit(codes[..., 6:8])
    sine, cosine = heading.unbind(-1)
    points = []
    for i in range(8):
        forward, left, up = (length if i & 1 else -length), (width if i & 2 else -width), (height if i & 4 else -height)
        points.append(
            torch.stack(
                [
                    codes[..., 0] + 0.5 * (forward * cosine - left * sine),
                    codes[..., 1] + 0.5 * (forward * sine + left * cosine),
                    codes[..., 4] + 0.5 * up,
                ],
                dim=-1,
            )
        )
    points.append(torch.cat([codes[..., :2], codes[..., 4:5]], dim=-1))
    return torch.stack(points, dim=2)
