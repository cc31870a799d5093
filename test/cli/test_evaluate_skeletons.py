"""`lift3d evaluate skeleton_lifting` from files to metrics and page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lifting_files import write_set

from lift3d_ros.cli.main import main as lift3d

for package in ("torch", "matplotlib", "jinja2"):
    pytest.importorskip(package, reason=f"{package} is not installed")

MANIFEST = """\
models:
  small: {method: lfm, preset: lift3d-lfm-small, licence: Apache-2.0, source: a test, seed: 2}
"""


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "manifest.yaml").write_text(MANIFEST)
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path / "models"))


def evaluate(data: Path, out: Path, *options: str) -> int:
    arguments = ["--data", str(data), "--out", str(out), "--model", "small", "--frames", "3", *options]
    return lift3d(["evaluate", "skeleton_lifting", *arguments])


def document(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return found


def test_a_folder_becomes_one_record_for_each_file_and_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for name in ("bird", "other_bird"):
        write_set(data / f"{name}.npz")
    (data / "damaged.npz").write_bytes(b"nothing")
    assert evaluate(data, out, "--robustness", "--distance", "2.5") == 0
    metrics = document(out)
    figures = metrics["figures"]
    assert list(figures["per_file"]) == ["bird.npz", "other_bird.npz"]
    record = figures["per_file"]["bird.npz"]
    assert {
        "pa_mpjpe", "ratio_to_flat", "pa_mpjpe_best", "ratio_to_flat_best", "mpjpe", "pck", "bone_length_error"
    } <= set(record)  # fmt: skip
    assert set(record["conditions"]) == {"sides_unknown", "damaged", "without_leaves", "rolled", "near"}
    assert figures["conditions"]["near"]["distance"] == 2.5
    assert list(figures["left_out"]) == ["damaged.npz"]
    assert metrics["model"] == "small (untrained weights)"
    assert (metrics["seed"], metrics["configuration"]["choice"]["most"]) == (0, 3)
    page = (out / "report.html").read_text(encoding="utf-8")
    for words in ("small (untrained weights): the skeletons mean nothing", "bird.npz", "Left out", "Typical views"):
        assert words in page
    printed = capsys.readouterr().out
    assert "median, all" in printed
    assert "left out: damaged.npz" in printed


def test_results_are_kept_unless_they_may_be_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = write_set(tmp_path / "bird.npz"), tmp_path / "out"
    assert evaluate(data, out, "--no-report") == 0
    first = (out / "metrics.json").read_bytes()
    assert not (out / "report.html").exists()
    assert evaluate(data, out, "--no-report") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert evaluate(data, out, "--no-report", "--overwrite") == 0
    assert json.loads(first)["figures"] == document(out)["figures"]


def test_every_set_of_the_reference_data_has_a_record(tmp_path: Path, shared_dir: Path) -> None:
    data = shared_dir / "data" / "keypoints"
    assert evaluate(data, tmp_path / "out", "--no-report") == 0
    figures = document(tmp_path / "out")["figures"]
    assert sorted(figures["per_file"]) == sorted(path.name for path in data.glob("*.npz"))
    assert figures["left_out"] == {}
    assert evaluate(data / "pairs", tmp_path / "pairs", "--no-report") == 0
    assert len(document(tmp_path / "pairs")["figures"]["per_file"]) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--missing", "0.2"], "--missing has no effect without --damaged"),
        (["--distance", "3"], "--distance has no effect without --near"),
        (["--near", "--distance", "1"], "--distance 1: expected 1.5 to 1000"),
        (["--categories", "fish"], "no file of category fish; there are bird"),
        (["--frames", "-1"], "--frames -1: expected 0 to 1e+06"),
    ],
)
def test_wrong_use_is_named(tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(write_set(tmp_path / "bird.npz"), tmp_path / "out", *options) == 2
    assert words in capsys.readouterr().err


def test_weights_have_to_be_a_file_of_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_set(tmp_path / "bird.npz")
    command = ["evaluate", "skeleton_lifting", "--data", str(data), "--out", str(tmp_path / "out")]
    assert lift3d([*command, "--weights", "run.ckpt"]) == 2
    assert "expected a file name that ends in .safetensors" in capsys.readouterr().err
    assert lift3d([*command, "--weights", str(tmp_path / "no.safetensors")]) == 2
    assert "no.safetensors': no such file" in capsys.readouterr().err


def test_a_file_of_points_without_extent_gives_a_page_without_ratios(tmp_path: Path) -> None:
    data = write_set(tmp_path / "nothing.npz", joints=np.zeros((40, 20, 3), np.float16))
    assert evaluate(data, tmp_path / "out", "--robustness") == 0
    figures = document(tmp_path / "out")["figures"]
    record = figures["per_file"]["nothing.npz"]
    assert (record["ratio_to_flat"], record["not_lifted"]) == (None, 3)
    assert figures["summary"]["clean"] == {}
    assert "count as the flat guess: nothing.npz (3)" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_smoothing_is_refused_as_views_have_no_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("smoothing: {enabled: true}\n")
    data = write_set(tmp_path / "bird.npz")
    assert evaluate(data, tmp_path / "out", "--params", str(params)) == 2
    assert f"{params}: 'smoothing.enabled' is true, and single views have no times" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
