"""x, y and z are read from packed clouds of every layout; what cannot be read is refused with topic and field."""

from __future__ import annotations

import dataclasses
import itertools
import time
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cloud_layouts import cloud_message

from lift3d_ros.bags.cloud_messages import packed_cloud_from_msg
from lift3d_ros.errors import CloudError
from lift3d_ros.geometry.packed_points import PackedCloud, PackedField, unpack_points

POINTS = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)


def packed(points: Any = POINTS, **layout: Any) -> PackedCloud:
    return packed_cloud_from_msg(cloud_message(points, **layout), "/lidar/points")


def changed_field(cloud: PackedCloud, name: str, **changes: Any) -> PackedCloud:
    fields = tuple(dataclasses.replace(f, **changes) if f.name == name else f for f in cloud.fields)
    return dataclasses.replace(cloud, fields=fields)


@pytest.mark.parametrize("is_bigendian", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize(
    "layout",
    [
        pytest.param({}, id="x y z alone"),
        pytest.param({"order": ("intensity", "x", "y", "z", "ring")}, id="other fields around"),
        pytest.param({"order": ("z", "flags", "x", "time", "y")}, id="any order with gaps"),
        pytest.param({"point_padding": 20}, id="padded points"),
        pytest.param({"height": 3}, id="organised"),
        pytest.param({"height": 3, "point_padding": 3, "row_padding": 13}, id="organised with padded rows"),
        pytest.param({"height": 12}, id="one point in each row"),
    ],
)
def test_points_are_read_from_any_layout(kind: str, is_bigendian: bool, layout: dict[str, Any]) -> None:
    types = {"x": kind, "y": kind, "z": kind, "intensity": "u1", "ring": "u2", "flags": "u1", "time": "f8"}
    found = unpack_points(packed(types=types, is_bigendian=is_bigendian, **layout))
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, POINTS)


def test_coordinates_may_have_different_types() -> None:
    found = unpack_points(packed(types={"x": "f8", "y": "f4", "z": "f8"}))
    np.testing.assert_array_equal(found, POINTS)


def test_points_that_were_not_measured_stay_not_finite() -> None:
    points = POINTS.astype(np.float64)
    points[3, 1], points[5, 0], points[7, 2] = np.nan, np.inf, 1e300
    found = unpack_points(packed(points, types=dict.fromkeys("xyz", "f8"), height=4))
    assert np.isfinite(found).all(axis=1).tolist() == [number not in (3, 5, 7) for number in range(12)]


@pytest.mark.parametrize("height", [0, 1])
def test_an_empty_cloud_has_no_points_even_without_fields(height: int) -> None:
    cloud = PackedCloud(0, "lidar", (), np.zeros(0, np.uint8), height, 0, 0, 0)
    assert unpack_points(cloud).shape == (0, 3)


@pytest.mark.parametrize("row_step", [0, 1, 10_000])
def test_row_step_says_nothing_of_a_single_row(row_step: int) -> None:
    cloud = dataclasses.replace(packed(point_padding=4), row_step=row_step)
    np.testing.assert_array_equal(unpack_points(cloud), POINTS)


def test_padding_behind_the_last_row_may_be_left_out() -> None:
    cloud = packed(height=3, row_padding=16)
    np.testing.assert_array_equal(unpack_points(dataclasses.replace(cloud, data=cloud.data[:-16])), POINTS)


@pytest.mark.parametrize("container", [bytes, bytearray, lambda data: array("B", data)])
def test_bytes_of_any_container_are_read(container: Callable[[bytes], Any]) -> None:
    message = cloud_message(POINTS)
    message.data = container(message.data.tobytes())
    np.testing.assert_array_equal(unpack_points(packed_cloud_from_msg(message, "/a")), POINTS)


def test_old_publishers_that_leave_the_count_0_are_read() -> None:
    cloud = packed()
    for name in "xyz":
        cloud = changed_field(cloud, name, count=0)
    np.testing.assert_array_equal(unpack_points(cloud), POINTS)


