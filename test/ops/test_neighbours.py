"""Neighbours are exact and in a fixed order, whoever searches them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.errors import EngineError  # noqa: E402
from lift3d_ros.ops import neighbours  # noqa: E402
from lift3d_ros.ops.grouping import gather_points, group_points  # noqa: E402
from lift3d_ros.ops.neighbours import ball_query, interpolate_nearest, nearest_neighbours  # noqa: E402


@pytest.fixture(params=["tree", "torch"])
def implementation(request: pytest.FixtureRequest) -> Any:
    if request.param == "tree":
        pytest.importorskip("scipy", reason="scipy is not installed")
    return request.param


def random(*shape: int, seed: int = 0) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def grid(side: int) -> Any:
    return torch.stack(torch.meshgrid(*[torch.arange(float(side))] * 3, indexing="ij"), -1).reshape(1, -1, 3)


def sorted_plainly(query: Any, points: Any, k: int) -> Any:
    steps = query[:, :, None].double() - points[:, None].double()
    return torch.from_numpy(np.argsort(steps.square().sum(-1).numpy(), axis=-1, kind="stable")[..., :k])


@pytest.mark.parametrize("k", [1, 3, 20])
def test_neighbours_are_those_of_a_stable_sort(k: int, implementation: Any) -> None:
    query, points = random(2, 40, 3), random(2, 300, 3, seed=1)
    found = nearest_neighbours(query, points, k, implementation=implementation)
    assert torch.equal(found.indices, sorted_plainly(query, points, k))
    expected = (gather_points(points, found.indices) - query[:, :, None]).norm(dim=-1)
    torch.testing.assert_close(found.distances, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 7, 30, 64])
def test_equal_distances_are_ordered_by_index(k: int, implementation: Any) -> None:
    """Every point of a grid has many neighbours at the same distance; some points are there several times."""
    points = torch.cat([grid(5), grid(3), torch.ones(1, 70, 3), grid(5)], dim=1)
    found = nearest_neighbours(points, points, k, implementation=implementation)
    assert torch.equal(found.indices, sorted_plainly(points, points, k))


def test_thousands_of_equal_points_do_not_slow_the_tree_down() -> None:
    pytest.importorskip("scipy", reason="scipy is not installed")
    points = torch.cat([torch.zeros(1, 20_000, 3), random(1, 500, 3)], dim=1)
    query = torch.cat([torch.zeros(1, 2000, 3), points[:, -100:]], dim=1)
    found = nearest_neighbours(query, points, 8, implementation="tree")
    assert torch.equal(found.indices[0, :2000], torch.arange(8).expand(2000, 8))
    assert torch.equal(found.indices[0, 2000:, 0], torch.arange(20_400, 20_500))


def test_far_from_the_origin_neighbours_stay_exact(implementation: Any) -> None:
    points = torch.randint(0, 4096, (1, 400, 3), generator=torch.Generator().manual_seed(0)) / 64.0
    near = nearest_neighbours(points, points, 6, implementation=implementation)
    far = nearest_neighbours(points + 2048.0, points + 2048.0, 6, implementation=implementation)
    assert torch.equal(near.indices, far.indices)
    map_frame = points.double() + 5e6
    assert torch.equal(near.indices, nearest_neighbours(map_frame, map_frame, 6, implementation=implementation).indices)


def test_unusable_points_are_not_found_and_the_nearest_fills_their_place(implementation: Any) -> None:
    points = torch.tensor([[[0.0, 0, 0], [torch.nan, 0, 0], [1, 0, 0], [2, 0, 0], [torch.inf, 0, 0]]])
    valid = torch.tensor([[True, True, True, False, True]])
    query = torch.tensor([[[0.9, 0.0, 0.0], [torch.nan, 0.0, 0.0]]])
    found = nearest_neighbours(query, points, 7, valid, implementation=implementation)
    assert found.indices[0, 0].tolist() == [2, 0, 2, 2, 2, 2, 2]
    torch.testing.assert_close(found.distances[0, 0, :3], torch.tensor([0.1, 0.9, 0.1]))
    assert found.indices[0, 1].tolist() == [0] * 7
    assert bool(found.distances[0, 1].isinf().all())


def test_a_cloud_without_usable_points_gives_infinite_distances(implementation: Any) -> None:
    points = torch.stack([torch.full((4, 3), torch.nan), torch.rand(4, 3)])
    found = nearest_neighbours(torch.rand(2, 3, 3), points, 2, implementation=implementation)
    assert bool(found.distances[0].isinf().all())
    assert not found.indices[0].any()
    assert bool(found.distances[1].isfinite().all())


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    query, points = random(5, 11, 3), random(5, 37, 3, seed=1)
    for k in (1, 4):
        whole = nearest_neighbours(query, points, k, implementation="torch")
        for pairs in (1, 100, 900):
            monkeypatch.setattr(neighbours, "_CHUNK_PAIRS_CPU", pairs)
            parts = nearest_neighbours(query, points, k, implementation="torch")
            assert torch.equal(parts.indices, whole.indices)
        monkeypatch.undo()


def test_no_queries_are_no_neighbours(implementation: Any) -> None:
    assert nearest_neighbours(
        torch.zeros(2, 0, 3), random(2, 5, 3), 3, implementation=implementation
    ).indices.shape == (
        2,
        0,
        3,
    )


def test_a_ball_holds_only_points_nearer_than_its_radius() -> None:
    points = torch.tensor([[[0.0, 0, 0], [0.5, 0, 0], [1.0, 0, 0], [3.0, 0, 0], [torch.nan, 0, 0]]])
    query = torch.tensor([[[0.1, 0.0, 0.0], [9.0, 0.0, 0.0]]])
    ball = ball_query(query, points, 0.9, 5)
    assert ball.is_inside[0, 0].tolist() == [True, True, False, False, False]
    assert ball.indices[0, 0].tolist() == [0, 1, 0, 0, 0]
    assert not ball.is_inside[0, 1].any()
    assert ball_query(query, points, 0.91, 5).is_inside[0, 0].sum() == 3
    assert ball_query(query, points, 100.0, 9).is_inside[0, 0].tolist() == [True] * 4 + [False] * 5


def test_groups_are_relative_to_their_centres_and_pass_gradients() -> None:
    points = random(2, 30, 3).requires_grad_()
    indices = torch.randint(0, 30, (2, 4, 5))
    groups = group_points(points, points[:, :4], indices)
    assert torch.equal(groups[1, 2, 3], points[1, indices[1, 2, 3]] - points[1, 2])
    groups.sum().backward()
    assert points.grad is not None
    torch.testing.assert_close(points.grad.sum(), torch.tensor(0.0), atol=1e-4, rtol=0)


def test_interpolation_gives_the_value_of_a_point_that_coincides_and_a_mean_between_points() -> None:
    points = torch.tensor([[[0.0, 0, 0], [2, 0, 0], [0, 50, 0]]])
    values = torch.tensor([[[1.0], [3.0], [100.0]]]).requires_grad_()
    found = interpolate_nearest(torch.tensor([[[0.0, 0, 0], [1.0, 0, 0]]]), points, values)
    torch.testing.assert_close(found[0, :, 0], torch.tensor([1.0, 2.0196]), atol=1e-3, rtol=0)
    assert interpolate_nearest(random(1, 4, 3), points[:, :1], values[:, :1]).tolist() == [[[1.0]] * 4]
    found.sum().backward()
    assert values.grad is not None


def test_wrong_shapes_and_missing_scipy_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"query has shape \(3, 3\); expected \(B, Q, 3\)"):
        nearest_neighbours(torch.zeros(3, 3), torch.zeros(1, 3, 3), 1)
    with pytest.raises(ValueError, match="expected as many clouds"):
        nearest_neighbours(torch.zeros(2, 3, 3), torch.zeros(1, 3, 3), 1)
    with pytest.raises(ValueError, match="at least one point"):
        nearest_neighbours(torch.zeros(1, 3, 3), torch.zeros(1, 0, 3), 1)
    monkeypatch.setattr(neighbours.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match="'pip install scipy'"):
        nearest_neighbours(torch.zeros(1, 3, 3), torch.zeros(1, 3, 3), 1, implementation="tree")
    assert nearest_neighbours(random(1, 300, 3), random(1, 300, 3), 1).indices.flatten().tolist() == list(range(300))
