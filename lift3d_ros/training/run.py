"""One training run, shared by all methods: seed, slices, checkpoints, averaged weights and the record of losses.

A method adds a :class:`TrainedModule` and a :class:`TrainingData`. All that is random in a step depends on seed and
step alone, so a run that was cut into slices computes what it would have computed in one go.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.training.checkpoint import Checkpoint, check_facts, find_checkpoint, read_checkpoint
from lift3d_ros.training.memory import is_out_of_memory
from lift3d_ros.training.settings import RunSettings

try:
    import lightning.pytorch as pl
except ImportError as error:  # said here, so that every method says the same
    raise Lift3dError(
        f"training needs lightning, which cannot be imported ({error}); 'pip install lightning'"
    ) from None

logger = logging.getLogger(__name__)

StopReason = Literal["finished", "slice", "interrupted"]


class TrainedModule(pl.LightningModule):
    """What a method trains.

    ``training_step`` returns the loss to minimise and puts every named loss into `figures`; ``validation_step`` adds
    to what :meth:`validation_figures` sums up. Parameter groups of the optimiser have ``initial_lr``.
    """

    network: nn.Module
    figures: Mapping[str, Tensor]

    def validation_figures(self) -> dict[str, float]:
        """Return the figures of the whole validation and forget them; ``score`` decides which weights are best.

        Each of several processes calls it, and all of them get the same.
        """
        raise NotImplementedError

    def draw_validation(self, folder: Path, step: int) -> None:
        """Write pictures of the validation into `folder`."""

    def bad_batch(self, batch: Any) -> Mapping[str, Tensor]:
        """Return the tensors of a batch whose loss is not finite, for a file to look into."""
        raise NotImplementedError

    def sample_names(self, batch: Any) -> Sequence[str]:
        """Return which samples a batch holds, as far as they have names."""
        return ()


class TrainingData(Protocol):
    """Endless batches for training, some for validation; both for one process of several."""

    def train_batches(self, first: int, rank: int, num_ranks: int) -> Any:
        """Return an iterable of batches that starts with the one numbered `first`."""

    def validation_batches(self, rank: int, num_ranks: int) -> Any:
        """Return an iterable of all batches of the validation data, None without any."""


@dataclass(frozen=True)
class RunResult:
    """How a call ended.

    Args:
        step: updates of the weights so far.
        reason: ``slice`` and ``interrupted`` runs go on with ``resume``.
        losses: total loss of each backward pass of a quiet call.
        averaged: state of the averaged weights.
        is_first_process: whether this is the one of several processes that writes.
    """

    step: int
    reason: StopReason
    best_score: float | None
    losses: tuple[float, ...]
    averaged: Mapping[str, Tensor]
    is_first_process: bool


def run(
    module: TrainedModule,
    data: TrainingData,
    settings: RunSettings,
    out: Path,
    *,
    method: str,
    facts: Mapping[str, Any],
    resume: bool = False,
    is_quiet: bool = False,
) -> RunResult:
    """Train until the run or the slice ends.

    Args:
        out: folder for ``losses.csv``, ``losses.png``, ``checkpoints/last`` and ``best``, and pictures.
        facts: flat configuration that a checkpoint must have to be gone on from.
        resume: go on from the last checkpoint in `out`.

    Raises:
        ConfigError: no limit of the run is given, or the checkpoint belongs to another configuration.
        WeightsError: the checkpoint is damaged.
        Lift3dError: a loss is not finite; names the step and the file with the batch. Or the memory is too small.
        KeyboardInterrupt: Ctrl-C was pressed twice; the last checkpoint is there.
    """
    from lift3d_ros.training.bookkeeping import Bookkeeping

    if not settings.max_steps and not settings.max_minutes:
        raise ConfigError("run: neither max_steps nor max_minutes is given; set one of them, --set run.max_steps=1000")
    start = _start(out, method, facts, resume=resume)
    bookkeeping = Bookkeeping(module, settings, out, method, facts, start, is_quiet=is_quiet)
    num_ranks = int(os.environ.get("WORLD_SIZE", "1"))
    with warnings.catch_warnings(), _short_products(settings):
        # Lightning's advice on loaders and loggers is not for these.
        warnings.filterwarnings("ignore", module="lightning")
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        trainer = _trainer(settings, num_ranks, start, out, bookkeeping)
        first = 0 if start is None else start.step * settings.accumulation
        rank = int(os.environ.get("RANK", "0"))
        validation = data.validation_batches(rank, num_ranks) if settings.validation_interval else None
        if not bookkeeping.is_done:
            try:
                trainer.fit(module, data.train_batches(first, rank, num_ranks), validation)
            except SystemExit:  # how Lightning ends when Ctrl-C was pressed again
                raise KeyboardInterrupt from None
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                raise Lift3dError(_memory_text(error, settings, bookkeeping.step)) from None
    return RunResult(
        bookkeeping.step,
        bookkeeping.reason,
        bookkeeping.best_score,
        tuple(bookkeeping.losses),
        bookkeeping.averaged.state(),
        rank == 0,
    )


@contextmanager
def _short_products(settings: RunSettings) -> Iterator[None]:
    """Let products be rounded while training: to TF32 on a GPU; where bfloat16 is asked for, to that on a CPU."""
    is_short = settings.precision == "bfloat16"
    matrices, convolutions = torch.get_float32_matmul_precision(), getattr(torch.backends.mkldnn, "conv", None)
    torch.set_float32_matmul_precision("medium" if is_short else "high")
    if convolutions is not None:  # torch 2.9 and later
        former, convolutions.fp32_precision = convolutions.fp32_precision, "bf16" if is_short else "none"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matrices)
        if convolutions is not None:
            convolutions.fp32_precision = former


def _memory_text(error: Exception, settings: RunSettings, step: int) -> str:
    size = max(1, settings.batch_size // 2)
    remedy = f"run.batch_size={size} run.accumulation={settings.accumulation * settings.batch_size // size}"
    if not settings.has_gradient_checkpoints:
        remedy += " run.has_gradient_checkpoints=true"
    return (
        f"step {step + 1}: there is too little memory for a batch of {settings.batch_size} "
        f"({' '.join(str(error).split())[:160]}); start again with --set {remedy}, and a smaller data.memory_gb"
    )


def check_folder(out: Path, *, resume: bool) -> Path | None:
    """Return the checkpoint to go on from, None for a new run; to be asked for before data take minutes to read.

    Raises:
        ConfigError: the folder holds a run that is not to be gone on with, or none that could be.
    """
    folder = out / "checkpoints"
    path = find_checkpoint(folder, "last")
    if path is not None and not resume:
        raise ConfigError(
            f"{path}: this folder holds a run already; go on with it with --resume, or name another folder"
        )
    if path is None and resume:
        raise ConfigError(f"{folder}: no checkpoint to go on from; start the run without --resume")
    return path


def _start(out: Path, method: str, facts: Mapping[str, Any], *, resume: bool) -> Checkpoint | None:
    path = check_folder(out, resume=resume)
    if path is None:
        return None
    checkpoint = read_checkpoint(path)
    check_facts(path, checkpoint, method, facts)
    best = find_checkpoint(path.parent, "best")
    if best is not None:  # it may be newer than the last one, where the run was cut off after a validation
        scores = [score for score in (checkpoint.best_score, read_checkpoint(best).best_score) if score is not None]
        checkpoint = replace(checkpoint, best_score=max(scores, default=None))
    return checkpoint


def _trainer(settings: RunSettings, num_ranks: int, start: Checkpoint | None, out: Path, callback: Any) -> pl.Trainer:
    accelerator = {"auto": "auto", "cpu": "cpu", "cuda": "cuda"}.get(settings.device)
    if accelerator is None:
        raise ConfigError(f"run.device is '{settings.device}'; expected auto, cpu or cuda")
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError("run.device is 'cuda', and torch finds no GPU; expected one; --set run.device=cpu")
    remaining = settings.max_steps - (start.step if start else 0) if settings.max_steps else -1
    local_ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    strategy: Any = "auto"
    if num_ranks > 1:
        strategy = pl.strategies.DDPStrategy(find_unused_parameters=True)
    return pl.Trainer(
        accelerator=accelerator,
        devices=local_ranks,
        num_nodes=num_ranks // local_ranks,
        strategy=strategy,
        max_steps=max(remaining, 0) if settings.max_steps else -1,
        max_epochs=-1,
        accumulate_grad_batches=settings.accumulation,
        gradient_clip_val=settings.clip or None,
        val_check_interval=settings.accumulation,  # after every step, of which the callback picks
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        sync_batchnorm=settings.has_synchronised_norms,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(out),
    )
