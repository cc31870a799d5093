"""Point cloud messages of every layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

START_NS = 1_700_000_000_000_000_000
LIDAR = "lidar"
_DATATYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}


def cloud_message(
    points: Any,
    types: Mapping[str, str] | None = None,
    *,
    height: int = 1,
    is_bigendian: bool = False,
    point_padding: int = 0,
    row_padding: int = 0,
    order: Sequence[str] = ("x", "y", "z"),
    stamp_ns: int = START_NS,
    frame_id: str = LIDAR,
) -> SimpleNamespace:
    """Return points (N, 3) as an object with the fields of PointCloud2.

    Args:
        types: numpy names of the types of fields, float32 where not given; fields other than x, y, z hold 7.
        order: the fields as they lie in a point, without gaps.
    """
    points, types = np.asarray(points), types or {}
    byte_order, kinds = ">" if is_bigendian else "<", {name: types.get(name, "f4") for name in order}
    offsets = np.cumsum([0, *(int(kind[1]) for kind in kinds.values())]).tolist()
    point_step, width = offsets[-1] + point_padding, len(points) // height
    packed = np.dtype(
        {
            "names": list(order),
            "formats": [byte_order + kind for kind in kinds.values()],
            "offsets": offsets[:-1],
            "itemsize": point_step,
        }
    )
    values = np.zeros((height, width), packed)
    for name in order:
        values[name] = points[:, "xyz".index(name)].reshape(height, width) if name in "xyz" else 7
    rows = np.zeros((height, width * point_step + row_padding), np.uint8)
    if width:
        rows[:, : width * point_step] = values.view(np.uint8).reshape(height, -1)
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=seconds, nanosec=nanoseconds), frame_id=frame_id),
        height=height,
        width=width,
        fields=[
            SimpleNamespace(name=name, offset=offset, datatype=_DATATYPES[kind], count=1)
            for (name, kind), offset in zip(kinds.items(), offsets, strict=False)
        ],
        is_bigendian=is_bigendian,
        point_step=point_step,
        row_step=rows.shape[1],
        data=rows.reshape(-1),
        is_dense=bool(np.isfinite(points).all()),
    )
