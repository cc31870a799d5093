"""`lift3d replay --task point_features` from a recording to results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lift3d_ros.cli.main import main

pytest.importorskip("torch")
from scans import BOXES_TOPIC, Scan, write_small_weights


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return Scan(frames=3).write(tmp_path / "scan")


def replay(bag: Path, out: Path, *options: Any) -> int:
    weights = write_small_weights(bag.parent / "small.safetensors")
    command = ["replay", str(bag), "--task", "point_features", "--out", str(out), "--model", str(weights)]
    return main([*command, "--backend", "torch", *map(str, options)])


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "features.jsonl").read_text(encoding="utf-8").splitlines()]


def test_features_arrays_timings_and_pictures_are_written(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert replay(bag, out) == 0
    assert [[entry["instance_id"] for entry in line["features"]] for line in lines(out)] == [[-1]] * 3
    assert len(list((out / "features").glob("*.npz"))) == len((out / "timing.jsonl").read_text().splitlines()) == 3
    assert len(list((out / "pictures").glob("*.jpg"))) == 3
    facts = json.loads((out / "run.json").read_text())
    assert facts["topics"] == {"cloud": "/lidar/points", "boxes": ""}
    assert facts["settings"]["engine"]["backend"] == "torch"
    assert "3 features of 3 clouds (small)" in capsys.readouterr().out


def test_settings_of_the_node_are_settings_of_replay(bag: Path, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(
        f"topics: {{boxes: {BOXES_TOPIC}}}\noutput_frame: base_link\nencoder: {{max_crops: 1}}\n", encoding="utf-8"
    )
    assert replay(bag, tmp_path / "out", "--params", params, "--frames", "1:2", "--no-pictures") == 0
    assert not (tmp_path / "out" / "pictures").exists()
    (line,) = lines(tmp_path / "out")
    assert (line["frame_id"], len(line["features"])) == ("base_link", 1)
    assert "max_crops is 1" in line["problems"][0]


def test_the_parameter_file_of_the_node_does_as_well(bag: Path, tmp_path: Path) -> None:
    shipped = Path(__file__).resolve().parents[2] / "config" / "point_features.yaml"
    assert replay(bag, tmp_path / "out", "--params", shipped, "--frames", "0:1", "--no-pictures") == 0
    assert json.loads((tmp_path / "out" / "run.json").read_text())["topics"] == {"cloud": "/lidar/points", "boxes": ""}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rig", "rig.yaml"], "--rig: is not an option of --task point_features"),
        (["--score-threshold", "0.5"], "--score-threshold: is not an option"),
        (["--resume"], "--resume: is not an option"),
        (["--params", "WRONG"], "unknown name 'encodr'; did you mean 'encoder'?"),
        (["--params", "TOPIC"], "did you mean '/lidar/points'?"),
        (["--params", "CLASSES"], "classifier '/nowhere.safetensors': no such file; make one with"),
        (["--model", "lift3d-point-small"], "model 'lift3d-point-small'"),
        (["--frames", "50:60"], "no cloud was encoded"),
    ],
)
def test_mistakes_are_explained_without_a_traceback(
    bag: Path, tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "WRONG": "encodr: {}\n",
        "TOPIC": "topics: {cloud: /lidar/point}\n",
        "CLASSES": "encoder: {classifier: /nowhere.safetensors}\n",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    given = [tmp_path / f"{option}.yaml" if option in files else option for option in options]
    assert replay(bag, tmp_path / "out", *given) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_results_are_kept_unless_they_shall_be_replaced(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert replay(bag, out) == 0
    assert replay(bag, out) == 2
    assert "already holds results" in capsys.readouterr().err
    assert replay(bag, out, "--overwrite", "--model", "lift3d-point-small") == 2
    assert len(lines(out)) == len(list((out / "pictures").iterdir())) == 3  # a mistake costs nothing
    assert replay(bag, out, "--overwrite", "--frames", "0:1") == 0
    assert len(lines(out)) == len(list((out / "features").iterdir())) == len(list((out / "pictures").iterdir())) == 1
