"""The lifting network: points with a skeleton in, a shape in a frame of its own out; it knows no joint by name.

Relabelling the points relabels the output. A point that is not visible stays in the graph, with its place unknown.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lift3d_ros.models.lfm.block import Block, FigureBlock, forbid
from lift3d_ros.models.lfm.config import LfmConfig
from lift3d_ros.models.lfm.encoding import FourierEncoding, LearnedEncoding
from lift3d_ros.models.lfm.graph import NUM_NODE_FEATURES, NUM_PAIR_FEATURES, GraphFeatures, graph_features
from lift3d_ros.models.lfm.spread import SPREAD_OUTPUT, spread_of

_SMALLEST = 1e-6


class LfmOutput(NamedTuple):
    """What the network gives.

    Args:
        shape: (B, J, 3) in a frame of its own, mean 0 and RMS distance 1 over the points that exist, 0 in padding.
        sign_logit: (B,) log odds that `shape`, not its mirror image (third coordinate negated), is the right one.
        spread: (B, J) expected distance of each point from the truth after alignment, in RMS sizes of the shape.
    """

    shape: Tensor
    sign_logit: Tensor
    spread: Tensor


class LfmNetwork(nn.Module):
    """3D-LFM with graph features, sides and a head that says which of two mirror images is seen."""

    def __init__(self, config: LfmConfig) -> None:
        """Build the network with random weights."""
        super().__init__()
        self.config = config
        width = config.width
        self.encoding: nn.Module = (
            FourierEncoding(width, config.bandwidth) if config.encoding == "fourier" else LearnedEncoding(width)
        )
        self.missing = nn.Parameter(torch.zeros(width))
        num_plain = 2 + 2 + 4 + (NUM_NODE_FEATURES if config.has_graph_features else 0)
        self.embedding = nn.Linear(width + num_plain, width)
        block = FigureBlock if config.block == "figure" else Block
        self.blocks = nn.ModuleList(block(config) for _ in range(config.num_layers))
        num_biases = config.num_layers * config.num_heads
        self.pair_bias = nn.Linear(NUM_PAIR_FEATURES, num_biases) if config.has_pair_bias else None
        self.norm = nn.LayerNorm(width)
        self.shape_head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 4))
        undecided = nn.Linear(width, 1)
        nn.init.zeros_(undecided.weight)
        nn.init.zeros_(undecided.bias)
        self.sign_head = nn.Sequential(nn.Linear(width, width), nn.GELU(), undecided)

    def forward(self, points: Tensor, exists: Tensor, is_visible: Tensor, side: Tensor, adjacency: Tensor) -> LfmOutput:
        """Lift instances of any skeletons.

        Args:
            points: (B, J, 2), x right and y down, in any unit; moved and scaled points give the same output.
            exists: (B, J) bool, false for padding.
            is_visible: (B, J) bool, false where the point is not known; its `points` are not read.
            side: (B, J) +1 left, -1 right, 0 middle or unknown; all 0 for a skeleton without sides.
            adjacency: (B, J, J) bool.
        """
        seen = exists & is_visible
        placed = normalise(points, seen)
        graph = graph_features(adjacency, exists)
        encoded = torch.where(seen[..., None], self.encoding(placed), self.missing.float())
        features = [encoded, placed, self._offsets(placed, seen, graph.links), self._sides(side, exists, seen)]
        if self.config.has_graph_features:
            features.append(graph.nodes)
        tokens = self.embedding(torch.cat([part.to(encoded.dtype) for part in features], dim=-1))
        for block, bias in zip(self.blocks, self._biases(graph, exists), strict=True):
            tokens = block(tokens, bias)
        tokens = self.norm(tokens)
        output = self.shape_head(tokens).float()
        weights = exists[..., None].to(output.dtype)
        count = weights.sum(1).clamp(min=1.0)
        sign_logit = self.sign_head((tokens * weights).sum(1) / count)[:, 0].float()
        centred = (output[..., :3] - (output[..., :3] * weights).sum(1, keepdim=True) / count[:, None]) * weights
        size = ((centred * centred).sum((1, 2)) / count[:, 0]).clamp(min=_SMALLEST).sqrt()
        return LfmOutput(centred / size[:, None, None], sign_logit, spread_of(output[..., SPREAD_OUTPUT]))

    def _biases(self, graph: GraphFeatures, exists: Tensor) -> tuple[Tensor, ...]:
        """Return the bias (B, branches * heads, J, J) of each block, the local branch first."""
        heads, layers = self.config.num_heads, self.config.num_layers
        branches = {
            "local": forbid(graph.links)[:, None, None].expand(-1, layers, heads, -1, -1),
            "global": forbid(exists)[:, None, None, None].expand(-1, layers, heads, exists.shape[1], -1),
        }
        if self.pair_bias is not None:
            own = self.pair_bias(graph.pairs).permute(0, 3, 1, 2).unflatten(1, (layers, heads))
            branches["global"] = own + branches["global"]
        biases = torch.cat([branches[name] for name in self.config.branch_names], dim=2)
        return biases.unbind(1)

    @staticmethod
    def _offsets(placed: Tensor, seen: Tensor, links: Tensor) -> Tensor:
        """Return the mean offset (B, J, 2) to the visible neighbours, 0 for a point that is not seen itself."""
        weights = (links & seen[:, None, :]).to(placed.dtype)
        mean = (weights @ placed) / weights.sum(-1, keepdim=True).clamp(min=1.0)
        return torch.where(seen[..., None], mean - placed, torch.zeros_like(mean))

    @staticmethod
    def _sides(side: Tensor, exists: Tensor, seen: Tensor) -> Tensor:
        """Return (B, J, 4): side, whether it has one, whether the skeleton has any, whether the point is seen."""
        own = torch.where(exists, side.to(torch.float32), 0.0)
        has_side = own.abs()
        has_any = has_side.amax(1, keepdim=True).expand_as(own)
        return torch.stack([own, has_side, has_any, seen.to(own.dtype)], dim=-1)


def normalise(points: Tensor, seen: Tensor) -> Tensor:
    """Return points (B, J, 2) with their visible mean at 0 and largest coordinate 1; 0 where not seen (equation 3)."""
    inside = seen[..., None]
    points = torch.where(inside, points.float(), 0.0)
    mean = points.sum(1, keepdim=True) / inside.sum(1, keepdim=True).clamp(min=1)
    centred = torch.where(inside, points - mean, 0.0)
    largest = centred.abs().amax((1, 2), keepdim=True)
    return centred / torch.where(largest > 0, largest, 1.0)


def likelier_shape(output: LfmOutput) -> Tensor:
    """Return (B, J, 3): the shape or its mirror image, whichever the network takes for more likely."""
    sign = torch.where(output.sign_logit >= 0, 1.0, -1.0)
    flip = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], dim=-1)
    return output.shape * flip[:, None]
