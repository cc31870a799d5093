"""Meshes as messages: triangles, colours, clouds, frames."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from given_object import given_engine
from tabletop import CAMERA, T_BASE_CAM, ball_box, ball_pixels, camera_image
from visualization_msgs.msg import Marker

from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.nodes.object_messages import HAS_SHAPE_MSGS, cloud_msg, mesh_msg, object_marker_msgs, pose_msg
from lift3d_ros.pipelines.object_reconstruction import ObjectReconstructionConfig, ObjectReconstructor
from lift3d_ros.pipelines.object_requests import PlacedObject, RequestReconstructor
from lift3d_ros.pipelines.object_sets import ObjectRequest
from lift3d_ros.pipelines.object_surface import SurfaceConfig

pytest.importorskip("skimage")
pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def placed() -> PlacedObject:
    config = ObjectReconstructionConfig(surface=SurfaceConfig(resolution=16))
    pipeline = RequestReconstructor(ObjectReconstructor(given_engine(), config), "grabcut")
    request = ObjectRequest(
        camera_image(), ball_pixels(), None, None, CAMERA, ball_box(), invert(T_BASE_CAM), label="ball", track_id=7
    )
    return pipeline.infer(pipeline.prepare(request))


def test_a_cloud_holds_places_colours_and_what_is_guessed(placed: PlacedObject) -> None:
    T = T_BASE_CAM @ placed.T_cam_object
    message = cloud_msg(placed, T, "base_link")
    fields = {field.name: (field.offset, field.datatype) for field in message.fields}
    assert list(fields) == ["x", "y", "z", "rgb", "is_seen"]
    assert message.row_step == message.point_step * message.width == len(message.data)
    kind = np.dtype([("xyz", "<f4", 3), ("bgr", "u1", 4), ("is_seen", "u1")])
    data = np.frombuffer(message.data, kind)
    np.testing.assert_allclose(data["xyz"], transform_points(T, placed.vertices), atol=1e-5)
    np.testing.assert_array_equal(data["bgr"][:, 2::-1], placed.mesh.colors)
    np.testing.assert_array_equal(data["is_seen"], placed.mesh.is_seen)
    assert message.header.frame_id == "base_link"


def test_markers_are_the_triangles_in_their_colours(placed: PlacedObject) -> None:
    mesh, label = object_marker_msgs(placed, placed.T_cam_object, "front_optical", 2.5).markers
    assert (mesh.type, mesh.ns, label.ns) == (Marker.TRIANGLE_LIST, "meshes/ball", "labels/ball")
    corners = placed.mesh.faces.reshape(-1)
    assert len(mesh.points) == len(mesh.colors) == len(corners)
    np.testing.assert_allclose([(p.x, p.y, p.z) for p in mesh.points[:30]], placed.vertices[corners[:30]])
    colors = np.array([(c.r, c.g, c.b, c.a) for c in mesh.colors])
    np.testing.assert_allclose(255.0 * colors[:, :3], placed.mesh.colors[corners], atol=1e-6)
    assert (colors[:, 3] == 1.0).all()
    assert mesh.pose == pose_msg(placed.T_cam_object)
    assert (mesh.lifetime.sec, mesh.lifetime.nanosec) == (2, 500_000_000)
    assert label.text == "ball 7"


def test_an_object_keeps_its_marker_and_another_one_has_its_own(placed: PlacedObject) -> None:
    def marker_id(key: str) -> int:
        request = dataclasses.replace(placed.request, key=key)
        other = dataclasses.replace(placed, request=request)
        return int(object_marker_msgs(other, np.eye(4), "a", 0.0).markers[0].id)

    assert marker_id("ball 7") == marker_id("ball 7") != marker_id("ball 8")


def test_what_has_no_size_or_no_meaning_is_labelled(placed: PlacedObject) -> None:
    identity = dataclasses.replace(placed.mesh.identity, is_trained=False)
    mesh = dataclasses.replace(placed.mesh, identity=identity)
    other = dataclasses.replace(placed, mesh=mesh, is_metric=False)
    label = object_marker_msgs(other, np.eye(4), "a", 0.0).markers[1]
    assert label.text == "ball 7, of unknown size and place, untrained weights"


@pytest.mark.skipif(not HAS_SHAPE_MSGS, reason="shape_msgs is not installed")
def test_a_mesh_holds_triangles_in_the_frame(placed: PlacedObject) -> None:
    message = mesh_msg(placed, placed.T_cam_object)
    vertices = np.array([(p.x, p.y, p.z) for p in message.vertices])
    np.testing.assert_allclose(vertices, transform_points(placed.T_cam_object, placed.vertices))
    np.testing.assert_array_equal([t.vertex_indices for t in message.triangles], placed.mesh.faces)
