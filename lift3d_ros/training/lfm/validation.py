"""Figures of a lifter on the validation split: PA-MPJPE over the flat guess, as the README of the sets defines it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lift3d_ros.datasets.keypoint_views import random_views
from lift3d_ros.datasets.keypoints import KeypointSet
from lift3d_ros.errors import DatasetError
from lift3d_ros.models.lfm.network import LfmOutput, likelier_shape
from lift3d_ros.ops.procrustes import aligned_distances
from lift3d_ros.training.lfm.batches import EXTRA_GROUPS, LiftingBatch

_LOWEST_RATIO = 1e-3
_LEAST_FLAT_ERROR = 1e-5  # of the size; rounding is below it


def flat_guess_error(keypoints: KeypointSet, seed: int = 0) -> float:
    """Return the PA-MPJPE, in the unit of the set, of a guess with true x and y and depth 0, over all frames."""
    rng = np.random.default_rng(seed)
    rotations = random_views(rng, len(keypoints.joints), keypoints.view_range)
    truth = torch.from_numpy(keypoints.joints @ rotations.transpose(0, 2, 1))
    flat = truth * torch.tensor([1.0, 1.0, 0.0])
    valid = torch.from_numpy(keypoints.valid)
    return float(aligned_distances(flat, truth, valid)[valid].mean())


class Validation:
    """Gathers errors of the sets, one batch each."""

    def __init__(self, sets: Sequence[KeypointSet]) -> None:
        """Compare with the flat guess of each set.

        Raises:
            DatasetError: the points of a set are equal or on a line in every frame, so that the flat guess is right.
        """
        self._sets = sets
        self._flat = [flat_guess_error(one) for one in sets]
        for one, flat in zip(sets, self._flat, strict=True):
            if not flat > _LEAST_FLAT_ERROR * float(np.abs(one.joints).max()):
                raise DatasetError(
                    f"set '{one.name}': its points are equal or on a line in every frame; expected skeletons with "
                    "depth. Correct the file, or leave it out with --set data.leaves_out=[...]"
                )
        self._ratios: dict[int, tuple[float, float]] = {}

    def add(self, output: LfmOutput, batch: LiftingBatch) -> None:
        """Take in a batch of one set."""
        number = int(batch.category[0])
        self._ratios[number] = tuple(error / self._flat[number] for error in errors_of(output, batch))  # type: ignore[assignment]

    def ratios(self) -> dict[str, tuple[float, float]]:
        """Return for each set the ratio with the likelier mirror image, and with the better one."""
        return {self._sets[number].name: ratio for number, ratio in self._ratios.items()}

    def figures(self) -> dict[str, float]:
        """Return medians over the sets of each group, and begin anew; ``score`` grows as the median falls."""
        if not self._ratios:
            return {}
        figures: dict[str, float] = {}
        groups = sorted({self._sets[number].group for number in self._ratios})
        for group in groups:
            own = [ratio for number, ratio in self._ratios.items() if self._sets[number].group == group]
            figures[group] = float(np.median([ratio[0] for ratio in own]))
        counted = [ratio for number, ratio in self._ratios.items() if self._sets[number].group not in EXTRA_GROUPS]
        counted = counted or list(self._ratios.values())
        figures["proper"] = float(np.median([ratio[0] for ratio in counted]))
        figures["best"] = float(np.median([ratio[1] for ratio in counted]))
        figures["score"] = 1.0 / max(figures["proper"], _LOWEST_RATIO)
        self._ratios = {}
        return figures


def errors_of(output: LfmOutput, batch: LiftingBatch) -> tuple[float, float]:
    """Return the PA-MPJPE of the likelier mirror image, and of the better one, in the unit of the set."""
    proper = mean_error(likelier_shape(output), batch)
    best = mean_error(output.shape, batch, allows_reflection=True)
    return proper, best


def mean_error(shape: Tensor, batch: LiftingBatch, *, allows_reflection: bool = False) -> float:
    """Return the mean over all valid points of all instances, in the unit of the set."""
    distances = aligned_distances(shape, batch.target, batch.is_valid, allows_reflection=allows_reflection)
    return float((distances * batch.size[:, None])[batch.is_valid].mean())
