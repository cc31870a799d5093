"""The player gives the node what replay would take from the recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from drive import CAMERAS, Drive
from ros_system import DETECTIONS, NodeProcess, Observer, play, running_node

from lift3d_ros.bags.writer import BagWriter

pytestmark = pytest.mark.ros


class CalibratedLater(Drive):
    """The calibration of each camera is recorded after its first two pictures."""

    def more(self) -> Iterable[tuple[int, Callable[[BagWriter], Any]]]:
        for name in CAMERAS:
            stamp_ns = self.stamp_ns(name, 0)
            yield (
                stamp_ns + 900_000_000,
                lambda w, n=name, s=stamp_ns: w.camera_info(f"/{n}/camera_info", self.model(n), s, s + 900_000_000),
            )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--topics", "/front/info"], r"topic '/front/info' is not in it"),
        (["--paced", "/front/camera"], r"--paced /front/camera: is not played; did you mean '/front/camera_info'\?"),
        (["--without", "/tf", "--paced", "/tf"], r"--paced /tf: is not played"),
    ],
)
def test_topics_that_cannot_be_played_are_named(tmp_path: Path, options: list[str], words: str) -> None:
    bag = Drive(frames=1).write(tmp_path / "drive")
    with NodeProcess("bag_player", str(bag), *options) as player:
        player.wait_for(words)
        assert player.wait() == 2


def test_calibration_that_is_recorded_after_the_pictures_reaches_the_node_before_them(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    bag = CalibratedLater(frames=2, calibrated=()).write(tmp_path / "drive")
    with running_node(parameters, observer):
        play(bag)
        results = observer.wait_for_messages(DETECTIONS, 2)
    assert all(use.is_used for result in results for use in result.cameras)
