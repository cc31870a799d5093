"""Features and coloured clouds become messages, in the containers that every distribution takes."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from cloud_layouts import START_NS

from lift3d_ros.bags.cloud_messages import packed_cloud_from_msg
from lift3d_ros.geometry.packed_points import unpack_points
from lift3d_ros.nodes.cloud_messages import colored_cloud_msg, features_msg
from lift3d_ros.types import ModelIdentity, PointFeatures, PointFeatureSet

pytestmark = pytest.mark.ros

RNG = np.random.default_rng(0)


def features(instance_id: int, **changes: object) -> PointFeatures:
    tokens, centers = RNG.normal(size=(5, 8)), RNG.normal(size=(5, 3))
    return PointFeatures(RNG.normal(size=8), tokens, centers, instance_id=instance_id, **changes)  # type: ignore[arg-type]


def test_a_message_holds_every_feature_with_its_arrays() -> None:
    entries = (features(3, label="chair", score=0.7, num_points=200), features(-1))
    model = ModelIdentity("small", "ab" * 32, is_trained=True)
    message = features_msg(PointFeatureSet("lidar", START_NS + 5, entries, model))
    assert (message.header.frame_id, message.header.stamp.sec, message.header.stamp.nanosec) == (
        "lidar",
        START_NS // 10**9,
        5,
    )
    assert (message.model, message.weights_sha256, message.is_trained) == ("small", "ab" * 32, True)
    for found, entry in zip(message.features, entries, strict=True):
        assert (found.num_tokens, found.token_size) == (5, 8)
        np.testing.assert_array_equal(np.array(found.tokens, np.float32).reshape(5, 8), entry.tokens)
        np.testing.assert_array_equal(np.array(found.token_centers, np.float32).reshape(5, 3), entry.token_centers)
        np.testing.assert_array_equal(np.array(found.descriptor, np.float32), entry.descriptor)
        assert isinstance(found.tokens, array)
    assert [(f.label, f.instance_id, f.num_points) for f in message.features] == [("chair", 3, 200), ("", -1, 0)]
    assert message.features[0].score == pytest.approx(0.7)


def test_a_result_without_features_is_an_empty_message() -> None:
    message = features_msg(PointFeatureSet("lidar", 1, (), ModelIdentity("small", "", is_trained=False)))
    assert message.features == []
    assert not message.is_trained


def test_a_coloured_cloud_is_read_back_with_the_colours_that_rviz_shows() -> None:
    points = RNG.normal(size=(6, 3)).astype(np.float32)
    points[2] = np.nan
    colors = RNG.integers(0, 256, (6, 3), dtype=np.uint8)
    message = colored_cloud_msg(points, colors, START_NS, "lidar")
    assert (message.height, message.width, message.is_dense) == (1, 5, True)
    assert isinstance(message.data, array)
    assert [(f.name, f.offset, f.datatype) for f in message.fields] == [
        ("x", 0, 7),
        ("y", 4, 7),
        ("z", 8, 7),
        ("rgb", 12, 7),
    ]
    np.testing.assert_array_equal(unpack_points(packed_cloud_from_msg(message, "/a")), np.delete(points, 2, axis=0))
    packed = np.frombuffer(message.data, "<u4").reshape(5, 4)[:, 3]
    rgb = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1)
    np.testing.assert_array_equal(rgb, np.delete(colors, 2, axis=0))


def test_a_cloud_without_finite_points_is_an_empty_one() -> None:
    message = colored_cloud_msg(np.full((3, 3), np.nan, np.float32), np.zeros((3, 3), np.uint8), 0, "lidar")
    assert (message.width, len(message.data)) == (0, 0)
