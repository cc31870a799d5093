"""A recording becomes frame sets with the ego motion that was chosen, whatever else its transforms say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drive import SPEED, START_NS, Drive

from lift3d_ros.bags.discover import discover
from lift3d_ros.bags.reader import open_bag
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.geometry.rig import Rig, RigCamera
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.pipelines.frame_sets import SyncConfig
from lift3d_ros.replay.bag_frames import BagFrames
from lift3d_ros.types import FrameSet

MS = 1_000_000
CAMERAS = {name: RigCamera() for name in ("front", "left", "right")}


class WithOdometry(Drive):
    """Odometry tells the motion; /tf says something else about the base."""

    parent = "base_footprint"

    def more(self) -> Iterable[tuple[int, Callable[[BagWriter], Any]]]:
        zero = np.zeros(3)
        for stamp_ns in range(START_NS - 200 * MS, START_NS + 2000 * MS, 50 * MS):
            T = make_transform(np.eye(3), [SPEED * (stamp_ns - START_NS) * 1e-9, 0.0, 0.0])
            fixed = {(self.parent, "base_link"): np.eye(4)}
            yield stamp_ns, lambda w, s=stamp_ns, T=T: w.odometry(T, zero, zero, s, s)
            yield stamp_ns + MS, lambda w, s=stamp_ns, fixed=fixed: w.transforms(fixed, s, s)


class WithFixedOdom(WithOdometry):
    parent = "odom"


def sets_of(path: Path, rig: Rig | None = None) -> list[FrameSet]:
    with open_bag(path) as reader:
        return list(BagFrames(reader, discover(reader, rig), SyncConfig(), rig).frame_sets())


@pytest.mark.parametrize(
    ("drive", "rig"), [(WithOdometry, None), (WithFixedOdom, Rig(cameras=CAMERAS, odometry_topic="/odom"))]
)
def test_transforms_do_not_take_the_base_away_from_odometry(
    drive: type[Drive], rig: Rig | None, tmp_path: Path
) -> None:
    sets = sets_of(drive(frames=3, has_ego_motion=False).write(tmp_path / "drive"), rig)
    assert len(sets) == 3
    for frame_set in sets:
        assert frame_set.problems == ()
        assert frame_set.ego is not None
        seconds = (frame_set.stamp_ns - START_NS) * 1e-9
        assert frame_set.ego.T_world_base[0, 3] == pytest.approx(SPEED * seconds)
