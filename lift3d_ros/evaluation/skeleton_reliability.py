"""Whether a lifter knows how far it can be trusted: its stated errors and probabilities against those found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lift3d_ros.evaluation.lifted_views import LiftedViews
from lift3d_ros.evaluation.skeletons import (
    ReliabilityBin,
    aligned_errors,
    centred_errors,
    reliability_table,
    rms_sizes,
)

_MIRROR_BINS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


def uncertainty_table(lifted: Sequence[LiftedViews]) -> tuple[ReliabilityBin, ...]:
    """Return stated and found standard deviations of joints of clean views, in RMS sizes of their skeleton."""
    found, stated = [], []
    for part in lifted:
        size = np.maximum(rms_sizes(part.views.joints, part.views.is_valid), 1e-12)[:, None]
        errors = centred_errors(part.predicted, part.views.joints, part.views.is_valid)
        found.append((errors / size)[part.is_lifted].ravel())
        stated.append((part.uncertainty / size)[part.is_lifted].ravel())
    if not found:
        return ()
    return reliability_table(np.concatenate(found)[None], np.concatenate(stated)[None])


def mirror_table(lifted: Sequence[LiftedViews]) -> tuple[ReliabilityBin, ...]:
    """Return how often the likelier mirror image is the better one, in bins of its stated probability."""
    probability, is_right = [np.zeros(0)], [np.zeros(0, dtype=bool)]
    for part in lifted:
        own, other = (
            np.nansum(aligned_errors(part.hypotheses[:, number], part.views.joints, part.views.is_valid), axis=1)
            for number in (0, 1)
        )
        probability.append(part.probability[part.is_lifted])
        is_right.append((own <= other)[part.is_lifted])
    stated, right = np.concatenate(probability), np.concatenate(is_right)
    bin_of = np.clip(np.digitize(stated, _MIRROR_BINS) - 1, 0, len(_MIRROR_BINS) - 2)
    return tuple(
        ReliabilityBin(int(rows.sum()), float(stated[rows].mean()), float(right[rows].mean()))
        for rows in (bin_of == number for number in range(len(_MIRROR_BINS) - 1))
        if rows.any()
    )
