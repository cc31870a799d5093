"""What the operator is measured on: sizes of the published configurations, random inputs, and every form of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lift3d_ros.bench.reference_forms import four_nearest_attention, product_volume_attention
from lift3d_ros.ops.deformable_attention_3d import Implementation, Levels, deformable_attention_3d

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class OperatorCase:
    """Sizes of one call: one camera, random locations that reach slightly over the borders."""

    queries: int
    levels: tuple[tuple[int, int], ...]
    bins: int = 112
    heads: int = 8
    channels: int = 32
    points: int = 8


CASES = {
    "one level": OperatorCase(2500, ((23, 40),)),
    "base camera": OperatorCase(4000, ((116, 200), (58, 100), (29, 50), (15, 25))),
}
# Small enough to be run before a measurement.
WARM_UP = OperatorCase(2, ((2, 3), (1, 2)), bins=3, heads=2, channels=4, points=2)


@dataclass(frozen=True, eq=False)
class OperatorInputs:
    """Arguments of ``deformable_attention_3d``."""

    value: Tensor
    depth_scores: Tensor
    locations: Tensor
    weights: Tensor
    levels: Levels

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The differentiable ones."""
        return self.value, self.depth_scores, self.locations, self.weights

    def to(self, dtype: torch.dtype, device: str) -> OperatorInputs:
        """Convert; locations stay float32 at least."""
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        value, scores, locations, weights = (tensor.to(device) for tensor in self.tensors)
        return OperatorInputs(value.to(dtype), scores.to(dtype), locations.to(exact), weights.to(dtype), self.levels)


Form = Callable[[OperatorInputs], Tensor]
REFERENCE_FORMS = ("product_volume", "four_nearest")
COMPILED_FORMS = ("compiled_gather",)


def random_inputs(case: OperatorCase, seed: int = 0) -> OperatorInputs:
    """Return float64 inputs; the depth scores differ from pixel to pixel, without which wrong forms look right."""
    generator = torch.Generator().manual_seed(seed)
    tokens, levels = sum(height * width for height, width in case.levels), len(case.levels)
    samples = (1, case.queries, case.heads, levels, case.points)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    logits = random(*samples[:3], levels * case.points)
    return OperatorInputs(
        value=random(1, tokens, case.heads, case.channels) * 2 - 1,
        depth_scores=(random(1, tokens, case.bins) * 8).softmax(-1),
        locations=random(*samples, 3) * 1.1 - 0.05,
        weights=logits.softmax(-1).reshape(samples),
        levels=case.levels,
    )


def product_volume(inputs: OperatorInputs) -> Tensor:
    """Run the naive form."""
    return product_volume_attention(*inputs.tensors, inputs.levels)


def four_nearest(inputs: OperatorInputs) -> Tensor:
    """Run the form that samples four times."""
    return four_nearest_attention(*inputs.tensors, inputs.levels)


def operator(implementation: Implementation) -> Form:
    """Return the operator in one implementation."""

    def run(inputs: OperatorInputs) -> Tensor:
        return deformable_attention_3d(*inputs.tensors, inputs.levels, implementation=implementation)

    return run


def find_form(name: str) -> Form:
    """Return the form called `name`: a reference form or an implementation of the operator."""
    match name:
        case "product_volume":
            return product_volume
        case "four_nearest":
            return four_nearest
        case "compiled_gather":
            return torch.compile(operator("gather"), dynamic=False)
        case "numba" | "embedding_bag" | "gather":
            return operator(name)
        case _:
            raise ValueError(f"no form of the operator is called '{name}'")
