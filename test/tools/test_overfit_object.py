"""The overfitting of one object says how well it shows views that were not trained on, and how that was found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("lightning", reason="lightning is not installed")
pytest.importorskip("trimesh", reason="trimesh is not installed")

from object_folders import SMALL_NETWORK, renderer_or_skip, write_mesh_folder

REPOSITORY = Path(__file__).resolve().parents[2]


def overfit(data: Path, out: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, str(REPOSITORY / "tools" / "overfit_object.py"), "--data", str(data), "--object", name,
            "--out", str(out), *options,
        ],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_the_result_has_each_unseen_view_and_where_the_error_lies(tmp_path: Path) -> None:
    with renderer_or_skip(8):
        pass
    meshes = write_mesh_folder(tmp_path / "meshes")
    small = (
        *SMALL_NETWORK,
        "run.max_steps=2",
        "run.validation_interval=2",
        "render.views=6",
        "render.points=1000",
        "data.held_out_views=2",
    )
    score = tmp_path / "score.json"
    result = overfit(meshes, tmp_path / "out", "cup", "--score", str(score), "--set", *small)
    assert result.returncode == 0, result.stderr
    document = json.loads(score.read_text(encoding="utf-8"))
    figures = document["figures"]
    assert len(figures["psnr_unseen_each"]) == 2
    assert 0.0 < figures["psnr_unseen"] < 60.0
    assert sum(figures["error_share"].values()) == pytest.approx(1.0, abs=0.01)
    assert document["object"] == {"name": "cup", "licence": "CC0 1.0"}
    assert document["starts_from"] == "random weights"
    assert (tmp_path / "out" / "unseen.png").is_file()
    wrong = overfit(meshes, tmp_path / "other", "spoon")
    assert wrong.returncode == 2
    assert "no mesh is called 'spoon'" in wrong.stderr
