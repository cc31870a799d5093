"""Writes what a bev_detection node publishes as JSON lines, in the form of `lift3d replay`.

The files appear when the node has been found: a recording that is played from then on is recorded from its beginning.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from lift3d_ros.errors import ConfigError
from lift3d_ros.msg import BevDetectionArray, StageTiming
from lift3d_ros.nodes.messages import detections_from_msg, timings_from_msg
from lift3d_ros.nodes.run import own_arguments, start_ros
from lift3d_ros.replay.results import DETECTIONS_FILE, TIMING_FILE, detections_to_json, timings_to_json

_LAST_MESSAGES_S = 0.5


class DetectionRecorder(Node):
    """Appends each detection and each timing to its file as it arrives."""

    def __init__(self, folder: Path, node_name: str) -> None:
        """Write to `folder` what the node called `node_name` publishes."""
        super().__init__("detection_recorder")
        self._folder = folder
        self._files: dict[str, TextIO] = {}
        topic = f"{node_name}/detections"
        self.create_subscription(BevDetectionArray, topic, self._take_detections, 100)
        self.create_subscription(StageTiming, f"{node_name}/timing", self._take_timing, 100)
        self._search = self.create_timer(0.05, lambda: self._open() if self.count_publishers(topic) else None)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self.destroy_node()

    def _open(self) -> None:
        self._search.cancel()
        if not self._files:
            for name in (TIMING_FILE, DETECTIONS_FILE):
                self._files[name] = (self._folder / name).open("w", encoding="utf-8", buffering=1)

    def _take_detections(self, message: BevDetectionArray) -> None:
        self._open()
        self._files[DETECTIONS_FILE].write(detections_to_json(detections_from_msg(message)) + "\n")

    def _take_timing(self, message: StageTiming) -> None:
        self._open()
        stamp_ns, timings_s = timings_from_msg(message)
        self._files[TIMING_FILE].write(timings_to_json(stamp_ns, timings_s) + "\n")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror}); name a folder that can be written") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Record until interrupted."""
    parser = argparse.ArgumentParser(prog="detection_recorder", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder for detections.jsonl and timing.jsonl")
    parser.add_argument("--node", default="bev_detection", help="name of the node (default bev_detection)")
    try:
        args = parser.parse_args(own_arguments() if arguments is None else list(arguments))
        _make_folder(args.folder)
        start_ros()
    except ConfigError as error:
        print(f"detection_recorder: error: {error}", file=sys.stderr)
        return 2
    is_stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: is_stopped.set())
    recorder = DetectionRecorder(args.folder, args.node)
    executor = SingleThreadedExecutor()
    executor.add_node(recorder)
    while not is_stopped.is_set():
        executor.spin_once(timeout_sec=0.1)
    # What was published last may still be on its way.
    end_s = time.monotonic() + _LAST_MESSAGES_S
    while (left_s := end_s - time.monotonic()) > 0:
        executor.spin_once(timeout_sec=left_s)
    recorder.close()
    rclpy.try_shutdown()
    return 0
