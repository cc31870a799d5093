"""Facts of the published training that numbers depend on: rate, decay, view. Source: fact sheet I2P-MAE, section 11."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def published_learning_rate(
    epoch: int, *, highest: float = 1e-3, lowest: float = 1e-6, warmup: int = 10, period: int = 400
) -> float:
    """Return the learning rate of an epoch, counted from 0: a linear warm-up, then a cosine that goes on from there.

    The rate is set after each epoch to that of the epoch before, so the first two have the lowest one. Pre-training
    stops after epoch 300 of the period, at about 1.5e-4.
    """
    done = max(epoch - 1, 0)
    if done < warmup:
        return lowest + done * (highest - lowest) / warmup
    return lowest + 0.5 * (highest - lowest) * (1.0 + math.cos(math.pi * min(done / period, 1.0)))


def published_weight_decay_applies(name: str, parameter: Tensor) -> bool:
    """Return whether a parameter, by its published name, decays: no vectors, and nothing with "token" in its name."""
    return parameter.dim() > 1 and not name.endswith(".bias") and "token" not in name


def view_rotation(theta: Tensor, phi: Tensor) -> Tensor:
    """Return rotations (B, 3, 3) to a view from azimuth `theta` and elevation `phi`, (B,) radians.

    By -phi about the horizontal axis (sin theta, -cos theta, 0), then by -theta about z. The published training draws
    them and leaves them unused.
    """
    zero, one = torch.zeros_like(theta), torch.ones_like(theta)
    about_z = _rotation(torch.stack([zero, zero, one], dim=-1), -theta)
    about_horizontal = _rotation(torch.stack([theta.sin(), -theta.cos(), zero], dim=-1), -phi)
    return about_z @ about_horizontal


def _rotation(axis: Tensor, angle: Tensor) -> Tensor:
    """Return the rotations (B, 3, 3) by `angle` (B,) about unit vectors `axis` (B, 3); Rodrigues' formula."""
    x, y, z = axis.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(-1, 3, 3)
    sine, cosine = angle.sin()[:, None, None], angle.cos()[:, None, None]
    identity = torch.eye(3, dtype=axis.dtype, device=axis.device)
    result: Tensor = identity + sine * cross + (1.0 - cosine) * (cross @ cross)
    return result
