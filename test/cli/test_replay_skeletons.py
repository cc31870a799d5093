"""`lift3d replay --task skeleton_lifting` from a recording to results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from walk import Walk

from lift3d_ros.cli.main import main

pytest.importorskip("torch")

MANIFEST = """\
models:
  small: {method: lfm, preset: lift3d-lfm-small, licence: Apache-2.0, source: a test}
"""


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "manifest.yaml").write_text(MANIFEST)
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path / "models"))


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return Walk(frames=3).write(tmp_path / "walk")


def replay(bag: Path, out: Path, *options: Any) -> int:
    command = ["replay", str(bag), "--task", "skeleton_lifting", "--out", str(out), "--model", "small"]
    return main([*command, "--backend", "torch", *map(str, options)])


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "skeletons.jsonl").read_text(encoding="utf-8").splitlines()]


def test_results_timings_and_pictures_are_written(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert replay(bag, out) == 0
    assert [len(line["skeletons"]) for line in lines(out)] == [2, 2, 2]
    assert len((out / "timing.jsonl").read_text().splitlines()) == 3
    assert len(list((out / "pictures").iterdir())) == 3
    facts = json.loads((out / "run.json").read_text())
    assert facts["topics"]["keypoints"] == "/front/keypoints"
    assert facts["settings"]["input"]["gravity_frame"] == "base_link"
    assert "6 skeletons of 3 messages (small (untrained weights))" in capsys.readouterr().out


def test_settings_of_the_node_are_settings_of_replay(bag: Path, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(
        "input: {known_lengths: ['left_hip:left_knee=0.43']}\nsmoothing: {enabled: true}\n", encoding="utf-8"
    )
    out = tmp_path / "out"
    assert replay(bag, out, "--params", params, "--no-pictures", "--frames", "1:2") == 0
    ((person, _),) = [line["skeletons"] for line in lines(out)]
    assert person["scale_source"] == "bone_length"
    assert not (out / "pictures").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rig", "rig.yaml"], "--rig: is not an option of --task skeleton_lifting"),
        (["--mount-height", "1.0"], "--mount-height: is not an option"),
        (["--score-threshold", "0.5"], "--score-threshold: is not an option"),
        (["--resume"], "--resume: is not an option"),
        (["--params", "WRONG"], "unknown name 'inputs'; did you mean 'input'?"),
        (["--params", "TOPIC"], "did you mean '/front/keypoints'?"),
        (["--model", "smal"], "did you mean 'small'"),
        (["--frames", "50:60"], "no keypoints were lifted"),
    ],
)
def test_mistakes_are_explained_without_a_traceback(
    bag: Path, tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wrong.yaml").write_text("inputs: {}\n")
    (tmp_path / "topic.yaml").write_text("topics: {keypoints: /front/keypoint}\n")
    places = {"WRONG": tmp_path / "wrong.yaml", "TOPIC": tmp_path / "topic.yaml"}
    assert replay(bag, tmp_path / "out", *(places.get(option, option) for option in options)) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_results_are_kept_unless_they_shall_be_replaced(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert replay(bag, out) == 0
    assert replay(bag, out, "--no-pictures") == 2
    assert "already holds results" in capsys.readouterr().err
    pictures = sorted((out / "pictures").iterdir())
    assert replay(bag, out, "--overwrite", "--model", "lift3d_lfm") == 2
    assert sorted((out / "pictures").iterdir()) == pictures != []  # a mistake costs nothing
    assert replay(bag, out, "--overwrite", "--no-pictures") == 0
    assert list((out / "pictures").iterdir()) == []


def test_detect_knows_no_keypoints(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["detect", str(tmp_path), "--task", "skeleton_lifting", "--out", str(tmp_path / "out")])
