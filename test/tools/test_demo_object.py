"""The object demo makes meshes of pictures, or of objects that it renders itself, and shows them on one page."""

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


def demo(out: Path, *options: str, shared: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "tools" / "demo_object.py"), "--out", str(out), *options],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "LIFT3D_SHARED_DIR": str(shared), "OMP_NUM_THREADS": "1"},
    )


def ball(path: Path) -> Path:
    picture = np.zeros((96, 96, 4), np.uint8)
    cv2.circle(picture, (48, 48), 30, (40, 80, 200, 255), -1)
    cv2.imwrite(str(path), picture)
    return path


def test_a_picture_of_the_user_becomes_a_mesh_and_a_page(tmp_path: Path) -> None:
    result = demo(tmp_path / "out", "--image", str(ball(tmp_path / "ball.png")), shared=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "ball.glb").stat().st_size > 1000
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "ball.glb" in page
    assert "untrained weights" not in page


def test_without_reference_data_it_renders_its_own_objects(tmp_path: Path) -> None:
    pytest.importorskip("moderngl", reason="moderngl is not installed")
    figure = tmp_path / "figure.jpg"
    result = demo(tmp_path / "out", "--figure", str(figure), shared=tmp_path / "nothing")
    if "OpenGL" in result.stderr:
        pytest.skip(result.stderr)
    assert result.returncode == 0, result.stderr
    assert "no pictures in" in result.stdout
    assert len(list((tmp_path / "out").glob("made_*.glb"))) == 4
    assert figure.is_file()


def test_a_picture_without_an_object_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.png"
    cv2.imwrite(str(empty), np.zeros((32, 32, 4), np.uint8))
    result = demo(tmp_path / "out", "--image", str(empty), shared=tmp_path)
    assert result.returncode == 2
    assert "empty.png" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mask", "empty.png"], "--mask: there is no --image that it belongs to"),
        (["--image", "a.png", "--made"], "not allowed with argument --image"),
        (["--figure", "/proc/figure.jpg"], "--figure /proc/figure.jpg: /proc cannot be written to"),
        (["--model", "gone.onnx"], "no file gone.onnx"),
    ],
)
def test_wrong_options_are_told_before_anything_is_made(tmp_path: Path, options: list[str], message: str) -> None:
    result = demo(tmp_path / "out", *options, shared=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()
