"""`lift3d train lfm` from a folder of point sets to weights."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

from lfm_sets import SMALL, write_sets

from lift3d_ros.cli.main import main
from lift3d_ros.training.bookkeeping import Bookkeeping


def test_a_training_says_how_to_go_on_and_what_it_has_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_sets(tmp_path / "data"), tmp_path / "run"
    command = ["train", "lfm", "--data", str(data), "--out", str(out), "--set", *SMALL, "run.max_steps=2"]
    assert main([*command, "run.slice_minutes=1e-9"]) == 0
    assert "stopped at step 1 (slice); go on with the same command and --resume" in capsys.readouterr().out
    assert main([*command, "--resume"]) == 0
    text = capsys.readouterr().out
    assert "finished at step 2" in text
    assert "trained on 2 sets: own_bird20, own_hand21" in text
    assert (out / "weights.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "{data}"], "--out is missing"),
        (["--data", "nowhere", "--out", "{out}"], "nowhere: no .npz file of a category"),
        (["--data", "{data}", "--out", "{out}", "--pack", "there"], "--pack and --classes are for dfa3d"),
        (["--data", "{data}", "--out", "{out}", "--set", "network.widht=64"], "did you mean 'width'"),
        (["--data", "{data}", "--out", "{out}", "--init-from", "lift3d-lfn"], "did you mean 'lift3d-lfm'"),
        (["--data", "{data}", "--out", "{out}", "--set", "preset=huge"], "preset 'huge' is not known"),
    ],
)
def test_wrong_use_is_explained(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"data": write_sets(tmp_path / "data"), "out": tmp_path / "run"}
    assert main(["train", "lfm", *(text.format(**places) for text in arguments)]) == 2
    assert message in capsys.readouterr().err


def test_a_training_can_start_from_a_model_and_names_its_preset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_sets(tmp_path / "data"), tmp_path / "run"
    command = ["train", "lfm", "--data", str(data), "--out", str(out), "--init-from", "lift3d-lfm"]
    short = ["--set", "run.max_steps=1", "run.batch_size=1", "run.validation_interval=0"]
    assert main([*command, *short]) == 2
    assert "--set preset=lift3d-lfm-medium" in capsys.readouterr().err
    assert main([*command, *short, "preset=lift3d-lfm-medium"]) == 0
    text = capsys.readouterr().out
    assert "finished at step 1" in text
    assert f"lift3d weights add {out / 'weights.safetensors'} --as lift3d-lfm-medium --name my-lifter" in text


def test_an_interrupted_training_has_the_exit_status_of_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = write_sets(tmp_path / "data"), tmp_path / "run"
    stop = Bookkeeping.on_train_batch_end

    def interrupted(self: Bookkeeping, *arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        stop(self, *arguments)

    monkeypatch.setattr(Bookkeeping, "on_train_batch_end", interrupted)
    assert main(["train", "lfm", "--data", str(data), "--out", str(out), "--set", *SMALL, "run.max_steps=50"]) == 130
    assert (out / "checkpoints" / "last.ckpt").is_file()
