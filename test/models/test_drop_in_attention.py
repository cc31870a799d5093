"""A foreign decoder layer takes the attention as it is, and becomes depth-aware by one more argument."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from lift3d_ros.models.dfa3d.attention import DeformableAttention  # noqa: E402

DIMS, HEADS, POINTS, BINS = 32, 4, 4, 24
LEVELS = [(12, 20), (6, 10)]
NUM_PIXELS = sum(height * width for height, width in LEVELS)


class DecoderLayer(nn.Module):
    """A layer as in Deformable DETR: self attention, any deformable cross attention, feed-forward; post-norm."""

    def __init__(self, dims: int, heads: int, cross_attention: nn.Module) -> None:
        super().__init__()
        self.self_attention = nn.MultiheadAttention(dims, heads, batch_first=True)
        self.cross_attention = cross_attention
        self.ffn = nn.Sequential(nn.Linear(dims, 4 * dims), nn.ReLU(), nn.Linear(4 * dims, dims))
        self.norms = nn.ModuleList(nn.LayerNorm(dims) for _ in range(3))

    def forward(self, query: Tensor, value: Tensor, reference: Tensor, levels: Any, *depth: Tensor) -> Tensor:
        query = self.norms[0](query + self.self_attention(query, query, query, need_weights=False)[0])
        query = self.norms[1](query + self.cross_attention(query, value, reference, levels, *depth))
        result: Tensor = self.norms[2](query + self.ffn(query))
        return result


class PlainAttention(DeformableAttention):
    """Deformable attention of a decoder that knows no depth, from its definition: sample each level and add up."""

    def forward(self, query: Tensor, value: Tensor, reference: Tensor, levels: Any) -> Tensor:  # type: ignore[override]
        batch, queries, dims = query.shape
        weights = self.attention_weights(query).reshape(batch, queries, self.num_heads, -1).softmax(-1)
        weights = weights.reshape(batch, queries, self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(query).reshape(*weights.shape, 2)
        values = self.value_proj(value).reshape(batch, -1, self.num_heads, dims // self.num_heads)
        total = torch.zeros(batch, self.num_heads, dims // self.num_heads, queries)
        start = 0
        for level, (height, width) in enumerate(levels):
            maps = (
                values[:, start : start + height * width]
                .permute(0, 2, 3, 1)
                .reshape(-1, values.shape[-1], height, width)
            )
            places = reference[:, :, None] + offsets[:, :, :, level] / torch.tensor([width, height])
            grid = places.permute(0, 2, 1, 3, 4).flatten(0, 1) * 2 - 1
            sampled = F.grid_sample(maps, grid, align_corners=False)
            sampled = sampled.reshape(batch, self.num_heads, -1, queries, self.num_points)
            total = total + (sampled * weights[:, :, :, level].permute(0, 2, 1, 3)[:, :, None]).sum(-1)
            start += height * width
        return total.permute(0, 3, 1, 2).flatten(2)


def randomised(module: nn.Module) -> nn.Module:
    """Let offsets and weights depend on the query, as after training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


@pytest.fixture
def layer() -> nn.Module:
    torch.manual_seed(0)
    return randomised(DecoderLayer(DIMS, HEADS, DeformableAttention(DIMS, HEADS, len(LEVELS), POINTS, has_depth=True)))


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Queries (2, 7, C), features (2, S, C), references (2, 7, 1, 3) within picture and depth range."""
    generator = torch.Generator().manual_seed(2)
    query = torch.randn(2, 7, DIMS, generator=generator)
    value = torch.randn(2, NUM_PIXELS, DIMS, generator=generator)
    return query, value, 0.35 + 0.3 * torch.rand(2, 7, 1, 3, generator=generator)


def peaked_scores(surface_bin: int) -> Tensor:
    """Depth scores (2, S, bins) of a wall that fills both pictures."""
    scores = torch.zeros(2, NUM_PIXELS, BINS)
    scores[:, :, surface_bin - 1 : surface_bin + 2] = 1.0
    return scores


def test_a_plain_2d_layer_gives_the_same_with_our_attention(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    query, value, reference = inputs
    torch.manual_seed(0)
    plain = randomised(DecoderLayer(DIMS, HEADS, PlainAttention(DIMS, HEADS, len(LEVELS), POINTS, has_depth=False)))
    ours = DecoderLayer(DIMS, HEADS, DeformableAttention(DIMS, HEADS, len(LEVELS), POINTS, has_depth=False)).eval()
    ours.load_state_dict(plain.state_dict(), strict=True)
    torch.testing.assert_close(
        ours(query, value, reference[..., :2], LEVELS),
        plain(query, value, reference[..., :2], LEVELS),
        rtol=1e-4,
        atol=1e-5,
    )


def test_scores_of_one_give_what_2d_attention_gives(layer: nn.Module, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    query, value, reference = inputs
    flat = layer(query, value, reference[..., :2], LEVELS)
    deep = layer(query, value, reference, LEVELS, torch.ones(2, NUM_PIXELS, BINS))
    torch.testing.assert_close(deep, flat, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_two_queries_on_one_ray_differ_only_with_depth(layer: nn.Module, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    query, value, reference = inputs
    # Two equal queries at the same pixel, one on the wall and one far behind it.
    query, reference = query[:, :1].repeat(1, 2, 1), reference[:, :1].repeat(1, 2, 1, 1)
    reference[:, :, 0, 2] = torch.tensor([6.5, 19.5]) / BINS
    flat = layer(query, value, reference[..., :2], LEVELS)
    torch.testing.assert_close(flat[:, 0], flat[:, 1])
    deep = layer(query, value, reference, LEVELS, peaked_scores(surface_bin=6))
    assert float((deep[:, 0] - deep[:, 1]).abs().max()) > 0.05
    attention = layer.cross_attention
    taken = attention(query, value, reference, LEVELS, peaked_scores(surface_bin=6))
    assert float(taken[:, 0].abs().max()) > 0.05
    assert float(taken[:, 1].abs().max()) == 0.0


def test_the_depth_scores_learn_from_the_output_of_the_layer(
    layer: nn.Module, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    query, value, reference = inputs
    reference[..., 2] = 6.5 / BINS
    scores = peaked_scores(surface_bin=6).requires_grad_()
    layer(query, value, reference, LEVELS, scores).square().sum().backward()
    assert scores.grad is not None
    assert bool(scores.grad.isfinite().all())
    moved = scores.grad.abs().amax(dim=(0, 1))  # of each bin
    assert float(moved[4:9].min()) > 0.0
    assert float(moved[15:].max()) == 0.0  # no query looks there
    assert float(layer.cross_attention.sampling_offsets_depth.weight.grad.abs().max()) > 0.0


def test_the_example_in_the_documentation_runs(repository: Path) -> None:
    text = (repository / "docs" / "dfa3d.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?DeformableAttention.*?)```", text, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["flat"].shape == names["deep"].shape == names["query"].shape
    assert not torch.allclose(names["flat"], names["deep"])