@pytest.mark.parametrize(
    ("cloud", "words"),
    [
        pytest.param(packed(order=("x", "y")), "field 'z' is missing (fields: x, y); expected one field", id="missing"),
        pytest.param(
            dataclasses.replace(packed(), fields=(*packed().fields, PackedField("x", 0, 7))),
            "field 'x' is there 2 times",
            id="twice",
        ),
        pytest.param(packed(order=("range", "azimuth")), "Convert the cloud to Cartesian coordinates", id="polar"),
        *(
            pytest.param(
                packed(np.zeros((4, 3)), types={"y": kind}),
                f"field 'y': 1 value of datatype {number} ({name}); expected one of FLOAT32 (7) or FLOAT64 (8)",
                id=name,
            )
            for kind, number, name in [("i1", 1, "INT8"), ("u2", 4, "UINT16"), ("i4", 5, "INT32"), ("u4", 6, "UINT32")]
        ),
        pytest.param(changed_field(packed(), "x", datatype=99), "1 value of datatype 99 (unknown)", id="unknown type"),
        pytest.param(
            changed_field(packed(), "x", count=3), "3 values of datatype 7 (FLOAT32); expected one", id="many"
        ),
        pytest.param(
            changed_field(packed(), "z", offset=10),
            "field 'z': lies at bytes 10 to 14 of a point; expected it within point_step = 12 bytes",
            id="outside of the point",
        ),
        pytest.param(
            changed_field(packed(types=dict.fromkeys("xyz", "f4")), "z", datatype=8),
            "field 'z': lies at bytes 8 to 16",
            id="wider than the point",
        ),
        pytest.param(
            dataclasses.replace(packed(height=3), row_step=40),
            "row_step is 40; expected at least width x point_step = 4 x 12 = 48",
            id="rows overlap",
        ),
        pytest.param(
            dataclasses.replace(packed(), data=packed().data[:-1]),
            "data has 143 bytes; expected 144 for height 1, width 12, point_step 12 and row_step 144",
            id="cut short",
        ),
        pytest.param(
            dataclasses.replace(packed(), width=11, row_step=132), "data has 144 bytes; expected 132", id="too long"
        ),
        pytest.param(dataclasses.replace(packed(height=3), height=2), "data has 144 bytes; expected 96", id="rows"),
        pytest.param(dataclasses.replace(packed(), height=0), "height 0 and width 12, but 144 bytes", id="no height"),
        pytest.param(
            dataclasses.replace(packed(), width=2**32 - 1, height=2**32 - 1, row_step=2**32 - 1),
            "row_step is 4294967295; expected at least",
            id="huge sizes",
        ),
        pytest.param(
            dataclasses.replace(packed(), width=2**32 - 1, point_step=0, data=np.zeros(0, np.uint8)),
            "field 'x': lies at bytes 0 to 4 of a point; expected it within point_step = 0",
            id="points of no bytes",
        ),
    ],
)
def test_a_cloud_that_cannot_be_read_is_refused_with_topic_field_and_remedy(cloud: PackedCloud, words: str) -> None:
    with pytest.raises(CloudError) as caught:
        unpack_points(cloud)
    assert str(caught.value).startswith("topic '/lidar/points': ")
    assert words in str(caught.value)


def test_a_large_cloud_is_read_without_a_loop_over_its_points() -> None:
    points = np.zeros((1_000_000, 3), np.float32)
    cloud = packed(points, order=("x", "y", "z", "intensity"), point_padding=16, height=1000)
    seconds = []
    for _ in itertools.repeat(None, 3):
        start_s = time.perf_counter()
        unpack_points(cloud)
        seconds.append(time.perf_counter() - start_s)
    assert min(seconds) < 0.5  # a loop in Python takes longer by an order of magnitude
