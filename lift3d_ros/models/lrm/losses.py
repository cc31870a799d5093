"""What training asks of planes and pictures beyond their squared error."""

from __future__ import annotations

from torch import Tensor


def plane_variation(planes: Tensor) -> Tensor:
    """Return the total variation of planes (N, 3, C, H, W): mean squared step along rows plus that along columns.

    Source: fact sheet LRM, section 10.2.
    """
    down = (planes[..., 1:, :] - planes[..., :-1, :]).square().mean()
    across = (planes[..., 1:] - planes[..., :-1]).square().mean()
    return down + across
