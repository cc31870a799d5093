"""A picture becomes a coloured mesh that knows what of it was seen; every field gives an answer; it can be stopped."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import pytest
from given_object import RADIUS, ball_density, given_engine

from lift3d_ros.config import from_mapping, iterate_settings
from lift3d_ros.errors import ConfigError, ImageError
from lift3d_ros.geometry.depth_buffer import draw_depth
from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.geometry.triangles import is_watertight
from lift3d_ros.models.lrm.object_image import PixelBox
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.object_reconstruction import (
    ObjectFrame,
    ObjectReconstructionConfig,
    ObjectReconstructor,
    PreparedObject,
    ReconstructedObject,
    ReconstructionCancelledError,
    open_object_reconstructor,
)
from lift3d_ros.pipelines.object_surface import SurfaceConfig
from lift3d_ros.types import Boxes3D, CameraModel

pytest.importorskip("skimage", reason="scikit-image is not installed")
pytest.importorskip("scipy", reason="scipy is not installed")


def reconstructor(engine: Any = None, **surface: Any) -> ObjectReconstructor:
    config = ObjectReconstructionConfig(surface=SurfaceConfig(**{"resolution": 48, **surface}))
    return ObjectReconstructor(engine or given_engine(), config)


def frame(**changes: Any) -> ObjectFrame:
    picture = np.full((120, 160, 3), 90, np.uint8)
    mask = np.zeros((120, 160), np.uint8)
    mask[20:100, 40:120] = 255
    return dataclasses.replace(ObjectFrame(picture, mask), **changes)


def run(pipeline: ObjectReconstructor, **changes: Any) -> ReconstructedObject:
    return pipeline.infer(pipeline.prepare(frame(**changes)))


def test_a_ball_becomes_a_closed_mesh_in_its_colours() -> None:
    result = run(reconstructor())
    assert not result.is_empty
    assert is_watertight(result.faces)
    np.testing.assert_allclose(np.linalg.norm(result.vertices, axis=1), RADIUS, atol=0.005)
    is_red = result.vertices[:, 0] < 0.0
    np.testing.assert_array_equal(result.colors[is_red], np.tile([255, 0, 0], (int(is_red.sum()), 1)))
    np.testing.assert_array_equal(result.colors[~is_red][:, 2], 255)
    assert result.threshold == 10.0
    assert result.problems == ()
    assert result.identity.is_trained
    assert set(result.timings_s) == {"prepare", "planes", "surface", "simplify", "colors", "visibility"}


def test_the_side_towards_the_assumed_camera_is_seen_and_the_back_is_not() -> None:
    result = run(reconstructor())
    towards = result.vertices[:, 1] / RADIUS  # the camera stands at y = -2
    assert result.is_seen[towards < -0.4].all()
    assert not result.is_seen[towards > 0.0].any()


def test_decimation_gives_at_most_as_many_faces_and_colours_of_the_new_places() -> None:
    result = run(reconstructor(max_faces=500))
    assert 200 < len(result.faces) <= 500
    assert is_watertight(result.faces)
    assert len(result.colors) == len(result.is_seen) == len(result.vertices)


def test_a_mesh_that_cannot_have_so_few_faces_says_so() -> None:
    result = run(reconstructor(max_faces=4))
    assert 4 < len(result.faces) < 40
    assert f"the mesh has {len(result.faces)} triangles and not 4: fewer would tear it apart" in result.problems


def test_only_the_largest_part_is_kept_on_request() -> None:
    def density(points: Any) -> Any:
        return ball_density(points) + 10.0 * np.exp(20.0 * (0.2 - np.linalg.norm(points - 0.75, axis=1)))

    every = run(reconstructor(given_engine(density)))
    largest = run(reconstructor(given_engine(density), largest_part=True))
    assert every.vertices.max() > 0.8
    assert largest.vertices.max() < 0.6
    assert "1 smaller parts of the surface were dropped" in largest.problems


def test_pieces_are_bounded_by_the_setting() -> None:
    engine = given_engine()
    run(reconstructor(engine, points_at_once=1000))
    assert engine.field.most_points == 1000  # type: ignore[attr-defined]


def test_the_adaptive_grid_asks_far_less_than_the_dense_one() -> None:
    result = run(reconstructor(resolution=128))
    assert 8 * result.num_queries < 129**3


@pytest.mark.parametrize(
    ("density", "sentence"),
    [
        pytest.param(lambda points: np.zeros(len(points)), "the field is empty", id="empty"),
        pytest.param(lambda points: np.full(len(points), 7.0), "the field has 7 to 7; lower the threshold", id="below"),
        pytest.param(lambda points: np.full(len(points), 70.0), "all of the cube is solid", id="solid"),
        pytest.param(lambda points: np.full(len(points), np.nan), "the field holds no numbers", id="not a number"),
        pytest.param(lambda points: np.full(len(points), np.inf), "all of the cube is solid", id="infinite"),
    ],
)
def test_a_field_without_a_surface_gives_no_faces_and_a_sentence(density: Any, sentence: str) -> None:
    result = run(reconstructor(given_engine(density), resolution=16, max_faces=100, largest_part=True))
    assert result.is_empty
    assert result.vertices.shape == (0, 3)
    assert result.colors.shape == (0, 3)
    assert result.is_seen.shape == (0,)
    assert any(sentence in problem for problem in result.problems), result.problems


def test_planes_that_are_not_finite_give_no_faces_and_a_sentence() -> None:
    result = run(reconstructor(given_engine(planes=np.nan)))
    assert result.is_empty
    assert "not finite" in result.problems[0]


def test_the_threshold_decides_how_thick_the_object_is() -> None:
    sizes = [np.abs(run(reconstructor(threshold=level)).vertices).max() for level in (2.0, 10.0, 50.0)]
    assert sizes[0] > sizes[1] > sizes[2]


def test_what_reaches_the_border_of_the_cube_is_closed_unless_asked_otherwise() -> None:
    def half_space(points: Any) -> Any:
        return 10.0 * np.exp(5.0 * (0.1 - points[:, 2]))

    assert is_watertight(run(reconstructor(given_engine(half_space))).faces)
    still_open = run(reconstructor(given_engine(half_space), watertight=False))
    assert not is_watertight(still_open.faces)
    assert still_open.problems == ()


def test_untrained_weights_are_said_with_every_result() -> None:
    result = run(reconstructor(given_engine(is_trained=False)))
    assert result.problems == ("lift3d-lrm-tiny (untrained weights): the shape has no meaning",)


def test_warnings_of_the_picture_reach_the_result() -> None:
    mask = np.zeros((120, 160), np.uint8)
    mask[20:120, 40:120] = 255
    assert "touches the bottom border" in run(reconstructor(), mask=mask).problems[0]
    with pytest.raises(ImageError, match="outside of the picture"):
        reconstructor().prepare(frame(box=PixelBox(500, 500, 600, 600)))


def test_progress_grows_through_all_stages() -> None:
    told: list[tuple[str, float]] = []
    pipeline = reconstructor(max_faces=500)
    pipeline.infer(pipeline.prepare(frame()), lambda stage, share: told.append((stage, share)))
    assert list(dict.fromkeys(stage for stage, _ in told)) == ["planes", "surface", "simplify", "colors", "visibility"]
    for stage in ("planes", "surface", "simplify", "colors"):
        shares = [share for name, share in told if name == stage]
        assert shares == sorted(shares), stage
        assert shares[0] == 0.0
        assert shares[-1] <= 1.0


@pytest.mark.parametrize("after", [0, 5, 12, 30])
def test_a_reconstruction_stops_within_half_a_second(after: int) -> None:
    pipeline = reconstructor(resolution=128, points_at_once=2000)
    prepared: PreparedObject = pipeline.prepare(frame())
    count, since = 0, 0.0

    def cancelled() -> bool:
        nonlocal count, since
        count += 1
        if count > after and not since:
            since = time.perf_counter()
        return count > after

    with pytest.raises(ReconstructionCancelledError, match="stopped on request"):
        pipeline.infer(prepared, cancelled=cancelled)
    assert time.perf_counter() - since < 0.5
    assert not pipeline.infer(prepared).is_empty  # and it can be run again


def test_the_longest_wait_between_two_chances_to_stop_is_below_half_a_second() -> None:
    pipeline = reconstructor(resolution=128, max_faces=5000)
    prepared = pipeline.prepare(frame())
    times: list[float] = []
    pipeline.infer(prepared, cancelled=lambda: bool(times.append(time.thread_time())))
    assert np.diff(times).max() < 0.5


def test_a_depth_picture_gives_metres_and_a_place() -> None:
    """The camera is the assumed one, and a unit of the model is 0.75 m: that is the size of the ball, too."""
    pipeline = reconstructor()
    scale = 0.75
    distance = scale * pipeline.model_config.view.distance
    side = 80 / 0.85  # of the square that the mask is framed in
    focal = pipeline.model_config.view.focal * side
    camera = CameraModel(
        "front", "front_optical_frame", 160, 120, np.array([[focal, 0, 79.5], [0, focal, 59.5], [0, 0, 1]])
    )
    plain = run(pipeline)
    points = transform_points(invert(pipeline.T_object_view), plain.vertices) * scale
    normalised = np.array([[focal / 160, 0.0, 80 / 160], [0.0, focal / 120, 60 / 120], [0.0, 0.0, 1.0]])
    depth = draw_depth(points, plain.faces, normalised, (120, 160)).depth
    depth = np.where(np.isfinite(depth), depth, 0.0).astype(np.float32)
    pose = run(pipeline, camera=camera, depth=depth).pose
    assert pose is not None
    assert pose.scale == pytest.approx(scale, rel=0.02)
    np.testing.assert_allclose(pose.T_cam_object[:3, 3], [0.0, 0.0, distance], atol=0.05)
    np.testing.assert_allclose(pose.place(plain.vertices), points, atol=0.05)
    assert plain.pose is None
    nothing = run(pipeline, camera=camera, depth=np.zeros_like(depth))
    assert nothing.pose is None
    assert any("hardly any depth" in problem for problem in nothing.problems)
    box = Boxes3D("front_optical_frame", ("ball",), [[0, 0, distance]], [[0.75] * 3], [0.0], [[0, 0]], [1.0], [0])  # type: ignore[arg-type]
    by_box = run(pipeline, camera=camera, box_3d=box).pose
    assert by_box is not None
    assert by_box.scale == pytest.approx(scale, rel=0.02)
    halved = run(pipeline, camera=camera, depth=depth[::2, ::2]).pose
    assert halved is not None
    assert halved.scale == pytest.approx(scale, rel=0.03)
    stretched = run(pipeline, camera=camera, depth=depth[:, ::2], box_3d=box)
    assert stretched.pose is not None
    assert stretched.pose.scale_source == "box"
    assert stretched.problems == (
        "depth is not used: it has 80x120 px, the picture 160x120; expected the same shape. Give depth that is "
        "registered to the picture",
    )


@pytest.mark.parametrize(
    ("surface", "message"),
    [
        ({"resolution": 50}, "multiple of 4, for example 48"),
        ({"resolution": 0}, "surface.resolution is 0; expected 4 to 1024"),
        ({"resolution": -4}, "expected 4 to 1024"),
        ({"resolution": 4_000_000}, "expected 4 to 1024"),
        ({"max_faces": 3}, "expected 4 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(surface: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        reconstructor(**surface)


def test_settings_come_from_names_and_have_ranges() -> None:
    config = from_mapping(ObjectReconstructionConfig, {"surface": {"threshold": 5, "resolution": 64}}, "a test")
    assert config.surface.threshold == 5.0
    assert "surface.points_at_once" in {item.name for item in iterate_settings(ObjectReconstructionConfig)}
    with pytest.raises(ConfigError, match="resolution"):
        from_mapping(ObjectReconstructionConfig, {"surface": {"resolution": 4096}}, "a test")


def test_views_are_pictures_and_can_be_stopped() -> None:
    pipeline = reconstructor()
    result = run(pipeline)
    poses = np.stack([pipeline.T_object_view] * 3)
    pictures = pipeline.render(result.planes, poses, 16)
    assert len(pictures) == 3
    assert pictures[0].shape == (16, 16, 3)
    assert pictures[0].dtype == np.uint8
    with pytest.raises(ReconstructionCancelledError):
        pipeline.render(result.planes, poses, 16, cancelled=lambda: True)


def test_the_real_network_gives_the_same_mesh_each_time_with_bounded_pieces() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    config = ObjectReconstructionConfig(
        surface=SurfaceConfig(resolution=16, threshold=0.27, points_at_once=4096), engine=EngineConfig(threads=1)
    )
    pipeline = open_object_reconstructor(config)
    first, again = run(pipeline), run(pipeline)
    np.testing.assert_array_equal(first.planes, again.planes)
    np.testing.assert_array_equal(first.vertices, again.vertices)
    assert not [problem for problem in first.problems if "untrained" in problem]
    view = pipeline.render(first.planes, pipeline.T_object_view[None], 24)[0]
    assert view.shape == (24, 24, 3)
