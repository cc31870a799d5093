"""`lift3d replay --task object_reconstruction`: files, repeatability, options, errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tabletop import Tabletop
from untrained_lrm import NAME, add_untrained_lrm, usual_density

from lift3d_ros.cli.main import main as lift3d

for package in ("torch", "trimesh", "skimage"):
    pytest.importorskip(package)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    add_untrained_lrm(tmp_path, monkeypatch)
    bag = Tabletop(frames=2, period_s=6.0).write(tmp_path / "tabletop")
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"engine: {{threads: 1}}\nsurface: {{resolution: 16, threshold: {usual_density()}}}\n")
    return ["replay", str(bag), "--task", "object_reconstruction", "--params", str(settings), "--model", NAME]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "objects.jsonl").read_text().splitlines()]


def test_each_object_has_a_mesh_a_line_and_a_picture(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert lift3d([*command, "--out", str(out)]) == 0
    assert "2 meshes of 2 objects (small (untrained weights))" in capsys.readouterr().out
    found = lines(out)
    assert [line["file"] for line in found] == [f"meshes/ball_7_{line['stamp_ns']}.glb" for line in found]
    for line in found:
        assert (out / line["file"]).is_file()
        assert (line["unit"], line["scale_source"], line["is_trained"]) == ("m", "box", False)
        assert line["error"] is None
    assert len(list((out / "pictures").iterdir())) == 2
    facts = json.loads((out / "run.json").read_text())
    assert facts["topics"]["image"] == "/front/image"
    assert len((out / "timing.jsonl").read_text().splitlines()) == 2


def test_the_same_recording_gives_the_same_bytes(tmp_path: Path, command: list[str]) -> None:
    options = ["--no-pictures", "--frames", "0:1"]
    for name in ("first", "second"):
        assert lift3d([*command, *options, "--out", str(tmp_path / name)]) == 0
    names = [path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*") if path.is_file()]
    assert len(names) == 4
    for name in names:
        if name.name != "timing.jsonl":
            assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name


def test_an_object_that_cannot_be_reconstructed_has_a_line_that_says_why(tmp_path: Path, command: list[str]) -> None:
    out = tmp_path / "out"
    settings = tmp_path / "solid.yaml"
    settings.write_text("engine: {threads: 1}\nsurface: {resolution: 16, threshold: 1.0e+9}\n")
    command[command.index("--params") + 1] = str(settings)
    assert lift3d([*command, "--frames", "0:1", "--out", str(out)]) == 1
    (line,) = lines(out)
    assert "no surface: the field is empty" in line["error"]
    assert "file" not in line
    assert list((out / "meshes").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sets", "x.jsonl"], "--sets: is not an option of --task object_reconstruction"),
        (["--box", "1,2,3"], "--box 1,2,3: expected four numbers"),
        (["--mount-height", "1"], "--mount-height: is not an option of --task object_reconstruction"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: list[str], message: str, tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert lift3d([*command, *options, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_a_box_belongs_to_objects_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lift3d(["replay", "drive.mcap", "--box", "1,2,3,4", "--out", str(tmp_path)]) == 2
    assert "--box: is an option of --task object_reconstruction alone" in capsys.readouterr().err


def test_results_are_not_replaced_unless_asked(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "objects.jsonl").write_text("")
    mesh = out / "meshes" / "ball.glb"
    mesh.parent.mkdir()
    mesh.touch()
    assert lift3d([*command, "--out", str(out)]) == 2
    assert "already holds results; replace them with --overwrite" in capsys.readouterr().err
    assert lift3d([*command, "--out", str(out), "--overwrite", "--model", "smal"]) == 2
    assert mesh.exists(), "a mistake costs nothing"
    assert lift3d([*command, "--out", str(out), "--overwrite"]) == 0
    assert not mesh.exists()
