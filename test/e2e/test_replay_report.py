"""The report page of a real replay, with pictures, boxes and labels, opened in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lift3d_ros.cli.main import main as lift3d

pytestmark = pytest.mark.usefixtures("graph_cache")


def test_the_page_of_a_replay_shows_cameras_boxes_and_labels_of_each_set(
    repository: Path, tmp_path: Path, browser: Any
) -> None:
    bag, out = tmp_path / "street", tmp_path / "out"
    assert lift3d(["bag", "from-frames", str(repository / "demo" / "street"), "--out", str(bag)]) == 0
    assert (
        lift3d(["replay", str(bag), "--out", str(out), "--frames", "0:2", "--no-pictures", "--model", "dfa3d_tiny"])
        == 0
    )
    browser.get((out / "report.html").as_uri())

    def number_of(selector: str) -> int:
        return int(browser.execute_script("return document.querySelectorAll(arguments[0]).length", selector))

    def show(frame: int) -> str:
        script = (
            "const s = document.getElementById('frame'); s.value = arguments[0]; s.dispatchEvent(new Event('input'));"
            "return document.getElementById('position').textContent"
        )
        return str(browser.execute_script(script, frame))

    assert number_of("[data-camera] .picture") == 6
    first = show(0)
    assert number_of("#plan .truth") > 0, "labels"
    second = show(1)
    assert number_of("#plan .truth") > 0
    assert first != second
    threshold = "const s = document.getElementById('threshold'); s.value = 0; s.dispatchEvent(new Event('input'))"
    browser.execute_script(threshold)
    assert number_of("#plan .detection") > 0, "boxes"
    assert number_of("[data-camera] .missing, [data-camera].missing") == 0
    assert "untrained weights" in browser.find_element("css selector", ".banner").text
    assert browser.get_log("browser") == []
