"""What was measured is written with command and machine, and printed as a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.bench.machine import available_bytes, describe_machine
from lift3d_ros.bench.report import table, write_document, write_report

TIMING = {"min_ms": 2.0, "median_ms": 2.5, "first_ms": 900.0, "min_ratio": 1.0, "median_ratio": 1.0}
FIGURES: dict[str, Any] = {
    "operator": [
        {
            "case": "one level",
            "queries": 2500,
            "operator": "embedding_bag",
            "forms": {
                "product_volume": {"does_not_fit": True, "computed_volume_bytes": 2_660_000_000, "peak_ratio": 266.0},
                "embedding_bag": {
                    "forward": TIMING,
                    "forward_backward": None,
                    "peak_extra_bytes": 10_000_000,
                    "peak_ratio": 1.0,
                    "relative_rms_error": 3e-6,
                },
            },
        }
    ],
    "detector": [
        {
            "preset": "tiny",
            "cameras": 6,
            "engines": {"torch cpu float32": {**TIMING, "peak_bytes": None, "relative_rms_error": 0.0}},
            "torch_stages_median_ms": {"torch cpu float32": {"features": 1.5, "encoder": 0.5}},
        }
    ],
}


def test_the_file_names_command_machine_and_versions(tmp_path: Path) -> None:
    path = tmp_path / "results" / "bench.json"
    write_report(path, ["lift3d", "bench", "dfa3d", "--out", "my results.json"], "cpu", FIGURES)
    document = json.loads(path.read_text())
    assert document["command"] == "lift3d bench dfa3d --out 'my results.json'"
    assert {"processor", "cores", "memory_gb", "system", "versions"} <= set(document["machine"])
    assert {"python", "torch", "numpy"} <= set(document["machine"]["versions"])
    assert document["operator"] == FIGURES["operator"]
    assert [entry.name for entry in path.parent.iterdir()] == ["bench.json"]


def test_the_description_holds_no_name_of_machine_or_user() -> None:
    import getpass
    import platform

    text = json.dumps(describe_machine("cpu"))
    assert platform.node() not in text
    assert f"/{getpass.getuser()}" not in text


def test_a_failed_write_leaves_no_draft(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_report(tmp_path / "bench.json", [], "cpu", {"figures": object()})
    assert list(tmp_path.iterdir()) == []


def test_the_table_says_what_was_computed_and_what_was_measured() -> None:
    text = table(FIGURES)
    assert "product_volume   does not fit into memory: the volume alone takes 2660 MB (computed)" in text
    assert "the operator runs as 'embedding_bag'" in text
    assert "10.0 MB" in text
    assert "features 1.5 ms, encoder 0.5 ms" in text


def test_memory_left_is_not_more_than_the_machine_has() -> None:
    assert 0 < available_bytes("cpu") <= describe_machine("cpu")["memory_gb"] * 1e9 + 1e8


def test_what_cannot_be_written_leaves_no_draft_behind(tmp_path: Path) -> None:
    (tmp_path / "bench.json").mkdir()
    with pytest.raises(IsADirectoryError):
        write_document(tmp_path / "bench.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]
