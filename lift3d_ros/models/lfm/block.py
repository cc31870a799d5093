"""One block: attention along the skeleton, attention between all points, and a perceptron."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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
        self._factor = float(inner // num_heads) ** -0.5

    def forward(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """Return (B, J, inner) of tokens (B, J, width) with bias (B, heads or 1, J, J)."""
        batch, count, _ = tokens.shape
        parts = self.inputs(tokens).reshape(batch, count, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = parts[0], parts[1], parts[2]
        weights = torch.softmax((query * self._factor) @ key.transpose(-2, -1) + bias, dim=-1)
        mixed: Tensor = self.output((weights @ value).transpose(1, 2).reshape(batch, count, -1))
        return mixed


class Block(nn.Module):
    """Local and global branch side by side, then a perceptron (fact sheet 5.1 to 5.4)."""

    def __init__(self, config: LfmConfig) -> None:
        """Build the branches that `config` names."""
        super().__init__()
        width = config.width
        names = ("local", "global") if config.branches == "both" else (config.branches,)
        inner = width // len(names)
        self.local_branch = Attention(width, inner, config.num_heads) if "local" in names else None
        self.global_branch = Attention(width, inner, config.num_heads) if "global" in names else None
        self.norm_in = nn.LayerNorm(width)
        self.norm_out = nn.LayerNorm(width)
        hidden = config.mlp_ratio * width
        self.perceptron = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self._is_normed_first = config.block == "sums"

    def forward(self, tokens: Tensor, local_bias: Tensor, global_bias: Tensor) -> Tensor:
        """Return new tokens (B, J, width)."""
        if self._is_normed_first:
            tokens = tokens + self._branches(self.norm_in(tokens), local_bias, global_bias)
            perceived: Tensor = self.perceptron(self.norm_out(tokens))
            return tokens + perceived
        joined = tokens + self._branches(tokens, local_bias, global_bias)
        summed: Tensor = joined + self.norm_in(joined)
        normed: Tensor = self.norm_out(self.perceptron(summed))
        return summed + normed

    def _branches(self, tokens: Tensor, local_bias: Tensor, global_bias: Tensor) -> Tensor:
        parts = []
        if self.local_branch is not None:
            parts.append(self.local_branch(tokens, local_bias))
        if self.global_branch is not None:
            parts.append(self.global_branch(tokens, global_bias))
        return torch.cat(parts, dim=-1)


class FigureBlock(nn.Module):
    """The block as the paper draws it: each branch has the whole width, and a sum and a norm of its own."""

    def __init__(self, config: LfmConfig) -> None:
        """Build the branches that `config` names."""
        super().__init__()
        width = config.width
        names = ("local", "global") if config.branches == "both" else (config.branches,)
        # Not 'global' alone: the export writes the names of modules as Python code.
        self.branches = nn.ModuleDict({f"{name}_branch": Attention(width, width, config.num_heads) for name in names})
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in self.branches})
        joined, hidden = width * len(names), config.mlp_ratio * width
        self.perceptron = nn.Sequential(nn.Linear(joined, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.shortcut = nn.Linear(joined, width)
        self.norm_out = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, local_bias: Tensor, global_bias: Tensor) -> Tensor:
        """Return new tokens (B, J, width)."""
        biases = {"local_branch": local_bias, "global_branch": global_bias}
        parts = [self.norms[name](tokens + branch(tokens, biases[name])) for name, branch in self.branches.items()]
        joined = torch.cat(parts, dim=-1)
        normed: Tensor = self.norm_out(self.perceptron(joined) + self.shortcut(joined))
        return normed


def forbid(is_allowed: Tensor) -> Tensor:
    """Return a bias that is 0 where attention is allowed."""
    return torch.where(is_allowed, 0.0, _FORBIDDEN)
