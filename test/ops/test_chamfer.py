"""Chamfer distance: values, gradients, and clouds with points that do not count."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.ops.chamfer import chamfer_distance  # noqa: E402


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("sizes", [(6, 9), (300, 200)], ids=["all pairs", "tree"])
@pytest.mark.parametrize("form", ["l1", "l2"])
def test_value_and_gradient_are_those_of_all_pairs(form: str, sizes: tuple[int, int]) -> None:
    first, second = random(2, sizes[0], 3).requires_grad_(), random(2, sizes[1], 3, seed=1).requires_grad_()
    squared = (first[:, :, None] - second[:, None]).square().sum(-1)
    sides = squared.amin(2), squared.amin(1)
    expected = sides[0].mean() + sides[1].mean()
    if form == "l1":
        expected = 0.5 * (sides[0].sqrt().mean() + sides[1].sqrt().mean())
    found = getattr(chamfer_distance(first, second), form)()
    torch.testing.assert_close(found, expected)
    wanted = torch.autograd.grad(expected, (first, second))
    for gradient, reference in zip(torch.autograd.grad(found, (first, second)), wanted, strict=True):
        torch.testing.assert_close(gradient, reference)


def test_points_that_do_not_count_change_neither_value_nor_gradient() -> None:
    first, second = random(1, 8, 3), random(1, 6, 3, seed=1)
    expected = chamfer_distance(first, second).l2()
    padded = torch.cat([first, torch.zeros(1, 3, 3, dtype=torch.float64)], 1).requires_grad_()
    broken = torch.cat([second, torch.tensor([[[torch.nan, 0.0, torch.inf]]], dtype=torch.float64)], 1).requires_grad_()
    valid = torch.arange(11)[None] < 8
    found = chamfer_distance(padded, broken, valid).l2()
    torch.testing.assert_close(found, expected)
    found.backward()
    assert padded.grad is not None
    assert broken.grad is not None
    assert not padded.grad[:, 8:].any()
    assert not broken.grad[:, 6:].any()
    assert bool(padded.grad.isfinite().all())
    assert bool(broken.grad.isfinite().all())


def test_equal_clouds_have_distance_zero_and_finite_gradients() -> None:
    cloud = random(1, 20, 3).requires_grad_()
    loss = chamfer_distance(cloud, cloud.detach()).l1()
    assert loss.item() == 0.0
    loss.backward()
    assert cloud.grad is not None
    assert not cloud.grad.any()


def test_a_cloud_without_counterpart_counts_for_nothing() -> None:
    first, second = random(2, 5, 3), random(2, 4, 3, seed=1)
    alone = chamfer_distance(first[:1], second[:1]).l2()
    second[1] = torch.nan
    found = chamfer_distance(first, second)
    torch.testing.assert_close(found.l2(), alone)
    assert not found.counts_first[1].any()


def test_large_clouds_need_no_matrix_of_pairs() -> None:
    pytest.importorskip("scipy", reason="scipy is not installed")
    cloud = torch.rand(1, 40_000, 3, generator=torch.Generator().manual_seed(0))
    moved = cloud + torch.tensor([0.0, 0.0, 1e-4])
    assert chamfer_distance(cloud, moved).l1().item() == pytest.approx(1e-4, rel=0.02)
