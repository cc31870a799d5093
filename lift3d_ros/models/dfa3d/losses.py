"""Losses of the box decoder: predictions are matched one to one with targets, layer by layer and sample by sample.

Letters: B samples, Q queries, N targets of a sample. A target is a box code and a label; a query without a target is
background, whose label is the number of classes.
Source: fact sheet DFA3D, section 17.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from lift3d_ros.errors import DatasetError, Lift3dError

_HEADING = slice(6, 8)  # sine and cosine in a box code


@dataclass(frozen=True)
class MatchWeights:
    """What the matching weighs.

    Args:
        class_cost, box_cost: weights of the focal cost and of the L1 distance between codes.
        num_code_numbers: only the first so many numbers of a code count; eight leave the velocity out.
        alpha, gamma: of the focal cost.
    """

    class_cost: float = 2.0
    box_cost: float = 0.25
    num_code_numbers: int = 8
    alpha: float = 0.25
    gamma: float = 2.0


def sigmoid_focal_loss(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Return the focal loss summed over logits (M, classes); a label (M,) equal to `classes` means background."""
    classes = torch.arange(logits.shape[-1], device=logits.device)
    is_target = (labels[:, None] == classes).to(logits.dtype)
    entropy = F.binary_cross_entropy_with_logits(logits, is_target, reduction="none")
    miss = (is_target - logits.sigmoid()).abs()
    weight = alpha * is_target + (1 - alpha) * (1 - is_target)
    return (weight * miss**gamma * entropy).sum()


@torch.no_grad()
def matching_costs(
    logits: Tensor, codes: Tensor, target_codes: Tensor, target_labels: Tensor, weights: MatchWeights
) -> tuple[Tensor, Tensor]:
    """Return the class cost and the box cost of every pair, weights included, each (..., Q, N).

    Args:
        logits: (..., Q, classes).
        codes: (..., Q, 10).
        target_codes: (N, 10), or (..., N, 10) in a shape that broadcasts.
        target_labels: (N,) or (..., N).
    """
    probability = logits.to(torch.float32).sigmoid()
    hit = -(probability + 1e-12).log() * weights.alpha * (1 - probability) ** weights.gamma
    miss = -(1 - probability + 1e-12).log() * (1 - weights.alpha) * probability**weights.gamma
    cost = hit - miss
    class_cost = cost.gather(-1, target_labels[..., None, :].expand(*cost.shape[:-1], target_labels.shape[-1]))
    numbers = weights.num_code_numbers
    found, wanted = codes[..., :numbers].to(torch.float32), target_codes[..., :numbers].to(torch.float32)
    # Number by number: on a GPU, cdist gives each pair a block of threads, most of which have nothing to do.
    distance = torch.zeros_like(class_cost)
    for number in range(numbers):
        distance += (found[..., number, None] - wanted[..., None, :, number]).abs_()
    return weights.class_cost * class_cost, weights.box_cost * distance


def match(
    logits: Tensor, codes: Tensor, target_codes: Tensor, target_labels: Tensor, weights: MatchWeights
) -> tuple[Tensor, Tensor]:
    """Pair queries and targets of one sample so that the summed cost is smallest.

    Args:
        logits: (Q, classes).
        codes: (Q, 10).
        target_codes: (N, 10); targets whose matched numbers are not finite stay without a query.
        target_labels: (N,).

    Returns:
        Indices of queries and of their targets, both (min(Q, N),) int64 where all targets can be matched.
    """
    return _match_layers(logits[None], codes[None], target_codes, target_labels, weights)[0]


