"""Losses on dense maps: class heatmaps of object centres, from above and in the pictures, and dense box codes.

They tell every cell and every pixel what it sees, which the one-to-one matching of the decoder does only for a few.
Letters: M objects of all maps, N maps, H x W cells. Source: CenterNet (arXiv 1904.07850), equation 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.models.dfa3d.losses import code_differences
from lift3d_ros.models.dfa3d.on_device import constant, pad_targets, to_device
from lift3d_ros.models.dfa3d.proposals import Proposals

_ALPHA, _BETA = 2.0, 4.0


def draw_heatmaps(
    map_index: Tensor, labels: Tensor, places: Tensor, sigmas: Tensor, num_maps: int, num_classes: int,
    size: tuple[int, int],
) -> Tensor:  # fmt: skip
    """Return targets (N, classes, H, W): a Gaussian around each object, exactly 1 in the cell of its centre.

    Args:
        map_index, labels: (M,) int64.
        places: (M, 2) x and y in cells, 0 at the border of the map; objects outside are left out.
        sigmas: (M,) in cells.
    """
    height, width = size
    target = places.new_zeros(num_maps * num_classes, height * width)
    # Masked and not selected: a selection would make a GPU wait.
    is_inside = (places >= 0).all(-1) & (places[:, 0] < width) & (places[:, 1] < height)
    center = torch.where(is_inside[:, None], places, torch.zeros_like(places)).floor()
    columns = torch.arange(width, device=places.device)
    rows = torch.arange(height, device=places.device)
    spread = 2 * torch.where(is_inside, sigmas, torch.ones_like(sigmas))[:, None] ** 2
    across = torch.exp(-((columns - center[:, :1]) ** 2) / spread)
    down = torch.exp(-((rows - center[:, 1:]) ** 2) / spread)
    drawn = (down[:, :, None] * across[:, None, :]).reshape(-1, height * width) * is_inside[:, None]
    index = (map_index * num_classes + labels)[:, None].expand_as(drawn)
    target.scatter_reduce_(0, index, drawn, "amax")
    return target.reshape(num_maps, num_classes, height, width)


def heatmap_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the focal loss of heatmaps, summed and divided by the number of centres; a float32 scalar."""
    logits = logits.float()
    probability = logits.sigmoid()
    is_center = target >= 1.0
    hit = (1 - probability) ** _ALPHA * F.logsigmoid(logits)
    miss = (1 - target) ** _BETA * probability**_ALPHA * F.logsigmoid(-logits)
    return -torch.where(is_center, hit, miss).sum() / is_center.sum().clamp(min=1)


def proposal_losses(
    proposals: Proposals,
    target_codes: Sequence[Tensor],
    target_labels: Sequence[Tensor],
    config: Dfa3dConfig,
    free_heading: float = 0.0,
) -> dict[str, Tensor]:
    """Return ``loss_heatmap`` and ``loss_dense_bbox`` of the proposals.

    Args:
        target_codes: (M, 10) box codes of each sample.
        target_labels: (M,) class indices of each sample.
        free_heading: see :func:`~lift3d_ros.models.dfa3d.losses.code_differences`.
    """
    device = proposals.heatmap.device
    counts = [len(labels) for labels in target_labels]
    sample = to_device(np.repeat(np.arange(len(counts)), counts), device)
    codes, labels = torch.cat(list(target_codes)).float(), torch.cat(list(target_labels))
    low, high = (constant(tuple(part), device) for part in (config.point_range[:2], config.point_range[3:5]))
    height, width = config.bev_height, config.bev_width
    size = constant((width, height), device)
    cell = (high - low) / size
    places = (codes[:, :2] - low) / cell
    # A third of the half diagonal, and at least about the next cell.
    sigmas = (0.25 * torch.exp((codes[:, 2] + codes[:, 3]) / 2) / cell.mean()).clamp(0.6, 3.0)
    target = draw_heatmaps(sample, labels, places, sigmas, len(target_labels), len(config.class_names), (height, width))
    is_used = ((places >= 0) & (places < size)).all(-1)
    column, row = (places[:, axis].long().clamp(0, count - 1) for axis, count in ((0, width), (1, height)))
    found = proposals.codes.float()[sample, :, row, column]
    middle = low + (torch.stack([column, row], dim=-1) + 0.5) * cell
    wanted = torch.cat([codes[:, :2] - middle, codes[:, 2:]], dim=-1)
    difference = code_differences(found, wanted.nan_to_num(), free_heading) * wanted.isfinite() * is_used[:, None]
    weight = constant((1.0,) * 8 + (0.2,) * 2, device)
    return {
        "loss_heatmap": heatmap_loss(proposals.heatmap, target),
        "loss_dense_bbox": 0.25 * (difference * weight).sum() / is_used.sum().clamp(min=1),
    }


