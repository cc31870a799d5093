"""Facts of a skeleton lifter: sizes and choices that belong to its weights. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lift3d_ros.errors import ConfigError


@dataclass(frozen=True)
class LfmConfig:
    """Configuration of :class:`lift3d_ros.models.lfm.network.LfmNetwork`; fact sheet sections 4 to 7.

    Args:
        width: numbers of each token.
        num_layers: blocks.
        num_heads: heads of each branch; two branches have half of the width each, one has all of it.
        mlp_ratio: hidden width of the block's perceptron over `width`.
        encoding: ``fourier`` is the fixed random encoding of the paper, ``learned`` a perceptron on x and y.
        bandwidth: standard deviation of the fixed frequencies, for points within -1..1.
        branches: attention along the skeleton (``local``), between all points (``global``), or both.
        block: ``sums`` normalises what enters each branch and keeps the block's input in every sum; ``equations``
            normalises what leaves, as equations 5 to 7 of the paper, with the block's input added; ``figure`` gives
            each branch the whole width, a sum and a norm of its own, as figure 2 does.
        has_pair_bias: attention between all points is biased by random-walk probabilities between them.
        has_graph_features: tokens tell where in the graph a point is (fact sheet 13.4).
    """

    width: int = 192
    num_layers: int = 4
    num_heads: int = 4
    mlp_ratio: int = 4
    encoding: Literal["fourier", "learned"] = "fourier"
    bandwidth: float = 2.0
    branches: Literal["both", "local", "global"] = "both"
    block: Literal["sums", "equations", "figure"] = "sums"
    has_pair_bias: bool = True
    has_graph_features: bool = True

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit together."""
        if min(self.width, self.num_layers, self.num_heads, self.mlp_ratio) < 1 or self.width % (2 * self.num_heads):
            raise ConfigError(
                f"network: width {self.width} with {self.num_heads} heads; expected positive sizes and a width that "
                f"2 x {self.num_heads} divides; change network.width or network.num_heads"
            )

    @property
    def branch_names(self) -> tuple[str, ...]:
        """The branches of each block, in their order."""
        return ("local", "global") if self.branches == "both" else (self.branches,)


PRESETS = ("lift3d-lfm-small", "lift3d-lfm-medium", "lift3d-lfm-large")


def preset(name: str) -> LfmConfig | None:
    """Return the configuration called `name`, None where there is none."""
    match name:
        case "lift3d-lfm-small":
            return LfmConfig()
        case "lift3d-lfm-medium":
            return LfmConfig(num_layers=6)
        case "lift3d-lfm-large":
            return LfmConfig(width=224, num_layers=6, num_heads=8, block="figure")
        case _:
            return None
