"""All losses of the BEV detector, from what the network gives in training; each has a name.

The matching and the decoder losses equal those of :class:`lift3d_ros.models.dfa3d.losses.SetPredictionLoss`, for all
samples and layers at once, because a GPU would wait for each sample.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lift3d_ros.errors import DatasetError, Lift3dError
from lift3d_ros.models.dfa3d.config import DepthConfig
from lift3d_ros.models.dfa3d.depth_labels import depth_labels, depth_loss
from lift3d_ros.models.dfa3d.losses import SetPredictionLoss, matching_costs, sigmoid_focal_loss


def match_batch(
    logits: Tensor,
    codes: Tensor,
    target_codes: Sequence[Tensor],
    target_labels: Sequence[Tensor],
    loss: SetPredictionLoss,
) -> NDArray[np.int64]:
    """Match queries and targets of all layers and samples; the costs leave the device once.

    Args:
        logits: (layers, B, Q, classes).
        codes: (layers, B, Q, 10).
        target_codes, target_labels: of each sample, (N, 10) and (N,), with finite numbers except velocities.

    Returns:
        (pairs, 4): layer, sample, query, and the number of the target among those of all samples.
    """
    try:
        from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
    except ImportError as error:
        raise Lift3dError(
            f"training the BEV detector needs scipy, which cannot be imported ({error}); 'pip install scipy'"
        ) from None
    num_layers, _, num_queries, _ = logits.shape
    costs = []
    for sample, (wanted, labels) in enumerate(zip(target_codes, target_labels, strict=True)):
        class_cost, box_cost = matching_costs(logits[:, sample], codes[:, sample], wanted, labels, loss.matching)
        costs.append((class_cost + box_cost).reshape(-1))
    # A network that has diverged is seen in its loss, which stays NaN; the solver would refuse the matrix.
    flat = torch.cat(costs).nan_to_num(nan=1e6, posinf=1e6, neginf=-1e6).cpu().numpy()
    pairs: list[Any] = []
    first, position = 0, 0
    for sample, labels in enumerate(target_labels):
        count = len(labels)
        size = num_layers * num_queries * count
        matrices = flat[position : position + size].reshape(num_layers, num_queries, count)
        position += size
        for layer in range(num_layers):
            query, target = linear_sum_assignment(matrices[layer])
            pairs.append(
                np.column_stack([np.full(len(query), layer), np.full(len(query), sample), query, first + target])
            )
        first += count
    return np.asarray(np.concatenate(pairs), dtype=np.int64)


def decoder_losses(
    layers: Sequence[tuple[Tensor, Tensor]],
    target_codes: Sequence[Tensor],
    target_labels: Sequence[Tensor],
    loss: SetPredictionLoss,
    average_factor: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return ``loss_cls`` and ``loss_bbox`` of the last layer, and ``d0.loss_cls`` and so on of the earlier ones.

    Args:
        layers: logits (B, Q, classes) and codes (B, Q, 10) of each layer, the last one last.
        target_codes, target_labels: of each sample; velocities may be NaN, then the box counts for its class only.
        average_factor: divisor in place of the number of pairs, such as its mean over several processes.
    """
    logits = torch.stack([layer[0].float() for layer in layers])
    codes = torch.stack([layer[1].float() for layer in layers])
    num_layers, batch, num_queries, num_classes = logits.shape
    pairs = torch.from_numpy(match_batch(logits.detach(), codes.detach(), target_codes, target_labels, loss))
    pairs = (pairs.pin_memory() if logits.is_cuda else pairs).to(logits.device, non_blocking=True)
    layer, sample, query, target = pairs.unbind(1)
    all_codes, all_labels = torch.cat(list(target_codes)), torch.cat(list(target_labels))
    row = (layer * batch + sample) * num_queries + query
    labels = torch.full((num_layers * batch * num_queries,), num_classes, dtype=torch.int64, device=logits.device)
    labels = labels.index_copy(0, row, all_labels.index_select(0, target))
    num_pairs = len(pairs) // num_layers
    average = logits.new_full((), float(num_pairs)) if average_factor is None else average_factor
    class_average = (average + loss.background_weight * (batch * num_queries - num_pairs)).clamp(min=1)
    wanted = all_codes.float().index_select(0, target)
    is_known = wanted.isfinite().all(-1, keepdim=True)
    found = codes.reshape(-1, codes.shape[-1]).index_select(0, row)
    distance = (found - torch.where(is_known, wanted, found.detach())).abs() * _on_device(
        loss.code_weights, found.device
    )
    by_layer = found.new_zeros(num_layers).index_add(0, layer, distance.sum(-1))
    losses = {}
    for number in [num_layers - 1, *range(num_layers - 1)]:
        prefix = "" if number == num_layers - 1 else f"d{number}."
        part = labels[number * batch * num_queries : (number + 1) * batch * num_queries]
        focal = sigmoid_focal_loss(logits[number].flatten(0, 1), part, loss.alpha, loss.gamma)
        losses[f"{prefix}loss_cls"] = loss.class_weight * focal / class_average
        losses[f"{prefix}loss_bbox"] = loss.box_weight * by_layer[number] / average.clamp(min=1)
    return losses


@functools.lru_cache(maxsize=8)
def _on_device(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """Keep a few numbers on the device, because bringing them there each time would wait for it."""
    return torch.tensor(numbers, device=device)


def predicted_depth_loss(predicted: Tensor, cell_depths: Tensor, config: DepthConfig, weight: float) -> Tensor:
    """Return the loss of the depth head.

    Args:
        predicted: (N, K, h, w) probabilities of the head, at its level.
        cell_depths: (N, rows, columns) metres, 0 where unknown, of smaller or larger cells of the same pictures.
    """
    size = predicted.shape[-2:]
    if cell_depths.shape[-2:] != size:
        nearness = torch.where(cell_depths > 0, 1.0 / cell_depths.clamp(min=1e-3), torch.zeros_like(cell_depths))
        nearest = F.adaptive_max_pool2d(nearness[:, None], size)[:, 0]
        cell_depths = torch.where(nearest > 0, 1.0 / nearest.clamp(min=1e-6), torch.zeros_like(nearest))
    return depth_loss(predicted, depth_labels(cell_depths, config, 1), weight)


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
