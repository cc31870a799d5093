"""A quick look at a detector during training: mean losses, and an average precision by centre distance.

It only chooses the best weights; the figures of the field come from ``lift3d evaluate bev_detection``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lift3d_ros.models.dfa3d.box_code import decode_codes
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.pipelines.box_decoding import decode_model_boxes
from lift3d_ros.training.dfa3d.batch import Batch, FrameInputs
from lift3d_ros.training.dfa3d.drawing import draw_sample
from lift3d_ros.types import Boxes3D, Float32Array, Float64Array, UInt8Array

_Part = tuple[dict[str, float], int, list[Boxes3D], list[Boxes3D]]  # sums, batches, found and true boxes

_MATCH_M = 2.0
_MOST_DRAWN = 4


class Validation:
    """Gathers what a validation gives."""

    def __init__(self, config: Dfa3dConfig) -> None:
        """Gather for a network of this configuration."""
        self._config = config
        self._pictures: list[tuple[str, UInt8Array, Float32Array]] = []
        self._drawn: list[tuple[tuple[str, UInt8Array, Float32Array], Boxes3D, Boxes3D]] = []
        self._forget()

    def _forget(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._found: list[Boxes3D] = []
        self._true: list[Boxes3D] = []
        self._pictures = []

    def add(
        self, batch: Batch, frame: FrameInputs, outputs: tuple[Tensor, Tensor], losses: Mapping[str, Tensor]
    ) -> None:
        """Take in one batch; `outputs` are class logits and box codes of the last layer."""
        for name, value in {**losses, "loss": torch.stack(list(losses.values())).sum()}.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach()
        self._count += 1
        logits, codes = (part.float().cpu().numpy() for part in outputs)
        self._found += [decode_model_boxes(*pair, self._config) for pair in zip(logits, codes, strict=True)]
        self._true += [
            _true_boxes(part.cpu(), labels.cpu(), self._config)
            for part, labels in zip(batch.codes, batch.labels, strict=True)
        ]
        self._keep_pictures(batch, frame)

    def _keep_pictures(self, batch: Batch, frame: FrameInputs) -> None:
        for sample, name in enumerate(batch.names[: max(0, _MOST_DRAWN - len(self._pictures))]):
            is_own = frame.sample == sample
            assert isinstance(frame.images, Tensor)
            images = frame.images[is_own].to(torch.uint8).cpu().numpy()
            self._pictures.append((name, images, frame.image_from_model[is_own].cpu().numpy()))

    def figures(self) -> dict[str, float]:
        """Return mean losses and the precision over the samples of all processes, which all have to call this.

        Begins anew; what is drawn stays until the next call, and is of the samples of this process.
        """
        sums = {name: float(value) for name, value in self._sums.items()}
        parts = _of_all_processes((sums, self._count, self._found, self._true))
        num_batches = sum(count for _, count, _, _ in parts)
        if not num_batches:
            return {}
        figures = {name: sum(part[0][name] for part in parts) / num_batches for name in parts[0][0]}
        found = [boxes for part in parts for boxes in part[2]]
        true = [boxes for part in parts for boxes in part[3]]
        precision = average_precision(found, true, len(self._config.class_names))
        if len(precision):
            figures["score"] = float(np.mean(list(precision.values())))
            car = precision.get(0)
            if car is not None:
                figures[f"{self._config.class_names[0]} AP"] = car
        self._drawn = list(zip(self._pictures, self._found, self._true, strict=False))
        self._forget()
        return figures

    def draw(self, folder: Path, step: int) -> None:
        """Draw the first samples with true and found boxes."""
        for number, ((name, images, projections), found, true) in enumerate(self._drawn):
            draw_sample(folder / f"step{step:07d}_{number}.jpg", name, images, projections, found, true, self._config)


def _of_all_processes(part: _Part) -> list[_Part]:
    if not torch.distributed.is_initialized():
        return [part]
    parts = [part] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, part)
    return parts


def average_precision(
    found: Sequence[Boxes3D], true: Sequence[Boxes3D], num_classes: int, distance: float = _MATCH_M
) -> dict[int, float]:
    """Return the average precision of each class that has true boxes, boxes matched greedily by centre distance.

    Recall and precision below 10 % count as nothing, as in the metrics of nuScenes.
    """
    precision = {}
    for label in range(num_classes):
        total = sum(int((boxes.labels == label).sum()) for boxes in true)
        if not total:
            continue
        scores, hits = [], []
        for one, other in zip(found, true, strict=True):
            own, goals = one.labels == label, other.centers[other.labels == label, :2]
            order = np.argsort(-one.scores[own], kind="stable")
            scores.append(one.scores[own][order])
            hits.append(_greedy(one.centers[own, :2][order], goals, distance))
        score, hit = np.concatenate(scores), np.concatenate(hits)
        hit = hit[np.argsort(-score, kind="stable")]
        true_positives = np.cumsum(hit)
        recall = true_positives / total
        curve = true_positives / np.arange(1, len(hit) + 1)
        grid = np.linspace(0, 1, 101)
        sampled = np.interp(grid, recall, curve, right=0.0) if len(hit) else np.zeros(101)
        precision[label] = float(np.maximum(sampled[11:] - 0.1, 0.0).mean() / 0.9)
    return precision


def _greedy(centers: Float64Array, goals: Float64Array, distance: float) -> Float64Array:
    """Return 1 for each centre, best score first, that is nearest to a goal which is not taken yet."""
    hits = np.zeros(len(centers))
    if not len(goals):
        return hits
    between = np.linalg.norm(centers[:, None] - goals[None], axis=-1)
    for row in range(len(centers)):
        nearest = int(between[row].argmin())
        if between[row, nearest] < distance:
            hits[row] = 1.0
            between[:, nearest] = np.inf
    return hits


def _true_boxes(codes: Tensor, labels: Tensor, config: Dfa3dConfig) -> Boxes3D:
    boxes = decode_codes(codes, config.yaw_code)
    return Boxes3D(
        frame_id="model",
        class_names=config.class_names,
        centers=boxes.centers.double().numpy(),
        sizes=boxes.sizes.double().numpy(),
        yaws=boxes.yaws.double().numpy(),
        velocities=boxes.velocities.double().numpy(),
        scores=np.ones(len(labels)),
        labels=labels.numpy(),
    )
