"""Whose numeric cases are run is for the environment to say; without any, the suite says so and passes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")


def write_case(folder: Path, expected: float) -> None:
    """One case: 2D attention that looks at the centre of the second of two cells, which holds 7."""
    (folder / "dfa3d").mkdir(parents=True)
    case = {"name": "op_msda2d", "module": "2D attention", "atol": 1e-6, "rtol": 0.0, "compare": "elementwise"}
    document = {"method": "dfa3d", "cases": [{**case, "outputs": [{"name": "output"}]}]}
    (folder / "dfa3d" / "INDEX.json").write_text(json.dumps(document))
    arrays = {
        "in.value": np.array([3.0, 7.0], np.float32).reshape(1, 2, 1, 1),
        "in.loc": np.array([0.75, 0.5], np.float32).reshape(1, 1, 1, 1, 1, 2),
        "in.attn": np.ones((1, 1, 1, 1, 1), np.float32),
        "in.spatial_shapes": np.array([[1, 2]]),
        "out.output": np.full((1, 1, 1), expected, np.float32),
    }
    np.savez(folder / "dfa3d" / "op_msda2d.npz", **arrays)


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-p",
        "no:cacheprovider",
        str(Path(__file__).parent / "test_parity.py"),
    ]
    # Not in the source tree, where the package has no generated messages.
    environment = {**os.environ, "LIFT3D_PARITY_DIR": str(folder)}
    return subprocess.run(command, env=environment, cwd=folder.parent, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("expected", "outcome"), [(7.0, "1 passed"), (7.1, "1 failed")])
def test_the_cases_of_a_folder_of_ones_own_are_run(tmp_path: Path, expected: float, outcome: str) -> None:
    write_case(tmp_path / "cases", expected)
    done = run(tmp_path / "cases")
    assert outcome in done.stdout, done.stdout + done.stderr


def test_without_cases_they_are_skipped_with_the_folder_that_was_looked_at(tmp_path: Path) -> None:
    done = run(tmp_path / "nowhere")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"no parity cases under {tmp_path / 'nowhere'}" in done.stdout
