"""What a lifter says about its errors: how the last output becomes a distance, and how weights are made to say more."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

SPREAD_OUTPUT = 3
"""Which of the outputs of the shape head it is."""
_LAYER = "shape_head.2"
_OFFSET = 1.5
_RANGE = (-6.0, 2.0)


def spread_of(output: Tensor) -> Tensor:
    """Return expected distances, in RMS sizes, of outputs of any shape."""
    return torch.exp(output.clamp(*_RANGE) - _OFFSET)


def scaled_spread(state: Mapping[str, Tensor], factor: float, exponent: float) -> dict[str, Tensor]:
    """Return weights whose spread is ``factor * spread ** exponent``."""
    scaled = {name: tensor.clone() for name, tensor in state.items()}
    weight, bias = scaled[f"{_LAYER}.weight"], scaled[f"{_LAYER}.bias"]
    weight[SPREAD_OUTPUT] *= exponent
    bias[SPREAD_OUTPUT] = exponent * bias[SPREAD_OUTPUT] + math.log(factor) + _OFFSET * (1.0 - exponent)
    return scaled
