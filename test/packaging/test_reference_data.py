"""The suite passes where the reference data are not there, and says what it left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def test_tests_of_reference_data_are_skipped_with_the_folder_that_was_looked_at(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    files = [str(TESTS / name) for name in ("viz/test_shared_scenes.py", "cli/test_shared_bags.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *files]
    environment = {**os.environ, "LIFT3D_SHARED_DIR": str(nowhere)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"no reference data: {nowhere}/data does not exist; set LIFT3D_SHARED_DIR" in done.stdout
    assert "passed" not in done.stdout.splitlines()[-1]
    assert "skipped" in done.stdout.splitlines()[-1]
