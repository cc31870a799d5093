"""Point clouds as they come from a topic or a recording: packed bytes with named fields, and how x, y, z are read.

Fields may lie anywhere in a point, in float32 or float64 of either byte order, with padding between points and rows.
Letters: N points, rows times columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lift3d_ros.errors import CloudError, nearest_name_hint
from lift3d_ros.types import Float32Array, UInt8Array

# Numbers of sensor_msgs/PointField, with the size in bytes.
_DATATYPES = {
    1: ("INT8", 1), 2: ("UINT8", 1), 3: ("INT16", 2), 4: ("UINT16", 2),
    5: ("INT32", 4), 6: ("UINT32", 4), 7: ("FLOAT32", 4), 8: ("FLOAT64", 8),
}  # fmt: skip
_READABLE = ("FLOAT32", "FLOAT64")
_LISTED_FIELDS = 20


@dataclass(frozen=True)
class PackedField:
    """One field of a point: `count` values of `datatype`, a number of sensor_msgs/PointField, `offset` bytes inside."""

    name: str
    offset: int
    datatype: int
    count: int = 1


@dataclass(frozen=True, eq=False)
class PackedCloud:
    """One cloud as it came, not yet read.

    Args:
        data: the raw buffer, one-dimensional uint8; not copied.
        height, width: rows and points of each; height 1 where the points have no order.
        point_step, row_step: bytes from a point, and from a row, to the next.
        source: topic or file, for error messages.
    """

    stamp_ns: int
    frame_id: str
    fields: tuple[PackedField, ...]
    data: UInt8Array
    height: int
    width: int
    point_step: int
    row_step: int
    is_bigendian: bool = False
    source: str = ""

    @property
    def label(self) -> str:
        """Name of the cloud in error messages."""
        return f"topic '{self.source}'" if self.source else "cloud"


def unpack_points(cloud: PackedCloud) -> Float32Array:
    """Return the points (N, 3) float32 x, y, z in the frame and unit of the cloud, row by row; NaN stays NaN.

    Raises:
        CloudError: a coordinate is missing, no floating-point number or outside of the point, or the data are shorter
            or longer than the sizes say; names topic and field.
    """
    if cloud.height * cloud.width == 0:
        if len(cloud.data):
            raise CloudError(
                f"{cloud.label}: height {cloud.height} and width {cloud.width}, but {len(cloud.data)} bytes of data; "
                "expected height 1 and the number of points as width for points without order. Correct the publisher"
            )
        return np.zeros((0, 3), np.float32)
    # Fields before sizes: what follows reserves no more memory than the data hold.
    coordinates = [_coordinate(cloud, name) for name in "xyz"]
    row_step = _checked_row_step(cloud)
    byte_order, shape = ">" if cloud.is_bigendian else "<", (cloud.height, cloud.width)
    points = np.empty((*shape, 3), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # a float64 beyond float32 becomes infinite: it is no point
        for axis, field in enumerate(coordinates):
            kind, steps = f"{byte_order}f{_DATATYPES[field.datatype][1]}", (row_step, cloud.point_step)
            points[..., axis] = np.ndarray(shape, kind, cloud.data, field.offset, steps)
    return points.reshape(-1, 3)


def _checked_row_step(cloud: PackedCloud) -> int:
    """Return the bytes from row to row; of one row alone `row_step` says nothing, and some publishers leave it 0."""
    row_bytes = cloud.width * cloud.point_step
    row_step = max(cloud.row_step, row_bytes) if cloud.height == 1 else cloud.row_step
    if row_step < row_bytes:
        raise CloudError(
            f"{cloud.label}: row_step is {cloud.row_step}; expected at least width x point_step = {cloud.width} x "
            f"{cloud.point_step} = {row_bytes} bytes. Correct the publisher"
        )
    # Padding behind the last point may be left out.
    least, most = (cloud.height - 1) * row_step + row_bytes, cloud.height * row_step
    if not least <= len(cloud.data) <= most:
        expected = f"{most}" if least == most else f"{least} to {most}"
        raise CloudError(
            f"{cloud.label}: data has {len(cloud.data)} bytes; expected {expected} for height {cloud.height}, width "
            f"{cloud.width}, point_step {cloud.point_step} and row_step {cloud.row_step}. The message was cut short, "
            "or the publisher's sizes are wrong"
        )
    return row_step


def _coordinate(cloud: PackedCloud, name: str) -> PackedField:
    found = [field for field in cloud.fields if field.name == name]
    if len(found) != 1:
        names = [field.name for field in cloud.fields[:_LISTED_FIELDS]]
        count = "is missing" if not found else f"is there {len(found)} times"
        raise CloudError(
            f"{cloud.label}: field '{name}' {count}{nearest_name_hint(name, names)} (fields: "
            f"{', '.join(names) or 'none'}); expected one field each of x, y and z. Convert the cloud to Cartesian "
            "coordinates upstream, or choose another topic"
        )
    (field,) = found
    kind, size = _DATATYPES.get(field.datatype, ("unknown", 0))
    where = f"{cloud.label}: field '{name}'"
    if kind not in _READABLE or field.count not in (0, 1):  # some old publishers leave the count 0
        raise CloudError(
            f"{where}: {field.count} value{'s' if field.count != 1 else ''} of datatype {field.datatype} ({kind}); "
            "expected one of FLOAT32 (7) or FLOAT64 (8), in metres. Convert the cloud upstream"
        )
    if field.offset < 0 or field.offset + size > cloud.point_step:
        raise CloudError(
            f"{where}: lies at bytes {field.offset} to {field.offset + size} of a point; expected it within "
            f"point_step = {cloud.point_step} bytes. Correct the publisher"
        )
    return field
