"""One block: attention along the skeleton, attention between all points, and a perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from lift3d_ros.models.lfm.config import LfmConfig

_FORBIDDEN = -1e4  # a probability of zero after the softmax, within the range of float16


class Attention(nn.Module):
    """Dot-product attention with a bias for each pair; rows and columns are points."""

    def __init__(self, width: int, inner: int, num_heads: int) -> None:
        """Attend with `inner` numbers of `width`, split over heads."""
        super().__init__()
        self.num_heads = num_heads
        self.inputs = nn.Linear(width, 3 * inner)
        self.output = nn.Linear(inner, inner)


def attend(branches: Sequence[Attention], tokens: Tensor, bias: Tensor) -> Tensor:
    """Return what branches of equal size give, side by side: (B, J, branches * inner) of tokens (B, J, width).

    All heads of all branches are computed as one attention: for skeletons the time goes into starting operations, not
    into numbers.

    Args:
        bias: (B, branches * heads, J, J).
    """
    batch, count, width = tokens.shape
    heads = sum(branch.num_heads for branch in branches)
    weight = torch.cat([branch.inputs.weight.reshape(3, -1, width) for branch in branches], dim=1)
    offset = torch.cat([branch.inputs.bias.reshape(3, -1) for branch in branches], dim=1)
    factor = float(weight.shape[1] // heads) ** -0.5
    parts = linear(tokens, weight.reshape(-1, width), offset.reshape(-1))
    parts = parts.reshape(batch, count, 3, heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = parts[0], parts[1], parts[2]
    weights = torch.softmax((query * factor) @ key.transpose(-2, -1) + bias, dim=-1)
    mixed = (weights @ value).transpose(1, 2).reshape(batch, count, -1).chunk(len(branches), dim=-1)
    return torch.cat([branch.output(part) for branch, part in zip(branches, mixed, strict=True)], dim=-1)


class Block(nn.Module):
    """Local and global branch side by side, then a perceptron (fact sheet 5.1 to 5.4)."""

    def __init__(self, config: LfmConfig) -> None:
        """Build the branches that `config` names."""
        super().__init__()
        width, names = config.width, config.branch_names
        inner = width // len(names)
        self.local_branch = Attention(width, inner, config.num_heads) if "local" in names else None
        self.global_branch = Attention(width, inner, config.num_heads) if "global" in names else None
        self.norm_in = nn.LayerNorm(width)
        self.norm_out = nn.LayerNorm(width)
        hidden = config.mlp_ratio * width
        self.perceptron = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self._is_normed_first = config.block == "sums"

    def forward(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """Return new tokens (B, J, width); `bias` is (B, branches * heads, J, J), the local branch first."""
        branches = [branch for branch in (self.local_branch, self.global_branch) if branch is not None]
        if self._is_normed_first:
            tokens = tokens + attend(branches, self.norm_in(tokens), bias)
            perceived: Tensor = self.perceptron(self.norm_out(tokens))
            return tokens + perceived
        joined = tokens + attend(branches, tokens, bias)
        summed: Tensor = joined + self.norm_in(joined)
        normed: Tensor = self.norm_out(self.perceptron(summed))
        return summed + normed


class FigureBlock(nn.Module):
    """The block as the paper draws it: each branch has the whole width, and a sum and a norm of its own."""

    def __init__(self, config: LfmConfig) -> None:
        """Build the branches that `config` names."""
        super().__init__()
        width, names = config.width, config.branch_names
        # Not 'global' alone: the export writes the names of modules as Python code.
        self.branches = nn.ModuleDict({f"{name}_branch": Attention(width, width, config.num_heads) for name in names})
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in self.branches})
        joined, hidden = width * len(names), config.mlp_ratio * width
        self.perceptron = nn.Sequential(nn.Linear(joined, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.shortcut = nn.Linear(joined, width)
        self.norm_out = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """Return new tokens (B, J, width); `bias` is (B, branches * heads, J, J), the local branch first."""
        branches = [cast("Attention", branch) for branch in self.branches.values()]
        attended = attend(branches, tokens, bias).chunk(len(branches), dim=-1)
        parts = [norm(tokens + part) for norm, part in zip(self.norms.values(), attended, strict=True)]
        joined = torch.cat(parts, dim=-1)
        normed: Tensor = self.norm_out(self.perceptron(joined) + self.shortcut(joined))
        return normed


def forbid(is_allowed: Tensor) -> Tensor:
    """Return a bias that is 0 where attention is allowed."""
    return torch.where(is_allowed, 0.0, _FORBIDDEN)
