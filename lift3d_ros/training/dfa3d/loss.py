"""All losses of the BEV detector, from what the network gives in training; each has a name.

The matching and the decoder losses equal those of :class:`lift3d_ros.models.dfa3d.losses.SetPredictionLoss`, for all
samples and layers at once, because a GPU would wait for each sample.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lift3d_ros.datasets.cell_depths import CELL
from lift3d_ros.errors import DatasetError, Lift3dError
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.models.dfa3d.depth_labels import depth_labels, depth_loss
from lift3d_ros.models.dfa3d.losses import SetPredictionLoss, code_differences, matching_costs, sigmoid_focal_loss
from lift3d_ros.models.dfa3d.on_device import constant, pad_targets, to_device

_HUBER_MPS = 2.0  # differences above it count in proportion


class PendingMatching:
    """The costs of a batch on their way from the device, which goes on with what is launched meanwhile."""

    def __init__(self, costs: Tensor, counts: Sequence[int]) -> None:
        """Take float64 costs (layers, B, M, Q), of which the first `counts` rows of each sample are targets."""
        self._counts = list(counts)
        self._costs = costs
        self._arrival: torch.cuda.Event | None = None
        if costs.is_cuda:
            self._costs = torch.empty(costs.shape, dtype=costs.dtype, pin_memory=True)
            self._costs.copy_(costs, non_blocking=True)
            self._arrival = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrival.record(torch.cuda.current_stream(costs.device))

    def pairs(self) -> NDArray[np.int64]:
        """Wait for the costs and return the cheapest pairs.

        Returns:
            (pairs, 4): layer, sample, query, and the number of the target among those of all samples.

        Raises:
            Lift3dError: scipy is not installed.
        """
        try:
            from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
        except ImportError as error:
            raise Lift3dError(
                f"training the BEV detector needs scipy, which cannot be imported ({error}); 'pip install scipy'"
            ) from None
        if self._arrival is not None:
            self._arrival.synchronize()
        pairs: list[Any] = []
        for layer, matrices in enumerate(self._costs.numpy()):
            first = 0
            for sample, (matrix, count) in enumerate(zip(matrices, self._counts, strict=True)):
                target, query = linear_sum_assignment(matrix[:count])
                numbers = np.full(len(query), layer), np.full(len(query), sample), query, first + target
                pairs.append(np.column_stack(numbers))
                first += count
        return np.asarray(np.concatenate(pairs), dtype=np.int64)


@torch.no_grad()
def start_matching(
    layers: Sequence[tuple[Tensor, Tensor]],
    target_codes: Sequence[Tensor],
    target_labels: Sequence[Tensor],
    loss: SetPredictionLoss,
) -> PendingMatching:
    """Compute what pairs of queries and targets cost, of all layers and samples at once, without waiting for it.

    Args:
        layers: as in :func:`decoder_losses`.
        target_codes, target_labels: of each sample, (N, 10) and (N,), with finite numbers except velocities.
    """
    logits = torch.stack([layer[0].float() for layer in layers])
    codes = torch.stack([layer[1].float() for layer in layers])
    wanted, labels = pad_targets(target_codes, math.nan), pad_targets(target_labels, 0)
    class_cost, box_cost = matching_costs(logits, codes, wanted, labels, loss.matching)
    # A network that has diverged is seen in its loss, which stays NaN; the solver would refuse the matrix.
    costs = (class_cost + box_cost).nan_to_num(nan=1e6, posinf=1e6, neginf=-1e6)
    # In the layout and type that the solver computes in, which would make a copy of each matrix otherwise.
    costs = costs.mT.to(torch.float64, memory_format=torch.contiguous_format)
    return PendingMatching(costs, [len(part) for part in target_labels])


def decoder_losses(
    layers: Sequence[tuple[Tensor, Tensor]],
    target_codes: Sequence[Tensor],
    target_labels: Sequence[Tensor],
    loss: SetPredictionLoss,
    average_factor: Tensor | None = None,
    matching: PendingMatching | None = None,
) -> dict[str, Tensor]:
    """Return ``loss_cls`` and ``loss_bbox`` of the last layer, and ``d0.loss_cls`` and so on of the earlier ones.

    Args:
        layers: logits (B, Q, classes) and codes (B, Q, 10) of each layer, the last one last.
        target_codes, target_labels: of each sample; velocities may be NaN, see `drops_unknown` of the loss.
        average_factor: divisor in place of the number of pairs, such as its mean over several processes.
        matching: of :func:`start_matching` with the same arguments, where other work was launched in between.
    """
    matching = matching or start_matching(layers, target_codes, target_labels, loss)
    logits = torch.stack([layer[0].float() for layer in layers])
    codes = torch.stack([layer[1].float() for layer in layers])
    num_layers, batch, num_queries, num_classes = logits.shape
    pairs = to_device(matching.pairs(), logits.device)
    layer, sample, query, target = pairs.unbind(1)
    all_codes, all_labels = torch.cat(list(target_codes)), torch.cat(list(target_labels))
    row = (layer * batch + sample) * num_queries + query
    labels = torch.full((num_layers * batch * num_queries,), num_classes, dtype=torch.int64, device=logits.device)
    labels = labels.index_copy(0, row, all_labels.index_select(0, target))
    num_pairs = len(pairs) // num_layers
    average = logits.new_full((), float(num_pairs)) if average_factor is None else average_factor
    class_average = (average + loss.background_weight * (batch * num_queries - num_pairs)).clamp(min=1)
    wanted = all_codes.float().index_select(0, target)
    is_known = loss.is_learned(wanted)
    found = codes.reshape(-1, codes.shape[-1]).index_select(0, row)
    learned = torch.where(is_known, wanted, found.detach())
    distance = code_differences(found, learned, loss.free_heading) * constant(loss.code_weights, found.device)
    by_layer = found.new_zeros(num_layers).index_add(0, layer, distance.sum(-1))
    losses = {}
    for number in [num_layers - 1, *range(num_layers - 1)]:
        prefix = "" if number == num_layers - 1 else f"d{number}."
        part = labels[number * batch * num_queries : (number + 1) * batch * num_queries]
        focal = sigmoid_focal_loss(logits[number].flatten(0, 1), part, loss.alpha, loss.gamma)
        losses[f"{prefix}loss_cls"] = loss.class_weight * focal / class_average
        losses[f"{prefix}loss_bbox"] = loss.box_weight * by_layer[number] / average.clamp(min=1)
    return losses


class PaddedTargets(NamedTuple):
    """The objects of all samples, as many rows for each.

    Args:
        places: (B, M, 2) near their centres, metres in the model frame.
        velocities: (B, M, 2) m/s, NaN where unknown and for rows without object.
    """

    places: Tensor
    velocities: Tensor


def padded_targets(target_codes: Sequence[Tensor], scatter_m: float) -> PaddedTargets:
    """Return the objects of each sample, their places off by a standard deviation of `scatter_m`."""
    codes = pad_targets(target_codes, math.nan).float()
    places = codes[..., :2].nan_to_num()
    return PaddedTargets(places + scatter_m * torch.randn_like(places), codes[..., 8:])


def motion_loss(found: Tensor, targets: PaddedTargets, history_valid: Tensor) -> Tensor:
    """Return the mean Huber loss of velocities (B, M, 2) that are known, of samples with a history.

    Most objects stand still. Of an absolute difference the median is the best guess for what is not understood yet,
    which is zero whatever moves, and nothing is learned from there.
    """
    is_known = targets.velocities.isfinite().all(-1) & (history_valid > 0.5)[:, None]
    wanted = torch.where(is_known[..., None], targets.velocities, found.detach())
    total = F.huber_loss(found, wanted, reduction="sum", delta=_HUBER_MPS) / _HUBER_MPS
    return total / is_known.sum().clamp(min=1)


def predicted_depth_loss(predicted: Tensor, cell_depths: Tensor, config: Dfa3dConfig, weight: float) -> Tensor:
    """Return the loss of the depth head.

    Args:
        predicted: (N, K, h, w) probabilities of the head, at its level.
        cell_depths: (N, rows, columns) metres, 0 where unknown, of cells of the pictures that enter the network.
    """
    level = (int(predicted.shape[-2]), int(predicted.shape[-1]))
    depths = level_depths(cell_depths, level, config)
    return depth_loss(predicted, depth_labels(depths, config.depth, 1), weight)


def level_depths(cell_depths: Tensor, level: tuple[int, int], config: Dfa3dConfig) -> Tensor:
    """Return (N, h, w), the nearest depth of the cells that each one of a pyramid level meets; 0 where unknown.

    The network scales pictures and pads them, so a cell of the level may be no whole number of cells large.
    """
    ratios = [
        padded / count / (CELL * scaled / size)
        for padded, count, scaled, size in zip(
            config.padded_size, level, config.scaled_size, (config.image_height, config.image_width), strict=True
        )
    ]
    if ratios == [1.0, 1.0] and cell_depths.shape[-2:] == level:
        return cell_depths
    nearness = torch.where(cell_depths > 0, 1.0 / cell_depths.clamp(min=1e-3), 0.0)
    nearness = F.pad(nearness, (0, 1, 0, 1))  # a last row and column where nothing is known, for what lies outside
    for dim, (count, ratio) in enumerate(zip(level, ratios, strict=True), start=1):
        index = _cells_of_level(count, ratio, nearness.shape[dim] - 1, nearness.device)
        met = nearness.index_select(dim, index.reshape(-1))
        nearness = met.reshape(*met.shape[:dim], count, -1, *met.shape[dim + 1 :]).amax(dim + 1)
    return torch.where(nearness > 0, 1.0 / nearness.clamp(min=1e-6), 0.0)


@functools.lru_cache(maxsize=16)
def _cells_of_level(count: int, ratio: float, num_cells: int, device: torch.device) -> Tensor:
    """Return (count, K) which cells each one of the level meets; `num_cells` where there are fewer than K."""
    small = 1e-6  # sizes that are whole but for rounding
    first = np.floor(np.arange(count) * ratio + small).astype(np.int64)
    end = np.ceil(np.arange(1, count + 1) * ratio - small).astype(np.int64)
    index = first[:, None] + np.arange(int((end - first).max()))
    index = np.where((index < end[:, None]) & (index < num_cells), index, num_cells)
    return torch.from_numpy(index).to(device)


def check_targets(target_codes: Tensor, target_labels: Tensor, num_classes: int, names: Sequence[str]) -> None:
    """Refuse labels and boxes that no loss can take; on the CPU, before they go to the device.

    Raises:
        DatasetError: a label is none of the classes, or a box is not finite.
    """
    is_class = (target_labels >= 0) & (target_labels < num_classes)
    is_finite = target_codes[:, :8].isfinite().all(-1)
    if not bool((is_class & is_finite).all()):
        raise DatasetError(
            f"samples {', '.join(names)}: a box has the label {int(target_labels[~is_class][0])}"
            if not bool(is_class.all())
            else f"samples {', '.join(names)}: a box has a place or a size that is not finite and positive"
        )
