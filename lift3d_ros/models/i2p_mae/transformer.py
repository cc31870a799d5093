"""Pre-norm transformer blocks to which positions are added again before every block.

Letters: B clouds, N tokens, C channels. Names of parameters are those of timm's vision transformer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head self attention; projections to queries, keys and values have no bias."""

    def __init__(self, dims: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dims, 3 * dims, bias=False)
        self.proj = nn.Linear(dims, dims)

    def forward(self, x: Tensor, excluded: Tensor | None = None) -> Tensor:
        """Map tokens (B, N, C) to (B, N, C).

        Args:
            excluded: (B, N, N) bool, true where the second token is hidden from the first one. Each row needs one that
                is not: in place of a large negative number the pair is left out, which holds in half precision too.
        """
        batch, count, dims = x.shape
        qkv = self.qkv(x).reshape(batch, count, 3, self.num_heads, dims // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, N, C / heads)
        allowed = None if excluded is None else ~excluded[:, None]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        result: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, count, dims))
        return result


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dims: int, hidden_dims: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dims, hidden_dims)
        self.fc2 = nn.Linear(hidden_dims, dims)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C)."""
        result: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return result


class DropPath(nn.Module):
    """Leaves out a branch for some samples of a batch in training. Source: arXiv 1603.09382."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (B, N, C) with some samples zero and the others larger by as much."""
        if not self.training or self.rate == 0.0:
            return x
        kept = torch.rand(x.shape[0], 1, 1, device=x.device) >= self.rate
        return x * (kept.to(x.dtype) / (1.0 - self.rate))


class Block(nn.Module):
    """Attention, then an MLP, each on normalised tokens and added to them."""

    def __init__(self, dims: int, num_heads: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dims)
        self.attn = Attention(dims, num_heads)
        self.norm2 = nn.LayerNorm(dims)
        self.mlp = Mlp(dims, mlp_ratio * dims)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, excluded: Tensor | None = None) -> Tensor:
        """Map tokens (B, N, C) to (B, N, C); `excluded` as in :class:`Attention`."""
        x = x + self.drop_path(self.attn(self.norm1(x), excluded))
        result: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return result


class Stack(nn.Module):
    """Blocks of one scale, one for each of `drop_paths`."""

    def __init__(self, dims: int, num_heads: int, mlp_ratio: int, drop_paths: Sequence[float]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dims, num_heads, mlp_ratio, rate) for rate in drop_paths)

    def forward(self, x: Tensor, position: Tensor, excluded: Tensor | None = None) -> Tensor:
        """Map tokens (B, N, C) at `position` (B, N, C) to (B, N, C)."""
        for block in self.blocks:
            x = block(x + position, excluded)
        return x


class Position(nn.Sequential):
    """Embeds coordinates (..., 3) as (..., C)."""

    def __init__(self, dims: int) -> None:
        super().__init__(nn.Linear(3, dims), nn.GELU(), nn.Linear(dims, dims))


def excluded_by_radius(centers: Tensor, radius: float) -> Tensor:
    """Return (B, N, N) bool, true where centres (B, N, 3) are not nearer than `radius` to each other.

    The diagonal is false: a token always sees itself.
    """
    squared = (centers[:, :, None] - centers[:, None]).square().sum(-1)
    return squared.sqrt() >= radius
