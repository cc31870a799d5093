"""Rendered objects are in the middle of their pictures, where the calibration says, and at the depth that it says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from object_folders import BLUE, RED, ball, brick, cup, renderer_or_skip

from lift3d_ros.datasets.object_points import label_points, sample_surface
from lift3d_ros.datasets.object_renders import (
    Framing,
    Light,
    ObjectRenderer,
    random_rotations,
    render_views,
    turned_rotation,
)
from lift3d_ros.datasets.object_views import model_frame
from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.models.lrm.cameras import orbit
from lift3d_ros.models.lrm.config import ViewConfig
from lift3d_ros.models.lrm.object_image import foreground_box
from lift3d_ros.simulation.meshes import box, combine

SIDE = 64


@pytest.fixture(scope="module")
def renderer() -> Iterator[ObjectRenderer]:
    with renderer_or_skip(SIDE) as made:
        yield made


def test_every_view_has_the_object_in_the_middle_in_the_same_size(renderer: ObjectRenderer) -> None:
    mesh = brick()
    rotations = random_rotations(np.random.default_rng(0), 6, mesh.positions)
    for rgba in render_views(renderer, mesh, rotations, Framing(1.25, 0.8), Light()).rgba:
        found = foreground_box(rgba[..., 3])
        assert found is not None
        assert max(found.height, found.width) == pytest.approx(0.8 * SIDE, abs=2)
        assert found.top + found.bottom == pytest.approx(SIDE, abs=2)
        assert found.left + found.right == pytest.approx(SIDE, abs=2)


def test_a_pixel_shows_the_surface_at_its_depth(renderer: ObjectRenderer) -> None:
    views = render_views(renderer, ball(), turned_rotation(0.4, 0.3)[None], Framing(), Light())
    row, column = np.nonzero(views.rgba[0, ..., 3] == 255)
    assert views.depths is not None
    pixels = np.stack([(column + 0.5) / SIDE, (row + 0.5) / SIDE, np.ones(len(row))], axis=1)
    rays = pixels @ np.linalg.inv(views.intrinsics[0]).T
    points = transform_points(views.T_object_cameras[0], rays * views.depths[0][row, column][:, None])
    assert np.abs(np.linalg.norm(points, axis=1) - 0.5).mean() < 0.01


def test_left_and_up_of_the_picture_are_those_of_the_camera(renderer: ObjectRenderer) -> None:
    mesh = combine([box((0, -0.4, -0.4), (0.2, 0.2, 0.2), RED), box((0, 0.4, 0.4), (0.2, 0.2, 0.2), BLUE)])
    (rgba,) = render_views(renderer, mesh, turned_rotation(0.0, 0.0)[None], Framing(), Light()).rgba
    # A camera on +x sees +y at its right.
    assert rgba[-SIDE // 5, SIDE // 5].argmax() == 0 or rgba[-SIDE // 5, SIDE // 5, 0] > 100
    assert rgba[SIDE // 5, -SIDE // 5, 2] > 100
    assert rgba[SIDE // 5, SIDE // 5, 3] == 0


def test_light_does_not_move_with_the_camera(renderer: ObjectRenderer) -> None:
    views = render_views(renderer, ball(), np.stack([turned_rotation(a, 0.0) for a in (0.0, 3.14)]), Framing(), Light())
    lit, shaded = sorted(float(rgba[rgba[..., 3] == 255][:, 0].mean()) for rgba in views.rgba)[::-1]
    assert lit > 1.02 * shaded


def test_a_model_sees_the_object_where_its_picture_shows_it(renderer: ObjectRenderer) -> None:
    view, mesh = ViewConfig(distance=1.8, focal=1.25), brick()
    views = render_views(renderer, mesh, turned_rotation(0.7, 0.4)[None], Framing(0.9, 0.85), Light())
    T = model_frame(views.T_object_cameras[0], views.intrinsics[0], views.distances[0], view)
    in_picture = transform_points(invert(views.T_object_cameras[0]), mesh.positions)
    in_model = transform_points(invert(orbit([-np.pi / 2], 0.0, view.distance)[0]), transform_points(T, mesh.positions))
    # Another focal length: equal where the middle of the object is, nearly so around it.
    seen = 0.9 * in_picture[:, :2] / in_picture[:, 2:]
    expected = view.focal * in_model[:, :2] / in_model[:, 2:]
    assert np.abs(seen - expected).max() < 0.12
    middle = transform_points(T, transform_points(views.T_object_cameras[0], [[0.0, 0.0, views.distances[0]]]))
    np.testing.assert_allclose(middle, 0.0, atol=1e-9)
    assert np.linalg.det(T[:3, :3]) > 0.0


def test_closed_bodies_are_solid_and_open_ones_hollow(renderer: ObjectRenderer) -> None:
    rng = np.random.default_rng(0)
    for mesh, is_hollow in ((ball(), False), (cup(), True)):
        renderer.load(mesh)
        points = label_points(renderer, mesh, Light(), 12000, rng)
        radius = np.linalg.norm(points.positions, axis=1)
        core = radius < 0.3
        assert core.sum() > 50
        assert points.is_inside[core].mean() == pytest.approx(0.0 if is_hollow else 1.0, abs=0.02)
        outside = np.linalg.norm(points.positions[:, :2], axis=1) > 0.54
        assert not points.is_inside[outside].any()


def test_a_wall_without_thickness_has_some(renderer: ObjectRenderer) -> None:
    mesh = cup()
    renderer.load(mesh)
    points = label_points(renderer, mesh, Light(), 12000, np.random.default_rng(0))
    radius = np.linalg.norm(points.positions[:, :2], axis=1)
    on_wall = (np.abs(radius - 0.4) < 0.004) & (np.abs(points.positions[:, 2]) < 0.4)
    assert on_wall.sum() > 50
    assert points.is_inside[on_wall].mean() > 0.95


def test_points_have_the_colour_of_the_surface_beside_them(renderer: ObjectRenderer) -> None:
    mesh = combine([box((-0.25, 0, 0), (0.5, 0.5, 0.5), RED), box((0.25, 0, 0), (0.5, 0.5, 0.5), BLUE)])
    renderer.load(mesh)
    points = label_points(renderer, mesh, Light(ambient=1.0, gain=1.0), 6000, np.random.default_rng(0))
    for side, finish in ((points.positions[:, 0] < -0.3, RED), (points.positions[:, 0] > 0.3, BLUE)):
        found = points.colors[side & points.is_near]
        assert np.abs(found.astype(float) - finish.color).max() <= 2


def test_a_surface_is_sampled_evenly() -> None:
    points, normals, _ = sample_surface(box((0, 0, 0), (2.0, 1.0, 1.0), RED), 20000, np.random.default_rng(0))
    share = float((np.abs(normals[:, 0]) > 0.5).mean())
    assert share == pytest.approx(0.2, abs=0.01)
    assert np.abs(points).max() <= 1.0 + 1e-6


def test_renderers_that_live_side_by_side_draw_their_own_meshes(renderer: ObjectRenderer) -> None:
    rotation = turned_rotation(0.3, 0.2)[None]
    renderer.load(ball())
    with renderer_or_skip(48) as other:
        own = render_views(other, brick(), rotation, Framing(), Light()).rgba
        balls = render_views(renderer, ball(), rotation, Framing(), Light()).rgba
        again = render_views(other, brick(), rotation, Framing(), Light()).rgba
    np.testing.assert_array_equal(own, again)
    assert balls.shape[1] == renderer.side
    assert balls[..., 3].any()
    np.testing.assert_array_equal(balls, render_views(renderer, ball(), rotation, Framing(), Light()).rgba)
