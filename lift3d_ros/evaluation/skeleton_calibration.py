"""Makes a lifter state errors as large as they are: its spread is fitted to errors on views of the validation split.

The loss teaches the error after an alignment that a robot does not have, and on sets that were trained. So the stated
uncertainty is too small, the more the larger it is. A power law repairs that, and folds into the last layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lift3d_ros.evaluation.lifted_views import LiftedViews
from lift3d_ros.evaluation.skeleton_files import FileChoice, SkeletonFile, read_skeleton_files
from lift3d_ros.evaluation.skeleton_lifting import CLEAN, Condition, evaluate_skeletons
from lift3d_ros.evaluation.skeletons import centred_errors, reliability_table, rms_sizes
from lift3d_ros.pipelines.skeleton_engine import open_lfm_engine
from lift3d_ros.pipelines.skeleton_lifting import MEAN_DISTANCE, SkeletonLiftingConfig

_FRAMES = 60  # of each set
_SEED = 1000  # cameras other than those of an evaluation
_NUM_BINS = 12
_FEWEST_VALUES = 1000
# Views whose mirror image is in doubt are uncertain for another reason.
_LEAST_PROBABILITY = 0.98


@dataclass(frozen=True)
class SpreadFit:
    """Found errors are ``factor * stated ** exponent``, in RMS sizes of the skeleton."""

    factor: float
    exponent: float


def calibrate_weights(weights: Path, data: Sequence[Path]) -> SpreadFit | None:
    """Rewrite trained weights so that they state errors as large as those on the validation split of `data`.

    Returns:
        What was found; None, and nothing is written, where too few views can be judged.

    Raises:
        Lift3dError: weights or data cannot be used.
    """
    # Here, as evaluation without training needs no torch.
    from safetensors import safe_open

    from lift3d_ros.models.lfm.spread import scaled_spread
    from lift3d_ros.training.export import write_weights

    config = SkeletonLiftingConfig(model=str(weights))
    engine = open_lfm_engine(config.model, config.engine)
    files: list[SkeletonFile] = []
    for folder in data:
        found, _ = read_skeleton_files(folder, FileChoice(most=_FRAMES))
        files += [one for one in found if one.split == "val" and not one.is_non_commercial]
    evaluation = evaluate_skeletons(engine, config, files, {}, [Condition(CLEAN, "clean")], _SEED)
    fit = fit_spread([part for result in evaluation.files for part in result.clean])
    if fit is None:
        return None
    # The spread is a mean distance, the uncertainty a standard deviation along an axis.
    factor = fit.factor * MEAN_DISTANCE ** (1.0 - fit.exponent)
    with safe_open(str(weights), framework="pt") as file:
        facts = {name: text for name, text in (file.metadata() or {}).items() if name != "format"}
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    is_half = any(str(tensor.dtype) == "torch.float16" for tensor in state.values())
    write_weights(weights, scaled_spread(state, factor, fit.exponent), facts, is_half=is_half)
    return fit


def fit_spread(lifted: Sequence[LiftedViews]) -> SpreadFit | None:
    """Fit the power law to joints of views whose mirror image is not in doubt; None where they are too few."""
    stated, found = [np.zeros(0)], [np.zeros(0)]
    for part in lifted:
        rows = part.is_lifted & (part.probability >= _LEAST_PROBABILITY)
        size = np.maximum(rms_sizes(part.views.joints, part.views.is_valid), 1e-12)[:, None]
        errors = centred_errors(part.predicted, part.views.joints, part.views.is_valid) / size
        stated.append((part.uncertainty / size)[rows].ravel())
        found.append(errors[rows].ravel())
    bins = reliability_table(np.concatenate(found)[None], np.concatenate(stated)[None], _NUM_BINS)
    if sum(one.count for one in bins) < _FEWEST_VALUES:
        return None
    x, y = np.log([one.stated for one in bins]), np.log(np.maximum([one.found for one in bins], 1e-6))
    exponent, offset = np.polyfit(x, y, 1)
    return SpreadFit(float(np.exp(offset)), float(exponent))
