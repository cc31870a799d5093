"""`metrics.json` is complete, stable, strict JSON, and never half written."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lift3d_ros
from lift3d_ros.errors import Lift3dError
from lift3d_ros.evaluation.metrics_file import git_revision, write_metrics


@dataclass(frozen=True)
class Settings:
    threshold: float = 0.3
    names: tuple[str, ...] = ("front", "back")


def write(folder: Path, figures: dict[str, Any]) -> dict[str, Any]:
    path = write_metrics(
        folder,
        figures,
        command=["lift3d", "evaluate", "my bag"],
        configuration={"detector": Settings(), "bag": Path("my bag")},
        seed=7,
        model="tiny (untrained weights)",
        weights_sha256="ab" * 32,
    )
    document: dict[str, Any] = json.loads(path.read_text(), parse_constant=pytest.fail)
    return document


def test_the_file_says_what_was_run(tmp_path: Path) -> None:
    document = write(tmp_path / "new" / "folder", {"mean_ap": 0.5})
    revision = document.pop("git_revision")
    assert revision is None or len(revision.removesuffix("-dirty")) == 40
    assert document == {
        "figures": {"mean_ap": 0.5},
        "command": "lift3d evaluate 'my bag'",
        "configuration": {"detector": {"threshold": 0.3, "names": ["front", "back"]}, "bag": "my bag"},
        "seed": 7,
        "model": "tiny (untrained weights)",
        "weights_sha256": "ab" * 32,
        "package_version": lift3d_ros.__version__,
    }


def test_nan_and_infinity_become_null_and_arrays_lists(tmp_path: Path) -> None:
    figures = {"a": np.nan, "b": np.float32("inf"), "c": np.array([1.0, np.nan]), "d": np.int64(3), "e": np.bool_(True)}
    assert write(tmp_path, figures)["figures"] == {"a": None, "b": None, "c": [1.0, None], "d": 3, "e": True}


def test_the_order_of_the_figures_does_not_change_the_bytes(tmp_path: Path) -> None:
    write(tmp_path / "first", {"a": 1, "b": {"c": 2, "d": 3}})
    write(tmp_path / "second", {"b": {"d": 3, "c": 2}, "a": 1})
    assert (tmp_path / "first/metrics.json").read_bytes() == (tmp_path / "second/metrics.json").read_bytes()


def test_a_failed_write_leaves_the_older_file_and_no_drafts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a": 1})
    before = (tmp_path / "metrics.json").read_bytes()
    with pytest.raises(TypeError, match=r"metrics\.figures\.a\.b is object"):
        write(tmp_path, {"a": {"b": object()}})

    def disk_full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", disk_full)
    with pytest.raises(Lift3dError, match=r"metrics\.json: cannot be written \(No space left on device\)"):
        write(tmp_path, {"a": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
    assert (tmp_path / "metrics.json").read_bytes() == before


def test_a_file_in_place_of_the_folder_is_an_error_for_the_user(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(Lift3dError, match="cannot be written"):
        write(tmp_path / "out", {})


def test_the_revision_tells_changed_sources_from_committed_ones(tmp_path: Path) -> None:
    assert git_revision(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=n@example.org"]
    source = tmp_path / "source.py"
    source.write_text("a = 1\n")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"], ["tag", "v1"]):
        if subprocess.run([*git, *arguments], check=False, capture_output=True).returncode:
            pytest.skip("git cannot make a repository here")
    clean = git_revision(tmp_path)
    assert clean is not None
    assert len(clean) == 40
    source.write_text("a = 2\n")
    assert git_revision(tmp_path) == f"{clean}-dirty"
