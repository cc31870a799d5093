"""Farthest-point sampling: each point taken is the one farthest from all that were taken before it.

Squared distances are float32, ``(dx * dx + dy * dy) + dz * dz``; among equal ones the lowest index is taken, so every
implementation gives the same indices. Letters: B clouds, N points, S samples.
Source: Eldar et al., The farthest point strategy (1997); conventions: fact sheet I2P-MAE, section 3.
"""

from __future__ import annotations

import importlib.util
from typing import Literal

import torch
from torch import Tensor

from lift3d_ros.errors import EngineError
from lift3d_ros.ops.cloud_search import SKIPPED_SQUARED_NORM, farthest_points

Implementation = Literal["auto", "numba", "numpy", "torch"]


def farthest_point_sampling(
    points: Tensor,
    num_samples: int,
    is_valid: Tensor | None = None,
    *,
    skips_near_origin: bool = False,
    implementation: Implementation = "auto",
) -> Tensor:
    """Choose points that cover a cloud evenly, beginning with the first usable one.

    Args:
        points: (B, N, 3); any floating type. Points that are not finite are not usable.
        is_valid: (B, N) bool, false for points that are not usable; None for all. See :func:`mask_of_counts`.
        skips_near_origin: published habit: a point within about 0.0316 of the origin is taken only as the first one.
        implementation: ``numba`` (optional dependency) and ``numpy`` are for a CPU, ``torch`` for any device; ``auto``
            takes the fastest that there is.

    Returns:
        (B, num_samples) int64. Once all usable points are taken the lowest usable index is repeated; 0 in a cloud
        without any.

    Raises:
        ValueError: shapes or numbers that do not fit together.
        EngineError: ``numba`` was asked for and is not installed.
    """
    if points.dim() != 3 or points.shape[2] != 3 or points.shape[1] == 0:
        raise ValueError(f"points have shape {tuple(points.shape)}; expected (B, N, 3) with at least one point")
    if num_samples < 1:
        raise ValueError(f"num_samples is {num_samples}; expected at least 1")
    points = points.detach()
    usable = usable_points(points, is_valid)
    if implementation == "torch" or (implementation == "auto" and points.device.type != "cpu"):
        return _sample_batch(points, usable, num_samples, skips_near_origin)
    if implementation == "numba" and importlib.util.find_spec("numba") is None:
        raise EngineError("implementation 'numba': not installed; 'pip install numba', or use 'auto'")
    chosen = torch.zeros(len(points), num_samples, dtype=torch.int64, device="cpu")
    for item, (cloud, mask) in enumerate(
        zip(at_least_float32(points).cpu().numpy(), usable.cpu().numpy(), strict=True)
    ):
        found = farthest_points(
            cloud, num_samples, mask, skips_near_origin=skips_near_origin, implementation=implementation
        )
        chosen[item] = torch.from_numpy(found)
    return chosen.to(points.device)


def mask_of_counts(counts: Tensor, num_points: int) -> Tensor:
    """Return (B, num_points) bool, true for the first `counts` (B,) points of each cloud."""
    return torch.arange(num_points, device=counts.device) < counts[:, None]


def usable_points(points: Tensor, is_valid: Tensor | None) -> Tensor:
    """Return (B, N) bool, true for points (B, N, 3) that are finite and not excluded by `is_valid` (B, N)."""
    usable = torch.isfinite(points).all(-1)
    if is_valid is None:
        return usable
    if is_valid.shape != points.shape[:2] or is_valid.dtype != torch.bool:
        raise ValueError(
            f"is_valid is {is_valid.dtype} of shape {tuple(is_valid.shape)}; expected bool {tuple(points.shape[:2])}"
        )
    return usable & is_valid


def at_least_float32(points: Tensor) -> Tensor:
    """Return float64 points as they are, all others as float32."""
    return points if points.dtype == torch.float64 else points.float()


def _sample_batch(points: Tensor, usable: Tensor, num_samples: int, skips_near_origin: bool) -> Tensor:
    """Sample all clouds at once; the clouds share each step, which is what a GPU needs."""
    first = usable.to(torch.uint8).argmax(dim=1)  # the lowest usable index, 0 where there is none
    wide = torch.where(usable[..., None], at_least_float32(points), 0.0)
    if skips_near_origin:
        x, y, z = wide.unbind(-1)
        usable = usable & ((x * x + y * y) + z * z > SKIPPED_SQUARED_NORM)
    start = wide.gather(1, first[:, None, None].expand(-1, 1, 3))
    if wide.dtype == torch.float64:  # float32 cannot tell points of a map frame apart
        wide, start = (wide - start).float(), torch.zeros_like(start).float()
    x, y, z = wide.unbind(-1)
    # Unusable points are nearer than any distance, so that they are never the farthest.
    nearest = torch.where(usable, torch.inf, -1.0)
    has_any = usable.any(1)
    place, chosen = start[:, 0], [first]
    for _ in range(num_samples - 1):
        dx, dy, dz = x - place[:, :1], y - place[:, 1:2], z - place[:, 2:]
        nearest = torch.minimum(nearest, (dx * dx + dy * dy) + dz * dz)
        taken = torch.where(has_any, nearest.argmax(dim=1), first)  # the first of equal ones
        place = wide.gather(1, taken[:, None, None].expand(-1, 1, 3))[:, 0]
        chosen.append(taken)
    return torch.stack(chosen, dim=1)
