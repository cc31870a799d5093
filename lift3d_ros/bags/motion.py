"""What the transforms and the odometry of a recording tell: which frames there are, and in which the vehicle moves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lift3d_ros.bags.messages import add_transforms, ego_motion_from_msg
from lift3d_ros.bags.reader import BagReader
from lift3d_ros.errors import BagError, TransformError, nearest_name_hint
from lift3d_ros.geometry.rig import Rig
from lift3d_ros.geometry.transform_tree import TransformTree

ODOMETRY = "nav_msgs/msg/Odometry"

_BASE_FRAMES = ("base_link", "base_footprint", "ego_vehicle", "vehicle", "base")
_ODOM = "odom"
# Frames in which vehicles move, after REP-105; the first one does not jump.
_WORLD_FRAMES = (_ODOM, "map", "world")
# How often, in messages, it is asked whether more transforms have to be read; and how many poses of an Odometry topic
# are looked at for a usable one.
_SAMPLED = 300


@dataclass(frozen=True)
class Transforms:
    """The transforms of a recording, as far as they had to be read, and a sentence for each unusable pair of frames."""

    tree: TransformTree
    problems: tuple[str, ...]


@dataclass(frozen=True)
class EgoSource:
    """Where the ego motion of a recording is.

    Args:
        world_frame: frame in which the base moves; None where there is no ego motion, and `problem` says why.
        odometry_topic: set only if the transforms do not carry the ego motion.
    """

    world_frame: str | None
    odometry_topic: str | None = None
    problem: str = ""


def read_transforms(
    reader: BagReader,
    static: Sequence[str],
    moving: Sequence[str],
    base_frame: str | None,
    camera_frames: Sequence[str],
) -> Transforms:
    """Read every static transform, and moving ones until ego motion and mountings are known, else all of them.

    Args:
        base_frame: frame of the vehicle where it is known already.
    """
    tree, problems, reported = TransformTree(), list[str](), set[tuple[str, str]]()
    for topics, is_static in ((static, True), (moving, False)):
        for count, message in enumerate(reader.messages(topics) if topics else (), start=1):
            add_transforms(
                tree,
                message.message,
                message.topic,
                is_static=is_static,
                on_problem=problems.append,
                reported=reported,
            )
            if not is_static and count % _SAMPLED == 0 and _is_complete(tree, base_frame, camera_frames):
                break
    return Transforms(tree, tuple(problems))


def base_frame_of(tree: TransformTree, camera_frames: Sequence[str]) -> str:
    """Return a usual name if the tree has it, else the top of what the first camera is fixed to."""
    for name in _BASE_FRAMES:
        if name in tree.frames:
            return name
    frame = camera_frames[0]
    while tree.is_static(frame) and (parent := tree.parent_of(frame)) is not None:
        frame = parent
    return frame if frame in tree.frames else _BASE_FRAMES[0]


def find_ego_motion(reader: BagReader, tree: TransformTree, base_frame: str, rig: Rig | None = None) -> EgoSource:
    """Return where the ego motion is: where the rig says, else in the transforms, else in an Odometry topic.

    Raises:
        BagError: the rig names a frame or a topic that does not tell the motion of the base frame.
    """
    if rig is not None and (rig.world_frame is not None or rig.odometry_topic is not None):
        return _ego_of_rig(reader, tree, base_frame, rig)
    if (world_frame := _moving_world(tree, base_frame)) is not None:
        return EgoSource(world_frame)
    odometries = list(_odometries(reader))
    for odometry in odometries:
        if odometry.moves(base_frame):
            return EgoSource(odometry.world_frame, odometry.topic)
    # A vehicle that stands still all the time, or an edge that is only published as if it moved.
    if (world_frame := _named_world(_worlds_above(tree, base_frame))) is not None:
        return EgoSource(world_frame)
    return EgoSource(None, problem=_absence(tree, base_frame, odometries))


@dataclass(frozen=True)
class _Odometry:
    topic: str
    world_frame: str
    child: str  # empty where the message names none

    def moves(self, base_frame: str) -> bool:
        return self.child in (base_frame, "")


def _odometries(reader: BagReader) -> Iterator[_Odometry]:
    """Yield the frames of each Odometry topic, as its first usable message tells them."""
    for topic in reader.topics_of(ODOMETRY):
        for message in itertools.islice(reader.messages([topic.name]), _SAMPLED):
            try:
                motion, child = ego_motion_from_msg(message.message, topic.name)
            except TransformError:
                continue
            yield _Odometry(topic.name, motion.world_frame, child)
            break


def _ego_of_rig(reader: BagReader, tree: TransformTree, base_frame: str, rig: Rig) -> EgoSource:
    """Return the ego motion that the rig names; raises BagError where the recording does not have it."""
    wanted = rig.world_frame
    above = [parent for _, parent in _edges_above(tree, base_frame)]
    if rig.odometry_topic is None and wanted in above:
        return EgoSource(wanted)
    odometries = list(_odometries(reader))
    for odometry in odometries:
        is_named = rig.odometry_topic in (None, odometry.topic) and wanted in (None, odometry.world_frame)
        if is_named and odometry.moves(base_frame):
            return EgoSource(odometry.world_frame, odometry.topic)
    listed = [f"topic '{o.topic}' tells that of '{o.child}' in '{o.world_frame}'" for o in odometries]
    if rig.odometry_topic is not None:
        known = {odometry.topic for odometry in odometries} - {rig.odometry_topic}
        hint = nearest_name_hint(rig.odometry_topic, known)
        asked = f"odometry_topic '{rig.odometry_topic}'{f' and world_frame {wanted!r}' if wanted else ''}"
    else:
        listed.insert(0, f"frames above it: {', '.join(above) or 'none'}")
        hint, asked = nearest_name_hint(str(wanted), above), f"world_frame '{wanted}'"
    raise BagError(
        f"{reader.path}: the rig has {asked}, which does not tell the motion of '{base_frame}'{hint} "
        f"({'; '.join(listed) or 'no Odometry in the recording'}). Correct it, or leave it out to have it found"
    )


def _is_complete(tree: TransformTree, base_frame: str | None, camera_frames: Sequence[str]) -> bool:
    """Whether further transforms cannot change what is found: the base moves in `odom`, and every camera is mounted."""
    base_frame = base_frame or base_frame_of(tree, camera_frames)
    world_frame = _moving_world(tree, base_frame)
    return (
        world_frame is not None
        and _last_part(world_frame) == _ODOM
        and all(tree.newest_common_stamp_ns(base_frame, frame) is not None for frame in camera_frames)
    )


def _edges_above(tree: TransformTree, frame: str) -> Iterator[tuple[str, str]]:
    """Yield (child, parent) from `frame` to the top."""
    while (parent := tree.parent_of(frame)) is not None:
        yield frame, parent
        frame = parent


def _worlds_above(tree: TransformTree, base_frame: str, *, has_moved: bool = False) -> list[str]:
    """Return the frames above the base in which it may move; with `has_moved` only those in which it did."""
    worlds, is_moving = list[str](), False
    for child, parent in _edges_above(tree, base_frame):
        is_moving |= tree.has_moved(child) if has_moved else not tree.is_static(child)
        if is_moving:
            worlds.append(parent)
    return worlds


def _named_world(worlds: Sequence[str]) -> str | None:
    for name in _WORLD_FRAMES:
        for frame in worlds:
            if _last_part(frame) == name:
                return frame
    return None


def _moving_world(tree: TransformTree, base_frame: str) -> str | None:
    """Return the frame in which the base moved: one with a usual name, else the parent of the topmost moving edge."""
    named = _named_world(_worlds_above(tree, base_frame, has_moved=True))
    moving = [parent for child, parent in _edges_above(tree, base_frame) if tree.has_moved(child)]
    return named or (moving[-1] if moving else None)


def _absence(tree: TransformTree, base_frame: str, odometries: Sequence[_Odometry]) -> str:
    """Return why there is no ego motion, and what to do."""
    without = "frames are detected one by one, without memory"
    if odometries:
        found = "; ".join(f"topic '{o.topic}' tells the motion of '{o.child}'" for o in odometries)
        return (
            f"no ego motion: {found}, expected '{base_frame}'; {without}. Name that frame as base_frame in a rig file "
            "(--rig), or record /tf"
        )
    if worlds := _worlds_above(tree, base_frame):
        return (
            f"no ego motion: '{base_frame}' never moves in {', '.join(worlds)}; {without}. If the vehicle stood still, "
            "name the frame as world_frame in a rig file (--rig)"
        )
    return f"no ego motion: neither /tf nor an Odometry topic moves '{base_frame}'; {without}"


def _last_part(frame: str) -> str:
    """Return ``odom`` of ``robot1/odom``."""
    return frame.rsplit("/", 1)[-1]