def code_differences(found: Tensor, wanted: Tensor, free_heading: float = 0.0) -> Tensor:
    """Return the absolute differences of box codes (..., 10).

    Args:
        free_heading: share of the heading that may as well point backwards. Which end of a vehicle is the front is hard
            to see, and the best guess of one who cannot tell is no direction at all: the axis is then not learned
            either.
    """
    differences = (found - wanted).abs()
    if not free_heading:
        return differences
    forward, backward = differences[..., _HEADING], (found[..., _HEADING] + wanted[..., _HEADING]).abs()
    is_turned = backward.sum(-1, keepdim=True) < forward.sum(-1, keepdim=True)
    heading = (1.0 - free_heading) * forward + free_heading * torch.where(is_turned, backward, forward)
    return torch.cat([differences[..., : _HEADING.start], heading, differences[..., _HEADING.stop :]], dim=-1)


@dataclass(frozen=True)
class SetPredictionLoss:
    """Class and box loss of every decoder layer against matched targets, all layers with equal weight.

    Args:
        class_weight, alpha, gamma: of the focal loss.
        box_weight, code_weights: of the L1 distance between codes.
        background_weight: what a query without target adds to the divisor of the class loss.
        drops_unknown: a target of unknown velocity has no box loss at all, as published; false leaves out its velocity
            alone.
        free_heading: see :func:`code_differences`; zero in the published training.
    """

    matching: MatchWeights = field(default_factory=MatchWeights)
    class_weight: float = 2.0
    alpha: float = 0.25
    gamma: float = 2.0
    box_weight: float = 0.25
    code_weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2)
    background_weight: float = 0.0
    drops_unknown: bool = True
    free_heading: float = 0.0

    def __call__(
        self,
        layers: Sequence[tuple[Tensor, Tensor]],
        target_codes: Sequence[Tensor],
        target_labels: Sequence[Tensor],
        average_factor: float | Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return named float32 losses, weights included.

        Args:
            layers: logits (B, Q, classes) and codes (B, Q, 10) of each decoder layer, the last one last.
            target_codes: (N, 10) for each sample, see :func:`encode_boxes`; N may be zero. A target whose velocity
                is unknown still is an object of its class, only its box loss, or that of the velocity, is left out;
                one whose other numbers are not finite is left out altogether.
            target_labels: (N,) class indices for each sample.
            average_factor: divisor in place of the number of matched pairs, such as its mean over several workers;
                see :meth:`num_pairs`.

        Returns:
            ``loss_cls`` and ``loss_bbox`` of the last layer, ``d0.loss_cls`` and so on of the earlier ones.

        Raises:
            DatasetError: a label is none of the classes.
            ValueError: the targets are not those of B samples.
        """
        if len(target_codes) != layers[0][0].shape[0]:
            raise ValueError(f"targets of {len(target_codes)} samples for predictions of {layers[0][0].shape[0]}")
        logits = torch.stack([layer[0].to(torch.float32) for layer in layers])
        codes = torch.stack([layer[1].to(torch.float32) for layer in layers])
        pairs = self.assign(logits, codes, target_codes, target_labels)
        num_queries = logits.shape[2]
        num_pairs = self.num_pairs(target_codes, num_queries)
        average = logits.new_tensor(num_pairs) if average_factor is None else torch.as_tensor(average_factor)
        num_background = logits.shape[1] * num_queries - num_pairs
        class_average = (average + self.background_weight * num_background).clamp(min=1)
        losses = {}
        for layer in [len(layers) - 1, *range(len(layers) - 1)]:
            prefix = "" if layer == len(layers) - 1 else f"d{layer}."
            focal = self._focal(logits[layer], target_labels, pairs[layer])
            losses[f"{prefix}loss_cls"] = self.class_weight * focal / class_average
            distance = self._distance(codes[layer], target_codes, pairs[layer])
            losses[f"{prefix}loss_bbox"] = self.box_weight * distance / average.clamp(min=1)
        return losses

    def assign(
        self, logits: Tensor, codes: Tensor, target_codes: Sequence[Tensor], target_labels: Sequence[Tensor]
    ) -> list[list[tuple[Tensor, Tensor]]]:
        """Return for each layer and sample the indices of matched queries and targets, see :func:`match`.

        Args:
            logits: (layers, B, Q, classes).
            codes: (layers, B, Q, 10).
        """
        by_sample = []
        for sample, (sample_codes, labels) in enumerate(zip(target_codes, target_labels, strict=True)):
            _check_labels(labels, logits.shape[-1])
            by_sample.append(_match_layers(logits[:, sample], codes[:, sample], sample_codes, labels, self.matching))
        return [list(samples) for samples in zip(*by_sample, strict=True)]

    def num_pairs(self, target_codes: Sequence[Tensor], num_queries: int) -> int:
        """Return how many targets of the samples get a query, by which losses are averaged."""
        return sum(min(len(_matchable(codes, self.matching)), num_queries) for codes in target_codes)

    def _focal(self, logits: Tensor, target_labels: Sequence[Tensor], pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        labels = torch.full(logits.shape[:2], logits.shape[-1], dtype=torch.int64, device=logits.device)
        for sample, (query, target) in enumerate(pairs):
            labels[sample, query] = target_labels[sample][target]
        return sigmoid_focal_loss(logits.flatten(0, 1), labels.flatten(), self.alpha, self.gamma)

    def _distance(
        self, codes: Tensor, target_codes: Sequence[Tensor], pairs: Sequence[tuple[Tensor, Tensor]]
    ) -> Tensor:
        predicted = torch.cat([codes[sample, query] for sample, (query, _) in enumerate(pairs)])
        wanted = torch.cat([target_codes[sample][target] for sample, (_, target) in enumerate(pairs)])
        is_known = self.is_learned(wanted)
        # The network's own number where none is known: a difference of 0, and no gradient of NaN.
        learned = torch.where(is_known, wanted.to(predicted.dtype), predicted.detach())
        difference = code_differences(predicted, learned, self.free_heading)
        return (difference * difference.new_tensor(self.code_weights)).sum()

    def is_learned(self, wanted: Tensor) -> Tensor:
        """Return which numbers of target codes (N, 10) have a box loss, in a shape that broadcasts to theirs."""
        is_known = wanted.isfinite()
        return is_known.all(-1, keepdim=True) if self.drops_unknown else is_known


def _match_layers(
    logits: Tensor, codes: Tensor, target_codes: Tensor, target_labels: Tensor, weights: MatchWeights
) -> list[tuple[Tensor, Tensor]]:
    """Match each layer (layers, Q, ...) of one sample; the costs of all of them leave the GPU at once."""
    usable = _matchable(target_codes, weights)
    class_cost, box_cost = matching_costs(logits, codes, target_codes[usable], target_labels[usable], weights)
    return [(query, usable[target]) for query, target in _assign(class_cost + box_cost)]


def _matchable(target_codes: Tensor, weights: MatchWeights) -> Tensor:
    """Return the indices of targets whose matched numbers are finite."""
    return target_codes[:, : weights.num_code_numbers].isfinite().all(-1).nonzero()[:, 0]


def _assign(costs: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Solve the assignment of each cost matrix (layers, Q, N): indices of rows and of columns."""
    try:
        from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]
    except ImportError as error:
        raise Lift3dError(
            f"training the BEV detector needs scipy, which cannot be imported ({error}); 'pip install scipy'"
        ) from None
    # A network that has diverged is seen in its loss, which stays NaN; the solver would refuse the matrix.
    matrices = costs.nan_to_num(nan=1e6, posinf=1e6, neginf=-1e6).cpu().numpy()
    solved = (linear_sum_assignment(matrix) for matrix in matrices)
    return [
        (torch.as_tensor(row, device=costs.device), torch.as_tensor(column, device=costs.device))
        for row, column in solved
    ]


def _check_labels(labels: Tensor, num_classes: int) -> None:
    is_class = (labels >= 0) & (labels < num_classes)
    if not bool(is_class.all()):
        raise DatasetError(
            f"a target has the label {int(labels[~is_class][0])}, expected 0 to {num_classes - 1}; map the classes of "
            "the data to those of the model, and leave other objects out"
        )
