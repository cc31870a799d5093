"""A batch for the BEV detector: sequences of frames with any number of cameras, and the targets of the last frame.

Letters: B samples, N cameras of all samples one sample after the other, M boxes of all samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lift3d_ros.training.dfa3d.pictures import PictureChange, change_depths, change_pictures, known_depths
from lift3d_ros.training.dfa3d.samples import PictureRows


@dataclass(frozen=True, eq=False)
class FrameInputs:
    """One frame of every sample.

    Args:
        images: (N, 3, H, W) uint8, float32 in 0..255 after augmentation; or where they lie.
        change: what is still to be done to the pictures, None for nothing.
        cell_depths: (N, h, w) metres of cells of 16 x 16 px of the prepared pictures, inf where unknown.
        image_from_model: (N, 4, 4) float32, into pixels of the scaled pictures.
        sample: (N,) int64 sample of each camera.
        ego: (B, 4, 4) or (B, 18), motion since the frame before.
        history_valid, history_age: (B,) whether the frame before may be used, and how many seconds ago it was.
        camera_rows: (N,) rows of learned camera embeddings, None where the network has none.
    """

    images: Tensor | PictureRows
    change: PictureChange | None
    cell_depths: Tensor
    image_from_model: Tensor
    sample: Tensor
    ego: Tensor
    history_valid: Tensor
    history_age: Tensor
    camera_rows: Tensor | None


@dataclass(frozen=True, eq=False)
class Batch:
    """Frames, oldest first, and the targets of the last one.

    Args:
        target_codes: (M, 10) box codes; velocities may be NaN.
        target_labels: (M,) int64.
        target_counts: boxes of each sample.
        names: scene and index of each sample.
    """

    frames: tuple[FrameInputs, ...]
    target_codes: Tensor
    target_labels: Tensor
    target_counts: list[int]
    names: list[str]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device; pictures that lie there already are taken from the store."""

        def move(part: Any) -> Any:
            if isinstance(part, PictureRows):
                part = part.store.take(part.rows.to(part.store.device, non_blocking=True))
            return part.to(device, non_blocking=True)

        moved: Batch = _mapped(self, move)
        return moved

    def pinned(self) -> Batch:
        """Return the batch in page-locked memory, from where it reaches a GPU without waiting."""

        def pin(part: Any) -> Any:
            if isinstance(part, PictureRows):
                return dataclasses.replace(part, rows=part.rows.pin_memory())
            return part.pin_memory()

        pinned: Batch = _mapped(self, pin)
        return pinned

    @property
    def codes(self) -> tuple[Tensor, ...]:
        """Box codes of each sample."""
        return torch.split(self.target_codes, self.target_counts)

    @property
    def labels(self) -> tuple[Tensor, ...]:
        """Labels of each sample."""
        return torch.split(self.target_labels, self.target_counts)


def apply_changes(frame: FrameInputs) -> FrameInputs:
    """Return a frame whose pictures and depths are augmented, depths in float32 with 0 where unknown."""
    if frame.change is None:
        return dataclasses.replace(frame, cell_depths=known_depths(frame.cell_depths))
    assert isinstance(frame.images, Tensor)
    return dataclasses.replace(
        frame,
        images=change_pictures(frame.images, frame.change),
        cell_depths=change_depths(frame.cell_depths, frame.change, *frame.images.shape[-2:]),
        change=None,
    )


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a batch, or a part of it, with every tensor changed."""
    if isinstance(value, Tensor | PictureRows):
        return change(value)
    if isinstance(value, tuple):
        parts = [_mapped(part, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _mapped(getattr(value, field.name), change) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value
