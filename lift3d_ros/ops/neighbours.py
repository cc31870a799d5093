"""Nearest neighbours and ball queries between clouds, exact, without a matrix of all pairs.

Neighbours are in the order of their distance, equal ones by index. Distances are those of differences of coordinates:
the shorter form with a matrix product loses them far from the origin. Letters: B clouds, Q queries, N points,
K neighbours.
"""

from __future__ import annotations

import importlib.util
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lift3d_ros.errors import EngineError
from lift3d_ros.ops.cloud_search import nearest_points
from lift3d_ros.ops.farthest_points import at_least_float32, usable_points
from lift3d_ros.ops.grouping import gather_points

Implementation = Literal["auto", "tree", "torch"]

# Pairs whose distances are kept at once.
_CHUNK_PAIRS_CPU = 1 << 20
_CHUNK_PAIRS = 1 << 24
# Measured: below this number of pairs of one cloud, building a tree costs more than it saves.
_PAIRS_FOR_TREE = 1 << 15


class Neighbours(NamedTuple):
    """Neighbours of each query, nearest first.

    Args:
        distances: (B, Q, K) float32; infinite where there is no usable point or the query is not finite.
        indices: (B, Q, K) int64; 0 where there is none.
    """

    distances: Tensor
    indices: Tensor


class Ball(NamedTuple):
    """Points around each query; `is_inside` (B, Q, K) says which of `indices` (B, Q, K) were found."""

    indices: Tensor
    is_inside: Tensor


def nearest_neighbours(
    query: Tensor,
    points: Tensor,
    k: int,
    is_valid: Tensor | None = None,
    *,
    implementation: Implementation = "auto",
) -> Neighbours:
    """Find the `k` nearest points of each query; a query that is one of the points finds itself. No gradients.

    Args:
        query: (B, Q, 3); any floating type.
        points: (B, N, 3). Points that are not finite are not usable.
        is_valid: (B, N) bool, false for points that are not usable; None for all.
        implementation: ``tree`` is scipy's KD-tree on a CPU, in float64; ``torch`` compares all pairs, some at a time;
            ``auto`` takes the faster one.

    Returns:
        The neighbours. Where fewer than `k` points are usable, the nearest one is repeated.

    Raises:
        ValueError: shapes or numbers that do not fit together.
        EngineError: ``tree`` was asked for and scipy is not installed.
    """
    for name, tensor in (("query", query), ("points", points)):
        if tensor.dim() != 3 or tensor.shape[2] != 3:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected (B, {name[0].upper()}, 3)")
    if query.shape[0] != points.shape[0] or points.shape[1] == 0 or k < 1:
        raise ValueError(
            f"{k} neighbours of query {tuple(query.shape)} among points {tuple(points.shape)}; expected as many clouds "
            "as clouds of queries, at least one point and at least one neighbour"
        )
    query, points = query.detach(), points.detach()
    usable = usable_points(points, is_valid)
    if implementation == "auto":
        implementation = _choose(query, points)
    if implementation == "tree":
        if importlib.util.find_spec("scipy") is None:
            raise EngineError("implementation 'tree': scipy is not installed; 'pip install scipy', or use 'auto'")
        arrays = (at_least_float32(query).cpu().numpy(), at_least_float32(points).cpu().numpy(), usable.cpu().numpy())
        distances = torch.empty(*query.shape[:2], k, device="cpu")
        indices = torch.empty(*query.shape[:2], k, dtype=torch.int64, device="cpu")
        for item, (queries, cloud, mask) in enumerate(zip(*arrays, strict=True)):
            far, near = nearest_points(queries, cloud, k, mask)
            distances[item], indices[item] = torch.from_numpy(far), torch.from_numpy(near)
        return Neighbours(distances.to(query.device), indices.to(query.device))
    return _compare_all(query, points, usable, k)


