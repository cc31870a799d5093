"""How yaw is counted in box codes; imports no torch, so that codes are read where there is none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from torch import Tensor

    Angles = TypeVar("Angles", float, NDArray[Any], Tensor)

YawCode = Literal["heading", "mmdet3d"]


def code_yaw_from_heading(heading: Angles, yaw_code: YawCode) -> Angles:
    """Return yaw as codes count it, of headings counted from +x to the left; numbers, arrays or tensors.

    Args:
        heading: radians.
        yaw_code: ``heading`` returns the input; ``mmdet3d`` counts from -y to the right, within [-pi, pi).
            Source: fact sheet DFA3D, section 16.
    """
    return heading if yaw_code == "heading" else _from_minus_y_to_the_right(heading)


def heading_from_code_yaw(yaw: Angles, yaw_code: YawCode) -> Angles:
    """Return headings, radians from +x to the left; the inverse of :func:`code_yaw_from_heading`."""
    return yaw if yaw_code == "heading" else _from_minus_y_to_the_right(yaw)


def _from_minus_y_to_the_right(angle: Angles) -> Angles:
    """Swap both ways of counting; the same formula leads there and back."""
    return (math.pi / 2 - angle) % (2 * math.pi) - math.pi
