"""The skeleton demo writes pictures of people, or of motion that it makes itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("jinja2", reason="Jinja2 is not installed")

REPOSITORY = Path(__file__).resolve().parents[2]
MANIFEST = """\
models:
  small: {method: lfm, preset: lift3d-lfm-small, licence: Apache-2.0, source: a test, seed: 2}
"""


def demo(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / "manifest.yaml").write_text(MANIFEST)
    command = [sys.executable, str(REPOSITORY / "tools" / "demo_skeleton.py"), "--model", "small"]
    return subprocess.run(
        [*command, "--out", str(folder / "out"), *options],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "LIFT3D_MODELS_DIR": str(folder / "models"), "PYTHONPATH": str(REPOSITORY), **environment},
    )


def test_without_people_motion_is_made_lifted_and_compared_with_its_truth(tmp_path: Path) -> None:
    done = demo(tmp_path, LIFT3D_SHARED_DIR=str(tmp_path / "nothing"))
    assert done.returncode == 0, done.stderr
    assert "motion that this package makes is lifted" in done.stdout
    pictures = sorted(path.stem for path in (tmp_path / "out" / "pictures").iterdir())
    assert len(pictures) > 20
    assert {"walking_person_0", "made_bird20_1"} <= set(pictures)
    picture = cv2.imread(str(tmp_path / "out" / "pictures" / "walking_person_0.jpg"))
    assert picture is not None
    assert picture.shape[1] == 5 * picture.shape[0]  # input, lifted twice, true twice
    assert np.ptp(picture[:, : picture.shape[0]]) > 100
    assert "untrained weights" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_people_are_lifted_from_their_photographs(tmp_path: Path, shared_dir: Path) -> None:
    done = demo(tmp_path, LIFT3D_SHARED_DIR=str(shared_dir))
    assert done.returncode == 0, done.stderr
    names = [path.stem for path in (tmp_path / "out" / "pictures").iterdir()]
    assert len(names) == 7
    assert "apollo11_crew" in names
    (crew,) = (line for line in done.stdout.splitlines() if line.startswith("apollo11_crew.jpg"))
    assert crew.count("depth") == 3


def test_a_folder_without_keypoints_is_named(tmp_path: Path) -> None:
    done = demo(tmp_path, "--people", str(tmp_path))
    assert done.returncode == 2
    assert "has no keypoints_coco17.json" in done.stderr
    assert "Traceback" not in done.stderr