def ball_query(query: Tensor, points: Tensor, radius: float, k: int, is_valid: Tensor | None = None) -> Ball:
    """Find at most `k` points nearer than `radius` to each query, the nearest first; other arguments as above.

    Returns:
        Indices and which of them lie inside; the others repeat the nearest point.
    """
    found = nearest_neighbours(query, points, k, is_valid)
    is_inside = found.distances < radius
    is_inside[..., 1:] &= found.indices[..., 1:] != found.indices[..., :1]  # the nearest one that fills a place
    return Ball(torch.where(is_inside, found.indices, found.indices[..., :1]), is_inside)


def interpolate_nearest(query: Tensor, points: Tensor, values: Tensor, k: int = 3, epsilon: float = 1e-8) -> Tensor:
    """Mix the values of the `k` nearest points with weights 1 / (squared distance + epsilon), of sum one.

    Args:
        query: (B, Q, 3).
        points: (B, N, 3); with a single one its value is taken.
        values: (B, N, C).

    Returns:
        (B, Q, C), differentiable in `values`. Source: PointNet++ (arXiv 1706.02413), equation 2.
    """
    if points.shape[1] == 1:
        return values.expand(-1, query.shape[1], -1)
    indices = nearest_neighbours(query, points, min(k, points.shape[1])).indices
    squared = (gather_points(points, indices) - query[:, :, None]).square().sum(-1)
    weights = 1.0 / (squared.float() + epsilon)
    weights = (weights / weights.sum(-1, keepdim=True)).to(values.dtype)
    return (gather_points(values, indices) * weights[..., None]).sum(2)


def _choose(query: Tensor, points: Tensor) -> Implementation:
    pairs = query.shape[1] * points.shape[1]
    if query.device.type != "cpu" or pairs < _PAIRS_FOR_TREE or importlib.util.find_spec("scipy") is None:
        return "torch"
    return "tree"


def _compare_all(query: Tensor, points: Tensor, usable: Tensor, k: int) -> Neighbours:
    batch, num_queries, num_points = *query.shape[:2], points.shape[1]
    distances = torch.full((batch, num_queries, k), torch.inf, device=query.device)
    indices = torch.zeros((batch, num_queries, k), dtype=torch.int64, device=query.device)
    pairs = _CHUNK_PAIRS_CPU if query.device.type == "cpu" else _CHUNK_PAIRS
    queries_at_once = min(max(1, pairs // num_points), max(num_queries, 1))
    clouds_at_once = max(1, pairs // (queries_at_once * num_points))
    found = min(k, num_points)
    for cloud in range(0, batch, clouds_at_once):
        clouds = slice(cloud, cloud + clouds_at_once)
        for start in range(0, num_queries, queries_at_once):
            queries = slice(start, start + queries_at_once)
            squared = _squared_distances(query[clouds, queries], points[clouds], usable[clouds])
            if k == 1:
                chosen = squared.argmin(-1, keepdim=True)  # the first of equal ones
            else:
                # Not negative, so their bits are in the order of their values; the index decides between equal ones.
                keys = (squared.view(torch.int32).long() << 32) | torch.arange(num_points, device=query.device)
                chosen = keys.topk(found, largest=False).values & 0xFFFFFFFF
            indices[clouds, queries, :found] = chosen
            distances[clouds, queries, :found] = squared.gather(-1, chosen).sqrt()
    # Repeat the nearest point where no other one was found.
    is_found = torch.isfinite(distances)
    first = torch.where(is_found[..., :1], indices[..., :1], 0)
    return Neighbours(torch.where(is_found, distances, distances[..., :1]), torch.where(is_found, indices, first))


def _squared_distances(query: Tensor, points: Tensor, usable: Tensor) -> Tensor:
    """Return (B, Q, N) float32, infinite for points that are not usable and queries that are not finite."""
    squared: Tensor | None = None
    for axis in range(3):
        step = (query[:, :, None, axis] - points[:, None, :, axis]).float().square_()
        squared = step if squared is None else squared.add_(step)
    assert squared is not None
    squared.nan_to_num_(nan=torch.inf, posinf=torch.inf)
    return squared.masked_fill_(~usable[:, None], torch.inf)
