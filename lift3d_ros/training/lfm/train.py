"""Trains the skeleton lifter from a recipe and folders of point sets, and writes its weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lift3d_ros.datasets.keypoint_layouts import layout_sets
from lift3d_ros.datasets.keypoint_made import made_sets
from lift3d_ros.datasets.keypoints import KeypointSet, read_keypoint_folder
from lift3d_ros.errors import ConfigError, nearest_name_hint
from lift3d_ros.training.checkpoint import find_checkpoint, read_checkpoint
from lift3d_ros.training.export import write_weights
from lift3d_ros.training.lfm.batches import LfmData
from lift3d_ros.training.lfm.module import LfmModule, build_network
from lift3d_ros.training.lfm.settings import LfmDataSettings, LfmTraining
from lift3d_ros.training.lfm.start import start_from
from lift3d_ros.training.run import RunResult, run

METHOD = "lfm"


@dataclass(frozen=True)
class TrainResult:
    """How the call ended.

    Args:
        categories: names of the trained sets.
        weights: averaged weights; None in all but the first of several processes.
        best: those of the best validation, None without a validation.
    """

    run: RunResult
    categories: tuple[str, ...]
    weights: Path | None = None
    best: Path | None = None


def train(
    recipe: LfmTraining,
    data: Sequence[Path],
    validation: Sequence[Path],
    out: Path,
    *,
    init_from: Path | None = None,
    resume: bool = False,
    is_half: bool = False,
    has_non_commercial: bool = False,
    is_quiet: bool = False,
) -> TrainResult:
    """Train until the run or the slice ends.

    Args:
        data: folders of sets; their training split is trained.
        validation: folders whose validation split is validated; without any, that of `data`.
        init_from: weights or a checkpoint to start from; not looked at when a run goes on.
        is_half: write the weights as float16.
        has_non_commercial: also take sets whose name starts with ``nc_``.

    Raises:
        Lift3dError: of data, configuration, weights, or a loss that is not finite.
    """
    sets = collect_sets(data, recipe.data, has_non_commercial=has_non_commercial)
    held_out = sets
    if validation:
        held_out = [one for folder in validation for one in read_keypoint_folder(folder, has_non_commercial=True)]
    network = build_network(recipe)
    if init_from is not None and not resume:
        start_from(network, init_from)
    batches = LfmData(sets, held_out, recipe)
    module = LfmModule(network, recipe, batches.validation)
    result = run(module, batches, recipe.run, out, method=METHOD, facts=recipe.facts, resume=resume, is_quiet=is_quiet)
    names = tuple(one.name for one in sets)
    if not result.is_first_process:
        return TrainResult(result, names)
    facts = {"method": METHOD, "preset": recipe.preset, "facts": json.dumps(recipe.facts), "step": str(result.step)}
    facts["categories"] = json.dumps(names)
    weights, best = out / "weights.safetensors", None
    write_weights(weights, result.averaged, facts, is_half=is_half)
    if (path := find_checkpoint(out / "checkpoints", "best")) is not None:
        checkpoint, best = read_checkpoint(path), out / "best.safetensors"
        facts["step"] = str(checkpoint.step)
        write_weights(best, checkpoint.averaged, facts, is_half=is_half)
    return TrainResult(result, names, weights, best)


def collect_sets(
    folders: Sequence[Path], settings: LfmDataSettings, *, has_non_commercial: bool = False
) -> list[KeypointSet]:
    """Return the sets of folders, those derived from them and those that the package makes, as the recipe says.

    Raises:
        DatasetError: a folder or a file cannot be used.
        ConfigError: the recipe names a set that is not there, or one name comes twice.
    """
    found = [one for folder in folders for one in read_keypoint_folder(folder, has_non_commercial=has_non_commercial)]
    # Before others are derived from them, so that nothing of a set that is left out is seen.
    sets = [one for one in found if one.name not in settings.leaves_out]
    if settings.has_detector_layouts:
        sets += layout_sets(sets)
    if settings.has_generated:
        sets += made_sets()
    known = {one.name for one in (*found, *sets)}
    for name in (*settings.leaves_out, *settings.only):
        if name not in known:
            raise ConfigError(
                f"data: set '{name}' is not there{nearest_name_hint(name, known)}; known: {', '.join(sorted(known))}"
            )
    names = [one.name for one in sets]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"data: {', '.join(twice)} found in several folders; name each set once")
    sets = [one for one in sets if one.name not in settings.leaves_out]
    return [one for one in sets if one.name in settings.only] if settings.only else sets
