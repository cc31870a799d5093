"""Runs the whole test suite; the last line counts all runs. Arguments go to pytest: tools/run_tests.py test/viz -x.

The node tests run twice. The message classes of newer ROS 2 distributions accept a wrong type in a field, those of
Jazzy and older ones refuse it; ROS_PYTHON_CHECK_FIELDS=1 makes the newer ones refuse it, too.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Not 'python -m pytest': that puts the source tree, which has no generated messages, before the installed package.
PYTEST = Path(sys.executable).with_name("pytest")
ENGINES = ROOT / "build" / "engines"
ENGINE_TESTS = (
    "test/engines/test_tensorrt_rtx.py",
    "test/engines/test_openvino_engine.py",
    "test/engines/test_engines.py",
)
NO_TESTS_SELECTED = 5  # exit status of pytest


def main() -> int:
    """Run pytest for each part of the suite; 1 where one of them failed."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-m", dest="markers", default="not slow")
    options, arguments = parser.parse_known_args()
    # Each worker takes whole files, so what a file prepares is made once.
    workers = ["-n", "2", "--dist", "loadfile"] if importlib.util.find_spec("xdist") else []
    counts: Counter[str] = Counter()
    if importlib.util.find_spec("rclpy"):
        # Node tests mostly wait, each worker on a DDS domain of its own.
        # A loaded machine can make discovery lose the first message; a test that fails twice has found something.
        again = ["--reruns", "1"] if importlib.util.find_spec("pytest_rerunfailures") else []
        nodes = ["-m", f"ros and ({options.markers})", *workers, *again, *arguments]
        run("all but the node tests", ["-m", f"not ros and ({options.markers})", *workers, *arguments], {}, counts)
        run("node tests", nodes, {}, counts)
        before = counts["passed"]
        run("node tests with the field checks of older distributions", nodes, {"ROS_PYTHON_CHECK_FIELDS": "1"}, counts)
        if counts["passed"] == before and not arguments:
            counts["bad runs"] += 1
            print("run_tests: rclpy is installed, but no node test passed; run 'make setup'", flush=True)
    else:
        run("all tests", ["-m", options.markers, *workers, *arguments], {}, counts)
        print("rclpy is not installed: no node test ran, so the second run of the node tests is left out", flush=True)
    if ENGINES.is_dir() and not arguments:
        run(
            "backends that only their own tests need",
            [*ENGINE_TESTS, "-m", options.markers],
            {"PYTHONPATH": str(ENGINES)},
            counts,
        )
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped", flush=True)
    return 1 if counts["bad runs"] or not counts["passed"] else 0


def run(title: str, arguments: list[str], variables: dict[str, str], counts: Counter[str]) -> None:
    """Run pytest with its output shown as it comes, and add what it counted."""
    print(f"run_tests: {title}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [str(PYTEST), f"--junit-xml={report}", *arguments]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
        status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        if report.exists():
            suites = list(ElementTree.parse(report).iter("testsuite"))
            total, failures, errors, skipped = (
                sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "failures", "errors", "skipped")
            )
            counts["passed"] += total - failures - errors - skipped
            counts["failed"] += failures + errors
            counts["skipped"] += skipped
        else:
            counts["failed"] += 1  # pytest itself did not come to its end
    if status not in (0, NO_TESTS_SELECTED):
        counts["bad runs"] += 1
        print(f"run_tests: {title}: pytest ended with status {status}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
