"""The report page as a file: it is whole, fetches nothing, and no name in the data can become markup."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lift3d_ros.types import Boxes3D, CameraView
from lift3d_ros.viz.report import write_report, write_tabbed_report
from lift3d_ros.viz.report_content import (
    CameraPicture,
    Headline,
    PrecisionRecall,
    ReportData,
    ReportFrame,
    ReportTable,
    Trajectories,
    Trajectory,
    camera_rows,
)
from lift3d_ros.viz.wireframe import wireframes

MakeView = Callable[..., CameraView]
MakeBoxes = Callable[..., Boxes3D]
EVIL = '</script><script>window.isHacked=1</script><!--<img src=x onerror="window.isHacked=1">\'&'
NOTHING = Boxes3D.empty("base_link", ("car",))


class Page(HTMLParser):
    """Elements, texts and attributes of a page, and its data."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.contents: dict[str, list[str]] = {}  # what stands between the tags of each element, without children
        self._open = ""
        self.feed(self.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.contents.setdefault(tag, []).append("")
        self._open = tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.contents[self._open][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.contents["script"][0])
        return found


def write(tmp_path: Path, **changes: Any) -> Page:
    report = ReportData("Run", (ReportFrame(0, (), NOTHING),), (("front",),))
    path = tmp_path / "out" / "report.html"
    write_report(path, dataclasses.replace(report, **changes))
    return Page(path)


def test_all_values_reach_the_page(tmp_path: Path, make_view: MakeView, make_boxes: MakeBoxes) -> None:
    boxes = make_boxes((12.0, 1.0), (-9.0, 0.0), velocity=(1.5, 0.0), labels=[0, 1])
    truth = make_boxes((12.0, 1.2))
    view = make_view()
    picture = CameraPicture("front", b"\xff\xd8", 640, 360, 0.0421, wireframes(view, boxes), wireframes(view, truth))
    frame = ReportFrame(
        1_600_000_000_500_000_000, (picture,), boxes, truth, {"prepare": 3.0, "inference": 20.0}, ("first frame",)
    )
    second = dataclasses.replace(frame, stamp_ns=frame.stamp_ns + 500_000_000, stages_ms={"inference": 30.0})
    page = write(
        tmp_path,
        frames=(frame, second),
        banner="untrained weights: boxes mean nothing",
        facts={"backend": "onnxruntime"},
        tables=(ReportTable("Metrics", ("Class", "AP"), (("car", "0.512"),), "few frames"),),
    )
    for text in ("untrained weights: boxes mean nothing", "onnxruntime", "0.512", "few frames"):
        assert text in page.text
    data = page.data
    assert [frame["stamp"] for frame in data["frames"]] == ["1600000000.500000000", "1600000001.000000000"]
    assert data["frames"][1]["elapsed"] == 0.5
    first = data["frames"][0]
    assert first["detections"][0] == [12, 1, 0.75, 4, 2, 1.5, 0, 1.5, 0, 0.9, 0, -1]
    assert [data["classes"][box[10]]["name"] for box in first["detections"]] == ["car", "pedestrian"]
    camera = first["cameras"][0]
    assert base64.b64decode(camera["jpeg"]) == b"\xff\xd8"
    assert camera["age"] == 0.0421
    assert [wireframe[0] for wireframe in camera["detections"]] == [0]  # the other box is behind
    np.testing.assert_allclose(camera["detections"][0][2], picture.detections[0].front.reshape(-1), atol=0.051)
    assert data["stages"] == ["prepare", "inference"]
    assert [frame["stages"] for frame in data["frames"]] == [[3, 20], [0, 30]]
    assert "25.0 ms" in page.text  # the median of inference


def test_a_run_without_boxes_and_labels(tmp_path: Path) -> None:
    frame = write(tmp_path).data["frames"][0]
    assert (frame["detections"], frame["truth"], frame["stages"]) == ([], None, [])


def test_cameras_may_be_missing_or_not_in_the_rig(tmp_path: Path) -> None:
    shown = CameraPicture("extra", b"jpeg", 64, 36)
    frames = (
        ReportFrame(0, (CameraPicture("front", None), shown), NOTHING),
        ReportFrame(1, (shown,), NOTHING),
    )
    data = write(tmp_path, frames=frames).data
    assert data["cameras"] == ["front", "extra"]
    assert data["rows"] == [[0], [1]]
    assert [frame["cameras"][0] for frame in data["frames"]] == [None, None]
    assert data["frames"][1]["cameras"][1]["size"] == [64, 36]


def test_values_that_are_not_finite(tmp_path: Path, make_boxes: MakeBoxes) -> None:
    boxes = make_boxes((12.0, 1.0), velocity=(np.nan, np.inf))
    frame = write(tmp_path, frames=(ReportFrame(0, (), boxes, None, {"inference": float("nan")}),)).data["frames"][0]
    assert frame["detections"][0][7:9] == [None, None]
    assert frame["stages"] == [None]


def test_a_run_without_frames_says_so(tmp_path: Path) -> None:
    page = write(tmp_path, frames=(), banner="untrained weights")
    assert "nothing to show" in page.text
    assert "untrained weights" in page.text
    assert "script" not in page.tags


def test_names_cannot_become_markup(tmp_path: Path, make_boxes: MakeBoxes) -> None:
    boxes = make_boxes((12.0, 1.0), class_names=(EVIL, "x"))
    frame = ReportFrame(0, (CameraPicture(EVIL, b"jpeg", 64, 36),), boxes, None, {EVIL: 1.0}, (EVIL,))
    page = write(
        tmp_path,
        title=EVIL,
        subtitle=EVIL,
        banner=EVIL,
        frames=(frame,),
        camera_rows=((EVIL,),),
        facts={EVIL: EVIL},
        tables=(ReportTable(EVIL, (EVIL, EVIL), ((EVIL, EVIL),), EVIL),),
        introduction=(EVIL,),
        headlines=(Headline(EVIL, EVIL, EVIL),),
        curves=(PrecisionRecall(EVIL, 2.0, np.zeros(2), np.zeros(2)),),
        trajectories=Trajectories((0,), np.zeros((1, 3)), (Trajectory(EVIL, 1, (0,), np.zeros((1, 2))),)),
    )
    assert page.tags.count("script") == 2
    assert "<" not in page.contents["script"][0]  # neither an end tag nor a comment can begin
    assert "img" not in page.tags
    assert page.data["cameras"] == [EVIL]
    assert page.data["classes"][0]["name"] == EVIL
    assert page.contents["h1"][0] == EVIL


def test_paths_are_written_in_seconds_since_the_first_frame(tmp_path: Path) -> None:
    start_ns = 1_600_000_000_000_000_000
    stamps = (start_ns, start_ns + 500_000_000)
    path = Trajectory("bus", 7, stamps, np.array([[10.0, 2.0], [14.0, 2.0]]), 0.8)
    poses = np.array([[0.0, 0.0, 0.0], [5.0, 0.1, 0.02]])
    frame = ReportFrame(start_ns, (), NOTHING)
    data = write(tmp_path, frames=(frame,), trajectories=Trajectories(stamps, poses, (path,), (path,))).data
    assert data["trajectories"]["ego"] == [[0, 0, 0, 0], [0.5, 5, 0.1, 0.02]]
    assert data["trajectories"]["detections"] == data["trajectories"]["truth"]
    (written,) = data["trajectories"]["detections"]
    assert written == {"class": 0, "track": 7, "score": 0.8, "points": [[0, 10, 2], [0.5, 14, 2]]}
    assert data["classes"][0]["name"] == "bus"  # though no box of the frames is one


def test_each_tab_has_its_own_names_and_data(tmp_path: Path) -> None:
    with_frames = ReportData("Street", (ReportFrame(0, (), NOTHING),), (("front",),))
    without = ReportData("Real", (), (), introduction=("Where to get a recording:", "    make demo DEMO_BAG=x"))
    write_tabbed_report(tmp_path / "report.html", "Demo", {"a": with_frames, "b": with_frames, "c": without})
    page = Page(tmp_path / "report.html")
    names = [value for name, value in page.attributes if name == "id"]
    assert len(names) == len(set(names))
    assert [value for name, value in page.attributes if name == "href" and value != "data:,"] == ["#a", "#b", "#c"]
    assert page.tags.count("script") == 3  # the data of two runs, and what draws them
    assert "make demo DEMO_BAG=x" in page.text
    assert "nothing to show" not in page.text


def test_the_page_fetches_nothing(tmp_path: Path) -> None:
    page = write(tmp_path)
    assert not re.search(r"https?://|//[a-z]+\.|@import|\burl\(", page.text)
    addresses = [value for name, value in page.attributes if name in ("src", "href", "srcset", "action")]
    assert addresses == ["data:,"]
    (policy,) = (value for name, value in page.attributes if value.startswith("default-src"))
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    script, style = page.contents["script"][1], page.contents["style"][0]

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "script-src": source(script),
        "style-src": source(style),
    }


