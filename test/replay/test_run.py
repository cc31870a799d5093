"""A run can be resumed after any interruption, and then goes on with the memory it had."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from lift3d_ros.errors import ImageError, Lift3dError
from lift3d_ros.pipelines.bev_detection import BevDetector
from lift3d_ros.pipelines.tracking import BoxTracker, TrackingConfig
from lift3d_ros.replay.run import FrameRange, ResultFolder, run_detector
from lift3d_ros.types import (
    BevDetections,
    Boxes3D,
    CameraImage,
    CameraModel,
    CameraView,
    EgoMotion,
    FrameSet,
    ModelIdentity,
)

FILES = ("detections.jsonl", "sets.jsonl", "timing.jsonl")


class Counting:
    """Stands for a detector: its memory is the sum of the frames so far, and it fails where it is told to."""

    def __init__(self, unusable: Iterable[int] = (), interrupt_at: int | None = None) -> None:
        self.unusable, self.interrupt_at, self.memory = set(unusable), interrupt_at, 0

    def prepare(self, item: FrameSet) -> FrameSet:
        if item.stamp_ns in self.unusable:
            raise ImageError("no picture of this set can be used")
        return item

    def infer(self, item: FrameSet) -> BevDetections:
        self.memory = self.memory * 3 + item.stamp_ns
        if item.stamp_ns == self.interrupt_at:
            raise KeyboardInterrupt
        identity = ModelIdentity("counting", "", is_trained=False)
        boxes = Boxes3D.empty("base_link", ("car",))
        return BevDetections(item.stamp_ns, boxes, (), identity, "fused", problems=(str(self.memory),))

    def snapshot(self) -> dict[str, Any]:
        return {"memory": np.array(self.memory)}

    def restore(self, arrays: dict[str, Any]) -> None:
        self.memory = int(arrays["memory"])


def frames(count: int) -> list[FrameSet]:
    model = CameraModel("front", "f", 8, 8, np.diag([5.0, 5.0, 1.0]))
    view = CameraView(CameraImage("front", 0, "f", "jpeg", np.zeros(1, np.uint8)), model, np.eye(4))
    return [FrameSet(stamp_ns, {"front": view}) for stamp_ns in range(1, count + 1)]


def run(path: Path, detector: Counting, *, resume: bool = False, stop: int | None = None) -> ResultFolder:
    folder = ResultFolder(path, {"input": "x"}, resume=resume, overwrite=False)
    run_detector(frames(30), cast("BevDetector", detector), folder, FrameRange(0, stop), lambda *_: None)
    return folder


def contents(path: Path) -> list[bytes]:
    return [(path / name).read_bytes() for name in (*FILES, "run.json")]


@pytest.mark.parametrize("interrupt_at", [1, 2, 4, 20, 21, 25, 30])
def test_an_interrupted_run_is_resumed_to_the_same_bytes(interrupt_at: int, tmp_path: Path) -> None:
    unusable = {3, 20, 22, 29}
    run(tmp_path / "whole", Counting(unusable))
    if interrupt_at not in unusable:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "parts", Counting(unusable, interrupt_at))
    folder = run(tmp_path / "parts", Counting(unusable), resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert (folder.finished, folder.consumed) == (26, 30)


class Tracked(Counting):
    """Finds four objects that drive off, each now and then, and tracks them."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        super().__init__((), interrupt_at)
        self.tracker = BoxTracker(TrackingConfig())

    def infer(self, item: FrameSet) -> BevDetections:
        result = super().infer(item)
        random = np.random.default_rng(item.stamp_ns)
        found = Boxes3D(
            "base_link",
            ("car",),
            centers=np.arange(4)[:, None] * [3.0, 9.0, 0.0]
            + item.stamp_ns * 1e-8
            + random.normal(scale=0.2, size=(4, 3)),
            sizes=np.ones((4, 3)),
            yaws=random.normal(size=4),
            velocities=np.zeros((4, 2)),
            scores=random.uniform(0.0, 0.9, 4),
            labels=np.zeros(4, dtype=np.int64),
        )
        stamp_ns = item.stamp_ns * 100_000_000
        is_continued = item.stamp_ns > 1
        boxes = self.tracker.update(found, stamp_ns, EgoMotion(stamp_ns, np.eye(4)), is_continued=is_continued)
        return dataclasses.replace(result, boxes=boxes)

    def snapshot(self) -> dict[str, Any]:
        return {**super().snapshot(), **self.tracker.snapshot()}

    def restore(self, arrays: dict[str, Any]) -> None:
        super().restore(arrays)
        self.tracker.restore(arrays)


@pytest.mark.parametrize("interrupt_at", [2, 25])
def test_a_resumed_run_goes_on_with_the_tracks_it_had(interrupt_at: int, tmp_path: Path) -> None:
    run(tmp_path / "whole", Tracked())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", Tracked(interrupt_at))
    run(tmp_path / "parts", Tracked(), resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    last = json.loads((tmp_path / "whole" / "detections.jsonl").read_text().splitlines()[-1])
    assert max(box["track_id"] for box in last["boxes"]) > 0


@pytest.mark.parametrize("stop", [2, 3, 4, 20])
def test_a_longer_range_goes_on_behind_sets_left_out(stop: int, tmp_path: Path) -> None:
    run(tmp_path / "whole", Counting({3, 20}))
    run(tmp_path / "parts", Counting({3, 20}), stop=stop)
    run(tmp_path / "parts", Counting({3, 20}), resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_the_number_of_sets_left_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path, Counting({3, 20}))
    assert "frame set at 3 ns left out: no picture of this set can be used" in caplog.text
    assert "frame sets left out for lack of a usable picture: 2 of 30" in caplog.text


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [None, -5])
def test_results_that_were_cut_off_are_made_again(name: str, keep: int | None, tmp_path: Path) -> None:
    run(tmp_path / "whole", Counting())
    run(tmp_path / "parts", Counting(), stop=7)
    path = tmp_path / "parts" / name
    if keep is None:
        path.write_bytes(b"")
    else:
        path.write_bytes(path.read_bytes()[:keep])
    run(tmp_path / "parts", Counting(), resume=True)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_damaged_memory_is_named(tmp_path: Path) -> None:
    run(tmp_path, Counting(), stop=7)
    (tmp_path / "memory.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(Lift3dError, match=r"memory\.npz: damaged .*use --overwrite"):
        run(tmp_path, Counting(), resume=True)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Lift3dError, match=r"file/out: the results cannot be written .*; check permissions"):
        run(tmp_path / "file" / "out", Counting())


def test_what_lasts_is_told_when_it_begins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class WithProblems(Counting):
        def infer(self, item: FrameSet) -> BevDetections:
            lasting = ("no ego motion",) if 4 <= item.stamp_ns <= 20 or item.stamp_ns == 25 else ()
            return dataclasses.replace(super().infer(item), problems=lasting)

    run(tmp_path / "out", WithProblems())
    told = [message for message in caplog.messages if "no ego motion" in message]
    assert told == ["frame set at 4 ns: no ego motion", "frame set at 25 ns: no ego motion"]
