"""One case whose average precision is computed in the comments below, from scene folder to `metrics.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")

from given_results import label, write_results, write_scene

from lift3d_ros.cli.main import main as lift3d


def figures_of(tmp_path: Path, *options: str) -> dict[str, Any]:
    out = tmp_path / "out"
    command = ["evaluate", "bev_detection", "--data", str(tmp_path / "scene"), "--out", str(out), "--no-report"]
    assert lift3d([*command, "--from-results", str(tmp_path / "results"), *options]) == 0
    figures: dict[str, Any] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["figures"]
    return figures


def test_average_precision_and_errors_of_three_boxes_and_two_cars(tmp_path: Path) -> None:
    """Labels: cars A at 10 m and B at 20 m. Boxes: 0.9 on A, 0.8 at 30 m on nothing, 0.7 at 20.3 m, 0.3 m from B.

    In order of scores the boxes are right, wrong, right, at each of the thresholds 0.5, 1, 2 and 4 m:

        box   recall   precision
        0.9   1/2      1/1
        0.8   1/2      1/2
        0.7   2/2      2/3

    Precision is read at the recalls 0.11, 0.12, .. 1.00 (90 of them), between the boxes along straight lines:
        39 recalls below 0.50: 1
         1 recall at 0.50: 1/2
        50 recalls above, 0.5 + k/100 for k = 1..50: 1/2 + k/50 * (2/3 - 1/2) = 1/2 + k/300
    0.1 is taken off, and 0.9 is what is left of a perfect curve:
        39 * 0.9 + 0.4 + 50 * 0.4 + (1 + 2 + .. + 50) / 300 = 35.1 + 0.4 + 20 + 1275 / 300 = 59.75
        AP = 59.75 / 90 / 0.9 = 59.75 / 81

    Translation error, mean of the right boxes so far: 0 with the score 0.9, (0 + 0.3) / 2 = 0.15 with the score 0.7,
    in between by score. The score over recall: 0.9 below 0.50, 0.8 at 0.50, then 0.8 - 0.1 * k/50. So the error is
        39 recalls: 0;  1 recall: 0.075;  50 recalls: 0.075 + 0.075 * k/50
        ATE = (0.075 + 50 * 0.075 + 0.075 * 1275 / 50) / 90 = 5.7375 / 90 = 0.06375
    """
    write_scene(tmp_path / "scene", [[label("car", 10.0), label("car", 20.0)]])
    write_results(tmp_path / "results", {0: [("car", 20.3, 0.7), ("car", 10.0, 0.9), ("car", 30.0, 0.8)]})
    figures = figures_of(tmp_path)
    car = figures["per_class"]["car"]
    by_hand = 59.75 / 81
    assert car["AP"] == pytest.approx(by_hand, abs=1e-12)
    assert car["AP_at"] == pytest.approx(dict.fromkeys(("0.5", "1", "2", "4"), by_hand))
    assert car["ATE"] == pytest.approx(0.06375)
    assert (car["ASE"], car["AOE"], car["AVE"]) == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)
    assert (car["num_labels"], car["num_predictions"]) == (2, 3)
    # One class has labels: it is the mean. Ten parts: five of mAP, four errors, and an attribute error of 1.
    assert figures["mAP"] == pytest.approx(by_hand)
    assert figures["NDS"] == pytest.approx((5 * by_hand + (1 - 0.06375) + 1 + 1 + 1 + 0) / 10)
    assert figures["NDS_without_AAE"] == pytest.approx((5 * by_hand + (1 - 0.06375) + 1 + 1 + 1) / 9)
    # The devkit counts nine absent classes as AP 0 and errors 1.
    assert figures["devkit_mean_ap"] == pytest.approx(by_hand / 10)


def test_each_range_is_scored_with_what_lies_in_it(tmp_path: Path) -> None:
    """Near: one label, one right box. Middle: the label at 20 m and the boxes at 20.3 and 30 m, the wrong one first.

    Precision rises along the straight line from 0 at recall 0 to 1/2 at recall 1. What is above 0.1 lies at the recalls
    k/100 with k = 21..100: (21 + 22 + .. + 100) / 200 - 80 * 0.1 = 4840 / 200 - 8 = 16.2, over 90 * 0.9 = 81.
    """
    write_scene(tmp_path / "scene", [[label("car", 10.0), label("car", 20.0)]])
    write_results(tmp_path / "results", {0: [("car", 20.3, 0.7), ("car", 10.0, 0.9), ("car", 30.0, 0.8)]})
    ranges = figures_of(tmp_path, "--ranges", "0-20,20-35")["per_range"]
    assert list(ranges) == ["0-20", "20-35"]
    assert ranges["0-20"]["per_class"]["car"]["AP"] == pytest.approx(1.0)
    middle = ranges["20-35"]["per_class"]["car"]
    assert (middle["num_labels"], middle["num_predictions"]) == (1, 2)
    assert middle["AP"] == pytest.approx(16.2 / 81)


def test_labels_without_a_lidar_point_do_not_count_where_points_are_counted(tmp_path: Path) -> None:
    write_scene(
        tmp_path / "scene",
        [[label("car", 10.0, num_lidar_pts=3), label("car", 20.0, num_lidar_pts=0), label("car", 30.0)]],
    )
    write_results(tmp_path / "results", {0: [("car", 10.0, 0.9), ("car", 30.0, 0.8)]})
    figures = figures_of(tmp_path)
    assert figures["per_class"]["car"]["num_labels"] == 2
    assert figures["mAP"] == pytest.approx(1.0)
    assert any("1 labels without a lidar point are left out" in note for note in figures["notes"])


def test_visibility_levels_are_scored_where_the_data_know_them(tmp_path: Path) -> None:
    labels = [label("car", 10.0, visibility=1.0), label("car", 20.0, visibility=0.2)]
    write_scene(tmp_path / "scene", [labels])
    write_results(tmp_path / "results", {0: [("car", 10.0, 0.9)]})
    levels = figures_of(tmp_path)["per_visibility"]
    assert {name: part["mAP"] for name, part in levels.items()} == pytest.approx({"0-40 %": 0.0, "80-100 %": 1.0})


def test_classes_of_the_labels_are_mapped_by_a_table_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scene(tmp_path / "scene", [[label("van", 10.0), label("other", 15.0), label("pedestrian", 20.0)]])
    write_results(tmp_path / "results", {0: [("car", 10.0, 0.9), ("pedestrian", 20.0, 0.9)]})
    command = ["evaluate", "bev_detection", "--data", str(tmp_path / "scene"), "--out", str(tmp_path / "out")]
    assert lift3d([*command, "--from-results", str(tmp_path / "results"), "--no-report"]) == 2
    assert "class 'van' is not known" in capsys.readouterr().err
    table = tmp_path / "classes.yaml"
    table.write_text("van: car\n", encoding="utf-8")
    figures = figures_of(tmp_path, "--classes", str(table))
    assert (figures["mAP"], figures["per_class"]["car"]["num_labels"]) == (pytest.approx(1.0), 1)
    assert "Labels of these classes are ignored: other (1)." in figures["notes"]


def test_scenes_are_scored_together_and_unlabelled_frames_do_not_count(tmp_path: Path) -> None:
    scenes = tmp_path / "scene"
    write_scene(scenes / "a", [[label("car", 10.0)], None])
    write_scene(scenes / "b", [[label("car", 10.0)]])
    write_results(tmp_path / "results" / "a", {0: [("car", 10.0, 0.9)], 1: [("car", 5.0, 0.9)]})
    write_results(tmp_path / "results" / "b", {0: []})
    figures = figures_of(tmp_path)
    assert figures["per_class"]["car"]["AP"] == pytest.approx(40 / 90), "one of two found: recalls 0.11 to 0.50"
    assert figures["scenes"] == {"a": {"num_frames": 1, "num_labels": 1}, "b": {"num_frames": 1, "num_labels": 1}}
    assert any("1 predicted frames lie at no labelled stamp" in note for note in figures["notes"])
