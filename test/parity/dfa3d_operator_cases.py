"""How the blocks of BEVFormer + DFA3D are run for the numeric cases; every size comes from the case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from lift3d_ros.ops.deformable_attention_3d import (
    corner_weighted_attention,
    deformable_attention_3d,
    sample_depth_scores,
)

Arrays = Mapping[str, torch.Tensor]


def find_runner(name: str) -> Callable[[Mapping[str, Any], Arrays], dict[str, torch.Tensor]] | None:
    """Return the runner of a case, None for blocks that are not built yet."""
    match name:
        case "op_depth_score_sample":
            return run_depth_score_sample
        case "op_weighted_msda2d":
            return run_corner_weighted_attention
        case "op_msda2d":
            return run_attention_2d
        case _ if name.startswith("op_dfa3d"):
            return run_attention_3d
        case _:
            return None


def levels_of(arrays: Arrays) -> list[tuple[int, int]]:
    return [(int(row[0]), int(row[1])) for row in arrays["in.spatial_shapes"]]


def with_gradients(
    case: Mapping[str, Any], arrays: Arrays, names: tuple[str, ...], run: Callable[..., torch.Tensor], output: str
) -> dict[str, torch.Tensor]:
    """Run on the inputs `names`, and add the gradient of each wherever the case expects it."""
    tensors = {name: arrays[f"in.{name}"].clone().requires_grad_() for name in names}
    result = {output: run(**tensors)}
    if "in.grad_output" in arrays:
        result[output].backward(arrays["in.grad_output"])
        for name, tensor in tensors.items():
            gradient = tensor.grad if tensor.grad is not None else torch.zeros_like(tensor)
            result[f"grad_{name}"] = gradient
    return result


def run_attention_3d(case: Mapping[str, Any], arrays: Arrays) -> dict[str, torch.Tensor]:
    levels = levels_of(arrays)
    result = with_gradients(
        case, arrays, ("value", "depth", "loc", "attn"),
        lambda value, depth, loc, attn: deformable_attention_3d(value, depth, loc, attn, levels), "output",
    )  # fmt: skip
    result["depth_score"] = sample_depth_scores(arrays["in.depth"], arrays["in.loc"], levels)
    result["output_expanded"] = result["output"]
    result["output_2d"] = deformable_attention_3d(
        arrays["in.value"], None, arrays["in.loc"][..., :2], arrays["in.attn"], levels
    )
    return result


def run_attention_2d(case: Mapping[str, Any], arrays: Arrays) -> dict[str, torch.Tensor]:
    levels = levels_of(arrays)
    return with_gradients(
        case, arrays, ("value", "loc", "attn"),
        lambda value, loc, attn: deformable_attention_3d(value, None, loc, attn, levels), "output",
    )  # fmt: skip


def run_depth_score_sample(case: Mapping[str, Any], arrays: Arrays) -> dict[str, torch.Tensor]:
    levels = levels_of(arrays)
    return with_gradients(
        case, arrays, ("depth", "loc"), lambda depth, loc: sample_depth_scores(depth, loc, levels), "depth_score"
    )


def run_corner_weighted_attention(case: Mapping[str, Any], arrays: Arrays) -> dict[str, torch.Tensor]:
    levels = levels_of(arrays)
    return with_gradients(
        case, arrays, ("value", "loc", "attn", "depth_score"),
        lambda value, loc, attn, depth_score: corner_weighted_attention(value, depth_score, loc, attn, levels),
        "output",
    )  # fmt: skip
