"""Real recordings of the reference data through the whole replay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lift3d_ros.cli.main import main as lift3d

pytestmark = pytest.mark.usefixtures("graph_cache")


@pytest.mark.parametrize(
    ("name", "num_sets", "num_cameras"),
    [
        ("nc_nuscenes_scene0103_mcap", 4, 6),
        ("nc_nuscenes_scene0103_sqlite3", 4, 6),
        ("nc_nuscenes_scene0103.bag", 4, 6),
        ("nc_dgp_scene02_mcap", 3, 6),
        ("raspicam_fiducials.bag", 1, 1),
    ],
)
def test_every_set_of_a_real_recording_is_complete(
    name: str, num_sets: int, num_cameras: int, shared_dir: Path, tmp_path: Path
) -> None:
    bag = shared_dir / "data" / "bags" / name
    command = ["replay", str(bag), "--out", str(tmp_path), "--no-pictures", "--no-report"]
    assert lift3d(command) == 0
    results = [json.loads(line) for line in (tmp_path / "detections.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(results) == num_sets
    for index, result in enumerate(results):
        assert [use["is_used"] for use in result["cameras"]] == [True] * num_cameras
        assert result["problems"] == []
        assert result["temporal_state"] == ("fused" if index else "first_frame")


def test_storage_formats_give_the_same_detections(shared_dir: Path, tmp_path: Path) -> None:
    found = []
    for name in ("nc_nuscenes_scene0103_mcap", "nc_nuscenes_scene0103_sqlite3", "nc_nuscenes_scene0103.bag"):
        bag, out = shared_dir / "data" / "bags" / name, tmp_path / name
        command = ["replay", str(bag), "--out", str(out), "--frames", "0:2"]
        assert lift3d([*command, "--no-pictures", "--no-report"]) == 0
        found.append((out / "detections.jsonl").read_bytes())
    assert found[0] == found[1] == found[2]


def test_labels_of_a_real_scene_arrive_in_metrics_and_report(shared_dir: Path, tmp_path: Path) -> None:
    """They were made 82 to 93 ms after the pictures."""
    pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")
    scene, bag, out = shared_dir / "data" / "driving" / "nc_dgp_scene02", tmp_path / "bag", tmp_path / "run"
    assert lift3d(["bag", "from-frames", str(scene), "--out", str(bag)]) == 0
    assert lift3d(["replay", str(bag), "--out", str(out), "--frames", "0:2", "--no-pictures"]) == 0
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["figures"]
    assert metrics["num_frames"] == 2
    assert metrics["num_ground_truth"] > 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Metrics (nuScenes)" in page
    assert '"truth":null' not in page
