"""The figure of the two mirror images: the same points seen, two bodies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_figure_of_the_documentation_is_what_the_tool_draws(tmp_path: Path) -> None:
    path = tmp_path / "figure.jpg"
    command = [sys.executable, str(REPOSITORY / "tools" / "draw_mirror_images.py"), "--out", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=REPOSITORY)
    drawn = cv2.imread(str(path))
    shown = cv2.imread(str(REPOSITORY / "docs" / "images" / "lfm_mirror.jpg"))
    assert drawn is not None
    assert shown is not None
    assert drawn.shape == shown.shape
    assert np.abs(drawn.astype(float) - shown).mean() < 1.0
