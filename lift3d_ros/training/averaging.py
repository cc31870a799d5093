"""Averaged weights: an exponential moving average, which usually detects better than the network itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class AveragedWeights:
    """The average of a network's state, on its device; integer buffers are copied."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Start from the present weights; `decay` is reached slowly, so that the first average forgets its start."""
        self._network = network
        self._decay = decay
        self.num_updates = 0
        self._state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the present weights."""
        self.num_updates += 1
        decay = min(self._decay, (1 + self.num_updates) / (10 + self.num_updates))
        averages: list[Tensor] = []
        present: list[Tensor] = []
        for name, tensor in self._network.state_dict().items():
            if tensor.is_floating_point():
                averages.append(self._state[name])
                present.append(tensor)
            else:
                self._state[name].copy_(tensor)
        torch._foreach_lerp_(averages, present, 1.0 - decay)

    def state(self) -> dict[str, Tensor]:
        """Return the averaged state."""
        return self._state

    def load(self, state: Mapping[str, Any], num_updates: int) -> None:
        """Go on from a stored average."""
        for name, tensor in self._state.items():
            tensor.copy_(state[name])
        self.num_updates = num_updates

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the network have the averaged weights inside of a ``with`` block."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the averaged and the present weights; call twice."""
        for name, tensor in self._network.state_dict().items():
            kept = tensor.detach().clone()
            tensor.copy_(self._state[name])
            self._state[name].copy_(kept)
