"""Parts of transformers that several networks share: attention, norms with a condition, feed-forward networks.

Letters: N samples, L tokens, S tokens of the context, D width.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

Activation = Literal["gelu", "geglu"]


class Attention(nn.Module):
    """Multi-head attention of tokens to themselves, or to a context."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        context_width: int | None = None,
        *,
        is_fused: bool,
        has_bias: bool,
        has_output_bias: bool,
    ) -> None:
        """Prepare for tokens of `width`.

        Args:
            context_width: of the tokens that are attended to, where it may differ.
            is_fused: one matrix makes queries, keys and values; needs a context of the same width.
        """
        super().__init__()
        context_width = context_width or width
        if width % num_heads or (is_fused and context_width != width):
            raise ValueError(
                f"attention of width {width} with {num_heads} heads to a context of width {context_width}: expected a "
                "width that the heads divide, and the same width for both where projections are fused"
            )
        self.num_heads = num_heads
        self.is_fused = is_fused
        if is_fused:
            self.qkv = nn.Linear(width, 3 * width, bias=has_bias)
        else:
            self.query = nn.Linear(width, width, bias=has_bias)
            self.key = nn.Linear(context_width, width, bias=has_bias)
            self.value = nn.Linear(context_width, width, bias=has_bias)
        self.output = nn.Linear(width, width, bias=has_output_bias)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map tokens (N, L, D), and a context (N, S, context width), to (N, L, D)."""
        query, key, value = (self._split(part) for part in self._project(x, context))
        joined = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        result: Tensor = self.output(joined)
        return result

    def weights(self, x: Tensor) -> Tensor:
        """Return how much each token (N, L, D) attends to each, (N, heads, L, L)."""
        query, key, _ = (self._split(part) for part in self._project(x, None))
        weights: Tensor = (query @ key.mT * query.shape[-1] ** -0.5).softmax(dim=-1)
        return weights

    def _project(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, ...]:
        if not self.is_fused:
            source = x if context is None else context
            return self.query(x), self.key(source), self.value(source)
        if context is None:
            return tuple(self.qkv(x).chunk(3, dim=-1))
        weights = self.qkv.weight.chunk(3)
        biases = (None, None, None) if self.qkv.bias is None else self.qkv.bias.chunk(3)
        sources = (x, context, context)
        return tuple(F.linear(*arguments) for arguments in zip(sources, weights, biases, strict=True))

    def _split(self, tokens: Tensor) -> Tensor:
        """Return tokens (N, L, D) as (N, heads, L, D / heads)."""
        return tokens.reshape(*tokens.shape[:2], self.num_heads, -1).transpose(1, 2)


class ConditionedNorm(nn.LayerNorm):
    """Layer norm, then a shift and a scale that a condition gives; a plain layer norm where there is none."""

    def __init__(self, width: int, eps: float, condition_width: int = 0) -> None:
        super().__init__(width, eps=eps)
        self.shift_scale = nn.Linear(condition_width, 2 * width) if condition_width else None

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map tokens (N, L, D) under a condition (N, condition width)."""
        normed: Tensor = super().forward(x)
        if self.shift_scale is None:
            return normed
        if condition is None:
            raise ValueError("this norm is shifted and scaled by a condition, which is missing; expected (N, width)")
        shift, scale = self.shift_scale(F.silu(condition))[:, None].chunk(2, dim=-1)
        result: Tensor = normed * (1.0 + scale) + shift
        return result


class FeedForward(nn.Module):
    """Two linear layers with four times the width between them; ``geglu`` lets half of the first gate the other."""

    def __init__(self, width: int, activation: Activation = "gelu") -> None:
        super().__init__()
        self.activation = activation
        self.first = nn.Linear(width, (8 if activation == "geglu" else 4) * width)
        self.second = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (N, L, D) to (N, L, D)."""
        hidden = self.first(x)
        if self.activation == "geglu":
            value, gate = hidden.chunk(2, dim=-1)
            hidden = value * F.gelu(gate)
        else:
            hidden = F.gelu(hidden)
        result: Tensor = self.second(hidden)
        return result
