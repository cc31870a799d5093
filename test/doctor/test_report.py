"""The report is text for an issue and data for scripts; its exit status tells whether something failed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lift3d_ros.doctor.report import Check, Report, Section, fail, ok, warn
from lift3d_ros.errors import ConfigError


def test_warnings_pass_and_failures_do_not() -> None:
    fine = Section("a", (ok("x", "there"), warn("y", "odd", "look")))
    assert Report("s", (fine,)).exit_status == 0
    assert Report("s", (fine, Section("b", (fail("z", "gone", "bring it back"),)))).exit_status == 1


def test_the_text_names_each_level_with_its_remedy_below() -> None:
    text = Report("s", (Section("a", (ok("x", "there"), fail("y", "gone", "bring it back"))),)).text()
    assert "  OK    x  there\n  FAIL  y  gone\n" in text
    assert "-> bring it back" in text
    assert text.endswith("1 OK, 0 WARN, 1 FAIL")


def test_json_holds_the_same(tmp_path: Path) -> None:
    report = Report("s", (Section("a", (warn("x", "odd", "look"),)),), (("camera", "Hz"), ("front", "10")))
    report.write_json(tmp_path / "new" / "report.json")
    data = json.loads((tmp_path / "new" / "report.json").read_text())
    assert data["exit_status"] == 0
    assert data["counts"] == {"OK": 0, "WARN": 1, "FAIL": 0}
    assert data["sections"][0]["checks"][0] == {"name": "x", "level": "WARN", "text": "odd", "remedy": "look"}
    assert data["table"][1] == ["front", "10"]


def test_a_file_that_cannot_be_written_is_an_error_of_use(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--json"):
        Report("s", ()).write_json(tmp_path)


def test_every_problem_has_a_remedy() -> None:
    with pytest.raises(ValueError, match="remedy"):
        Check("x", "FAIL", "gone")
