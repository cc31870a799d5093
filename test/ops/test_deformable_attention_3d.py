"""The operator equals trilinear sampling of the product volume, in value and gradient, and never yields NaN."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.ops.deformable_attention_3d import deformable_attention_3d  # noqa: E402

F = torch.nn.functional


def inputs(
    seed: int = 0, *, batch: int = 2, queries: int = 7, heads: int = 3, channels: int = 5, points: int = 4,
    bins: int = 6, levels: Any = ((5, 7), (3, 4)), shared: bool = True,
) -> tuple[Any, ...]:  # fmt: skip
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Any:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    size = sum(h * w for h, w in levels)
    value = random(batch, size, heads, channels) - 0.5
    scores = random(batch, size, bins) if shared else random(batch, size, heads, bins)
    locations = random(batch, queries, heads, len(levels), points, 3) * 1.2 - 0.1
    weights = random(batch, queries, heads, len(levels), points)
    return value, scores, locations, weights, list(levels)


def product_volume_attention(value: Any, scores: Any, locations: Any, weights: Any, levels: Any) -> Any:
    """Build feature x score for every bin and sample it trilinearly: the definition, at the price of memory."""
    batch, _, heads, channels = value.shape
    scores = scores[:, :, None].expand(-1, -1, heads, -1) if scores.dim() == 3 else scores
    total, start = 0, 0
    for level, (height, width) in enumerate(levels):
        stop = start + height * width
        volume = value[:, start:stop, :, :, None] * scores[:, start:stop, :, None]  # (B, hw, M, C, K)
        volume = volume.permute(0, 2, 3, 4, 1).reshape(batch * heads, channels, -1, height, width)
        grid = locations[:, :, :, level].transpose(1, 2).reshape(batch * heads, -1, 1, locations.shape[4], 3)
        sampled = F.grid_sample(volume, grid * 2 - 1, mode="bilinear", padding_mode="zeros", align_corners=False)
        attention = weights[:, :, :, level].transpose(1, 2).reshape(batch * heads, 1, -1, 1, weights.shape[-1])
        total = total + (sampled * attention).sum(-1)[..., 0]  # (B * M, C, Q)
        start = stop
    return total.reshape(batch, heads, channels, -1).permute(0, 3, 1, 2).reshape(batch, -1, heads * channels)


CASES = [
    pytest.param({}, id="two levels"),
    pytest.param({"shared": False}, id="scores for each head"),
    pytest.param({"levels": ((1, 1),), "points": 1}, id="one pixel, one point"),
    pytest.param({"bins": 1}, id="one bin"),
    pytest.param({"batch": 1, "heads": 1, "channels": 1}, id="single head and channel"),
    pytest.param({"levels": ((6, 3), (3, 2), (2, 1), (1, 1))}, id="four levels"),
]


@pytest.mark.parametrize("implementation", ["embedding_bag", "gather"])
@pytest.mark.parametrize("case", CASES)
def test_equals_trilinear_sampling_of_the_product_volume(case: dict[str, Any], implementation: Any) -> None:
    arguments = inputs(**case)
    found = deformable_attention_3d(*arguments, implementation)
    torch.testing.assert_close(found, product_volume_attention(*arguments), atol=1e-12, rtol=1e-10)


def test_differs_from_the_product_of_two_interpolations() -> None:
    value, scores, locations, weights, levels = inputs()
    ones = torch.ones_like(scores)
    inside = locations.clone()
    inside[..., 2] = inside[..., 2].clamp(0.2, 0.8)
    feature = deformable_attention_3d(value, ones, inside, weights, levels)
    score = deformable_attention_3d(torch.ones_like(value), scores, inside, weights, levels)
    wrong = feature * score / deformable_attention_3d(torch.ones_like(value), ones, inside, weights, levels)
    right = deformable_attention_3d(value, scores, inside, weights, levels)
    assert (wrong - right).square().mean().sqrt() > 0.1 * right.square().mean().sqrt()


@pytest.mark.parametrize("implementation", ["embedding_bag", "gather"])
def test_all_gradients_agree_with_finite_differences(implementation: Any) -> None:
    *tensors, levels = inputs(batch=2, queries=2, heads=2, channels=2, points=2, bins=3, levels=((3, 4), (2, 2)))
    tensors = [tensor.requires_grad_() for tensor in tensors]
    assert torch.autograd.gradcheck(
        lambda *args: deformable_attention_3d(*args, levels, implementation), tensors, atol=1e-6
    )


def test_without_depth_it_is_2d_attention() -> None:
    value, scores, locations, weights, levels = inputs()
    locations[..., 2] = locations[..., 2].clamp(0.2, 0.8)
    expected = deformable_attention_3d(value, torch.ones_like(scores), locations, weights, levels)
    found = deformable_attention_3d(value, None, locations[..., :2], weights, levels)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), 1e30, -7.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_points_that_are_nowhere_contribute_zero(bad: float, axis: int) -> None:
    value, scores, locations, weights, levels = inputs()
    locations[..., axis] = bad
    locations.requires_grad_()
    found = deformable_attention_3d(value, scores, locations, weights, levels)
    assert (found == 0).all()
    found.sum().backward()
    assert torch.isfinite(locations.grad).all()


def test_scores_fade_to_zero_half_a_bin_beyond_the_range() -> None:
    value, scores = torch.ones(1, 4, 1, 1), torch.ones(1, 4, 5)
    depth = torch.tensor([-0.1, 0.0, 0.1, 0.5, 0.9, 1.0, 1.1])
    locations = torch.stack([torch.full((7,), 0.5), torch.full((7,), 0.5), depth], dim=-1).reshape(1, 7, 1, 1, 1, 3)
    found = deformable_attention_3d(value, scores, locations, torch.ones(1, 7, 1, 1, 1), [(2, 2)])
    torch.testing.assert_close(found.flatten(), torch.tensor([0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0]))


def test_no_queries_give_no_rows() -> None:
    value, scores, locations, weights, levels = inputs()
    assert deformable_attention_3d(value, scores, locations[:, :0], weights[:, :0], levels).shape == (2, 0, 15)


def test_chunks_of_queries_do_not_change_the_result() -> None:
    arguments = inputs(queries=2500, batch=1)
    chunked = deformable_attention_3d(*arguments, "embedding_bag")
    torch.testing.assert_close(chunked, deformable_attention_3d(*arguments, "gather"), atol=1e-12, rtol=1e-10)
