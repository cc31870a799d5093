"""What happens around the steps of a run: randomness, learning rate, averages, checkpoints, records and its end."""

from __future__ import annotations

import json
import logging
import math
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from lift3d_ros.errors import Lift3dError
from lift3d_ros.training.averaging import AveragedWeights
from lift3d_ros.training.checkpoint import Checkpoint, write_checkpoint
from lift3d_ros.training.loss_log import LossLog
from lift3d_ros.training.run import StopReason, TrainedModule
from lift3d_ros.training.schedule import progress, rate_factor
from lift3d_ros.training.settings import RunSettings

logger = logging.getLogger(__name__)

# torchrun passes on the Ctrl-C that its processes have got from the terminal already.
_ONE_INTERRUPT_S = 0.5


class Bookkeeping(pl.Callback):
    """The one callback of a run."""

    def __init__(
        self,
        module: TrainedModule,
        settings: RunSettings,
        out: Path,
        method: str,
        facts: Mapping[str, Any],
        start: Checkpoint | None,
        *,
        is_quiet: bool,
    ) -> None:
        """Begin with the weights of `module`, or go on from `start`."""
        self._module, self._settings, self._out = module, settings, out
        self._method, self._facts, self._start = method, facts, start
        self._is_quiet = is_quiet
        self.step = start.step if start else 0
        self.best_score = start.best_score if start else None
        self.losses: list[float] = []
        self.reason: StopReason = "finished"
        # Training time of all slices up to the last step, the same in all processes.
        self.elapsed_s = self._elapsed_before = start.elapsed_s if start else 0.0
        self._began = time.monotonic()
        self._sums: dict[str, Tensor] = {}
        self._num_summed = 0
        self._interrupted_at: float | None = None
        self._former_handler: Any = None
        self._log: LossLog | None = None
        self._bar: Any = None
        self._batch: Any = None
        if start is not None:
            module.network.load_state_dict(dict(start.network), strict=True)
        self.averaged = AveragedWeights(module.network, settings.ema_decay)
        if start is not None:
            self.averaged.load(start.averaged, start.num_averaged)

    @property
    def is_done(self) -> bool:
        """Whether the run has reached its end."""
        return progress(self._settings, self.step, self.elapsed_s) >= 1.0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Bring the averages to the device, and note Ctrl-C instead of being ended by it."""
        state, count = self.averaged.state(), self.averaged.num_updates
        self.averaged = AveragedWeights(self._module.network, self._settings.ema_decay)
        self.averaged.load(state, count)
        self._began = time.monotonic()
        if trainer.is_global_zero:
            self._log = LossLog(self._out / "losses.csv", self.step)
        total = self._settings.max_steps or None
        hidden = self._is_quiet or not trainer.is_global_zero
        disable = True if hidden else None  # None hides it where nobody is watching
        self._bar = tqdm(total=total, initial=self.step, desc="training", unit="step", disable=disable, file=sys.stderr)
        try:
            self._former_handler = signal.signal(signal.SIGINT, self._note_interrupt)
        except ValueError:  # not the main thread
            self._former_handler = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the optimiser."""
        if self._start is not None:
            trainer.optimizers[0].load_state_dict(dict(self._start.optimizer))

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set seed and learning rate, which depend on the step alone (and on time, where time limits the run)."""
        number = self.step * self._settings.accumulation + batch_idx % self._settings.accumulation
        torch.manual_seed((self._settings.seed * 1_000_003 + number * 1_009 + trainer.global_rank) & 0x7FFFFFFF)
        factor = rate_factor(self._settings, self.step, self.elapsed_s)
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = group["initial_lr"] * factor
        self._batch = batch

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Stop at a loss that is not finite, before it reaches the weights."""
        if bool(torch.isfinite(loss)):
            return
        path = self._out / f"bad_batch{f'_{trainer.global_rank}' if trainer.world_size > 1 else ''}.safetensors"
        samples = list(self._module.sample_names(self._batch))
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in self._module.bad_batch(self._batch).items()},
            path,
            metadata={"samples": json.dumps(samples)},
        )
        found = ", ".join(f"{name} {float(value):.4g}" for name, value in self._module.figures.items())
        of_samples = f" of {', '.join(samples)}" if samples else ""
        raise Lift3dError(
            f"step {self.step + 1}: the loss is {float(loss.detach())} ({found}); expected a finite number. The batch"
            f"{of_samples} is in {path}. Look for wrong labels or calibrations in it; where there are none, start "
            "again from the last checkpoint (--init-from) with a lower run.learning_rate, or with run.precision=float32"
        )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count, average, record, let the step be validated, and end the run where it is time."""
        self._sum_up(outputs)
        if (batch_idx + 1) % self._settings.accumulation:
            return
        self.step += 1
        self.averaged.update()
        self._bar.update()
        settings = self._settings
        if self.step % settings.log_interval == 0:
            self._record(trainer)
        is_over = self._must_stop(trainer)
        if self.step % settings.checkpoint_interval == 0 or is_over:
            self._save(trainer, "last")
            self._draw()
        if is_over:
            trainer.should_stop = True
        # Lightning would count from the start of a slice, and validate wherever a slice ends.
        interval, is_last = settings.validation_interval, is_over and self.reason == "finished"
        trainer.limit_val_batches = 1.0 if interval and (is_last or self.step % interval == 0) else 0

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate the averaged weights."""
        self.averaged.swap()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the validation, draw it, and keep the best weights."""
        figures = self._module.validation_figures()
        if trainer.is_global_zero:
            folder = self._out / "pictures"
            folder.mkdir(parents=True, exist_ok=True)
            self._module.draw_validation(folder, self.step)
        self.averaged.swap()
        if self._log is not None:
            self._log.add(self.step, {f"validation {name}": value for name, value in figures.items()})
            self._draw()
        score = figures.get("score")
        if score is not None and math.isfinite(score) and (self.best_score is None or score > self.best_score):
            self.best_score = score
            self._save(trainer, "best")
        if trainer.is_global_zero and not self._is_quiet:
            text = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            tqdm.write(f"step {self.step}: validation {text}", file=sys.stderr)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close what is open."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close what is open."""
        self._close()

    def _must_stop(self, trainer: pl.Trainer) -> bool:
        known = torch.tensor([time.monotonic() - self._began, self._interrupted_at is not None], dtype=torch.float64)
        if trainer.world_size > 1:  # all processes learn at the same rate, and stop at the same step
            known = trainer.strategy.reduce(known.to(trainer.strategy.root_device), reduce_op="max").cpu()
        passed_s, is_interrupted = known.tolist()
        self.elapsed_s = self._elapsed_before + passed_s
        slice_s = 60.0 * self._settings.slice_minutes
        wishes: dict[StopReason, bool] = {
            "finished": self.is_done,
            "interrupted": is_interrupted > 0,
            "slice": 0 < slice_s < passed_s,
        }
        self.reason = next((reason for reason, wish in wishes.items() if wish), self.reason)
        return any(wishes.values())

    def _sum_up(self, outputs: Any) -> None:
        loss = outputs["loss"].detach()
        for name, value in {"loss": loss, **self._module.figures}.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach().float()
        self._num_summed += 1
        if self._is_quiet:
            self.losses.append(float(loss) * self._settings.accumulation)

    def _record(self, trainer: pl.Trainer) -> None:
        if self._log is None:
            self._sums, self._num_summed = {}, 0
            return
        names = list(self._sums)
        values = torch.stack([self._sums[name] for name in names]).cpu().tolist()  # one wait for the device
        figures = {name: value / self._num_summed for name, value in zip(names, values, strict=True)}
        figures["loss"] *= self._settings.accumulation
        self._sums, self._num_summed = {}, 0
        figures["learning rate"] = trainer.optimizers[0].param_groups[-1]["lr"]
        self._log.add(self.step, figures)
        self._bar.set_postfix(loss=f"{figures['loss']:.3g}")

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        if not trainer.is_global_zero:
            return
        averaged = self.averaged.state()
        checkpoint = Checkpoint(
            method=self._method,
            facts=dict(self._facts),
            step=self.step,
            elapsed_s=self.elapsed_s,
            network=self._module.network.state_dict(),
            averaged=averaged,
            num_averaged=self.averaged.num_updates,
            optimizer=trainer.optimizers[0].state_dict(),
            best_score=self.best_score,
        )
        write_checkpoint(self._out / "checkpoints", name, checkpoint, is_split=self._settings.has_split_checkpoint)

    def _draw(self) -> None:
        if self._log is not None:
            names = ("loss", "validation loss", *self._module.figures, "validation score")
            self._log.draw(self._out / "losses.png", names)

    def _note_interrupt(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if self._interrupted_at is not None:
            if now - self._interrupted_at < _ONE_INTERRUPT_S:
                return
            raise KeyboardInterrupt
        self._interrupted_at = now
        tqdm.write("stopping after this step; press Ctrl-C again to stop at once", file=sys.stderr)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._former_handler is not None:
            signal.signal(signal.SIGINT, self._former_handler)
            self._former_handler = None
