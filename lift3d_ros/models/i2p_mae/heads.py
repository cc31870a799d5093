"""What stands on the encoder after pre-training: nothing but pooling, a classifier, or part segmentation.

Letters: B clouds, N points, G tokens of the coarsest scale, C channels, D numbers of a descriptor.
Source: fact sheet I2P-MAE, section 11.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.i2p_mae.config import ClassificationConfig, I2pMaeConfig, Pooling
from lift3d_ros.models.i2p_mae.encoder import PointEncoder
from lift3d_ros.models.i2p_mae.pointwise import PointwiseConv, PointwiseNorm
from lift3d_ros.models.i2p_mae.propagation import PointPropagation
from lift3d_ros.models.i2p_mae.tokenizer import PointGroups


class PointFeatureNetwork(nn.Module):
    """The encoder with a descriptor of the whole cloud, to be used as it is."""

    def __init__(self, config: I2pMaeConfig) -> None:
        super().__init__()
        self.pooling, self.descriptor_dims = config.pooling, config.descriptor_dims
        self.encoder = PointEncoder(config.encoder)

    def forward(self, scales: Sequence[PointGroups]) -> tuple[Tensor, Tensor]:
        """Return the descriptors (B, D) and the coarsest tokens (B, G, C) of clouds."""
        tokens = self.encoder(scales)
        return pool_tokens(tokens, self.pooling), tokens[-1]


def pool_tokens(tokens: Sequence[Tensor], pooling: Pooling) -> Tensor:
    """Return the descriptor (B, D) of the tokens (B, G, C) of each scale, finest first; dropped ones count as zero."""
    if pooling == "all_scales":
        return torch.cat([part for of in tokens for part in (of.mean(1), of.amax(1))], dim=-1)
    most = tokens[-1].amax(1)
    return most if pooling == "max" else most + tokens[-1].mean(1)


class PointClassifier(nn.Module):
    """The encoder with a classifier."""

    def __init__(self, config: I2pMaeConfig) -> None:
        super().__init__()
        self.encoder = PointEncoder(config.encoder)
        self.head = _ClassificationHead(config.encoder.dims[-1], config.classification)

    def forward(self, scales: Sequence[PointGroups]) -> Tensor:
        """Return logits (B, classes)."""
        result: Tensor = self.head(self.encoder(scales)[-1])
        return result


class _ClassificationHead(nn.Module):
    def __init__(self, dims: int, config: ClassificationConfig) -> None:
        super().__init__()
        self.concatenates = config.pooling == "concat"
        hidden = config.hidden_dims
        self.norm = nn.LayerNorm(dims)
        self.layers = nn.Sequential(
            nn.Linear(2 * dims if self.concatenates else dims, hidden),
            PointwiseNorm(hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, hidden),
            PointwiseNorm(hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, config.num_classes),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.norm(tokens)
        mean, most = tokens.mean(1), tokens.amax(1)
        result: Tensor = self.layers(torch.cat([mean, most], dim=-1) if self.concatenates else mean + most)
        return result


class PartSegmenter(nn.Module):
    """The encoder with a part for each point; the category of each cloud is known."""

    def __init__(self, config: I2pMaeConfig) -> None:
        super().__init__()
        self.encoder = PointEncoder(config.encoder)
        self.head = _SegmentationHead(config)

    def forward(self, points: Tensor, scales: Sequence[PointGroups], categories: Tensor) -> Tensor:
        """Return logits (B, N, parts) of points (B, N, 3) in clouds of `categories` (B,) int64."""
        result: Tensor = self.head(points, scales, self.encoder(scales), categories)
        return result


class _SegmentationHead(nn.Module):
    def __init__(self, config: I2pMaeConfig) -> None:
        super().__init__()
        head = config.segmentation
        self.num_categories = head.num_categories
        self.category = nn.Sequential(
            PointwiseConv(head.num_categories, head.category_dims, bias=False),
            PointwiseNorm(head.category_dims),
            nn.LeakyReLU(0.2),
        )
        self.propagations = nn.ModuleList(
            PointPropagation(dims + 3, head.propagation_dims) for dims in config.encoder.dims
        )
        of_scales = len(config.encoder.dims) * head.propagation_dims[-1]
        widths = (2 * of_scales + head.category_dims, *head.hidden_dims, head.num_parts)
        self.convs = nn.ModuleList(PointwiseConv(widths[i], widths[i + 1]) for i in range(len(widths) - 1))
        self.norms = nn.ModuleList(PointwiseNorm(width) for width in head.hidden_dims)
        self.dropout = nn.Dropout(head.dropout)

    def forward(
        self, points: Tensor, scales: Sequence[PointGroups], tokens: Sequence[Tensor], categories: Tensor
    ) -> Tensor:
        x = torch.cat(
            [
                propagate(points, groups.centers, of_scale)
                for propagate, groups, of_scale in zip(self.propagations, scales, tokens, strict=True)
            ],
            dim=-1,
        )
        category = self.category(F.one_hot(categories, self.num_categories).to(x.dtype))
        of_cloud = torch.cat([x.amax(1) + x.mean(1), category], dim=-1)
        x = torch.cat([x, of_cloud[:, None].expand(-1, x.shape[1], -1)], dim=-1)
        for layer, norm in enumerate(self.norms):
            x = F.relu(norm(self.convs[layer](x)))
            if layer == 0:
                x = self.dropout(x)
        result: Tensor = self.convs[-1](x)
        return result
