"""A file that cannot be written is refused before anything is computed for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lift3d_ros.bench import all_models
from lift3d_ros.cli.main import main
from lift3d_ros.cli.output_places import check_file_place, check_folder_place
from lift3d_ros.errors import ConfigError
from lift3d_ros.pipelines import engine_subjects


def test_nothing_is_made_where_there_is_a_place(tmp_path: Path) -> None:
    check_file_place("--out", tmp_path / "a folder" / "x.json")
    check_folder_place("--out", tmp_path / "a folder" / "deeper")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_a_file_and_a_file_in_that_of_a_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    with pytest.raises(ConfigError, match=r"--out .*x\.json: is a folder; give the name of a file"):
        check_file_place("--out", tmp_path / "x.json")
    (tmp_path / "file").touch()
    for below in ("file/x.json", "file/deeper/x.json"):
        with pytest.raises(ConfigError, match=r"--report .*x\.json: .*file is a file and not a folder"):
            check_file_place("--report", tmp_path / below)
    with pytest.raises(ConfigError, match=r"--out .*file: is a file; give a folder"):
        check_folder_place("--out", tmp_path / "file")


@pytest.mark.parametrize(
    "command",
    [
        ["bench", "lfm", "--out", "x.json"],
        ["bench", "all", "--out", "x.json"],
        ["engine", "compare", "lift3d-lfm", "--out", "x.json"],
        ["engine", "profile", "lift3d-lfm", "--out", "x.json"],
        ["engine", "quantize", "lift3d-lfm", "--out", "x.onnx"],
        ["engine", "quantize", "lift3d-lfm", "--out", "y.onnx", "--report", "x.json"],
        ["export", "lfm", "--out", "x.onnx"],
    ],
)
def test_commands_that_take_minutes_look_at_the_file_first(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")

    def compute(*_: object) -> None:
        raise AssertionError("it is computed before the file is looked at")

    monkeypatch.setattr(engine_subjects, "engine_subjects", compute)
    monkeypatch.setattr(all_models, "measure_models", compute)
    monkeypatch.chdir(tmp_path)
    for name in ("x.json", "x.onnx"):
        (tmp_path / name).mkdir()
    assert main(command) == 2
    assert ": is a folder; give the name of a file" in capsys.readouterr().err
