"""Part segmentation learns the parts of made shapes, goes on where it was cut off, and starts from an encoder."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

import numpy as np
import torch
from point_files import SMALL, write_clouds
from safetensors import safe_open
from safetensors.torch import load_file

from lift3d_ros.cli.main import main
from lift3d_ros.training.i2p_mae.settings import I2pMaeTraining, load_recipe
from lift3d_ros.training.i2p_mae.train import train
from lift3d_ros.training.i2p_mae.train_parts import train_parts

FEW = ("parts.training_shapes=36", "parts.validation_shapes=12", "network.segmentation.dropout=0.0")


def recipe(repository: Path, *changes: str) -> I2pMaeTraining:
    return load_recipe(repository / "config" / "training" / "i2p_mae_parts.yaml", [*SMALL, *FEW, *changes])


def test_parts_are_learned(repository: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    wanted = recipe(repository, "run.max_steps=60", "run.learning_rate=3e-3", "run.validation_interval=60")
    result = train_parts(wanted, tmp_path, is_quiet=True)
    assert result.run.best_score is not None
    assert result.run.best_score > 0.5  # one part for all points of a cloud would have about 0.3
    assert result.run.losses[-1] < 0.5 * result.run.losses[0]
    assert result.weights is not None
    with safe_open(str(result.weights), "pt") as file:
        assert "mug/handle" in file.metadata()["parts"]


def test_a_run_that_was_cut_off_ends_with_the_same_weights(repository: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    whole = train_parts(
        recipe(repository, "run.max_steps=4", "run.checkpoint_interval=2"), tmp_path / "a", is_quiet=True
    )
    first = recipe(repository, "run.max_steps=4", "run.checkpoint_interval=2", "run.slice_minutes=1e-6")
    part = train_parts(first, tmp_path / "b", is_quiet=True)
    while part.run.reason == "slice":
        part = train_parts(first, tmp_path / "b", resume=True, is_quiet=True)
    assert whole.weights is not None
    assert part.weights is not None
    one, other = load_file(str(whole.weights)), load_file(str(part.weights))
    for name, tensor in one.items():
        np.testing.assert_array_equal(tensor.numpy(), other[name].numpy(), err_msg=name)


def test_it_starts_from_the_encoder_of_a_pre_training(repository: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    plain = load_recipe(
        repository / "config" / "training" / "i2p_mae_cpu.yaml", [*SMALL, "guidance=none", "run.max_steps=1"]
    )
    encoder = train(plain, [write_clouds(tmp_path / "data")], [], tmp_path / "encoder", is_quiet=True).encoder
    result = train_parts(recipe(repository, "run.max_steps=1"), tmp_path / "parts", init_from=encoder, is_quiet=True)
    assert result.num_loaded == len([name for name in load_file(str(encoder)) if name.startswith("encoder.")])


def test_other_data_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["train", "i2p_mae", "--stage", "parts", "--data", "clouds", "--out", str(tmp_path)]
    assert main(call) == 2
    assert "expected --data made" in capsys.readouterr().err
