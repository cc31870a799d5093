"""Point clouds as ROS messages."""

from __future__ import annotations

from array import array
from typing import Any

from builtin_interfaces.msg import Time
from cloud_layouts import LIDAR, START_NS, cloud_message
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header


def header(ms: float, frame_id: str = LIDAR) -> Header:
    """Return a header with a stamp this long after the first one."""
    seconds, nanoseconds = divmod(START_NS + round(ms * 1_000_000), 1_000_000_000)
    return Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=frame_id)


def cloud_msg(points: Any, ms: float = 0, **layout: Any) -> PointCloud2:
    """Return points (N, 3) in a layout of `cloud_layouts.cloud_message`."""
    plain = cloud_message(points, **layout)
    message = PointCloud2(header=header(ms), height=plain.height, width=plain.width)
    message.fields = [PointField(**vars(field)) for field in plain.fields]
    message.is_bigendian, message.is_dense = plain.is_bigendian, plain.is_dense
    message.point_step, message.row_step = plain.point_step, plain.row_step
    message.data = array("B", plain.data.tobytes())
    return message
