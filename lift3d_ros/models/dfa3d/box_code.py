"""The ten numbers by which the network describes a box, made from boxes and turned back."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lift3d_ros.models.dfa3d.yaw_code import YawCode, code_yaw_from_heading, heading_from_code_yaw


class BoxTensors(NamedTuple):
    """Boxes in the model frame.

    Args:
        centers: (M, 3) geometric centres, metres.
        sizes: (M, 3) length along the heading, width, height, metres.
        yaws: (M,) headings from +x to the left, radians.
        velocities: (M, 2) along x and y, m/s.
    """

    centers: Tensor
    sizes: Tensor
    yaws: Tensor
    velocities: Tensor


def encode_boxes(
    centers: Tensor, sizes: Tensor, yaws: Tensor, velocities: Tensor, yaw_code: YawCode = "heading"
) -> Tensor:
    """Return codes (M, 10): cx, cy, log width, log length, cz, log height, sin yaw, cos yaw, vx, vy.

    The arguments are those of :class:`BoxTensors`. Unknown velocities (NaN) and sizes that are not positive give
    codes that are not finite, which the loss leaves out.
    Source: fact sheet DFA3D, sections 16 and 17.
    """
    length, width, height = sizes.log().unbind(-1)
    yaw = code_yaw_from_heading(yaws, yaw_code)
    x, y, z = centers.unbind(-1)
    return torch.stack([x, y, width, length, z, height, yaw.sin(), yaw.cos(), *velocities.unbind(-1)], dim=-1)


def decode_codes(codes: Tensor, yaw_code: YawCode = "heading") -> BoxTensors:
    """Return the boxes of codes (..., 10), the inverse of :func:`encode_boxes`."""
    yaw = torch.atan2(codes[..., 6], codes[..., 7])
    return BoxTensors(
        centers=codes[..., [0, 1, 4]],
        sizes=codes[..., [3, 2, 5]].exp(),
        yaws=heading_from_code_yaw(yaw, yaw_code),
        velocities=codes[..., 8:10],
    )
