"""What comes of a request: cut-outs, size, place, progress, files."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from given_object import RADIUS, given_engine
from tabletop import CAMERA, START_NS, T_BASE_CAM, ball_box, ball_pixels, camera_image, picture

from lift3d_ros.errors import ConfigError, ImageError, Lift3dError
from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.models.lrm.object_image import PixelBox
from lift3d_ros.pipelines.object_reconstruction import (
    ObjectReconstructionConfig,
    ObjectReconstructor,
    ReconstructionCancelledError,
)
from lift3d_ros.pipelines.object_requests import (
    ObjectOutputConfig,
    PlacedObject,
    RequestReconstructor,
    check_file_pattern,
    mesh_file,
)
from lift3d_ros.pipelines.object_sets import ObjectRequest
from lift3d_ros.pipelines.object_surface import SurfaceConfig

pytest.importorskip("skimage")
trimesh = pytest.importorskip("trimesh")


def reconstructor(**given: Any) -> RequestReconstructor:
    config = ObjectReconstructionConfig(surface=SurfaceConfig(resolution=16))
    return RequestReconstructor(ObjectReconstructor(given_engine(**given), config), "grabcut")


def request(**changes: Any) -> ObjectRequest:
    return dataclasses.replace(ObjectRequest(camera_image(), ball_pixels(), label="ball", track_id=3), **changes)


def run(one: ObjectRequest, **given: Any) -> PlacedObject:
    pipeline = reconstructor(**given)
    return pipeline.infer(pipeline.prepare(one))


def test_without_a_size_the_mesh_lies_in_a_cube_of_side_1() -> None:
    placed = run(request())
    assert not placed.is_metric
    half_side = given_engine().config.field.half_side
    radii = np.linalg.norm(placed.vertices, axis=1)
    np.testing.assert_allclose(radii, RADIUS / (2.0 * half_side), rtol=0.1)
    assert placed.T_cam_object[2, 3] > 0
    assert "of unknown size" in placed.summary


def test_a_3d_box_gives_metres_and_place() -> None:
    placed = run(request(camera=CAMERA, box_3d=ball_box(), T_cam_box=invert(T_BASE_CAM)))
    assert placed.is_metric
    np.testing.assert_allclose(np.ptp(placed.vertices, axis=0), 0.6, rtol=0.05)
    # The given ball does not fill the picture as the ball of the picture does, so it is not at the same distance.
    np.testing.assert_allclose(placed.T_cam_object[:2, 3], 0.0, atol=0.02)
    assert 1.0 < placed.T_cam_object[2, 3] < 5.0
    assert "0.6" in placed.summary


def test_depth_gives_metres_before_a_box_does() -> None:
    millimetres = np.full((240, 320), 2000, dtype="<u2")
    depth = dataclasses.replace(camera_image(), encoding="16UC1", data=millimetres.view(np.uint8).reshape(-1), step=640)
    placed = run(request(camera=CAMERA, depth=depth, box_3d=ball_box(), T_cam_box=invert(T_BASE_CAM)))
    assert placed.mesh.pose is not None
    assert placed.mesh.pose.scale_source == "depth"
    in_camera = transform_points(placed.T_cam_object, placed.vertices)[placed.mesh.is_seen]
    assert np.median(in_camera[:, 2]) == pytest.approx(2.0, abs=0.1)


def test_the_file_is_that_of_the_mesh() -> None:
    placed = run(request())
    mesh = trimesh.load(io.BytesIO(placed.glb()), file_type="glb", force="mesh", process=False)
    x, y, z = placed.vertices.T
    np.testing.assert_allclose(mesh.vertices, np.stack([x, z, -y], axis=1), atol=1e-6)
    assert len(mesh.faces) == len(placed.mesh.faces)
    assert placed.glb() == run(request()).glb(), "the same bytes for the same input"


def test_the_resolution_of_a_request_holds_for_it_alone() -> None:
    pipeline = reconstructor()
    fine, usual = (pipeline.infer(pipeline.prepare(request(resolution=cells))) for cells in (32, 0))
    assert len(fine.mesh.faces) > 3 * len(usual.mesh.faces)


def test_progress_tells_share_of_the_whole_work_and_never_goes_back() -> None:
    pipeline, told = reconstructor(), list[tuple[str, float]]()
    pipeline.infer(pipeline.prepare(request()), lambda stage, share: told.append((stage, share)))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert list(dict.fromkeys(stage for stage, _ in told)) == ["lift", "extract", "texture"]


def test_it_can_be_stopped() -> None:
    pipeline = reconstructor()
    with pytest.raises(ReconstructionCancelledError, match="stopped on request"):
        pipeline.infer(pipeline.prepare(request()), cancelled=lambda: True)


def test_an_empty_field_is_an_error_that_says_why() -> None:
    with pytest.raises(Lift3dError, match="no surface: the field is empty"):
        run(request(), density=lambda points: np.zeros(len(points)))


def test_without_a_box_the_object_is_what_stands_out() -> None:
    pipeline = reconstructor()
    view = pipeline.prepare(request(box=None)).prepared.view
    assert view.cutting == "grabcut"
    found, ball = view.box, ball_pixels()
    assert abs(found.top - ball.top) < 15
    assert abs(found.right - ball.right) < 15


def test_a_mask_needs_no_box_and_may_be_of_one_colour() -> None:
    mask = np.zeros((240, 320), dtype=np.uint8)
    mask[80:160, 120:200] = 1
    blank = dataclasses.replace(camera_image(), data=np.full(240 * 320 * 3, 90, dtype=np.uint8))
    pixels = dataclasses.replace(camera_image(), encoding="mono8", data=mask.reshape(-1), step=320)
    view = reconstructor().prepare(request(image=blank, box=None, mask=pixels)).prepared.view
    assert (view.cutting, view.box) == ("mask", PixelBox(80, 120, 160, 200))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"box": PixelBox(120, 160, 121, 161)}, "covers 1x1 px of it", id="one pixel"),
        pytest.param({"box": PixelBox(900, 900, 950, 950)}, "lies outside of the picture", id="outside"),
        pytest.param({"box": PixelBox(2, 2, 40, 60)}, "shows one colour only", id="wall"),
        pytest.param({"resolution": 30}, "resolution is 30; expected a multiple of 4", id="cells"),
        pytest.param({"resolution": 5000}, "'resolution' is 5000; expected 4 to 1024", id="too many cells"),
    ],
)
def test_requests_that_cannot_be_served_are_refused_with_a_sentence(changes: dict[str, Any], message: str) -> None:
    wall = picture()
    wall[:60, :100] = 128
    image = dataclasses.replace(camera_image(), data=wall.reshape(-1))
    with pytest.raises((ImageError, ConfigError), match=message):
        reconstructor().prepare(request(image=image, **changes))


def test_the_output_bounds_the_triangles_where_the_surface_does_not() -> None:
    output = ObjectOutputConfig(max_faces=500)
    assert output.limited(SurfaceConfig()).max_faces == 500
    assert output.limited(SurfaceConfig(max_faces=9000)).max_faces == 9000


@pytest.mark.parametrize(
    ("pattern", "label", "name"),
    [
        ("{label}_{track}_{stamp_ns}", "ball", f"ball_asked_{START_NS}.glb"),
        ("{label}/{track}.glb", "traffic cone", "traffic_cone/asked.glb"),
        ("{label}", "../../etc/passwd", "etc_passwd.glb"),
        ("{label}", "/", "object.glb"),
        ("{label}", "..", "object.glb"),
        ("{label}", "a" * 500, f"{'a' * 64}.glb"),
        ("{label}", "\u0000mug\n", "mug.glb"),
    ],
)
def test_names_of_files_hold_no_more_than_they_may(tmp_path: Path, pattern: str, label: str, name: str) -> None:
    assert mesh_file(tmp_path, pattern, request(label=label)) == tmp_path / name


@pytest.mark.parametrize("pattern", ["../{label}", "/tmp/{label}", "a/../../{label}", ""])
def test_patterns_that_lead_out_of_the_folder_are_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"'output.file' is .*, which leads to .*; expected a file in the folder"):
        check_file_pattern(tmp_path / "meshes", pattern)


@pytest.mark.parametrize("pattern", ["{lable}", "{label", "{0}", "{label:d}"])
def test_patterns_that_cannot_be_filled_in_are_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a file name with the placeholders \{label\}"):
        check_file_pattern(tmp_path, pattern)


def test_a_link_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes" / "ball").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="expected a file in the folder"):
        mesh_file(tmp_path / "meshes", "{label}/{track}", request())
