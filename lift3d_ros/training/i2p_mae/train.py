"""Trains the point encoder, its 2D teacher or a classifier from a recipe and files of clouds, and writes weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lift3d_ros.datasets.point_clouds import CloudSet, find_cloud_files, read_clouds
from lift3d_ros.errors import ConfigError, DatasetError, WeightsError
from lift3d_ros.models.i2p_mae.build import build
from lift3d_ros.models.i2p_mae.heads import PointClassifier
from lift3d_ros.models.i2p_mae.start import load_start
from lift3d_ros.models.i2p_mae.teacher import one_channel_state
from lift3d_ros.training.checkpoint import find_checkpoint, read_checkpoint
from lift3d_ros.training.export import write_weights
from lift3d_ros.training.i2p_mae.batches import CloudData
from lift3d_ros.training.i2p_mae.module import FinetuneModule, PointModule, PretrainModule
from lift3d_ros.training.i2p_mae.settings import I2pMaeTraining, classifier, encoder_only, guided
from lift3d_ros.training.i2p_mae.teacher_module import TeacherModule, teacher_state
from lift3d_ros.training.i2p_mae.teachers import LoadedTeacher, load_teacher
from lift3d_ros.training.run import RunResult, run

METHOD = "i2p_mae"
_ENCODER = "encoder."


@dataclass(frozen=True)
class TrainResult:
    """How the call ended.

    Args:
        num_clouds, num_classes: of the training data; no classes where it has no labels.
        weights: averaged weights; None in all but the first of several processes.
        encoder: those of the encoder alone, of pre-training.
        best: those of the best validation, of classification.
        num_loaded: weights that were started from.
    """

    run: RunResult
    recipe: I2pMaeTraining
    num_clouds: int
    num_classes: int
    weights: Path | None = None
    encoder: Path | None = None
    best: Path | None = None
    num_loaded: int = 0


def train(
    recipe: I2pMaeTraining,
    data: Sequence[Path],
    validation: Sequence[Path],
    out: Path,
    *,
    teacher: Path | None = None,
    init_from: Path | None = None,
    resume: bool = False,
    is_half: bool = False,
    is_quiet: bool = False,
) -> TrainResult:
    """Train until the run or the slice ends.

    Args:
        data: files of clouds, or folders whose training files are taken.
        validation: likewise for the validation; without any, the files of `data` folders that are held out.
        teacher: weights of the 2D teacher, which pre-training with guidance needs.
        init_from: weights or a checkpoint that is started from, all of it where it is of the same network, else its
            encoder; not looked at when a run goes on.
        is_half: write the weights as float16.

    Raises:
        Lift3dError: of data, configuration, weights, or a loss that is not finite.
    """
    _check(recipe, teacher, init_from)
    clouds, held_out = collect_clouds(recipe, data, validation)
    loaded = None if teacher is None else load_teacher(teacher)
    recipe = fitted_recipe(recipe, clouds, loaded)
    module = _module(recipe, loaded)
    start: Sequence[str] = ()
    if init_from is not None and not resume:
        start = load_start(module.network, read_state(init_from), str(init_from)).loaded
    batches = CloudData(clouds, held_out, recipe)
    if held_out is None:
        recipe = dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, validation_interval=0))
    facts = recipe.facts | {"teacher.sha256": None if loaded is None else loaded.sha256}
    result = run(module, batches, recipe.run, out, method=METHOD, facts=facts, resume=resume, is_quiet=is_quiet)
    found = TrainResult(
        result, recipe, len(clouds), clouds.num_classes if clouds.has_labels else 0, num_loaded=len(start)
    )
    return _written(found, clouds, facts, out, is_half=is_half) if result.is_first_process else found


def collect_clouds(
    recipe: I2pMaeTraining, data: Sequence[Path], validation: Sequence[Path]
) -> tuple[CloudSet, CloudSet | None]:
    """Return clouds for training and for the validation, None where there are none.

    Raises:
        DatasetError: a file cannot be used; classification lacks labels, or meets others in the validation.
    """
    clouds = read_clouds([path for place in data for path in find_cloud_files(place, "train")])
    folders = validation or [place for place in data if place.is_dir()]
    files = [path for place in folders for path in find_cloud_files(place, "held_out")]
    held_out = read_clouds(files) if files else None
    if recipe.stage == "finetune":
        if not clouds.has_labels or (held_out is not None and not held_out.has_labels):
            raise DatasetError("classification needs a label for each cloud; a file has no 'labels', or some are -1")
        if clouds.num_classes < 2:
            raise DatasetError(f"the training data has {clouds.num_classes} class; expected at least two")
        names = clouds.class_names
        if held_out is not None and names and held_out.class_names and held_out.class_names != names:
            raise DatasetError(
                f"the validation names other classes ({', '.join(held_out.class_names[:3])}, ...) than the training "
                f"data ({', '.join(names[:3])}, ...); expected the same ones in the same order"
            )
        if held_out is not None and held_out.num_classes > clouds.num_classes:
            raise DatasetError(
                f"the validation has {held_out.num_classes} classes, the training data {clouds.num_classes}; expected "
                "the same ones"
            )
    return clouds, held_out


def fitted_recipe(recipe: I2pMaeTraining, clouds: CloudSet, teacher: LoadedTeacher | None) -> I2pMaeTraining:
    """Return the recipe with a network that fits its guidance and teacher, or the classes of the data."""
    if recipe.stage == "finetune":
        return dataclasses.replace(recipe, network=classifier(recipe.network, clouds.num_classes))
    if recipe.stage == "pretrain":
        network = guided(recipe.network, recipe.guidance, 0 if teacher is None else teacher.dims)
        return dataclasses.replace(recipe, network=network)
    return recipe


def read_state(path: Path) -> Mapping[str, Tensor]:
    """Return the weights of a file of a training, or of one of its checkpoints.

    Raises:
        WeightsError: it cannot be read.
    """
    if path.suffix in (".ckpt", ".json"):
        return dict(read_checkpoint(path).averaged)
    try:
        return load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({' '.join(str(error).split())})") from None


def _check(recipe: I2pMaeTraining, teacher: Path | None, init_from: Path | None) -> None:
    """Refuse what does not go together before anything is read."""
    needs_teacher = recipe.stage == "pretrain" and recipe.guidance != "none"
    if needs_teacher and teacher is None:
        raise ConfigError(
            f"guidance is '{recipe.guidance}', and no teacher is given; expected its weights with --teacher FILE. "
            "Train one with --stage teacher, or pre-train without: --set guidance=none"
        )
    if teacher is not None and not needs_teacher:
        why = "guidance is 'none'" if recipe.stage == "pretrain" else f"stage is '{recipe.stage}'"
        raise ConfigError(f"--teacher {teacher}: has no effect, {why}; leave it out")
    if recipe.stage == "teacher" and init_from is not None:
        raise ConfigError(f"--init-from {init_from}: a teacher starts from random weights; leave it out")
    if recipe.stage != "pretrain" and recipe.run.batch_size < 2:
        raise ConfigError(f"run.batch_size is 1, and stage '{recipe.stage}' compares clouds; expected at least 2")


def _module(recipe: I2pMaeTraining, teacher: LoadedTeacher | None) -> PointModule:
    if recipe.stage == "teacher":
        return TeacherModule(recipe)
    if recipe.stage == "pretrain":
        return PretrainModule(recipe, None if teacher is None else teacher.network)
    torch.manual_seed(recipe.run.seed)
    network = build(recipe.network)
    assert isinstance(network, PointClassifier)
    return FinetuneModule(network, recipe)


def _written(
    found: TrainResult, clouds: CloudSet, facts: Mapping[str, Any], out: Path, *, is_half: bool
) -> TrainResult:
    """Write the averaged weights, and what else the stage leaves."""
    recipe, result = found.recipe, found.run
    state, group = dict(result.averaged), dataclasses.asdict(recipe.network)
    if recipe.stage == "teacher":  # it sees one depth map in all channels, so one of them is all that has to be kept
        state, group = teacher_state(result.averaged), {**dataclasses.asdict(recipe.teacher), "channels": 1}
        if recipe.teacher.channels > 1:
            state = one_channel_state(state)
    header = {
        "method": METHOD,
        "stage": recipe.stage,
        "preset": recipe.preset,
        "teacher" if recipe.stage == "teacher" else "network": json.dumps(group),
        "facts": json.dumps(facts),
        "classes": json.dumps([clouds.class_name(label) for label in range(found.num_classes)]),
        "step": str(result.step),
    }
    weights, encoder, best = out / "weights.safetensors", None, None
    write_weights(weights, state, header, is_half=is_half)
    if recipe.stage == "pretrain":
        encoder = out / "encoder.safetensors"
        own = {name: tensor for name, tensor in state.items() if name.startswith(_ENCODER)}
        plain = json.dumps(dataclasses.asdict(encoder_only(recipe.network)))
        write_weights(encoder, own, {**header, "network": plain}, is_half=is_half)
    if (path := find_checkpoint(out / "checkpoints", "best")) is not None:
        checkpoint, best = read_checkpoint(path), out / "best.safetensors"
        write_weights(best, checkpoint.averaged, {**header, "step": str(checkpoint.step)}, is_half=is_half)
    return dataclasses.replace(found, weights=weights, encoder=encoder, best=best)
