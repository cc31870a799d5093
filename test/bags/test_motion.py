"""The frames of a recording, and in which of them the vehicle moves, are found without being named."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.bags.discover import BagStreams, discover
from lift3d_ros.bags.reader import open_bag
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.errors import BagError
from lift3d_ros.geometry.rig import Rig, RigCamera
from lift3d_ros.types import Float64Array

WriteBag = Callable[..., Path]
START_NS = 1_600_000_000_000_000_000
PERIOD_NS = 20_000_000


def streams_of(path: Path, rig: Rig | None = None) -> BagStreams:
    with open_bag(path) as reader:
        return discover(reader, rig)


def ahead(metres: float) -> Float64Array:
    T = np.eye(4)
    T[0, 3] = metres
    return T


def edges(*named: tuple[str, str, bool], count: int = 5, first: int = 0) -> Callable[[BagWriter], None]:
    """Return a writer of /tf with (parent, child, whether it moves); messages `first` to `first` + `count`."""

    def write(writer: BagWriter) -> None:
        for i in range(first, first + count):
            entries = {(parent, child): ahead(float(i) if moves else 0.0) for parent, child, moves in named}
            writer.transforms(entries, START_NS + i * PERIOD_NS, START_NS + i * PERIOD_NS)

    return write


def odometry(topic: str = "/odom", base_frame: str = "base_link") -> Callable[[BagWriter], None]:
    def write(writer: BagWriter) -> None:
        writer.odometry(np.eye(4), np.zeros(3), np.zeros(3), 1, 1, topic=topic, base_frame=base_frame)

    return write


def both(*writers: Callable[[BagWriter], None]) -> Callable[[BagWriter], None]:
    def write(writer: BagWriter) -> None:
        for one in writers:
            one(writer)

    return write


def test_odometry_is_taken_where_transforms_do_not_move(write_bag: WriteBag) -> None:
    streams = streams_of(write_bag("a", moving=False, extra=odometry()))
    assert (streams.world_frame, streams.odometry_topic) == ("odom", "/odom")
    streams = streams_of(write_bag("b", extra=odometry()))
    assert (streams.world_frame, streams.odometry_topic) == ("odom", None)


def test_the_base_frame_may_have_another_name(write_bag: WriteBag) -> None:
    def mount(writer: BagWriter) -> None:
        writer.transforms({("robot", "front_optical"): np.eye(4)}, 1, 1, is_static=True)
        writer.transforms({("map", "robot"): np.eye(4)}, 1, 1)

    streams = streams_of(write_bag(mounted=False, moving=False, extra=mount))
    assert (streams.base_frame, streams.world_frame) == ("robot", "map")


@pytest.mark.parametrize(
    ("tree", "world_frame"),
    [
        pytest.param(
            [("base_footprint", "base_link", False), ("odom", "base_footprint", True)], "odom", id="footprint"
        ),
        pytest.param([("odom", "base_link", True), ("map", "odom", True)], "odom", id="odom does not jump"),
        pytest.param([("odom", "base_link", False), ("map", "odom", True)], "map", id="odom that stands still"),
        pytest.param([("car/odom", "base_link", True), ("map", "car/odom", False)], "car/odom", id="namespace"),
        pytest.param([("tilt", "base_link", True), ("enu", "tilt", True)], "enu", id="unusual names"),
        pytest.param([("base_footprint", "base_link", False), ("odom", "base_footprint", False)], "odom", id="parked"),
        pytest.param([("base_footprint", "base_link", False)], None, id="fixed part"),
    ],
)
def test_the_frame_in_which_the_vehicle_moves_is_found(
    tree: list[tuple[str, str, bool]], world_frame: str | None, write_bag: WriteBag
) -> None:
    assert streams_of(write_bag(moving=False, extra=edges(*tree))).world_frame == world_frame


def test_odometry_is_taken_where_transforms_only_hold_the_vehicle_together(write_bag: WriteBag) -> None:
    streams = streams_of(
        write_bag(moving=False, extra=both(edges(("base_footprint", "base_link", False)), odometry("/wheels")))
    )
    assert (streams.world_frame, streams.odometry_topic) == ("odom", "/wheels")


def test_ego_motion_that_comes_after_thousands_of_other_transforms_is_found(write_bag: WriteBag) -> None:
    joints = edges(("base_link", "wheel", True), count=2000)
    streams = streams_of(write_bag(moving=False, extra=both(joints, edges(("odom", "base_link", True), first=2000))))
    assert (streams.world_frame, streams.ego.problem) == ("odom", "")


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (None, "neither /tf nor an Odometry topic moves 'base_link'"),
        (
            odometry("/wheels", "base_footprint"),
            "topic '/wheels' tells the motion of 'base_footprint', expected 'base_link'; .*base_frame in a rig file",
        ),
        (
            edges(("garage", "base_link", False)),
            "'base_link' never moves in garage; .*name the frame as world_frame in a rig file",
        ),
    ],
)
def test_missing_ego_motion_names_what_there_is(
    extra: Callable[[BagWriter], None] | None, told: str, write_bag: WriteBag
) -> None:
    streams = streams_of(write_bag(moving=False, extra=extra))
    assert streams.world_frame is None
    assert re.search(f"no ego motion: {told}", streams.ego.problem)


def test_a_rig_chooses_the_ego_motion(write_bag: WriteBag) -> None:
    cameras = {"front": RigCamera()}
    tree = edges(("odom", "base_link", True), ("map", "odom", True))
    path = write_bag(moving=False, extra=both(tree, odometry("/gnss"), odometry("/wheels")))
    streams = streams_of(path, Rig(cameras=cameras, world_frame="map"))
    assert (streams.world_frame, streams.odometry_topic) == ("map", None)
    streams = streams_of(path, Rig(cameras=cameras, odometry_topic="/wheels"))
    assert (streams.world_frame, streams.odometry_topic) == ("odom", "/wheels")


@pytest.mark.parametrize(
    ("rig", "told"),
    [
        (Rig(world_frame="mapp"), r"world_frame 'mapp'.*did you mean 'map'.*frames above it: odom, map"),
        (Rig(odometry_topic="/wheel"), r"odometry_topic '/wheel'.*did you mean '/wheels'"),
        (Rig(odometry_topic="/other"), r"topic '/other' tells that of 'trailer' in 'odom'"),
        (Rig(odometry_topic="/wheels", world_frame="map"), r"odometry_topic '/wheels' and world_frame 'map'"),
    ],
)
def test_a_rig_with_ego_motion_that_is_not_there_is_answered_with_what_is(
    rig: Rig, told: str, write_bag: WriteBag
) -> None:
    tree = edges(("odom", "base_link", True), ("map", "odom", True))
    path = write_bag(moving=False, extra=both(tree, odometry("/wheels"), odometry("/other", "trailer")))
    with pytest.raises(BagError, match=told):
        streams_of(path, Rig(rig.base_frame, {"front": RigCamera()}, rig.world_frame, rig.odometry_topic))