def test_every_file_of_the_page_is_a_resource_and_used(tmp_path: Path) -> None:
    page = write(tmp_path)
    for resource in (files("lift3d_ros.viz") / "report_page").iterdir():
        if resource.name.endswith((".js", ".css")) and not resource.name.startswith("evaluation"):
            assert resource.read_text(encoding="utf-8") in page.text, resource.name


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a").text == write(tmp_path / "b").text


def test_forty_frames_of_six_cameras_weigh_not_much_more_than_their_pictures(
    tmp_path: Path, make_view: MakeView, make_boxes: MakeBoxes
) -> None:
    view = make_view("equidistant", [-0.013, 0.02, -0.012, 0.003], focal=210.0)
    boxes = make_boxes(*[(4.0 + i, j) for i in range(0, 40, 4) for j in (-6.0, -2.0, 2.0, 6.0)], yaw=0.3)
    seen, jpeg = wireframes(view, boxes), bytes(50_000)
    cameras = tuple(CameraPicture(f"camera_{i}", jpeg, 640, 360, 0.0, seen, seen) for i in range(6))
    frames = tuple(ReportFrame(stamp, cameras, boxes, boxes) for stamp in range(40))
    size = len(write(tmp_path, frames=frames).text)
    pictures = 40 * 6 * len(jpeg) * 4 / 3
    assert size < 2 * pictures  # though each camera sees all 40 boxes through a fisheye lens


@pytest.mark.parametrize(
    ("degrees", "rows"),
    [
        (
            {"front": 0, "front_left": 55, "front_right": -55, "back": 180, "back_left": 110, "back_right": -110},
            (("front_left", "front", "front_right"), ("back_left", "back", "back_right")),
        ),
        ({"left": 90, "front": 0, "right": -90, "back": -179}, (("left", "front", "right"), ("back",))),
        ({"front": 360.0}, (("front",),)),
        ({}, ()),
    ],
)
def test_cameras_stand_as_on_the_vehicle(degrees: dict[str, float], rows: tuple[tuple[str, ...], ...]) -> None:
    assert camera_rows({name: float(np.radians(value)) for name, value in degrees.items()}) == rows
