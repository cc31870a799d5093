"""The report page in a headless browser: slider, keys, toggles and the plots really change what is shown."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lift3d_ros.types import Boxes3D, CameraView
from lift3d_ros.viz.palette import class_color
from lift3d_ros.viz.report import write_report, write_tabbed_report
from lift3d_ros.viz.report_content import (
    CameraPicture,
    PrecisionRecall,
    ReportData,
    ReportFrame,
    ReportTable,
    Trajectories,
    Trajectory,
)
from lift3d_ros.viz.wireframe import wireframes

MakeView = Callable[..., CameraView]
MakeBoxes = Callable[..., Boxes3D]

EVIL = "</script><script>window.isHacked=1</script><img src=x onerror=window.isHacked=1>"
COLORS = ((200, 40, 40), (40, 200, 40), (40, 40, 200))  # of the pictures of each frame
STAMPS = ("1600000000.000", "1600000000.500", "1600000001.000")


@pytest.fixture(scope="module")
def report_file(tmp_path_factory: pytest.TempPathFactory, make_view: MakeView, make_boxes: MakeBoxes) -> Path:
    front, back = make_view(), make_view(yaw=np.pi)
    truth = make_boxes((12.0, 2.0), (-15.0, 0.0))
    frames = []
    for index, color in enumerate(COLORS):
        boxes = make_boxes(
            (12.0 + 5 * index, 0.0), (20.0, -5.0), (-15.0, 1.0), scores=[0.9, 0.4, 0.7], labels=[0, 1, 0],
            class_names=("car", EVIL), velocity=(6.0, 0.0) if index else (np.nan, np.nan),
        )  # fmt: skip
        picture = np.full((360, 640, 3), color[::-1], np.uint8)
        jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
        ground_truth = truth if index < 2 else None
        cameras = [
            CameraPicture(
                name, jpeg, 640, 360, 0.042, wireframes(view, boxes), wireframes(view, truth) if ground_truth else ()
            )
            for name, view in (("front", front), ("back", back))
        ]
        if index == 1:
            cameras[1] = CameraPicture("back", None)
        stamp_ns = 1_600_000_000_000_000_000 + index * 500_000_000
        stages = {"prepare": 5.0, "inference": 40.0 + 10 * index, EVIL: 2.0}
        frames.append(ReportFrame(stamp_ns, tuple(cameras), boxes, ground_truth, stages, (f"note of frame {index}",)))
    stamps = tuple(frame.stamp_ns for frame in frames)
    moves = np.array([[12.0, 0.0], [22.0, 0.0], [32.0, 0.0]])
    trajectories = Trajectories(
        stamps,
        np.array([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [10.0, 0.0, 0.0]]),
        (Trajectory("car", 3, stamps, moves, 0.9), Trajectory(EVIL, 4, stamps[:1], np.array([[20.0, -5.0]]), 0.4)),
        (Trajectory("car", 1, stamps, moves + np.array([0.0, 2.0])),),
    )
    recall = np.linspace(0, 1, 101)
    curves = [PrecisionRecall("car", distance, recall, np.where(recall < 0.6, 0.9, 0.0)) for distance in (1.0, 2.0)]
    report = ReportData(
        "Test run", tuple(frames), (("front",), ("back", EVIL)), "bag.mcap", "untrained weights: boxes mean nothing",
        {"model": "tiny", EVIL: EVIL}, (ReportTable("Metrics", ("Class", "AP"), (("car", "0.5"),)),), 0.3,
        curves=(*curves, PrecisionRecall(EVIL, 2.0, recall, 0 * recall)), trajectories=trajectories,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, report)
    return path


@pytest.fixture
def page(browser: Any, report_file: Path) -> Any:
    browser.set_window_size(1600, 1000)
    open_page(browser, report_file)
    return browser


def open_page(browser: Any, path: Path) -> None:
    browser.get(path.as_uri())
    wait_until(lambda: browser.execute_script("return document.querySelector('.run').dataset.frame") == "0")


def wait_until(is_done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_done():
        assert time.monotonic() < deadline, "the page did not get there within 10 s"
        time.sleep(0.02)


def count(page: Any, selector: str) -> int:
    return int(page.execute_script("return document.querySelectorAll(arguments[0]).length", selector))


def text(page: Any, selector: str) -> str:
    return str(page.execute_script("return document.querySelector(arguments[0]).textContent", selector))


def click(page: Any, selector: str) -> None:
    page.find_element("css selector", selector).click()


def slide(page: Any, slider: str, value: float) -> None:
    script = (
        "const s = document.getElementById(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('input'))"
    )
    page.execute_script(script, slider, value)


def pixels(page: Any, selector: str) -> np.ndarray:
    """Return what is on the screen, RGB."""
    png = page.find_element("css selector", selector).screenshot_as_png
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR))[..., ::-1].astype(int)


def pixel_count(picture: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((np.abs(picture - color) <= 40).all(axis=2).sum())


def frame_shown(page: Any) -> tuple[int, str]:
    return int(page.execute_script("return document.querySelector('.run').dataset.frame")), text(page, "#position")


def test_it_opens_without_errors_and_names_stay_text(page: Any) -> None:
    for index in (1, 2, 0):
        slide(page, "frame", index)
    click(page, "figcaption button")
    assert page.get_log("browser") == []
    assert page.execute_script("return window.isHacked") is None
    assert text(page, ".banner") == "untrained weights: boxes mean nothing"
    assert EVIL in text(page, "#legend")
    assert EVIL in text(page, "dl")


def test_the_slider_moves_cameras_plan_and_stamp_together(page: Any) -> None:
    seen = []
    for index, color in enumerate(COLORS):
        slide(page, "frame", index)
        shown, stamp = frame_shown(page)
        assert shown == index
        assert STAMPS[index] in stamp
        assert f"note of frame {index}" in text(page, "#notes")
        corner = pixels(page, "[data-camera=front] .picture")[-12, 12]
        np.testing.assert_allclose(corner, color, atol=6)
        seen.append(text(page, "#plan") + page.execute_script("return document.getElementById('plan').innerHTML"))
    assert len(set(seen)) == 3


def test_keys_buttons_and_playing_move_the_frame(page: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    body = page.find_element("css selector", "body")
    body.send_keys(Keys.ARROW_RIGHT)
    assert frame_shown(page)[0] == 1
    body.send_keys(Keys.END)
    body.send_keys(Keys.ARROW_RIGHT)
    assert frame_shown(page)[0] == 2
    body.send_keys(Keys.ARROW_LEFT)
    click(page, "#previous")
    assert frame_shown(page)[0] == 0
    click(page, "#next")
    assert frame_shown(page)[0] == 1
    click(page, "#play")
    wait_until(lambda: frame_shown(page)[0] == 2)
    wait_until(lambda: frame_shown(page)[0] == 0)  # it starts over
    click(page, "#play")
    assert page.find_element("css selector", "#play").get_attribute("aria-pressed") == "false"


def test_toggles_hide_boxes_labels_and_ground_truth(page: Any) -> None:
    color = class_color("car")
    assert pixel_count(pixels(page, "[data-camera=front] .picture"), color) > 50
    assert pixel_count(pixels(page, "#plan"), color) > 20
    click(page, "#show-boxes")
    assert count(page, ".detection") == 0
    assert count(page, "#plan .truth") == 2
    click(page, "#show-truth")
    assert count(page, "[data-box]") == 0
    assert pixel_count(pixels(page, "[data-camera=front] .picture"), color) == 0
    assert pixel_count(pixels(page, "#plan"), color) == 0
    click(page, "#show-boxes")
    assert count(page, "#plan .detection") == 3
    assert count(page, "#cameras .label") > 0
    labelled = pixels(page, "[data-camera=front] .picture")
    click(page, "#show-labels")
    assert count(page, "#cameras .label") == 0
    assert (pixels(page, "[data-camera=front] .picture") != labelled).any()
    for key in "bg":
        page.find_element("css selector", "body").send_keys(key)
    assert (count(page, ".detection"), count(page, "#plan .truth")) == (0, 2)


def test_the_threshold_and_the_legend_filter_boxes(page: Any) -> None:
    slide(page, "threshold", 0.8)
    assert count(page, "#plan .detection") == 1
    assert text(page, "#threshold-value") == "0.80"
    slide(page, "threshold", 0)
    assert count(page, "#plan .detection") == 3
    click(page, "#legend [data-class=car]")
    assert (count(page, "#plan .detection"), count(page, "#plan .truth")) == (1, 0)
    click(page, "#legend [data-class=car]")
    assert (count(page, "#plan .detection"), count(page, "#plan .truth")) == (3, 2)


def test_a_missing_camera_is_said(page: Any) -> None:
    def is_missing(camera: str) -> bool:
        return "missing" in page.find_element("css selector", f"[data-camera={camera}]").get_attribute("class")

    assert not is_missing("back")
    slide(page, "frame", 1)
    assert is_missing("back")
    assert not is_missing("front")
    assert text(page, "[data-camera=back] .age") == "missing"
    assert count(page, "[data-camera=back] [data-box]") == 0
    slide(page, "frame", 2)
    assert not is_missing("back")
    assert text(page, "[data-camera=back] .age") == "42 ms old"


def test_the_plan_shows_ahead_above_and_left_at_the_left(page: Any) -> None:
    def middle(selector: str) -> np.ndarray:
        rect = page.find_element("css selector", f"#plan {selector}").rect
        return np.array([rect["x"] + rect["width"] / 2, rect["y"] + rect["height"] / 2])

    ego, left_ahead = middle(".ego"), middle("[data-box=truth-0]")
    ahead, behind = middle("[data-box=detection-0]"), middle("[data-box=detection-2]")
    assert ahead[1] < ego[1] - 50
    assert ahead[0] == pytest.approx(ego[0], abs=2)
    assert left_ahead[0] < ego[0] - 5
    assert behind[1] > ego[1] + 50


def test_a_box_is_found_in_all_views(page: Any) -> None:
    click(page, "#plan [data-box=detection-0]")
    assert count(page, "#plan .hot") == 1
    assert count(page, "[data-camera=front] .hot") == 1
    assert text(page, "#details").startswith("car score 0.90 · 12.0 m away")


def test_the_latency_plot_is_drawn_and_leads_to_frames(page: Any) -> None:
    areas = page.execute_script(
        "return [...document.querySelectorAll('#latency path')].map((p) => [p.getBBox().width, p.getBBox().height])"
    )
    assert len(areas) == 3
    assert all(width > 100 and height > 1 for width, height in areas)
    plot = page.find_element("css selector", "#latency")
    before = float(page.find_element("css selector", "#latency-marker").get_attribute("x"))
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(page).move_to_element_with_offset(plot, int(plot.size["width"] * 0.4), 0).click().perform()
    assert frame_shown(page)[0] == 2
    assert float(page.find_element("css selector", "#latency-marker").get_attribute("x")) > before
    assert "50.0 ms" in text(page, ".latency table")


def test_the_map_of_paths_follows_frame_threshold_and_classes(page: Any) -> None:
    def current() -> list[float]:
        script = "return [...document.querySelectorAll('#trajectories .now')].map((dot) => -dot.cy.baseVal.value)"
        return list(page.execute_script(script))

    assert count(page, "#trajectories .detection path") == 1
    assert count(page, "#trajectories .truth path") == 1
    assert current() == [12, 20]
    slide(page, "frame", 2)
    assert current() == [32]  # the other track was seen in the first frame only
    slide(page, "threshold", 0.5)
    assert count(page, "#trajectories .detection") == 1
    click(page, "#legend [data-class=car]")
    assert count(page, "#trajectories .detection") + count(page, "#trajectories .truth") == 0
    assert pixel_count(pixels(page, "#trajectories"), (0x14, 0x18, 0x1D)) > 1000


def test_precision_and_recall_are_drawn_at_the_chosen_distance(page: Any) -> None:
    def curve_width(index: int) -> float:
        script = "return document.querySelectorAll('#curves .curve')[arguments[0]].getBBox().width"
        return float(page.execute_script(script, index))

    assert count(page, "#curves .curve") == 2
    assert curve_width(0) > 5 * curve_width(1)  # the second class is never found
    assert f"{EVIL} (none found)" in text(page, "#curve-names")
    click(page, "#distances [data-distance='1']")
    assert count(page, "#curves .curve") == 1
    assert page.find_element("css selector", "#distances [data-distance='1']").get_attribute("aria-pressed") == "true"


@pytest.fixture(scope="module")
def tabbed_file(tmp_path_factory: pytest.TempPathFactory, make_view: MakeView, make_boxes: MakeBoxes) -> Path:
    tabs = {}
    for name, color in (("street", (200, 40, 40)), ("real", (40, 40, 200))):
        jpeg = cv2.imencode(".jpg", np.full((360, 640, 3), color[::-1], np.uint8))[1].tobytes()
        boxes = make_boxes((12.0, 0.0))
        picture = CameraPicture("front", jpeg, 640, 360, 0.0, wireframes(make_view(), boxes))
        frames = tuple(ReportFrame(stamp_ns, (picture,), boxes, None, {"inference": 5.0}) for stamp_ns in (0, 10**9))
        tabs[name] = ReportData(name, frames, (("front",),))
    path = tmp_path_factory.mktemp("tabs") / "report.html"
    write_tabbed_report(path, "Two runs", {**tabs, "none": ReportData("none", (), (), introduction=("Get one.",))})
    return path


@pytest.fixture
def tabbed(browser: Any, tabbed_file: Path) -> Any:
    browser.get("about:blank")  # another part of the same page would not load it again
    browser.get(tabbed_file.as_uri())
    return browser


def visible_run(page: Any) -> str:
    script = (
        "return [...document.querySelectorAll('.run')].filter((run) => run.offsetHeight).map((r) => r.dataset.name)"
    )
    (name,) = page.execute_script(script)
    return str(name)


def test_tabs_change_by_click_by_key_and_by_address(tabbed: Any, tabbed_file: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    assert visible_run(tabbed) == "street"
    click(tabbed, "#real-tab")
    wait_until(lambda: visible_run(tabbed) == "real")
    assert tabbed.current_url.endswith("#real")
    assert count(tabbed, "#real-plan .detection") == 1
    tabbed.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    wait_until(lambda: visible_run(tabbed) == "none")
    assert "Get one." in text(tabbed, "#none-run")
    tabbed.find_element("css selector", "body").send_keys("1")
    wait_until(lambda: visible_run(tabbed) == "street")
    tabbed.back()
    wait_until(lambda: visible_run(tabbed) == "none")
    tabbed.get("about:blank")
    tabbed.get(f"{tabbed_file.as_uri()}#real")
    assert visible_run(tabbed) == "real"
    selected = tabbed.find_elements("css selector", "[role=tab][aria-selected=true]")
    assert [tab.text for tab in selected] == ["real"]
    assert tabbed.get_log("browser") == []


def test_keys_move_the_frames_of_the_visible_tab_only(tabbed: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    def frames() -> list[str | None]:
        return list(tabbed.execute_script("return [...document.querySelectorAll('.run')].map((r) => r.dataset.frame)"))

    body = tabbed.find_element("css selector", "body")
    assert frames() == ["0", None, None]  # a tab is drawn when it is first shown
    body.send_keys(Keys.END)
    body.send_keys("2")
    wait_until(lambda: visible_run(tabbed) == "real")
    assert frames() == ["1", "0", None]
    click(tabbed, "#real-play")
    body.send_keys("1")
    wait_until(lambda: visible_run(tabbed) == "street")
    assert tabbed.find_element("css selector", "#real-play").get_attribute("aria-pressed") == "false"


def test_all_tabs_are_printed(tabbed: Any) -> None:
    script = (
        "window.dispatchEvent(new Event('beforeprint'));"
        "const boxes = (run) => run.querySelectorAll('.plan .box').length;"
        "const drawn = [...document.querySelectorAll('.run')].map((run) => [run.hidden, boxes(run)]);"
        "window.dispatchEvent(new Event('afterprint')); return drawn"
    )
    assert tabbed.execute_script(script) == [[False, 1], [False, 1], [False, 0]]
    assert visible_run(tabbed) == "street"
    pages = base64.b64decode(tabbed.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert len(re.findall(rb"/Type\s*/Page\b", pages)) >= 3


@pytest.mark.parametrize("width", [1600, 1000, 420])
def test_nothing_is_wider_than_the_window(page: Any, width: int) -> None:
    device = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
    try:
        assert page.execute_script("return innerWidth") == width
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_without_labels_and_detections_the_page_still_works(browser: Any, tmp_path: Path) -> None:
    nothing = Boxes3D.empty("base_link", ("car",))
    jpeg = cv2.imencode(".jpg", np.zeros((36, 64, 3), np.uint8))[1].tobytes()
    frames = (ReportFrame(0, (CameraPicture("front", jpeg, 64, 36),), nothing),)
    write_report(tmp_path / "report.html", ReportData("Empty", frames, (("front", "never seen"),)))
    open_page(browser, tmp_path / "report.html")
    assert browser.get_log("browser") == []
    assert count(browser, "[data-box]") == 0
    assert not browser.find_element("css selector", "#show-truth").is_displayed()
    assert count(browser, "#latency") == 0
    assert count(browser, ".missing") == 1
