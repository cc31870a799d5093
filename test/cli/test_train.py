"""`lift3d train` and `lift3d weights add`, from a recording's folder to a model that can be named."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

import torch
from dfa3d_recipe import SMALL
from painted_street import painted_pack
from safetensors.torch import save_file

from lift3d_ros.cli.main import main
from lift3d_ros.models.dfa3d.config import preset
from lift3d_ros.models.dfa3d.detector import build_detector
from lift3d_ros.pipelines.bev_graph import load_network
from lift3d_ros.training.dfa3d.module import Dfa3dModule
from lift3d_ros.weights.manifest import find_model


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return painted_pack(tmp_path / "pack", num_scenes=1)


def test_a_training_says_how_to_go_on_and_what_it_has_written(
    pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    command = ["train", "dfa3d", "--data", str(pack), "--val", str(pack), "--out", str(out), "--set", *SMALL]
    assert main([*command, "run.max_steps=2", "run.slice_minutes=1e-9"]) == 0
    assert "stopped at step 1 (slice); go on with the same command and --resume" in capsys.readouterr().out
    assert main([*command, "run.max_steps=2", "--resume"]) == 0
    text = capsys.readouterr().out
    assert "finished at step 2" in text
    assert "differs from the preset 'tiny'" in text
    again = [*command, "run.max_steps=1"]
    again[again.index(str(out))] = str(tmp_path / "tuned")
    assert main([*again, "--init-from", str(out / "weights.safetensors")]) == 0
    assert "tensors taken" in capsys.readouterr().out


def test_ctrl_c_ends_after_a_step_that_is_saved(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = Dfa3dModule.training_step

    def interrupted(self: Dfa3dModule, *arguments: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return step(self, *arguments)

    out = tmp_path / "run"
    command = ["train", "dfa3d", "--data", str(pack), "--out", str(out), "--set", *SMALL, "run.max_steps=3"]
    with monkeypatch.context() as patch:
        patch.setattr(Dfa3dModule, "training_step", interrupted)
        assert main(command) == 130
    assert "stopped at step 1 (interrupted); go on with the same command and --resume" in capsys.readouterr().out
    assert main([*command, "--resume"]) == 0
    assert "finished at step 3" in capsys.readouterr().out


def test_ctrl_c_twice_ends_at_once_without_traceback(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: Dfa3dModule, *arguments: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Dfa3dModule, "training_step", interrupted)
    command = ["train", "dfa3d", "--data", str(pack), "--out", str(tmp_path / "run"), "--set", *SMALL]
    assert main(command) == 130
    assert "lift3d: interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "{pack}"], "--out is missing"),
        (["--data", "simulator", "{pack}", "--out", "{out}"], "cannot be mixed with other data"),
        (["--data", "{pack}", "--out", "{out}", "--set", "loss.frozen_stages=2"], "would start at random and stay so"),
        (["--data", "nowhere", "--out", "{out}", "--set", "loss.frozen_stages=0"], "nowhere: does not exist"),
        (
            ["--data", "{pack}", "--out", "{out}", "--set", "loss.frozen_stages=0"],
            "field 'width' is 192; expected 704",
        ),
        (["--data", "{pack}", "--out", "{out}", "--config", "nowhere.yaml"], "nowhere.yaml: file not found"),
        (["--data", "{pack}", "--out", "{out}", "--set", "run.stepz=3"], "unknown name 'run.stepz'"),
        (["--data", "simulator", "--pack", "{out}", "--seeds", "9:3"], "expected A:B"),
        (["--data", "{pack}", "--out", "{out}", "--seeds", "0:3"], "--seeds is for --data simulator"),
        (["--data", "{pack}", "--out", "{out}", "--meshes", "m"], "--meshes is for --data simulator"),
        (["--data", "nowhere", "--out", "{out}", "--resume"], "no checkpoint to go on from"),
        (["--data", "simulator", "--pack", "{out}", "--seeds", "9000:9002"], "9000"),
    ],
)
def test_wrong_use_is_explained(
    arguments: list[str], message: str, pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"pack": pack, "out": tmp_path / "out"}
    assert main(["train", "dfa3d", *(text.format(**places) for text in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_trained_weights_become_a_model_with_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path / "models"))
    config = preset("tiny")
    assert config is not None
    state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in
             build_detector(config, seed=3).state_dict().items()}  # fmt: skip
    save_file(state, tmp_path / "weights.safetensors")
    command = ["weights", "add", str(tmp_path / "weights.safetensors"), "--as", "tiny", "--name", "my-detector"]
    assert main(command) == 0
    assert "lift3d replay BAG --model my-detector" in capsys.readouterr().out
    network, _ = load_network("my-detector", find_model("my-detector"))
    assert torch.equal(network.bev_embedding.weight.half(), state["bev_embedding.weight"])
    assert main(["weights", "verify", "my-detector"]) == 0
    assert main(command) == 2
    assert "has a model 'my-detector' already" in capsys.readouterr().err
    del state["bev_embedding.weight"]
    save_file(state, tmp_path / "weights.safetensors")
    assert main([*command, "--overwrite"]) == 2
    assert "bev_embedding.weight is missing" in capsys.readouterr().err
