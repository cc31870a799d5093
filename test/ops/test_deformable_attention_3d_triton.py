"""The GPU kernel computes what the eager form does, gradients too; without a GPU Triton's interpreter runs it."""

from __future__ import annotations

import os
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined
pytest.importorskip("triton", reason="triton is not installed; it comes with torch for CUDA")

from lift3d_ros.ops.deformable_attention_3d import deformable_attention_3d  # noqa: E402

LEVELS = [(5, 7), (3, 4)]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def arguments(bins: int, score_heads: int, channels: int, *, is_ragged: bool) -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    batch, heads, queries, points, tokens = 2, 2, 37, 3, 47
    rows = 1 if is_ragged else batch
    scores = None
    if bins:
        shape = (batch, tokens, bins) if score_heads == 1 else (batch, tokens, score_heads, bins)
        scores = torch.rand(shape, generator=generator)
    locations = torch.rand(rows, queries, heads, 2, points, 3 if bins else 2, generator=generator) * 1.4 - 0.2
    locations[0, 0, 0, 0, 0, 0], locations[0, 1, 0, 0, 0, 0] = torch.nan, 1e30
    return [
        torch.randn(batch, tokens, heads, channels, generator=generator),
        scores,
        locations,
        torch.rand(rows, queries, heads, 2, points, generator=generator),
        torch.randint(0, batch, (rows, queries), generator=generator) if is_ragged else None,
    ]


def with_gradients(implementation: Any, values: list[Any]) -> list[Any]:
    tensors = [None if value is None else value.to(DEVICE) for value in values]
    floats = [None if value is None else value.clone().requires_grad_() for value in tensors[:4]]
    output = deformable_attention_3d(*floats, LEVELS, tensors[4], implementation)
    (output * torch.linspace(0, 1, output.numel(), device=DEVICE).reshape(output.shape)).sum().backward()
    return [output.detach(), *(value.grad for value in floats if value is not None)]


@pytest.mark.parametrize(
    ("bins", "score_heads", "channels", "is_ragged"), [(5, 1, 8, True), (0, 1, 6, False), (5, 2, 8, True)]
)
def test_outputs_and_gradients_are_those_of_the_eager_form(
    bins: int, score_heads: int, channels: int, is_ragged: bool
) -> None:
    values = arguments(bins, score_heads, channels, is_ragged=is_ragged)
    found, expected = (with_gradients(name, values) for name in ("triton", "embedding_bag"))
    for part, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(part.nan_to_num(), reference.nan_to_num(), rtol=1e-4, atol=1e-5)


def test_without_a_query_there_is_nothing_to_attend() -> None:
    values = arguments(5, 1, 8, is_ragged=True)
    empty = [values[0], values[1], values[2][:, :0], values[3][:, :0], values[4][:, :0]]
    output = deformable_attention_3d(*(value.to(DEVICE) for value in empty[:4]), LEVELS, empty[4].to(DEVICE), "triton")
    assert output.shape == (1, 0, 16)
