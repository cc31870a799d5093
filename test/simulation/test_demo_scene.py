"""The bundled demo scene is complete, small, and can be rendered again; rendering repeats its bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from lift3d_ros.datasets.frames import Scene, frame_set, read_scene
from lift3d_ros.simulation.drive import Simulator
from lift3d_ros.simulation.settings import load_settings


@pytest.fixture(scope="module")
def demo(repository: Path) -> Scene:
    return read_scene(repository / "demo" / "street")


def test_demo_scene_is_complete_and_small(repository: Path, demo: Scene) -> None:
    assert len(demo.cameras) == 6
    assert len(demo.frames) == 12
    assert demo.licence == "Apache-2.0"
    labels = set()
    for frame in demo.frames:
        assert list(frame.images) == list(demo.cameras)
        assert frame.boxes is not None
        assert len(frame.boxes) >= 20
        labels |= set(frame.boxes.labels.tolist())
    assert labels == set(range(10))
    size = sum(path.stat().st_size for path in (repository / "demo" / "street").rglob("*") if path.is_file())
    assert size < 2.5e6


def test_demo_scene_moves_as_a_car_does_in_town(demo: Scene) -> None:
    for before, after in zip(demo.frames[:-1], demo.frames[1:], strict=True):
        assert after.stamp_ns - before.stamp_ns == 500_000_000
        step = after.T_world_base[:3, 3] - before.T_world_base[:3, 3]
        assert 4.0 < np.linalg.norm(step) / 0.5 < 9.0
        stamps = [image.stamp_ns for image in before.images.values()]
        assert max(stamps) - min(stamps) == 45_000_000
    capture = frame_set(demo, demo.frames[0]).views["front_left"].T_reference_capture
    assert -0.45 < capture[0, 3] < -0.18  # 45 ms before the frame, further back along x


def test_no_camera_of_the_demo_scene_is_blocked(demo: Scene) -> None:
    for frame in demo.frames:
        assert frame.boxes is not None
        beside = np.linalg.norm(frame.boxes.centers[:, :2] - [1.35, 0.0], axis=1) - frame.boxes.sizes[:, 1] / 2
        is_large = frame.boxes.sizes[:, 2] > 2.2
        assert beside[is_large].min(initial=9.0) > 2.5


def test_first_frame_is_the_stored_one(demo: Scene, simulator: Simulator, repository: Path) -> None:
    assert simulator.renderer.device
    settings = load_settings(repository / "config" / "simulation" / "demo.yaml")
    with Simulator(settings, None) as again:
        frame = next(iter(again.drive(settings.seed)))
    stored = demo.frames[0]
    for name, view in frame.views.items():
        picture = cv2.cvtColor(cv2.imread(str(stored.images[name].path)), cv2.COLOR_BGR2RGB)
        difference = np.abs(picture.astype(np.int16) - view.rgb)
        assert difference.mean() < 6.0, f"{name}: {difference.mean():.2f} grey levels"
    assert stored.boxes is not None
    np.testing.assert_array_equal(stored.boxes.track_ids, frame.boxes.track_ids)
    np.testing.assert_allclose(stored.boxes.centers, frame.boxes.centers, atol=1e-3)


def test_two_processes_write_the_same_bytes(repository: Path, simulator: Simulator, tmp_path: Path) -> None:
    assert simulator.renderer.device
    command = [sys.executable, str(repository / "tools" / "render_demo_scene.py"), "--frames", "1", "--width", "352"]
    environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    outs = [tmp_path / first / "street" for first in ("a", "b")]
    processes = [
        subprocess.Popen([*command, "--out", str(out)], env=environment, stderr=subprocess.DEVNULL) for out in outs
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    files = [sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file()) for out in outs]
    assert files[0] == files[1]
    assert len(files[0]) == 7
    for name in files[0]:
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes(), name
