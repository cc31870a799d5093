"""Small tensors for losses, made so that a GPU never waits for the host, nor the host for it.

A tensor made of a list, an index that is a list, or a repetition without a known length each wait until the GPU has
done all that was launched before.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@functools.lru_cache(maxsize=64)
def constant(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """Return float32 numbers on a device, where they are kept; not to be changed in place."""
    with torch.inference_mode(mode=False):  # those made in a validation could not be used in training
        return torch.tensor(numbers, dtype=torch.float32, device=device)


def to_device(values: NDArray[np.int64], device: torch.device) -> Tensor:
    """Return an array as a tensor on a device, behind what has been launched there."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def pad_targets(parts: Sequence[Tensor], padding: float) -> Tensor:
    """Return the rows of all samples as (B, M, ...), M those of the largest; the others end in rows of `padding`.

    Args:
        parts: (N, ...) of each sample, at least one sample.
    """
    rows = torch.cat([*parts, parts[0].new_full((1, *parts[0].shape[1:]), padding)])
    return rows[_padded_rows(tuple(len(part) for part in parts), rows.device)]


@functools.lru_cache(maxsize=4)
def _padded_rows(counts: tuple[int, ...], device: torch.device) -> Tensor:
    """Return (B, M) which row of all samples stands where; the one behind the last where there is none."""
    lengths = np.asarray(counts, dtype=np.int64)[:, None]
    place = np.arange(max(counts), dtype=np.int64)
    rows = np.where(place < lengths, lengths.cumsum(axis=0) - lengths + place, lengths.sum())
    with torch.inference_mode(mode=False):
        return to_device(rows, device)
