"""Shared fixtures: where the reference data lies and how its absence is reported."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Here and not in pyproject.toml, because the pytest of Ubuntu 22.04 does not know the setting for it.
sys.path.insert(0, str(Path(__file__).parent / "support"))

from drive import CAMERAS
from shared_files import remove_left_files

from lift3d_ros.pipelines.bev_graph import exported_graph
from lift3d_ros.weights.manifest import find_model

if TYPE_CHECKING:
    from ros_system import Observer

REPOSITORY = Path(__file__).resolve().parents[1]

# This process, and what it starts, get a DDS domain that no other test process uses.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)

HAS_ROS = all(importlib.util.find_spec(name) for name in ("rclpy", "lift3d_ros.msg"))
collect_ignore_glob = [] if HAS_ROS else ["nodes/*", "faults/*"]

# A shell starts what it runs in the background with interrupts ignored, and the processes of tests would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not HAS_ROS:
        reason = pytest.mark.skip(reason="no ROS 2 or no built interfaces ('make setup', README)")
        for item in items:
            if item.get_closest_marker("ros"):
                item.add_marker(reason)


def pytest_report_header() -> str:
    return "" if HAS_ROS else "node tests are left out: no ROS 2 or no built interfaces ('make setup', README)"


def shared_root() -> Path:
    """Return the folder of reference data; it need not exist."""
    return Path(os.environ.get("LIFT3D_SHARED_DIR", REPOSITORY.parent / "shared")).resolve()


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    root = shared_root()
    if not (root / "data").is_dir():
        pytest.skip(f"no reference data: {root}/data does not exist; set LIFT3D_SHARED_DIR")
    return root


@pytest.fixture(scope="session", autouse=True)
def removed_shared_memory() -> Iterator[None]:
    """What processes that had to be killed leave in /dev/shm does not stay there until the machine restarts."""
    began_s = time.time()
    yield
    remove_left_files(began_s)


@pytest.fixture(scope="session")
def graph_cache() -> Path:
    """The package's cache folder for tests: exported graphs stay there, since making one takes tens of seconds."""
    folder = REPOSITORY / "build" / "test-cache"
    os.environ["LIFT3D_CACHE_DIR"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def three_camera_graph(graph_cache: Path) -> Path:
    """The graph for the cameras of `drive` is there before a node asks for it, so a node is ready in seconds."""
    return exported_graph("dfa3d_tiny", find_model("dfa3d_tiny"), len(CAMERAS), is_fixed=False)


@pytest.fixture
def parameters(three_camera_graph: Path) -> dict[str, Any]:
    """Parameters of a bev_detection node for a recording of `drive`, paced and without loss."""
    return {
        "model": "dfa3d_tiny",
        "cameras": list(CAMERAS),
        "topics.is_compressed": True,
        "sync.drop": False,
        "qos.reliability": "reliable",
        "engine.backend": "onnxruntime",
        "engine.threads": 1,
        "detector.score_threshold": 0.0,
        "detector.max_boxes": 20,
    }


@pytest.fixture
def observer() -> Iterator[Observer]:
    """A node of the test that hears detections and diagnostics."""
    from ros_system import Observer

    observer = Observer()
    observer.listen_to_detections()
    yield observer
    observer.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless browser that keeps what pages write to its console."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip(f"no headless browser: chromium is {chromium}, chromedriver is {driver}; install both")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()
