"""`lift3d train` and `lift3d weights add`, from a recording's folder to a model that can be named."""

from __future__ import annotations

import hashlib
import runpy
import shutil
import signal
import time
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
from lift3d_ros.datasets.pack import PackFacts, PackReader, create_pack
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
    assert not (out / "manifest_entry.yaml").exists()
    again = [*command, "run.max_steps=2", "run.slice_minutes=1e-9"]
    again[again.index(str(out))] = str(tmp_path / "tuned")
    assert main([*again, "--init-from", str(out / "weights.safetensors")]) == 0
    text = capsys.readouterr().out
    assert "tensors taken" in text
    assert "go on with the same command and --resume in place of --init-from" in text


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
        time.sleep(0.6)  # sooner is taken for the same Ctrl-C, which torchrun passes on
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
        (
            ["--data", "simulator", "--out", "{out}", "--workers", "8"],
            "--workers is for --pack; add --set run.workers=8",
        ),
        (["--data", "{pack}", "--out", "{out}", "--quality", "0"], "--quality is for --pack; leave it out"),
        (["--data", "simulator", "--pack", "{out}", "--out", "run"], "--out has no effect with --pack"),
        (["--data", "simulator", "--pack", "{out}", "--val", "{pack}"], "--val has no effect with --pack"),
        (["--data", "simulator", "--pack", "{out}", "--val-split", "val"], "--val-split has no effect with --pack"),
        (["--data", "simulator", "--pack", "{out}", "--init-from", "w"], "--init-from has no effect with --pack"),
        (["--data", "simulator", "--pack", "{out}", "--resume"], "--resume has no effect with --pack"),
        (["--data", "simulator", "--pack", "{out}", "--half"], "--half has no effect with --pack"),
        (["--data", "{pack}", "--out", "{out}", "--non-commercial"], "--non-commercial is for lfm; leave it out"),
        (["--data", "{pack}", "--out", "{out}", "--resume", "--init-from", "w"], "leave it out beside --resume"),
        (["--data", "{pack}", "--out", "{out}", "--split", "train"], "--split train: is of a nuScenes folder"),
        (["--data", "simulator", "--out", "{out}", "--split", "val"], "--split val: is of a nuScenes folder"),
        (["--data", "{pack}", "--out", "{out}", "--val-split", "val"], "--val-split val: is of a nuScenes folder"),
        (["--data", "{pack}", "--out", "{out}", "--nuscenes-version", "v"], "--nuscenes-version v: is of a nuScenes"),
        (["--data", "{pack}", "--out", "{out}", "--rig", "car.yaml"], "--rig car.yaml: has no effect on packs"),
        (["--data", "simulator", "--pack", "{out}", "--rig", "car.yaml"], "write 'rig: FILE' into the settings"),
        (["--data", "{pack}", "--out", "{out}", "--classes", "c.yaml"], "--classes c.yaml: has no effect on packs"),
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


@pytest.fixture
def nuscenes(repository: Path, tmp_path: Path) -> Path:
    """A folder with two versions of the tables, whose only scene is of the split mini_val."""
    pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")
    runpy.run_path(str(repository / "test" / "datasets" / "nuscenes_mini.py"))["write_nuscenes"](tmp_path / "nuscenes")
    shutil.copytree(tmp_path / "nuscenes" / "v1.0-mini", tmp_path / "nuscenes" / "v1.0-trainval")
    return tmp_path / "nuscenes"


def test_scenes_of_a_split_of_nuscenes_are_packed(
    nuscenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = tmp_path / "pack"
    command = ["train", "dfa3d", "--data", str(nuscenes), "--pack", str(pack), "--set", *SMALL]
    assert main(command) == 2
    assert "name one with --nuscenes-version" in capsys.readouterr().err
    command += ["--nuscenes-version", "v1.0-mini", "--split"]
    assert main([*command, "mini_train"]) == 2
    assert "none of the 8 scenes of split 'mini_train' is in it" in capsys.readouterr().err
    assert main([*command, "mini_val"]) == 0
    reader = PackReader(pack)
    assert (reader.scenes, reader.facts.source) == (("scene-0103",), "nuscenes, v1.0-mini, mini_val")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "{data}", "--split", "mini_train"], "none of the 8 scenes of split 'mini_train'"),
        (["--data", "{pack}", "--val", "{data}", "--val-split", "mini_train"], "none of the 8 scenes of split"),
        (["--data", "{data}", "--val", "{data}", "--split", "mini_val"], "add --val-split"),
        (["--data", "{data}", "--val", "{data}", "--val-split", "mini_val"], "add --split"),
    ],
)
def test_splits_of_nuscenes_reach_training_and_validation(
    options: list[str], message: str, nuscenes: Path, pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [text.format(data=nuscenes, pack=pack) for text in options]
    out = ["--out", str(tmp_path / "run"), "--nuscenes-version", "v1.0-mini"]
    assert main(["train", "dfa3d", *given, *out, "--set", *SMALL]) == 2
    assert message in capsys.readouterr().err


def test_a_pack_says_whose_masks_of_the_own_vehicle_it_has(repository: Path, tmp_path: Path) -> None:
    rig, pack = tmp_path / "car.yaml", tmp_path / "pack"
    rig.write_text("cameras: {back: {own_vehicle: [[[0, 0], [704, 0], [704, 396], [0, 396]]]}}\n")
    street = str(repository / "demo" / "street")
    assert main(["train", "dfa3d", "--data", street, "--pack", str(pack), "--rig", str(rig), "--set", *SMALL]) == 0
    reader = PackReader(pack)
    assert reader.facts.rig == f"car.yaml {hashlib.sha256(rig.read_bytes()).hexdigest()}"
    sample = reader.load(reader.scenes[0])[0]
    assert not sample.images[sample.cameras.index("back")].any()


def test_a_pack_is_not_continued_with_another_table_of_classes(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, street = tmp_path / "classes.yaml", str(repository / "demo" / "street")
    command = ["train", "dfa3d", "--data", street, "--pack", str(tmp_path / "pack"), "--classes", str(table)]
    table.write_text("truck: ignore\n")
    assert main([*command, "--set", *SMALL]) == 0
    assert main([*command, "--set", *SMALL]) == 0
    table.write_text("truck: car\n")
    assert main([*command, "--set", *SMALL]) == 2
    assert "what these files say has changed. Name another folder with --pack" in capsys.readouterr().err


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


def test_a_pack_of_an_older_simulator_is_not_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create_pack(tmp_path / "streets", PackFacts(96, 64, ("car",), "simulator, train.yaml"))
    command = ["train", "dfa3d", "--data", "simulator", "--seeds", "0:1", "--pack", str(tmp_path / "streets")]
    assert main(command) == 2
    assert "its scenes are of version unknown of the simulator, and now version" in capsys.readouterr().err
