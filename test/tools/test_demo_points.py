"""The point demo describes the objects of a scan, or objects that it makes itself, and looks for them again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("scipy", reason="scipy is not installed")
pytest.importorskip("jinja2", reason="Jinja2 is not installed")

from point_clouds import write_encoder

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("weights") / "points.safetensors")


def demo(weights: Path, out: Path, *options: str, shared: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "tools" / "demo_points.py"), "--weights", str(weights)]
    return subprocess.run(
        [*command, "--out", str(out), *options],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "LIFT3D_SHARED_DIR": str(shared)},
    )


def write_teacher(path: Path) -> Path:
    import dataclasses
    import json

    from safetensors.torch import save_file

    from lift3d_ros.models.i2p_mae.config import TeacherConfig
    from lift3d_ros.models.i2p_mae.teacher import SmallTeacher

    config = TeacherConfig(patch_size=56, dims=16, num_layers=1, num_heads=2, out_dims=8)
    header = {"method": "i2p_mae", "stage": "teacher", "teacher": json.dumps(dataclasses.asdict(config))}
    save_file(SmallTeacher(config).state_dict(), str(path), metadata=header)
    return path


def table_scan(path: Path) -> Path:
    """Write a table as a camera sees it that looks down at 45 degrees, with two boxes and a ball on it."""
    rng = np.random.default_rng(0)
    table = np.column_stack([rng.uniform(-0.8, 0.8, (20000, 2)), 0.002 * rng.standard_normal(20000)])
    parts = [table]
    for x, y, size in ((0.0, 0.0, (0.1, 0.2, 0.3)), (0.4, 0.3, (0.2, 0.1, 0.1))):
        sides = rng.uniform(-0.5, 0.5, (2000, 3))
        sides[np.arange(2000), rng.integers(0, 3, 2000)] = rng.choice([-0.5, 0.5], 2000)
        parts.append(sides * size + [x, y, size[2] / 2])
    ball = rng.standard_normal((1500, 3))
    parts.append(0.1 * ball / np.linalg.norm(ball, axis=1, keepdims=True) + [-0.4, -0.3, 0.1])
    world = np.concatenate(parts)
    half = 0.5**0.5
    # Optical axes: right, down and away; the camera is 1.5 m away from the middle of the table.
    sensor = np.column_stack(
        [world[:, 0], -half * (world[:, 1] + world[:, 2]), half * (world[:, 1] - world[:, 2]) + 1.5]
    )
    np.savez(path, points=sensor.astype(np.float32))
    return path


def test_without_reference_data_objects_are_made_described_and_looked_for(tmp_path: Path, weights: Path) -> None:
    done = demo(weights, tmp_path / "out", "--teacher", "none", shared=tmp_path / "nothing")
    assert done.returncode == 0, done.stderr
    assert "objects that this package makes are described" in done.stdout
    assert "found again among 9 objects: " in done.stdout
    pictures = {path.stem for path in (tmp_path / "out" / "pictures").iterdir()}
    assert {"cloud", "features_of_the_whole_cloud", "car", "pedestrian", "construction_vehicle"} <= pictures
    sheet = cv2.imread(str(tmp_path / "out" / "pictures" / "car.jpg"))
    assert sheet is not None
    assert np.ptp(sheet) > 200
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Without a 2D teacher what stands out is not shown" in page
    assert "Partial views, cut along" in page


def test_what_stands_on_a_table_is_found_and_shown_to_the_teacher(tmp_path: Path, weights: Path) -> None:
    scan, teacher = table_scan(tmp_path / "table.npz"), write_teacher(tmp_path / "teacher.safetensors")
    done = demo(weights, tmp_path / "out", "--scan", str(scan), "--teacher", str(teacher), shared=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "found again among 3 objects: " in done.stdout
    sheets = [cv2.imread(str(path)) for path in sorted((tmp_path / "out" / "pictures").glob("object_*.jpg"))]
    assert len(sheets) == 3
    assert sheets[0].shape[1] > 7 * 170  # with the picture of what stands out
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "What stands out to the teacher is yellow" in page


def test_the_scan_of_the_reference_data_is_used_where_it_is(tmp_path: Path, weights: Path, shared_dir: Path) -> None:
    done = demo(weights, tmp_path / "out", shared=shared_dir)
    assert done.returncode == 0, done.stderr
    assert "found again among 3 objects: " in done.stdout
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "What stands out to the teacher is yellow" in page  # that of the package


def test_wrong_files_are_named(tmp_path: Path, weights: Path) -> None:
    np.save(tmp_path / "flat.npy", np.random.default_rng(0).uniform(-1, 1, (5000, 3)) * [1, 1, 0.001] + [0, 0, 2])
    np.save(tmp_path / "empty.npy", np.zeros((0, 3)))
    np.save(tmp_path / "line.npy", np.linspace(1, 2, 900)[:, None] * [1, 2, 3])
    for options, words in (
        (("--scan", str(tmp_path / "none.pcd")), "none.pcd: cannot be read"),
        (("--scan", str(tmp_path / "flat.npy")), "nothing stands on the largest plane"),
        (("--scan", str(tmp_path / "empty.npy")), "nothing stands on the largest plane"),
        (("--scan", str(tmp_path / "line.npy")), "nothing stands on the largest plane"),
        (("--scan", str(tmp_path / "flat.npy"), "--made"), "not allowed with argument"),
        (("--made", "--teacher", "lift3d-lfm"), "model 'lift3d-lfm': method 'lfm' with preset"),
    ):
        done = demo(weights, tmp_path / "out", *options, shared=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr
