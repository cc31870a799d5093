"""`lift3d evaluate`: the same figures for the same data, resumable, tables of robustness, clear about what is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")
pytest.importorskip("torch", reason="torch is not installed")

from given_results import label, write_scene
from labelled_drive import Labelled

from lift3d_ros.cli.main import main as lift3d

pytestmark = pytest.mark.usefixtures("graph_cache")

ONE_THREAD = "model: dfa3d_tiny\nengine: {backend: torch, threads: 1}\n"


def command(data: Path, out: Path, *options: str, page: bool = False) -> list[str]:
    params = out.parent / "one_thread.yaml"
    params.write_text(ONE_THREAD, encoding="utf-8")
    no_page = () if page else ("--no-report",)
    return [
        "evaluate", "bev_detection", "--data", str(data), "--out", str(out), "--params", str(params), *no_page, *options
    ]  # fmt: skip


def document(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return found


def detections(out: Path, scene: str) -> bytes:
    return (out / "scenes" / scene / "detections.jsonl").read_bytes()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of two frames."""
    root = tmp_path_factory.mktemp("scenes")
    for name in ("first", "second"):
        write_scene(root / name, [[label("car", 10.0), label("pedestrian", -8.0, 3.0)]] * 2)
    return root


@pytest.fixture(scope="module")
def reference(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evaluation of both scenes, with its page."""
    out = tmp_path_factory.mktemp("reference") / "out"
    assert lift3d(command(data, out, page=True)) == 0
    return out


def test_metrics_say_what_was_measured_on_what(reference: Path) -> None:
    metrics = document(reference)
    figures = metrics["figures"]
    assert {"mAP", "NDS", "NDS_without_AAE", "per_class", "per_range", "per_visibility", "robustness"} <= set(figures)
    car = figures["per_class"]["car"]
    assert {"AP", "AP_at", "ATE", "ASE", "AOE", "AVE", "num_labels", "num_predictions"} == set(car)
    assert (figures["num_frames"], car["num_labels"]) == (4, 4)
    assert metrics["model"] == "dfa3d_tiny (untrained weights)"
    assert metrics["configuration"]["scenes"] == ["first", "second"]
    # Boxes count however low their score, and as detected.
    run = metrics["configuration"]["run"]
    assert (run["detector"]["score_threshold"], run["detector"]["max_boxes"]) == (0.0, 300)
    assert (run["tracking"]["smooths_boxes"], run["tracking"]["report_unseen_s"]) == (False, 0.0)


def test_the_same_data_give_the_same_figures(data: Path, reference: Path, tmp_path: Path) -> None:
    assert lift3d(command(data, tmp_path / "out")) == 0
    assert document(tmp_path / "out")["figures"] == document(reference)["figures"]
    for scene in ("first", "second"):
        assert detections(tmp_path / "out", scene) == detections(reference, scene)


def test_an_interrupted_evaluation_goes_on_with_the_scene_that_it_had_begun(
    data: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lift3d_ros.pipelines.bev_detection import BevDetector

    infer, calls = BevDetector.infer, []

    def infer_three(self: BevDetector, prepared: Any) -> Any:
        calls.append(prepared.frame_set.stamp_ns)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return infer(self, prepared)

    out = tmp_path / "out"
    monkeypatch.setattr(BevDetector, "infer", infer_three)
    assert lift3d(command(data, out)) == 130
    assert lift3d(command(data, out, "--resume")) == 0
    assert len(calls) == 5, "one frame was left"
    assert document(out)["figures"] == document(reference)["figures"]
    assert lift3d(command(data, out, "--resume")) == 0
    assert len(calls) == 5, "nothing was left"


def test_results_are_neither_replaced_nor_mixed_with_others(
    data: Path, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lift3d(command(data, reference)) == 2
    assert "already holds results; continue them with --resume" in capsys.readouterr().err
    assert lift3d(command(data, reference, "--resume", "--frames", "0:1")) == 2
    assert "made with different frames" in capsys.readouterr().err
    out = tmp_path / "out"
    assert lift3d(command(data, out, "--scenes", "first", "--frames", "0:1")) == 0
    assert document(out)["figures"]["num_frames"] == 1
    assert lift3d(command(data, out, "--scenes", "first", "--overwrite")) == 0
    assert document(out)["figures"]["num_frames"] == 2


def test_labelled_frames_without_a_prediction_are_counted_beside_the_figures(
    data: Path, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lift3d(command(data, tmp_path / "all", "--from-results", str(reference))) == 0
    assert "not scored" not in capsys.readouterr().out
    (tmp_path / "results" / "first").mkdir(parents=True)
    first, _ = detections(reference, "first").splitlines(keepends=True)
    (tmp_path / "results" / "first" / "detections.jsonl").write_bytes(first)
    options = ("--scenes", "first", "--from-results", str(tmp_path / "results"))
    assert lift3d(command(data, tmp_path / "out", *options)) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("mAP ")
    assert printed[1] == "labelled frames without a prediction, which are not scored: 1"


def test_results_of_other_pictures_or_another_calibration_are_not_gone_on_with(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes, out = tmp_path / "scenes", tmp_path / "out"
    shutil.copytree(data, scenes)
    command_of = [*command(scenes, out), "--scenes", "first", "--frames", "0:1"]
    assert lift3d(command_of) == 0
    assert lift3d([*command_of, "--resume"]) == 0
    meta = scenes / "first" / "meta.json"
    content = json.loads(meta.read_text())
    content["cameras"][0]["K"][0][0] *= 1.01
    meta.write_text(json.dumps(content))
    assert lift3d([*command_of, "--resume"]) == 2
    assert "made with different calibration" in capsys.readouterr().err
    picture = next((scenes / "first" / "images").rglob("*.*"))
    picture.write_bytes(picture.read_bytes() + b"\0")
    assert lift3d([*command_of, "--resume"]) == 2
    assert "made with different pictures, calibration" in capsys.readouterr().err
    assert lift3d([*command_of, "--overwrite"]) == 0


def test_figures_come_again_from_the_detections_alone(data: Path, reference: Path, tmp_path: Path) -> None:
    again = command(data, tmp_path / "out", "--from-results", str(reference))
    assert lift3d(again) == 0
    assert document(tmp_path / "out")["figures"] == document(reference)["figures"]
    assert not (tmp_path / "out" / "scenes").exists()


def test_results_that_are_not_there_are_named(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lift3d(command(data, tmp_path / "out", "--from-results", str(tmp_path))) == 2
    assert "no results of scene 'first'; expected" in capsys.readouterr().err


def test_tables_of_robustness_compare_with_the_undisturbed_run(data: Path, reference: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--scenes", "first", "--frames", "0:1", "--drop-cameras", "--depth-noise")
    assert lift3d(command(data, out, *options)) == 0
    figures = document(out)["figures"]
    assert set(figures["robustness"]) == {"missing cameras", "depth scores"}
    missing = figures["robustness"]["missing cameras"]
    assert [row["disturbance"] for row in missing] == [
        "without right", "without front", "without left", "without back", "half: without front, back"
    ]  # fmt: skip
    for row in missing:
        assert row["mAP_change"] == pytest.approx(row["mAP"] - figures["mAP"])
    results = [json.loads(line) for line in _of_row(out, "half").read_text(encoding="utf-8").splitlines()]
    used = {use["name"]: use["is_used"] for result in results for use in result["cameras"]}
    assert used == {"front": False, "left": True, "back": False, "right": True}
    depth = figures["robustness"]["depth scores"]
    assert (depth[0]["disturbance"], depth[0]["mAP_change"]) == ("as predicted", 0.0)
    assert _of_row(out, "as_predicted").read_bytes() == detections(out, "first"), "the engine is torch in both"
    assert _of_row(out, "farther_by_4").read_bytes() != detections(out, "first")


def _of_row(out: Path, part: str) -> Path:
    (folder,) = (folder for folder in (out / "robustness").iterdir() if part in folder.name)
    return folder / "first" / "detections.jsonl"


def test_a_recording_with_labels_is_evaluated_through_replay(tmp_path: Path) -> None:
    bag = Labelled(frames=2).write(tmp_path / "drive")
    assert lift3d(command(bag, tmp_path / "out")) == 0
    assert document(tmp_path / "out")["figures"]["scenes"] == {"drive": {"num_frames": 2, "num_labels": 2}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(("--ranges", "20-10"), "--ranges '20-10': expected metres", id="ranges"),
        pytest.param(
            ("--model", "x.onnx", "--depth-noise"), "the graph 'x.onnx' does not allow", id="depth of a graph"
        ),
        pytest.param(("--from-results", ".", "--drop-cameras"), "makes no tables of robustness", id="nothing is run"),
        pytest.param(
            ("--from-results", ".", "--model", "x.onnx", "--backend", "torch", "--frames", "0:1"),
            "--from-results runs nothing, so --model, --backend, --frames would change nothing",
            id="options of a run",
        ),
        pytest.param(("--scenes", "third"), "scene 'third' is not in it", id="unknown scene"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_run(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert lift3d(command(data, tmp_path / "out", *options)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_help_shows_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        lift3d(["evaluate", "--help"])
    assert stop.value.code == 0
    assert "lift3d evaluate bev_detection --data scenes --out results" in capsys.readouterr().out


def test_all_tables_leave_out_depth_where_the_model_does_not_allow_it(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    assert lift3d(command(data, out, "--model", str(tmp_path / "none.onnx"), "--robustness")) == 2
    assert "no table of depth noise: depth noise changes depth inside of the network" in caplog.text


def test_data_without_a_single_label_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scene(tmp_path / "scenes" / "empty", [None])
    assert lift3d(command(tmp_path / "scenes", tmp_path / "out")) == 2
    assert "none of the 1 scenes has labels; expected boxes in meta.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists(), "before anything is run"


def test_scenes_without_labels_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_scene(tmp_path / "scenes" / "empty", [None])
    write_scene(tmp_path / "scenes" / "first", [[label("car", 10.0)]])
    assert lift3d(command(tmp_path / "scenes", tmp_path / "out")) == 0
    assert document(tmp_path / "out")["configuration"]["scenes"] == ["first"]
    assert "scene 'empty' has no labels and does not count" in caplog.text


def test_the_page_holds_tables_curves_and_the_frames_worth_looking_at(reference: Path, browser: Any) -> None:
    browser.get((reference / "report.html").as_uri())

    def texts(selector: str) -> list[str]:
        return [element.text for element in browser.find_elements("css selector", selector)]

    headings = texts("h2")
    for expected in ("Classes", "AP over distance, m", "Precision over recall", "Near objects missed", "Run"):
        assert expected in headings
    assert texts(".headline dt")[:2] == ["mAP", "NDS (AAE = 1)"]
    assert "the boxes mean nothing" in texts(".banner")[0]
    captions = texts(".frame figcaption")
    assert any("missed within 20 m: 2 of 2: " in caption for caption in captions)
    widths = browser.execute_script("return [...document.images].map(image => image.naturalWidth)")
    assert len(widths) >= 3 + 1
    assert min(widths) > 0, "every picture and chart is part of the page"
    assert browser.get_log("browser") == []
    assert "http://" not in (reference / "report.html").read_text(encoding="utf-8")
