"""The adaptive grid gives the surface of the dense one, asks far less, stays within its memory, and always answers."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from lift3d_ros.errors import Lift3dError
from lift3d_ros.geometry import surface
from lift3d_ros.geometry.surface import Surface, extract_surface, max_memory_bytes

needs_skimage = pytest.mark.skipif(
    surface.importlib.util.find_spec("skimage") is None, reason="scikit-image is not installed"
)


def ball(points: Any, center: tuple[float, ...] = (0.1, -0.05, 0.07), radius: float = 0.6) -> Any:
    return radius - np.linalg.norm(points - np.asarray(center, np.float32), axis=1)


def several(points: Any) -> Any:
    """A ring, a ball beside it and a thin rod."""
    x, y, z = points.T
    ring = 0.18 - np.hypot(np.hypot(x, y) - 0.55, z)
    rod = np.minimum(0.03 - np.hypot(x + 0.2, y - 0.1), 0.8 - np.abs(z))
    return np.maximum(np.maximum(ring, ball(points, (0.5, -0.5, 0.6), 0.25)), rod)


def volume(found: Surface) -> float:
    corners = found.vertices[found.faces]
    return float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6.0)


def uses_of_edges(found: Surface) -> Any:
    edges = np.sort(np.concatenate([found.faces[:, pair] for pair in ([0, 1], [1, 2], [2, 0])]), axis=1)
    return np.unique(edges, axis=0, return_counts=True)[1]


def is_closed(found: Surface) -> bool:
    return bool((uses_of_edges(found) == 2).all())


def chamfer(first: Surface, second: Surface) -> float:
    """Return the mean of the distances between vertices of one and the nearest of the other, both ways."""
    tree = pytest.importorskip("scipy.spatial", reason="scipy is not installed").cKDTree
    return float(
        0.5 * tree(first.vertices).query(second.vertices)[0].mean()
        + 0.5 * tree(second.vertices).query(first.vertices)[0].mean()
    )


@needs_skimage
def test_a_ball_is_closed_faces_outwards_and_has_its_volume() -> None:
    found = extract_surface(ball, 1.0, 0.0, num_cells=64)
    assert is_closed(found)
    assert volume(found) == pytest.approx(4.0 / 3.0 * np.pi * 0.6**3, rel=0.01)
    np.testing.assert_allclose(ball(found.vertices), 0.0, atol=1e-3)


@needs_skimage
def test_the_cube_and_the_level_are_those_asked_for() -> None:
    found = extract_surface(lambda points: np.exp(8.0 * ball(points)), 0.87, float(np.exp(0.8)), num_cells=64)
    np.testing.assert_allclose(ball(found.vertices), 0.1, atol=2e-3)


@needs_skimage
@pytest.mark.parametrize(("num_cells", "saving"), [(64, 4.0), (128, 8.0)])
def test_the_adaptive_grid_gives_the_dense_surface_with_fewer_queries(num_cells: int, saving: float) -> None:
    adaptive = extract_surface(several, 1.0, 0.0, num_cells=num_cells)
    dense = extract_surface(several, 1.0, 0.0, num_cells=num_cells, is_dense=True)
    assert dense.num_queries == (num_cells + 1) ** 3
    assert dense.num_queries > saving * adaptive.num_queries
    np.testing.assert_array_equal(adaptive.vertices, dense.vertices)
    np.testing.assert_array_equal(adaptive.faces, dense.faces)


@needs_skimage
def test_at_256_cells_it_asks_eight_times_less_within_half_a_voxel_and_its_memory() -> None:
    tracemalloc.start()
    adaptive = extract_surface(several, 1.0, 0.0, num_cells=256)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    dense = extract_surface(several, 1.0, 0.0, num_cells=256, is_dense=True)
    assert dense.num_queries > 8 * adaptive.num_queries
    assert chamfer(adaptive, dense) < 0.5 * 2.0 / 256
    assert peak < max_memory_bytes(256) + adaptive.vertices.nbytes + adaptive.faces.nbytes


@needs_skimage
def test_no_point_is_asked_twice_and_pieces_are_bounded() -> None:
    asked: list[Any] = []

    def remember(points: Any) -> Any:
        asked.append(points)
        return several(points)

    found = extract_surface(remember, 1.0, 0.0, num_cells=32, points_at_once=500)
    assert max(len(points) for points in asked) <= 500
    everything = np.concatenate(asked)
    assert len(everything) == len(np.unique(everything, axis=0)) == found.num_queries


@needs_skimage
def test_slabs_are_joined_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = extract_surface(several, 1.0, 0.0, num_cells=64)
    monkeypatch.setattr(surface, "_NODES_AT_ONCE", 6 * 65**2)
    sliced = extract_surface(several, 1.0, 0.0, num_cells=64)
    assert is_closed(sliced)
    assert sliced.num_queries == whole.num_queries
    assert len(sliced.vertices) == len(whole.vertices)
    assert len(sliced.faces) == len(whole.faces)
    assert volume(sliced) == pytest.approx(volume(whole), rel=1e-6)


@needs_skimage
def test_memory_grows_with_an_eighth_of_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface, "_NODES_AT_ONCE", 100_000)
    tracemalloc.start()
    found = extract_surface(ball, 1.0, 0.0, num_cells=160)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < max_memory_bytes(160) + found.vertices.nbytes + found.faces.nbytes
    assert max_memory_bytes(1024) < 4 * 1025**3 / 1.5  # of the dense grid alone, in float32


@needs_skimage
def test_a_surface_that_leaves_the_cells_looked_into_is_followed() -> None:
    """Coarse nodes see the thick end of a needle; its thin rest lies between them."""

    def needle(points: Any) -> Any:
        x, y, z = points.T
        radius = np.where(x < -0.5, 0.2, 0.045)
        return np.minimum(radius - np.hypot(y - 0.0625, z - 0.0625), 0.8 - np.abs(x))

    adaptive = extract_surface(needle, 1.0, 0.0, num_cells=64)
    assert adaptive.vertices[:, 0].max() > 0.75
    assert is_closed(adaptive)


@needs_skimage
@pytest.mark.parametrize("is_density", [False, True], ids=["distance", "density"])
def test_sheets_thinner_than_a_coarse_cell_are_found(is_density: bool) -> None:
    """No coarse node lies inside of some of the sheets."""

    def sheets(points: Any) -> Any:
        x, y, z = points.T
        distance = np.minimum(0.02 - np.abs((z + 1.0) % 0.4 - 0.2), 0.85 - np.maximum(np.abs(x), np.abs(y)))
        return np.exp(np.minimum(150.0 * distance, 50.0)) if is_density else distance

    level = 1.0 if is_density else 0.0
    adaptive = extract_surface(sheets, 1.0, level, num_cells=128)
    dense = extract_surface(sheets, 1.0, level, num_cells=128, is_dense=True)
    np.testing.assert_array_equal(adaptive.vertices, dense.vertices)
    assert adaptive.num_queries < dense.num_queries


@needs_skimage
@pytest.mark.parametrize(
    "density",
    [
        pytest.param(lambda points: np.zeros(len(points)), id="empty"),
        pytest.param(lambda points: np.full(len(points), np.nan), id="not a number"),
        pytest.param(lambda points: np.full(len(points), -np.inf), id="infinitely empty"),
    ],
)
def test_a_field_without_a_surface_gives_an_empty_one(density: Any) -> None:
    found = extract_surface(density, 1.0, 5.0, num_cells=16)
    assert found.is_empty
    assert found.vertices.shape == (0, 3)
    assert found.faces.shape == (0, 3)


@needs_skimage
def test_what_reaches_the_border_is_closed_there_on_request() -> None:
    def half_space(points: Any) -> Any:
        return 10.0 * (0.3 - points[:, 2])

    closed = extract_surface(half_space, 1.0, 1.0, num_cells=32)
    assert is_closed(closed)
    assert volume(closed) == pytest.approx(4.0 * 1.2, rel=0.06)
    still_open = extract_surface(half_space, 1.0, 1.0, num_cells=32, is_closed=False)
    assert not is_closed(still_open)
    np.testing.assert_allclose(still_open.vertices[:, 2], 0.2, atol=1e-5)


@needs_skimage
def test_a_field_that_is_full_everywhere_gives_the_cube() -> None:
    found = extract_surface(lambda points: np.full(len(points), np.inf), 1.0, 5.0, num_cells=16)
    assert is_closed(found)
    assert volume(found) == pytest.approx(8.0, rel=0.03)  # edges are cut off


@needs_skimage
def test_the_work_can_be_stopped_between_pieces() -> None:
    def stop(count: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        extract_surface(ball, 1.0, 0.0, num_cells=16, on_points=stop)


@pytest.mark.parametrize(
    ("half_side", "level", "num_cells"), [(1.0, 0.0, 66), (1.0, 0.0, 0), (0.0, 0.0, 64), (1.0, np.nan, 64)]
)
def test_numbers_out_of_range_are_named(half_side: float, level: float, num_cells: int) -> None:
    with pytest.raises(ValueError, match="expected a positive multiple of 4 cells"):
        extract_surface(ball, half_side, level, num_cells=num_cells)


def test_without_scikit_image_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Lift3dError, match="pip install scikit-image"):
        extract_surface(ball, 1.0, 0.0, num_cells=16)
