"""Best similarity transform between point sets of known correspondence, with gradients that stay finite.

Points are rows. The rotation is found without gradient: at the optimum of the squared error its derivative does not
contribute (envelope theorem), and the derivative of an SVD is singular for planar and symmetric shapes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_SMALLEST = 1e-12


class Alignment(NamedTuple):
    """A similarity transform for each instance: ``scale * (points - source_mean) @ rotation + target_mean``.

    Args:
        rotation: (B, 3, 3), without gradient; its determinant is -1 where a reflection was allowed and fits better.
        scale: (B,), with gradient with respect to the source.
        source_mean, target_mean: (B, 1, 3).
        chirality: (B,) in -1..1, how clearly a rotation (positive) fits better than a reflection (negative); 0 for
            planar shapes, where both fit alike.
    """

    rotation: Tensor
    scale: Tensor
    source_mean: Tensor
    target_mean: Tensor
    chirality: Tensor

    def apply(self, points: Tensor) -> Tensor:
        """Return the moved points (B, N, 3)."""
        return self.scale[:, None, None] * ((points - self.source_mean) @ self.rotation) + self.target_mean


def similarity_alignment(
    source: Tensor, target: Tensor, weights: Tensor, *, allows_reflection: bool = False
) -> Alignment:
    """Find rotation, scale and translation that bring `source` to `target` in least squares (fact sheet 7.2 to 7.5).

    Args:
        source, target: (B, N, 3).
        weights: (B, N), 0 for points that do not count; an instance without any gets the identity and scale 0.
        allows_reflection: take a reflection where it fits better.
    """
    weights = weights.to(source.dtype)[..., None]
    total = weights.sum(1, keepdim=True).clamp(min=_SMALLEST)
    source_mean = (weights * source).sum(1, keepdim=True) / total
    target_mean = (weights * target).sum(1, keepdim=True) / total
    centred, goal = weights * (source - source_mean), target - target_mean
    products = centred.transpose(1, 2) @ goal
    with torch.no_grad():
        # In float64: single precision leaves angles of 1e-3 where a shape is nearly flat.
        left, sizes, right = torch.linalg.svd(products.double())
        turn = torch.linalg.det(left @ right)
        last = torch.ones_like(turn) if allows_reflection else turn.sign()
        signs = torch.stack([torch.ones_like(last), torch.ones_like(last), last], dim=-1)
        rotation = ((left * signs[:, None]) @ right).to(source.dtype)
        chirality = (turn.sign() * sizes[:, 2] / sizes[:, 1].clamp(min=_SMALLEST)).to(source.dtype)
    fit = (products * rotation).sum((1, 2))
    norm = (centred * (source - source_mean)).sum((1, 2)).clamp(min=_SMALLEST)
    return Alignment(rotation, fit / norm, source_mean, target_mean, chirality)


def aligned_distances(source: Tensor, target: Tensor, weights: Tensor, *, allows_reflection: bool = False) -> Tensor:
    """Return the distance (B, N) of each point from its goal after the best alignment, in the unit of `target`."""
    moved = similarity_alignment(source, target, weights, allows_reflection=allows_reflection).apply(source)
    distances: Tensor = torch.linalg.vector_norm(moved - target, dim=-1)
    return distances
