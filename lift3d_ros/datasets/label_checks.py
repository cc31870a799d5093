"""Refuses labels that no training could learn from and no metric could score."""

from __future__ import annotations

import numpy as np

from lift3d_ros.errors import DatasetError
from lift3d_ros.types import Boxes3D


def check_labels(boxes: Boxes3D, where: str) -> None:
    """Refuse boxes with a position, size or heading that is not a number, or with a size that is not positive.

    Args:
        where: file, scene and frame of the labels, for the message.

    Raises:
        DatasetError: names box, class and field, and what stands there.
    """
    fields = (
        ("center", boxes.centers, np.isfinite(boxes.centers).all(axis=1), "finite metres"),
        ("size", boxes.sizes, (np.isfinite(boxes.sizes) & (boxes.sizes > 0.0)).all(axis=1), "positive metres"),
        ("yaw", boxes.yaws, np.isfinite(boxes.yaws), "finite radians"),
        ("velocity", boxes.velocities, ~np.isinf(boxes.velocities).any(axis=1), "m/s, or none where it is unknown"),
    )
    for name, values, is_good, expected in fields:
        bad = np.flatnonzero(~is_good)
        if len(bad):
            first = int(bad[0])
            others = f" ({len(bad) - 1} more boxes of this frame are like it)" if len(bad) > 1 else ""
            raise DatasetError(
                f"{where}: field '{name}' of box {first} ('{boxes.class_names[boxes.labels[first]]}') is "
                f"{np.asarray(values[first]).tolist()}; expected {expected}{others}. Correct the label or remove it"
            )
