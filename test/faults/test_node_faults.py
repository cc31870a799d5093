"""What the node does when its detector, engine, ego motion or files misbehave: it goes on, says so, and recovers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drive import START_NS, Drive
from lifecycle_msgs.msg import Transition
from ros_system import DETECTIONS, READY, NodeProcess, Observer, play, running_node

from lift3d_ros.bags.messages import stamp_ns
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.msg import StageTiming

pytestmark = pytest.mark.ros


def used(message: Any) -> dict[str, bool]:
    return {use.name: use.is_used for use in message.cameras}


def test_the_newest_set_wins_while_the_detector_is_slower_than_the_cameras(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    drive = Drive(frames=12)
    bag = drive.write(tmp_path / "drive")
    observer.listen("/bev_detection/timing", StageTiming)
    with (
        running_node(parameters | {"sync.drop": True, "qos.depth": 100}, observer),
        NodeProcess("bag_player", str(bag), "--rate", "0"),
    ):
        last_ns = drive.stamp_ns("right", 11)
        observer.wait_until(
            lambda: any(stamp_ns(result.header) == last_ns for result in observer.detections()),
            "the result of the last set",
        )
        num_results = len(observer.detections())
        timing = observer.wait_for_messages("/bev_detection/timing", num_results)[-1]
        status = observer.wait_for_status("pipeline", "untrained weights")
    assert 0 < timing.dropped_sets == 12 - num_results
    assert int({value.key: value.value for value in status.values}["sets replaced by newer ones"]) > 0


def test_an_engine_that_cannot_be_opened_is_named_and_opened_once_that_is_corrected(
    tmp_path: Path,
    graph_cache: Path,
    parameters: dict[str, Any],
    observer: Observer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "onnx").write_text("in the place of the folder")
    monkeypatch.setenv("LIFT3D_CACHE_DIR", str(tmp_path))

    with NodeProcess("bev_detection", parameters=parameters) as node:
        status = observer.wait_for_status("pipeline", r"the engine cannot be opened: .*/onnx: cannot write")
        assert status.level == b"\x02"
        assert "name another one in LIFT3D_CACHE_DIR" in status.message
        (tmp_path / "onnx").unlink()
        (tmp_path / "onnx").symlink_to(graph_cache / "onnx")
        assert observer.transition("bev_detection", Transition.TRANSITION_DEACTIVATE)
        assert observer.transition("bev_detection", Transition.TRANSITION_ACTIVATE)
        node.wait_for(READY)


class OdometryOfATrailer(Drive):
    def more(self) -> Iterable[tuple[int, Callable[[BagWriter], Any]]]:
        for s in range(START_NS - 200_000_000, START_NS + 1_000_000_000, 50_000_000):
            yield s, lambda w, s=s: w.odometry(np.eye(4), np.zeros(3), np.zeros(3), s, s, base_frame="trailer")


def test_odometry_of_another_frame_is_not_used_and_named(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    bag = OdometryOfATrailer(frames=2, has_ego_motion=False).write(tmp_path / "drive")
    with running_node(parameters | {"ego_motion": "odometry"}, observer) as node:
        play(bag)
        results = observer.wait_for_messages(DETECTIONS, 2)
        node.wait_for(r"topic '/odom': odometry of 'trailer' in 'odom' is not used; expected 'base_link' in 'odom'")
    assert results[1].temporal_state == results[1].TEMPORAL_NO_EGO_MOTION


def test_a_record_file_that_cannot_be_written_costs_no_detection(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    sets = tmp_path / "sets.jsonl"
    bag = Drive(frames=2).write(tmp_path / "drive")
    with running_node(parameters | {"record_sets": sets}, observer) as node:
        sets.unlink()
        sets.mkdir()  # a folder cannot be written to, even by root
        play(bag)
        node.wait_for(r"a frame set is not recorded: parameter 'record_sets': .* cannot be written \(Is a directory\)")
        observer.wait_for_messages(DETECTIONS, 2)
