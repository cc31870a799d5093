"""Runs a trained detector over recorded sequences in order of time, with its own memory, as a vehicle would.

Unlike the pipeline it also runs networks that are for studies only, such as those that take measured depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lift3d_ros.pipelines.box_decoding import decode_boxes
from lift3d_ros.training.dfa3d.assembly import assemble
from lift3d_ros.training.dfa3d.batch import apply_changes
from lift3d_ros.training.dfa3d.module import Dfa3dModule
from lift3d_ros.training.dfa3d.order import SceneFrames, Window
from lift3d_ros.training.dfa3d.samples import Frames
from lift3d_ros.types import Boxes3D

BASE_FRAME = "base_link"


class SequenceBoxes(NamedTuple):
    """What was found in one frame of a scene, in the base frame at its stamp."""

    scene: str
    stamp_ns: int
    boxes: Boxes3D


def detect_sequences(module: Dfa3dModule, frames: Frames, *, batch_size: int = 8) -> Iterator[SequenceBoxes]:
    """Yield the boxes of every frame; scenes run side by side, the frames of each one in order.

    A recipe without earlier frames (``data.history_frames`` 0) runs each frame by itself.

    Args:
        module: its network runs as it is, without augmentation; it is left in evaluation mode.
        batch_size: scenes that run side by side.
    """
    module.network.eval()
    scenes = sorted(frames.scenes(), key=lambda scene: len(scene.stamps_ns))  # those of a batch end together
    for start in range(0, len(scenes), batch_size):
        yield from _side_by_side(module, frames, scenes[start : start + batch_size])


def _side_by_side(module: Dfa3dModule, frames: Frames, scenes: Sequence[SceneFrames]) -> Iterator[SequenceBoxes]:
    config = module.recipe.network
    has_memory = module.recipe.data.history_frames > 0
    nothing = torch.zeros(config.num_cells, config.embed_dims, device=module.device)
    maps: list[dict[int, Tensor]] = [{} for _ in scenes]  # of each scene, those that later frames may use
    for index in range(max(len(scene.stamps_ns) for scene in scenes)):
        rows = [row for row, scene in enumerate(scenes) if index < len(scene.stamps_ns)]
        before = [scenes[row].before(index, config.history_s) for row in rows]
        # The earlier frame tells the motion since then; its pictures were seen already.
        windows = []
        for row, earlier in zip(rows, before, strict=True):
            first = scenes[row].first
            numbers = (first + earlier, first + index) if index and has_memory else (first + index,)
            windows.append(Window(numbers, first + index, has_memory))
            maps[row] = {other: bev for other, bev in maps[row].items() if other >= earlier}
        history = torch.stack([maps[row].get(earlier, nothing) for row, earlier in zip(rows, before, strict=True)])
        for batch, samples in frames.load(iter([windows])):
            ready = assemble(batch, samples, frames, module.recipe, is_training=False).to(module.device)
            frame = apply_changes(ready.frames[-1])
            with torch.no_grad():
                outputs = module.run_frame(frame, history)
                class_logits, box_codes = outputs.layers[-1]
                box_codes = module.network.with_velocities(
                    box_codes, outputs.bev, outputs.aligned, frame.history_valid, frame.history_age
                )
            for row, bev in zip(rows, outputs.bev, strict=True):
                maps[row][index] = bev
            logits, codes = (part.float().cpu().numpy() for part in (class_logits, box_codes))
            for place, row in enumerate(rows):
                found = {"class_logits": logits[place : place + 1], "box_codes": codes[place : place + 1]}
                boxes = decode_boxes(found, config, BASE_FRAME)
                yield SequenceBoxes(scenes[row].name, scenes[row].stamps_ns[index], boxes)
