"""Trained weights as a file that the package and others can read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.errors import WeightsError

_LARGEST_HALF = float(torch.finfo(torch.float16).max)


def write_weights(path: Path, state: Mapping[str, Tensor], facts: Mapping[str, str], *, is_half: bool) -> None:
    """Write weights as safetensors, whole or not at all.

    Args:
        facts: texts for the header of the file.
        is_half: store as float16, which halves the file; values are computed with in float32 again.

    Raises:
        WeightsError: a weight is not finite, or too large for float16.
    """
    tensors = {}
    for name, tensor in state.items():
        values = tensor.detach().cpu().contiguous()
        if values.is_floating_point():
            largest = float(values.abs().max()) if values.numel() else 0.0
            if not largest < (_LARGEST_HALF if is_half else float("inf")):
                raise WeightsError(f"{path}: weight '{name}' reaches {largest}; nothing was written")
            values = values.to(torch.float16 if is_half else torch.float32)
        tensors[name] = values
    write_atomically(path, save(tensors, metadata={"format": "pt", **facts}))
