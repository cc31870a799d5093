"""A run computes the same in one go and in slices, keeps what is worth keeping, and stops where it must."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lift3d_ros.errors import ConfigError, Lift3dError, WeightsError
from lift3d_ros.training import loss_log
from lift3d_ros.training.checkpoint import find_checkpoint, read_checkpoint
from lift3d_ros.training.loss_log import LossLog
from lift3d_ros.training.run import RunResult, TrainedModule, run
from lift3d_ros.training.schedule import rate_factor
from lift3d_ros.training.settings import RunSettings

SETTINGS = RunSettings(
    max_steps=20, learning_rate=0.01, warmup_steps=4, validation_interval=0, checkpoint_interval=5, log_interval=2,
    device="cpu",
)  # fmt: skip


class Line(TrainedModule):
    """Fits a line, with dropout, so that randomness matters."""

    def __init__(self, stops_at: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 1))
        self.figures: Mapping[str, Tensor] = {}
        self.validated: list[Tensor] = []
        self._stops_at = stops_at

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW([{"params": self.parameters(), "lr": 0.01, "initial_lr": 0.01}])

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = (self.network(batch[:, :3]) - batch[:, 3:]).square().mean()
        self.figures = {"loss_line": loss.detach()}
        if self._stops_at == batch_idx + 1:
            for _ in range(2):  # as under torchrun, which passes on what came from the terminal already
                os.kill(os.getpid(), signal.SIGINT)
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validated.append(self.network[0].weight.detach().clone())

    def validation_figures(self) -> dict[str, float]:
        return {"score": float(len(self.validated))}

    def bad_batch(self, batch: Any) -> Mapping[str, Tensor]:
        return {"batch": batch}


class Points:
    def __init__(self, bad_at: int = -1) -> None:
        self.bad_at = bad_at

    def train_batches(self, first: int, rank: int, num_ranks: int) -> Iterator[Tensor]:
        def batches() -> Iterator[Tensor]:
            number = first
            while True:
                batch = torch.randn(8, 4, generator=torch.Generator().manual_seed(number))
                yield batch * (float("nan") if number == self.bad_at else 1.0)
                number += 1

        return batches()

    def validation_batches(self, rank: int, num_ranks: int) -> Any:
        return torch.utils.data.DataLoader(torch.zeros(8, 4), batch_size=8)  # type: ignore[arg-type]


def go(out: Path, *, module: Line | None = None, bad_at: int = -1, resume: bool = False, **changes: Any) -> RunResult:
    settings = dataclasses.replace(SETTINGS, **changes)
    facts = {"run.learning_rate": settings.learning_rate, "network.width": 16}
    data = Points(bad_at)
    return run(module or Line(), data, settings, out, method="line", facts=facts, resume=resume, is_quiet=True)


@pytest.mark.parametrize(("is_split", "accumulation"), [(False, 1), (True, 2)])
def test_a_resumed_run_has_the_same_losses_bit_by_bit(tmp_path: Path, is_split: bool, accumulation: int) -> None:
    whole = go(tmp_path / "whole", accumulation=accumulation)
    out = tmp_path / "parts"
    # The end of the cosine must not move: the first part is cut off by Ctrl-C, not by a lower number of steps.
    module = Line(stops_at=10 * accumulation)
    first = go(out, module=module, has_split_checkpoint=is_split, accumulation=accumulation)
    assert (first.step, first.reason) == (10, "interrupted")
    second = go(out, resume=True, has_split_checkpoint=is_split, accumulation=accumulation)
    assert (second.step, second.reason) == (20, "finished")
    assert first.losses + second.losses == whole.losses
    for name, tensor in whole.averaged.items():
        assert torch.equal(tensor, second.averaged[name]), name
    assert (out / "losses.csv").read_text() == (tmp_path / "whole" / "losses.csv").read_text()
    assert (out / "losses.png").stat().st_size > 1000


def test_a_slice_ends_in_time_and_the_next_one_goes_on(tmp_path: Path) -> None:
    first = go(tmp_path, slice_minutes=1e-9)
    assert (first.step, first.reason) == (1, "slice")
    assert go(tmp_path, resume=True).step == 20


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_run_in_slices_is_validated_at_the_steps_of_one_go(tmp_path: Path, accumulation: int) -> None:
    changes = {"validation_interval": 4, "max_steps": 10, "accumulation": accumulation}
    assert validated_steps(tmp_path / "whole", **changes) == [4, 8, 10]
    out = tmp_path / "parts"
    for end in (3, 5, 7, 8):
        module = Line(stops_at=(end - last_step(out)) * accumulation)
        assert go(out, module=module, resume=end > 3, **changes).step == end
    assert validated_steps(out, resume=True, **changes) == [4, 8, 10]


def validated_steps(out: Path, **changes: Any) -> list[int]:
    """Run to the end and return at which steps it was validated since it began."""
    assert go(out, **changes).reason == "finished"
    rows = [line.split(",") for line in (out / "losses.csv").read_text().splitlines()]
    return [int(step) for step, name, _ in rows if name == "validation score"]


def last_step(out: Path) -> int:
    path = find_checkpoint(out / "checkpoints", "last")
    return 0 if path is None else read_checkpoint(path).step


def test_training_and_validation_loss_are_drawn_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Mapping[str, Any]] = []
    monkeypatch.setattr(loss_log, "draw_curves", lambda curves: drawn.append(curves) or np.zeros((9, 9, 3), np.uint8))
    module = Line()
    scores = iter((2.0, 1.0))  # the last validation is no best one, of which weights are kept
    module.validation_figures = lambda: {"score": next(scores), "loss": 0.5}  # type: ignore[method-assign]
    go(tmp_path, module=module, validation_interval=10)
    assert drawn[-1]["validation loss"] == [(10, 0.5), (20, 0.5)]
    assert drawn[-1]["loss"][-1][0] == 20


def test_a_torn_row_of_the_losses_does_not_keep_a_run_from_going_on(tmp_path: Path) -> None:
    whole = "step,name,value\n2,loss,0.5\n"
    for torn in ("4,lo", "4,loss,", "4,loss,0.2", "\0\0\0", "4\n4,loss,x\n"):
        path = tmp_path / "losses.csv"
        path.write_text(whole + torn)
        LossLog(path, 5).add(6, {"loss": 0.25})
        assert path.read_text() == whole + "6,loss,0.25\n", torn


def test_a_record_of_losses_is_not_lost_where_it_cannot_be_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "losses.csv"
    LossLog(path, 0).add(2, {"loss": 0.5})
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        LossLog(path, 5)
    assert path.read_bytes() == before


def fail(descriptor: int) -> None:
    raise OSError("no space")


def test_a_run_may_be_limited_by_time(tmp_path: Path) -> None:
    result = go(tmp_path, max_steps=0, max_minutes=0.01)
    assert result.reason == "finished"
    assert result.step >= 1


def test_averaged_weights_are_validated_and_the_best_kept(tmp_path: Path) -> None:
    module = Line()
    result = go(tmp_path, module=module, validation_interval=10, ema_decay=0.9)
    assert result.best_score == 2.0
    assert find_checkpoint(tmp_path / "checkpoints", "best") is not None
    assert len(module.validated) == 2
    assert torch.equal(module.validated[-1], result.averaged["0.weight"])
    assert not torch.equal(module.validated[-1], module.network[0].weight)


def test_a_worse_validation_after_a_crash_does_not_replace_the_best(tmp_path: Path) -> None:
    def scored(*scores: float) -> Line:
        module, left = Line(), iter(scores)
        module.validation_figures = lambda: {"score": next(left)}  # type: ignore[method-assign]
        return module

    go(tmp_path, module=scored(0.1, 0.9), validation_interval=5, max_steps=10, checkpoint_interval=100)
    older = tmp_path / "older"
    go(older, module=scored(0.1), validation_interval=5, max_steps=5, checkpoint_interval=100)
    # The run was cut off between the validation at step 10 and the next checkpoint.
    shutil.copy(older / "checkpoints" / "last.ckpt", tmp_path / "checkpoints" / "last.ckpt")
    result = go(tmp_path, module=scored(0.9, 0.5), validation_interval=5, max_steps=15, resume=True)
    assert result.best_score == 0.9
    best = find_checkpoint(tmp_path / "checkpoints", "best")
    assert best is not None
    assert read_checkpoint(best).step == 10


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_batch(tmp_path: Path) -> None:
    with pytest.raises(Lift3dError, match=r"step 8: the loss is nan \(loss_line nan\).*bad_batch.safetensors"):
        go(tmp_path, bad_at=7)
    assert load_file(tmp_path / "bad_batch.safetensors")["batch"].isnan().all()
    module = Line()
    assert go(tmp_path, module=module, resume=True).step == 20  # the weights were not harmed
    assert all(parameter.isfinite().all() for parameter in module.parameters())


def test_a_checkpoint_of_another_configuration_is_refused_by_the_fields_that_differ(tmp_path: Path) -> None:
    go(tmp_path)
    with pytest.raises(ConfigError, match=r"run.learning_rate: 0.01 there, 0.02 here") as refused:
        go(tmp_path, resume=True, learning_rate=0.02)
    assert "network.width" not in str(refused.value)


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path) -> None:
    go(tmp_path)
    with pytest.raises(ConfigError, match=r"holds a run already.*--resume"):
        go(tmp_path)
    with pytest.raises(ConfigError, match="no checkpoint to go on from"):
        go(tmp_path / "other", resume=True)


def test_a_run_needs_an_end(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither max_steps nor max_minutes"):
        go(tmp_path, max_steps=0)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    go(tmp_path, has_split_checkpoint=True)
    piece = next((tmp_path / "checkpoints").glob("last-*.part"))
    data = bytearray(piece.read_bytes())
    data[len(data) // 2] ^= 1
    piece.write_bytes(data)
    with pytest.raises(WeightsError, match=r"last.json: cannot be read.*damaged"):
        go(tmp_path, resume=True)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    path.parent.mkdir()
    torch.save({"format": 1, "method": Path("anything")}, path)
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        go(tmp_path, resume=True)


def test_the_learning_rate_rises_from_a_third_and_falls_like_a_cosine() -> None:
    settings = RunSettings(max_steps=100, warmup_steps=10, final_rate=0.001)
    assert rate_factor(settings, 0, 0.0) == pytest.approx(1 / 3)
    assert rate_factor(settings, 10, 0.0) == pytest.approx(0.975, abs=0.01)
    assert rate_factor(settings, 50, 0.0) == pytest.approx(0.5, abs=0.01)
    assert rate_factor(settings, 100, 0.0) == pytest.approx(0.001)
    by_time = RunSettings(max_minutes=2.0, warmup_steps=0)
    assert rate_factor(by_time, 5, 60.0) == pytest.approx(0.5, abs=0.01)
