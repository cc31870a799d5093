"""`lift3d bench all|compare|table` from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench_results import answer, results

from lift3d_ros.bench import all_models
from lift3d_ros.bench.result_file import read_results, write_results
from lift3d_ros.cli.main import main
from lift3d_ros.errors import EngineError


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_models, "ask_model_run", lambda *_: answer())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x.txt"], "--out 'x.txt': expected a file name that ends in .json"),
        (["--out", "x.json", "--rates", "10", "0"], "--rates 0: expected 0.1 to 1000"),
        (["--out", "x.json", "--repeats", "0"], "--repeats 0: expected 1 to 100"),
        (["--out", "x.json", "--seconds", "nan"], "--seconds nan: expected 0.1 to 3600"),
        (["--out", "x.json", "--backend", "onnxruntime", "--dtype", "float16"], "settings of torch"),
        (["--out", "x.json", "--models", "lift3d-lmf"], "did you mean 'lift3d-lfm'"),
    ],
)
def test_wrong_use_is_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "all", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("measured")
def test_the_models_are_measured_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "robot.json"
    arguments = ["--models", "lift3d-lfm", "--backend", "onnxruntime", "--repeats", "2", "--out", str(path)]
    assert main(["bench", "all", *arguments]) == 0
    written = read_results(path)
    assert [(result.model, result.backend, len(result.repeats)) for result in written.results] == [
        ("lift3d-lfm", "onnxruntime", 2)
    ]
    assert written.settings.rates_hz == (10.0, 30.0, 60.0)
    printed = capsys.readouterr().out
    assert "| `lift3d-lfm` | onnxruntime |" in printed
    assert f"wrote {path}" in printed


@pytest.mark.usefixtures("measured")
def test_start_only_asks_for_no_runs(tmp_path: Path) -> None:
    path = tmp_path / "start.json"
    assert main(["bench", "all", "--models", "lift3d-lfm", "--start-only", "--repeats", "1", "--out", str(path)]) == 0
    assert (read_results(path).settings.seconds, read_results(path).settings.rates_hz) == (0.0, ())


def test_nothing_measured_is_exit_status_1_with_the_reason_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise EngineError("no graph in the cache, and no torch to make it")

    monkeypatch.setattr(all_models, "ask_model_run", fail)
    path = tmp_path / "robot.json"
    assert main(["bench", "all", "--models", "lift3d-lfm", "--backend", "onnxruntime", "--out", str(path)]) == 1
    assert read_results(path).not_run[0].reason == "no graph in the cache, and no torch to make it"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    for name, rates in (("fast", (19.0, 20.0, 21.0)), ("slow", (9.0, 10.0, 11.0))):
        write_results(tmp_path / f"{name}.json", results(onnxruntime=[answer(rate) for rate in rates]))
    return str(tmp_path / "fast.json"), str(tmp_path / "slow.json")


@pytest.mark.parametrize(("ratio", "status"), [(None, 0), ("1.5", 1), ("2.5", 0)])
def test_compare_fails_where_a_figure_is_more_times_worse(
    files: tuple[str, str], ratio: str | None, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "compare", *files, *(["--fail-above", ratio] if ratio else [])]) == status
    printed = capsys.readouterr().out
    assert ("FAIL lifter onnxruntime frames per second: x2.000 worse" in printed) == bool(status)
    assert main(["bench", "compare", *reversed(files), "--fail-above", "1.0"]) == 0


def test_compare_fails_without_being_asked_where_a_ratio_that_survives_noise_became_worse(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    larger = [answer(rate, resident=150_000_000) for rate in (19.0, 20.0, 21.0)]
    write_results(tmp_path / "large.json", results(onnxruntime=larger))
    assert main(["bench", "compare", files[0], str(tmp_path / "large.json")]) == 1
    assert "FAIL lifter with onnxruntime: peak memory in MB rose from 100 to 150" in capsys.readouterr().out
    assert main(["bench", "compare", *files]) == 0  # the whole machine was slower


def test_compare_refuses_a_ratio_below_one(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "compare", *files, "--fail-above", "0.9"]) == 2
    assert "--fail-above 0.9: expected 1 to 1000" in capsys.readouterr().err


def test_table_prints_markdown_of_all_files(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "table", *files]) == 0
    assert capsys.readouterr().out.count("| model | backend | frames/s |") == 2


def test_another_file_is_refused_with_a_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.json").write_text("{}")
    assert main(["bench", "table", str(tmp_path / "other.json")]) == 2
    assert "give a file that 'lift3d bench all' wrote" in capsys.readouterr().err
