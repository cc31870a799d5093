"""Similarity alignment: exact on moved copies, and gradients that stay finite where an SVD has none."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from lift3d_ros.ops.procrustes import aligned_distances, similarity_alignment


def _moved_copy(source: torch.Tensor, scale: float = 3.0) -> torch.Tensor:
    turn, _ = torch.linalg.qr(torch.randn(len(source), 3, 3))
    turn = turn * torch.linalg.det(turn).sign()[:, None, None]
    return scale * source @ turn + torch.randn(len(source), 1, 3)


def _points(count: int = 4, number: int = 9) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(count, number, 3)


def test_a_moved_copy_is_brought_back_exactly() -> None:
    source = _points()
    target = _moved_copy(source)
    found = similarity_alignment(source, target, torch.ones(4, 9))
    torch.testing.assert_close(found.apply(source), target, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.scale, torch.full((4,), 3.0))
    assert (torch.linalg.det(found.rotation) > 0.99).all()
    assert (found.chirality > 0).all()


def test_a_mirrored_copy_is_only_brought_back_where_reflections_are_allowed() -> None:
    source = _points()
    target = _moved_copy(source * torch.tensor([1.0, 1.0, -1.0]))
    weights = torch.ones(4, 9)
    assert (aligned_distances(source, target, weights).mean(1) > 0.1).all()
    assert aligned_distances(source, target, weights, allows_reflection=True).max() < 1e-4
    assert (similarity_alignment(source, target, weights).chirality < 0).all()


def test_points_without_weight_have_no_influence() -> None:
    source = _points()
    target = _moved_copy(source)
    weights = torch.ones(4, 9)
    weights[:, 5:] = 0.0
    other = source.clone()
    other[:, 5:] = 1e3
    first = similarity_alignment(source, target, weights)
    second = similarity_alignment(other, target, weights)
    torch.testing.assert_close(first.rotation, second.rotation)
    torch.testing.assert_close(first.scale, second.scale)


@pytest.mark.parametrize("kind", ["planar", "collinear", "equal", "symmetric", "no weight"])
def test_gradients_are_finite_for_degenerate_shapes(kind: str) -> None:
    source = _points(2, 8)
    weights = torch.ones(2, 8)
    if kind == "planar":
        source[..., 2] = 0.0
    elif kind == "collinear":
        source[..., 1:] = 0.0
    elif kind == "equal":
        source[:] = 1.0
    elif kind == "symmetric":
        corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
        source[:] = corners
    else:
        weights[:] = 0.0
    target = source.clone() if kind == "symmetric" else _moved_copy(_points(2, 8))
    source.requires_grad_()
    moved = similarity_alignment(source, target, weights).apply(source)
    ((moved - target) ** 2).sum().backward()
    assert source.grad is not None
    assert torch.isfinite(source.grad).all()


def test_the_gradient_is_that_of_the_best_squared_error() -> None:
    source = _points(1, 7).double()
    target = _moved_copy(_points(1, 7)).double()
    weights = torch.ones(1, 7, dtype=torch.float64)

    def error(points: torch.Tensor) -> torch.Tensor:
        return ((similarity_alignment(points, target, weights).apply(points) - target) ** 2).sum()

    source.requires_grad_()
    error(source).backward()
    assert source.grad is not None
    for row, column in ((0, 0), (3, 2)):
        step = torch.zeros_like(source)
        step[0, row, column] = 1e-5
        slope = (error(source.detach() + step) - error(source.detach() - step)) / 2e-5
        torch.testing.assert_close(source.grad[0, row, column], slope, rtol=1e-4, atol=1e-6)
