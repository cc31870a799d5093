"""Finds the skeleton of keypoints: that of a file by its name, else one made of the edges that came with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import ConfigError, nearest_name_hint
from lift3d_ros.geometry.skeleton import SkeletonFacts, load_skeleton, sides_from_names, skeleton_names
from lift3d_ros.types import Skeleton

_REMEMBERED = 256
# SIDE_MIDDLE, SIDE_LEFT, SIDE_RIGHT of Keypoints2D.msg
_SIDES = np.array([0, 1, -1], dtype=np.int8)


class SkeletonBook:
    """Skeletons by name, and those that messages describe themselves, each checked once."""

    def __init__(self, files: Sequence[str] = (), max_joints: int = 256) -> None:
        """Know the skeletons of the package and those of more files.

        Args:
            files: paths of skeleton files; one with the name of a skeleton of the package takes its place.
            max_joints: larger ones are refused before anything of their size is made.

        Raises:
            ConfigError: a file is missing or damaged.
        """
        found = [load_skeleton(name) for name in (*skeleton_names(), *files)]
        self._known = {facts.skeleton.name: facts for facts in found}
        self._max_joints = max_joints
        self._remembered: dict[tuple[object, ...], SkeletonFacts] = {}

    def find(
        self,
        name: str,
        count: int,
        joint_names: tuple[str, ...],
        edges: NDArray[np.uint16],
        sides: NDArray[np.uint8],
    ) -> SkeletonFacts:
        """Return the skeleton of `count` keypoints.

        A name that is known decides where number and names of the joints agree; else the edges do. Sides that are
        given take the place of those of the file, as a hand may be either.

        Args:
            joint_names: one for each keypoint, or none.
            edges: a0, b0, a1, b1, ...; may be empty for a known name.
            sides: SIDE_ values of Keypoints2D.msg, one for each keypoint, or none: then the file or joint names tell.

        Raises:
            ConfigError: the skeleton is not known, does not fit, or its edges or sides are wrong; says which field.
        """
        key = (name, count, joint_names, edges.tobytes(), sides.tobytes())
        if (facts := self._remembered.get(key)) is not None:
            return facts
        if count > self._max_joints:
            raise ConfigError(
                f"points of {count} joints; expected at most {self._max_joints} (lifter.max_joints): time grows with "
                "the square; leave joints out, or raise the parameter"
            )
        known = self._known.get(name)
        if known is not None and count == len(known.skeleton) and joint_names in ((), known.skeleton.joint_names):
            facts = _with_sides(known, sides)
        elif edges.size:
            facts = SkeletonFacts(_described(name, count, joint_names, edges, sides))
        else:
            raise ConfigError(self._absence(name, count, joint_names))
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = facts
        return facts

    def _absence(self, name: str, count: int, joint_names: tuple[str, ...]) -> str:
        """Return why a name alone gives no skeleton."""
        known = self._known.get(name)
        if known is None:
            what = f"skeleton '{name}' is not known{nearest_name_hint(name, self._known)}" if name else "skeleton is ''"
            return (
                f"{what}, and edges is empty; expected one of {', '.join(self._known)}, or edges. Send the edges, or "
                "name the file of the skeleton in input.skeletons"
            )
        names = known.skeleton.joint_names
        if count != len(names):
            return (
                f"points of {count} joints; expected the {len(names)} of skeleton '{name}'. Send all of them, with "
                "score 0 where one was not seen, or send edges"
            )
        wrong = next(number for number in range(count) if joint_names[number] != names[number])
        return (
            f"joint_names[{wrong}] is '{joint_names[wrong]}'; expected '{names[wrong]}' as in skeleton '{name}'. Send "
            "the joints in this order, leave joint_names empty, or send edges"
        )


def _described(
    name: str, count: int, joint_names: tuple[str, ...], edges: NDArray[np.uint16], sides: NDArray[np.uint8]
) -> Skeleton:
    """Return the skeleton that a message describes."""
    if edges.size % 2:
        raise ConfigError(f"edges has {edges.size} values; expected pairs of joint indices")
    names = joint_names or tuple(f"joint{number}" for number in range(count))
    side = _checked_sides(sides, count) if sides.size else sides_from_names(names)
    return Skeleton(name or "unnamed", names, edges.astype(np.int64).reshape(-1, 2), side)


def _with_sides(known: SkeletonFacts, sides: NDArray[np.uint8]) -> SkeletonFacts:
    """Return what is known, with the sides that a message gives; a field that was only filled with zeros gives none."""
    skeleton = known.skeleton
    if not sides.size:
        return known
    given = _checked_sides(sides, len(skeleton))
    if not given.any() or np.array_equal(given, skeleton.sides):
        return known
    return dataclasses.replace(known, skeleton=dataclasses.replace(skeleton, side=given))


def _checked_sides(sides: NDArray[np.uint8], count: int) -> NDArray[np.int8]:
    """Return sides as +1, -1 and 0.

    Raises:
        ConfigError: one is none of the SIDE_ values, or there is not one for each joint.
    """
    if sides.size != count:
        raise ConfigError(f"sides has {sides.size} values; expected {count}, one for each of the points, or none")
    if sides.max() >= len(_SIDES):
        wrong = int(np.argmax(sides >= len(_SIDES)))
        raise ConfigError(f"sides[{wrong}] is {sides[wrong]}; expected 0 (middle), 1 (left) or 2 (right)")
    return _SIDES[sides]
