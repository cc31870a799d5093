"""Muon for the matrices of the blocks and AdamW for the rest, as one optimiser with one state.

Muon replaces the momentum of a matrix by its nearest orthogonal matrix, found by five Newton-Schulz steps; scaled so
that an update has the size of one by AdamW (Jordan et al. 2024; Liu et al. 2025, section 2.2).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_NUM_STEPS = 5
_MOMENTUM = 0.95
_BETAS = (0.9, 0.99)
_EPSILON = 1e-8


class MuonAdamW(torch.optim.Optimizer):
    """Groups with ``is_muon`` are updated by Muon, the others by AdamW; both with decoupled weight decay."""

    def __init__(self, groups: list[dict[str, Any]], *, is_short: bool = False) -> None:
        """Take groups with ``params``, ``lr``, ``weight_decay`` and ``is_muon``; `is_short` multiplies in bfloat16."""
        super().__init__(groups, {"lr": 1e-3, "weight_decay": 0.0, "is_muon": False})
        self._type = torch.bfloat16 if is_short else torch.float32

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the weights."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            used = [parameter for parameter in group["params"] if parameter.grad is not None]
            if used:
                torch._foreach_mul_(used, 1.0 - group["lr"] * group["weight_decay"])
                (self._muon if group["is_muon"] else self._adamw)(used, float(group["lr"]))
        return loss

    def _muon(self, parameters: list[Tensor], rate: float) -> None:
        alike = defaultdict(list)
        for parameter in parameters:
            alike[parameter.shape].append(parameter)
        for shape, group in alike.items():
            moments = []
            for parameter in group:
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                moments.append(state["momentum"])
            gradients = [parameter.grad for parameter in group if parameter.grad is not None]
            torch._foreach_lerp_(moments, gradients, 1.0 - _MOMENTUM)
            ahead = torch.stack(torch._foreach_lerp(gradients, moments, _MOMENTUM))
            updates = _orthogonal(ahead.to(self._type)).to(ahead.dtype) * (0.2 * math.sqrt(max(shape)))
            torch._foreach_add_(group, list(updates.unbind()), alpha=-rate)

    def _adamw(self, parameters: list[Tensor], rate: float) -> None:
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros(())
                state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["step"] += 1
        states = [self.state[parameter] for parameter in parameters]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        means, squares = [state["mean"] for state in states], [state["square"] for state in states]
        torch._foreach_lerp_(means, gradients, 1.0 - _BETAS[0])
        torch._foreach_mul_(squares, _BETAS[1])
        torch._foreach_addcmul_(squares, gradients, gradients, 1.0 - _BETAS[1])
        number = float(states[0]["step"])
        divisors = torch._foreach_sqrt(squares)
        torch._foreach_div_(divisors, math.sqrt(1.0 - _BETAS[1] ** number))
        torch._foreach_add_(divisors, _EPSILON)
        torch._foreach_addcdiv_(parameters, means, divisors, -rate / (1.0 - _BETAS[0] ** number))


def _orthogonal(matrices: Tensor) -> Tensor:
    """Return about the nearest orthogonal matrices of a stack (N, rows, columns)."""
    is_tall = matrices.shape[1] > matrices.shape[2]
    found: Tensor = matrices.transpose(1, 2) if is_tall else matrices
    found = found / found.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    first, second, third = _COEFFICIENTS
    for _ in range(_NUM_STEPS):
        square = found @ found.transpose(1, 2)
        found = first * found + torch.baddbmm(square, square, square, beta=second, alpha=third) @ found
    return found.transpose(1, 2) if is_tall else found
