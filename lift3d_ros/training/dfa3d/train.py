"""Trains the BEV detector from a recipe and packs or labelled data, and writes its weights."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from lift3d_ros.datasets.class_map import ClassMap
from lift3d_ros.datasets.pack import FACTS, PackReader
from lift3d_ros.errors import ConfigError
from lift3d_ros.images.preprocess import InputSpec
from lift3d_ros.replay.labelled_data import LabelledChoice, open_labelled_data, recordings
from lift3d_ros.training.checkpoint import find_checkpoint, read_checkpoint
from lift3d_ros.training.dfa3d.data import Dfa3dData
from lift3d_ros.training.dfa3d.module import Dfa3dModule
from lift3d_ros.training.dfa3d.network import build_trained_detector, detector_weights
from lift3d_ros.training.dfa3d.samples import Frames, PackedFrames, StreamedFrames
from lift3d_ros.training.dfa3d.settings import Dfa3dTraining
from lift3d_ros.training.dfa3d.start import InitReport, check_frozen, start_from
from lift3d_ros.training.dfa3d.stream import StreamingData
from lift3d_ros.training.export import write_weights
from lift3d_ros.training.packing import SimulatorSource
from lift3d_ros.training.run import RunResult, check_folder, run
from lift3d_ros.training.scene_stream import SceneStream

logger = logging.getLogger(__name__)

METHOD = "dfa3d"


@dataclass(frozen=True)
class TrainResult:
    """How the call ended.

    Args:
        start: what was taken from other weights, None without any.
        weights: averaged weights; None in all but the first of several processes.
        best: those of the best validation, None without a validation.
    """

    run: RunResult
    start: InitReport | None
    weights: Path | None = None
    best: Path | None = None


def train(
    recipe: Dfa3dTraining,
    data: Sequence[Path] | SimulatorSource,
    validation: Sequence[Path],
    out: Path,
    *,
    init_from: str | None = None,
    resume: bool = False,
    is_half: bool = False,
    class_map: ClassMap | None = None,
    choice: LabelledChoice | None = None,
    validation_choice: LabelledChoice | None = None,
    is_quiet: bool = False,
) -> TrainResult:
    """Train until the run or the slice ends.

    Args:
        data, validation: packs, or labelled data of any kind that the package reads; training scenes may also come
            from a simulator while the network trains, and their order is then not repeatable.
        init_from: see :func:`start_from`; not looked at when a run goes on.
        is_half: write the weights as float16.
        choice, validation_choice: what is taken of labelled data; of packs all is taken.

    Raises:
        Lift3dError: of data, configuration, weights, or a loss that is not finite.
    """
    if recipe.data.follows and torch.distributed.is_torchelastic_launched():
        raise ConfigError(
            "data.follows is true, but a growing pack cannot be followed by several processes; add --set "
            "data.follows=false"
        )
    check_folder(out, resume=resume)
    _check_motion(recipe)
    device = _device(recipe.run.device)
    network = build_trained_detector(recipe.network, recipe.run.seed, recipe.loss.frozen_stages)
    report = None
    if not resume:
        report = None if init_from is None else start_from(network, init_from)
        check_frozen(network, report)
        if report is not None and report.warning is not None:
            logger.warning("%s", report.warning)
    held_out = None
    if validation:
        held_out = open_frames(validation, recipe, device, class_map, validation_choice, grows=False, is_quiet=is_quiet)
    module = Dfa3dModule(network, recipe)
    with ExitStack() as stack:
        batches: Dfa3dData
        if isinstance(data, SimulatorSource):
            stream = stack.enter_context(_open_stream(data, recipe, out))
            batches = StreamingData(stream, held_out, recipe, device, is_quiet=is_quiet)
        else:
            grows = recipe.data.follows
            _warn_of_recordings(data)
            training = open_frames(data, recipe, device, class_map, choice, grows=grows, is_quiet=is_quiet)
            batches = Dfa3dData(training, held_out, recipe, device)
        result = run(
            module, batches, recipe.run, out, method=METHOD, facts=recipe.facts, resume=resume, is_quiet=is_quiet
        )
    if not result.is_first_process:
        return TrainResult(result, report)
    facts = {"method": METHOD, "preset": recipe.preset, "facts": json.dumps(recipe.facts), "step": str(result.step)}
    weights, best = out / "weights.safetensors", None
    write_weights(weights, detector_weights(result.averaged), facts, is_half=is_half)
    if (path := find_checkpoint(out / "checkpoints", "best")) is not None:
        checkpoint, best = read_checkpoint(path), out / "best.safetensors"
        facts["step"] = str(checkpoint.step)
        write_weights(best, detector_weights(checkpoint.averaged), facts, is_half=is_half)
    return TrainResult(result, report, weights, best)


def open_frames(
    paths: Sequence[Path],
    recipe: Dfa3dTraining,
    device: torch.device,
    class_map: ClassMap | None,
    choice: LabelledChoice | None = None,
    *,
    grows: bool,
    is_quiet: bool,
) -> Frames:
    """Open packs, all of them together, or labelled data.

    Raises:
        DatasetError, BagError: what is there cannot be used.
    """
    network = recipe.network
    spec, names = InputSpec(network.image_width, network.image_height), network.class_names
    if any((path / FACTS).is_file() for path in paths):
        readers = [PackReader(path, spec, names) for path in paths]
        keep = device if recipe.data.keeps_on_gpu else torch.device("cpu")
        return PackedFrames(readers, recipe.data.memory_gb, keep, grows=grows, is_quiet=is_quiet)
    if len(paths) != 1:
        raise ConfigError(f"{paths[1]}: several paths are accepted only of packs; prepare the data with --pack first")
    data = open_labelled_data(paths[0], class_map or ClassMap(class_names=names), choice)
    return StreamedFrames(data, spec, names, recipe.run.workers)


def _warn_of_recordings(paths: Sequence[Path]) -> None:
    """Say what training straight from recordings costs: they are read in order, and samples come at random."""
    for path in paths:
        if not (path / FACTS).is_file() and recordings(path):
            logger.warning(
                "%s: a recording is read from its beginning for nearly every sample, which takes most of the time; "
                "pack it first: 'lift3d train dfa3d --data %s --pack DIR', and train on DIR",
                path,
                path,
            )


def _open_stream(source: SimulatorSource, recipe: Dfa3dTraining, out: Path) -> SceneStream:
    """Return a stream in an order that differs from slice to slice of a run."""
    checkpoint = find_checkpoint(out / "checkpoints", "last")
    slice_seed = 0 if checkpoint is None else checkpoint.stat().st_mtime_ns % (1 << 31)
    logger.info("scenes are rendered while the network trains; the order of samples cannot be repeated")
    network = recipe.network
    return SceneStream(
        source,
        InputSpec(network.image_width, network.image_height),
        network.class_names,
        workers=recipe.run.workers,
        seed=(recipe.run.seed, slice_seed),
        share=(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))),
    )


def _check_motion(recipe: Dfa3dTraining) -> None:
    """Refuse to turn frames of a network whose motion is told in words that cannot be turned with them."""
    options = recipe.augmentation
    turns = options.turn_deg or options.flip_x or options.flip_y or options.scale != (1.0, 1.0)
    if recipe.network.ego_input == "can_bus" and options.is_used and turns:
        raise ConfigError(
            "augmentation: this network reads the vehicle's motion as can_bus, which cannot be turned, mirrored or "
            "scaled; take config/training/dfa3d_finetune.yaml, or add --set augmentation.turn_deg=0 "
            "augmentation.flip_x=0 augmentation.flip_y=0 augmentation.scale=[1,1]"
        )


def _device(name: str) -> torch.device:
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