class PerspectiveHead(nn.Module):
    """Class heatmaps of object centres in the pictures: they guide picture features in training, then are left out.

    Source: BEVFormer v2 (arXiv 2211.10439), section 3.2.
    """

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        dims = config.embed_dims
        self.config = config
        self.shared = nn.Sequential(nn.Conv2d(dims, dims, 3, padding=1), nn.ReLU(inplace=True))
        self.heatmap = nn.Conv2d(dims, len(config.class_names), 1)
        assert self.heatmap.bias is not None
        nn.init.normal_(self.heatmap.weight, std=1e-3)  # features of a trained detector are large
        nn.init.constant_(self.heatmap.bias, -2.2)

    def forward(self, features: Tensor) -> Tensor:
        """Map the finest level (N, C, h, w) to heatmap logits (N, classes, h, w)."""
        logits: Tensor = self.heatmap(self.shared(features))
        return logits

    def loss(
        self,
        logits: Tensor,
        image_from_model: Tensor,
        sample_of_camera: Tensor,
        target_codes: Sequence[Tensor],
        target_labels: Sequence[Tensor],
    ) -> Tensor:
        """Compare with the projected centres of the boxes.

        Args:
            image_from_model: (N, 4, 4).
            sample_of_camera: (N,) int64.
            target_codes, target_labels: as in :func:`proposal_losses`.
        """
        most = max((len(labels) for labels in target_labels), default=0)
        if most == 0:
            return heatmap_loss(logits, torch.zeros_like(logits, dtype=torch.float32))
        # Padded to the same number of objects, so that all cameras are projected at once.
        codes, labels = pad_targets(target_codes, math.nan).float(), pad_targets(target_labels, 0)
        codes, labels = codes[sample_of_camera], labels[sample_of_camera]
        points = torch.cat([codes[..., :2], codes[..., 4:5], torch.ones_like(codes[..., :1])], dim=-1)
        projected = points @ image_from_model.float().transpose(1, 2)
        depth = projected[..., 2]
        padded_height, padded_width = self.config.padded_size
        rows, columns = logits.shape[-2:]
        scale = constant((columns / padded_width, rows / padded_height), projected.device)
        places = (projected[..., :2] / depth.clamp(min=1e-3)[..., None] + 0.5) * scale
        focal = image_from_model.float()[:, :2, :3].norm(dim=-1).mean(-1, keepdim=True)
        logarithms = torch.cat([codes[..., 2:4], codes[..., 5:6]], dim=-1)
        extent = torch.exp(logarithms.mean(-1)) * focal / depth.clamp(min=1e-3) * scale.mean()
        places = torch.where((depth > 0.5)[..., None], places, torch.full_like(places, -1.0))
        camera = torch.arange(len(logits), device=logits.device)[:, None].expand_as(depth).reshape(-1)
        sigmas = (extent / 6).clamp(0.5, 4.0).reshape(-1)
        size = (int(rows), int(columns))
        target = draw_heatmaps(
            camera, labels.reshape(-1), places.reshape(-1, 2), sigmas, len(logits), len(self.config.class_names), size
        )
        return heatmap_loss(logits, target)
