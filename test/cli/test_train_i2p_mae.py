"""`lift3d train i2p_mae` and `lift3d evaluate point_features` from files of clouds to weights and figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("sklearn")

from point_files import SMALL, write_clouds

from lift3d_ros.cli.main import main
from lift3d_ros.models.i2p_mae.config import preset
from lift3d_ros.pipelines.point_graph import export_point_graph
from lift3d_ros.pipelines.point_network import find_points

SET = ("--set", *SMALL, "run.max_steps=2")


def test_teacher_encoder_classifier_and_figures_follow_from_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(write_clouds(tmp_path / "data"))

    def train(out: str, *arguments: str) -> str:
        assert main(["train", "i2p_mae", "--data", data, "--out", str(tmp_path / out), *arguments, *SET]) == 0
        return capsys.readouterr().out

    assert "--teacher" in train("teacher", "--stage", "teacher")
    teacher = ("--teacher", str(tmp_path / "teacher" / "weights.safetensors"))
    command = ["train", "i2p_mae", "--data", data, "--out", str(tmp_path / "run"), *teacher, *SET]
    assert main([*command, "run.slice_minutes=1e-9"]) == 0
    assert "stopped at step 1 (slice); go on with the same command and --resume" in capsys.readouterr().out
    assert main([*command, "--resume"]) == 0
    text = capsys.readouterr().out
    assert "finished at step 2" in text
    assert "trained on 18 clouds" in text
    assert "its encoder differs from that of the preset 'lift3d-points-small'" in text
    encoder = str(tmp_path / "run" / "encoder.safetensors")
    text = train("classifier", "--stage", "finetune", "--init-from", encoder)
    assert "trained on 18 clouds of 3 classes" in text
    assert "started from" in text
    classifier = str(tmp_path / "classifier" / "weights.safetensors")
    assert f"lift3d evaluate point_features --test ... --classifier {classifier} --out DIR" in text
    measured = ["evaluate", "point_features", "--test", data, "--out", str(tmp_path / "classes"), "--robustness"]
    assert main([*measured, "--classifier", classifier]) == 0
    figures = json.loads((tmp_path / "classes" / "metrics.json").read_text(encoding="utf-8"))["figures"]
    assert set(figures["per_class"]) == {"ball", "rod", "plate"}
    assert (figures["svm_cost"], figures["num_test_clouds"]) == (None, 9)
    assert set(figures["conditions"]) == {"clean", "rotated", "points_256", "noise", "occluded"}
    assert f"clean                                      {figures['accuracy']:6.1%}" in capsys.readouterr().out
    assert main([*measured, "--classifier", encoder, "--overwrite"]) == 2
    assert "holds a network for 'none'; expected one for 'classification'" in capsys.readouterr().err

    out = tmp_path / "figures"
    evaluate = ["evaluate", "point_features", "--train", data, "--test", data, "--out", str(out)]
    assert main([*evaluate, "--weights", encoder, "--robustness", "--points", "64", "--few-shot"]) == 0
    document = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    figures = document["figures"]
    assert set(figures["per_class"]) == {"ball", "rod", "plate"}
    assert set(figures["conditions"]) == {"clean", "rotated", "points_64", "noise", "occluded"}
    assert sum(map(sum, figures["confusion"])) == figures["num_test_clouds"] == 9
    assert (figures["num_training_clouds"], document["model"]) == (18, "encoder")
    said = capsys.readouterr().out
    assert f"{figures['accuracy']:.1%}" in said
    assert "few labelled clouds: not measured; expected training clouds of 5 classes or more" in said

    assert main([*evaluate, "--descriptors"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*evaluate, "--descriptors", "--overwrite"]) == 0
    assert json.loads((out / "metrics.json").read_text(encoding="utf-8"))["figures"]["accuracy"] == 1.0


def test_an_untrained_encoder_says_so(tmp_path: Path) -> None:
    data = str(write_clouds(tmp_path / "data", 3, 1))
    out = tmp_path / "figures"
    command = ["evaluate", "point_features", "--train", data, "--test", data, "--out", str(out)]
    assert main([*command, "--untrained", "lift3d-points-small", "--pooling", "max", "--cost", "0.1"]) == 0
    document = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert document["model"] == "lift3d-points-small (untrained weights)"
    encoder = preset("lift3d-points-small")
    assert encoder is not None
    assert (document["figures"]["svm_cost"], document["figures"]["feature_dims"]) == (0.1, encoder.encoder.dims[-1])


def test_an_encoder_is_measured_on_the_backend_that_will_run_it(
    tmp_path: Path, graph_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(write_clouds(tmp_path / "data"))

    def measured(*arguments: str) -> dict[str, Any]:
        out = tmp_path / "out"
        command = ["evaluate", "point_features", "--train", data, "--test", data, "--out", str(out), "--overwrite"]
        assert main([*command, *arguments]) == 0
        return dict(json.loads((out / "metrics.json").read_text(encoding="utf-8"))["figures"])

    expected = measured("--model", "lift3d-points-small")
    graph = tmp_path / "points.onnx"
    export_point_graph(find_points("lift3d-points-small"), graph)
    for arguments in (("--model", "lift3d-points-small", "--backend", "torch"), ("--model", str(graph))):
        found = measured(*arguments)
        assert (found["accuracy"], found["feature_dims"]) == (expected["accuracy"], expected["feature_dims"])
    command = ["evaluate", "point_features", "--train", data, "--test", data, "--out", str(tmp_path / "x")]
    assert main([*command, "--descriptors", "--backend", "torch"]) == 2
    assert "--backend has no effect with --descriptors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "{data}"], "--out is missing"),
        (["--data", "{data}", "--out", "{out}"], "and no teacher is given"),
        (["--data", "{data}", "--out", "{out}", "--pack", "there"], "--pack and --classes are for dfa3d"),
        (["--data", "nowhere", "--out", "{out}", "--set", "guidance=none"], "nowhere: not found"),
        (["--data", "{data}", "--out", "{out}", "--stage", "finetune", "--init-from", "no-model"], "'no-model'"),
        (["--data", "{data}", "--out", "{out}", "--teacher", "{data}/none.pth"], "none.pth: not found"),
    ],
)
def test_wrong_use_of_the_training_is_explained(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"data": write_clouds(tmp_path / "data"), "out": tmp_path / "run"}
    assert main(["train", "i2p_mae", *(text.format(**places) for text in arguments)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("method", ["lfm", "i2p_mae"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "0:3"], "--seeds is for dfa3d; leave it out"),
        (["--simulation", "s.yaml"], "--simulation is for dfa3d; leave it out"),
        (["--meshes", "m"], "--meshes is for dfa3d; leave it out"),
        (["--split", "val"], "--split is for dfa3d and lrm; leave it out"),
        (["--val-split", "val"], "--val-split is for dfa3d; leave it out"),
        (["--nuscenes-version", "v1.0-mini"], "--nuscenes-version is for dfa3d; leave it out"),
        (["--rig", "car.yaml"], "--rig is for dfa3d; leave it out"),
        (["--quality", "0"], "--quality is for dfa3d; leave it out"),
        (["--workers", "3"], "--workers is for dfa3d; add --set run.workers=3 in its place"),
        (["--resume", "--init-from", "w"], "leave it out beside --resume"),
    ],
)
def test_options_without_effect_are_refused(
    method: str, options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", method, "--data", str(tmp_path), "--out", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("method", ["dfa3d", "lfm"])
def test_options_of_the_point_encoder_are_refused_for_other_methods(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", method, "--data", str(tmp_path), "--out", str(tmp_path), "--stage", "teacher"]) == 2
    assert "--stage and --teacher are for i2p_mae" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weights", "run.ckpt"], "expected a file name that ends in .safetensors"),
        (["--weights", "{data}/none.safetensors"], "no such file"),
        (["--untrained", "huge"], "configuration 'huge' is not known"),
        (["--descriptors", "--pooling", "max"], "--pooling has no effect with --descriptors"),
        (["--classifier", "{data}/none.safetensors"], "--train has no effect with --classifier"),
        (["--descriptors", "--points", "0"], "--points 0: expected 1 to 1000000"),
        (["--descriptors", "--points", "1024"], "--points 1024: 1024 of each clean cloud are used; expected fewer"),
        (["--descriptors", "--seed", "4294967296"], "--seed 4294967296: expected 0 to 4294967295"),
        (["--descriptors", "--test", "{data}/.."], "no file of clouds with 'val' or 'test' in its name"),
        (["--descriptors", "--noise", "-1"], "--noise -1: expected"),
        (["--descriptors", "--test", "{data}/other.npz"], "other.npz: not found"),
    ],
)
def test_wrong_use_of_the_evaluation_is_explained(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_clouds(tmp_path / "data")
    command = ["evaluate", "point_features", "--train", str(data), "--test", str(data), "--out", str(tmp_path / "out")]
    assert main([*command, *(text.format(data=data) for text in options)]) == 2
    assert message in capsys.readouterr().err
