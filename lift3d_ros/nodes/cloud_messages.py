"""Turns point features and coloured clouds into ROS messages; the only place where that happens.

Large fields are filled from memory into `array.array`, the one container that is fast and right in all distributions.
Reading clouds is in `bags/cloud_messages.py`, which replay shares.
"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField

from lift3d_ros.msg import PointFeatures as PointFeaturesMsg
from lift3d_ros.msg import PointFeaturesArray
from lift3d_ros.nodes.messages import header_msg
from lift3d_ros.types import Float32Array, PointFeatures, PointFeatureSet, UInt8Array

# As RViz and PCL read it: blue, green, red and an unused byte, taken together for a float32 called rgb.
_COLORED_POINT = np.dtype([("xyz", "<f4", 3), ("bgr", "u1", 3), ("unused", "u1")])
_COLORED_FIELDS = {"x": 0, "y": 4, "z": 8, "rgb": 12}


def features_msg(result: PointFeatureSet) -> PointFeaturesArray:
    """Return a result as a message; token centres are in ``result.frame_id``."""
    return PointFeaturesArray(
        header=header_msg(result.stamp_ns, result.frame_id),
        features=[_features_msg(features) for features in result.features],
        model=result.model.name,
        weights_sha256=result.model.weights_sha256,
        is_trained=result.model.is_trained,
    )


def colored_cloud_msg(points: Float32Array, colors: UInt8Array, stamp_ns: int, frame_id: str) -> PointCloud2:
    """Return points (N, 3) metres with RGB colours (N, 3) as fields x, y, z and rgb; those not finite are left out."""
    is_finite = np.isfinite(points).all(axis=1)
    data = np.zeros(int(is_finite.sum()), _COLORED_POINT)
    data["xyz"], data["bgr"] = points[is_finite], colors[is_finite, ::-1]
    message = PointCloud2(
        header=header_msg(stamp_ns, frame_id),
        height=1,
        width=len(data),
        fields=[
            PointField(name=name, offset=offset, datatype=PointField.FLOAT32, count=1)
            for name, offset in _COLORED_FIELDS.items()
        ],
        is_bigendian=False,
        point_step=data.itemsize,
        row_step=data.itemsize * len(data),
        is_dense=True,
    )
    message.data = _array_of("B", data)
    return message


def _features_msg(features: PointFeatures) -> PointFeaturesMsg:
    return PointFeaturesMsg(
        num_tokens=features.tokens.shape[0],
        token_size=features.tokens.shape[1],
        token_centers=_array_of("f", features.token_centers),
        tokens=_array_of("f", features.tokens),
        descriptor=_array_of("f", features.descriptor),
        label=features.label,
        score=float(features.score),
        instance_id=int(features.instance_id),
        num_points=int(features.num_points),
    )


def _array_of(typecode: str, values: NDArray[Any]) -> array[Any]:
    """Return the memory of an array, item by item of `typecode`."""
    result = array(typecode)
    result.frombytes(np.ascontiguousarray(values).tobytes())
    return result
