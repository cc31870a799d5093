"""A camera sees what is nearest, at the right depth, and knows which vertices it sees."""

from __future__ import annotations

import numpy as np
import pytest

from lift3d_ros.geometry.depth_buffer import draw_depth, visible_vertices

K = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])


def square(depth: float, half_side: float, tilt: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Faces towards the camera; its depth grows by `tilt` for each unit to the right."""
    corners = half_side * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    points = np.column_stack([corners, depth + tilt * corners[:, 0]])
    return points, np.array([[0, 2, 1], [0, 3, 2]])


def both(*meshes: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    first, second = meshes
    return np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1] + len(first[0])])


def test_depth_is_exact_in_perspective() -> None:
    points, faces = square(2.0, 0.5, tilt=0.8)
    found = draw_depth(points, faces, K, (60, 80))
    rows, columns = np.nonzero(found.is_hit)
    x = (columns + 0.5) / 80 - 0.5
    # On the plane z = 2 + 0.8 X with X = x z.
    np.testing.assert_allclose(found.depth[rows, columns], 2.0 / (1.0 - 0.8 * x), rtol=1e-9)
    places = np.einsum("pk,pki->pi", found.weights[rows, columns], points[faces[found.face[rows, columns]]])
    np.testing.assert_allclose(places[:, 2], found.depth[rows, columns], rtol=1e-9)
    np.testing.assert_allclose(places[:, 0] / places[:, 2], x, atol=1e-9)


def test_the_nearer_of_two_faces_is_seen_whatever_their_order() -> None:
    near, far = square(1.0, 0.1), square(2.0, 0.8)
    for points, faces in (both(near, far), both(far, near)):
        depth = draw_depth(points, faces, K, (50, 50)).depth
        assert depth[25, 25] == pytest.approx(1.0)
        assert depth[25, 8] == pytest.approx(2.0)
        assert np.isinf(depth[0, 0])


def test_faces_behind_the_camera_or_outside_of_the_picture_are_left_out() -> None:
    behind, aside = square(-1.0, 0.5), square(1.0, 0.1)
    aside[0][:, 0] += 9.0
    found = draw_depth(*both(behind, aside), K, (20, 20))
    assert not found.is_hit.any()
    assert np.isinf(found.depth).all()
    assert not draw_depth(np.zeros((0, 3)), np.zeros((0, 3), np.int64), K, (4, 4)).is_hit.any()


def test_every_pixel_of_a_cut_square_belongs_to_a_triangle() -> None:
    found = draw_depth(*square(1.0, 2.0), K, (64, 64))
    assert found.is_hit.all()


def test_vertices_that_are_hidden_turned_away_or_outside_are_not_seen() -> None:
    front, behind = square(1.0, 0.2), square(2.0, 0.2)
    points, faces = both(front, behind)
    np.testing.assert_array_equal(visible_vertices(points, faces, K), [True] * 4 + [False] * 4)
    turned = faces[:, ::-1]
    assert not visible_vertices(points, turned, K).any()
    aside = points + np.array([5.0, 0.0, 0.0])
    assert not visible_vertices(aside, faces, K).any()
    assert not visible_vertices(points, np.zeros((0, 3), np.int64), K).any()


def test_of_a_ball_the_near_cap_is_seen() -> None:
    surface = pytest.importorskip("lift3d_ros.geometry.surface")
    pytest.importorskip("skimage", reason="scikit-image is not installed")
    found = surface.extract_surface(lambda p: 0.5 - np.linalg.norm(p, axis=1), 1.0, 0.0, num_cells=64)
    points = found.vertices + np.array([0.0, 0.0, 2.0])
    is_seen = visible_vertices(points, found.faces, K)
    # Seen from a distance of 2 the horizon of a ball of radius 0.5 lies at a depth of 2 - 0.5² / 2.
    horizon = 2.0 - 0.5**2 / 2.0
    assert is_seen[points[:, 2] < horizon - 0.03].all()
    assert not is_seen[points[:, 2] > horizon + 0.03].any()


def test_drawing_can_be_stopped() -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        draw_depth(*square(1.0, 0.2), K, (50, 50), stop)
    with pytest.raises(InterruptedError):
        visible_vertices(*square(1.0, 0.2), K, on_piece=stop)
