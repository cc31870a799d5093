"""Skeletons by name, read from YAML files in ``config/skeletons``, with what is known of their size and stance.

A skeleton file names joints and edges; all else is optional::

    joints: [nose, left_shoulder, right_shoulder, left_hip, right_hip]
    edges: [[nose, left_shoulder], [nose, right_shoulder], [left_shoulder, left_hip], [right_shoulder, right_hip]]
    left: [left_shoulder, left_hip]        # the object's own left and right; where neither is given, names that
    right: [right_shoulder, right_hip]     # begin or end with left, right, l or r tell it
    lengths:                               # distances that no pose changes, m, of a middling object
      - {joints: [left_shoulder, left_hip], m: 0.49}
    sizes: {person: 1.0, child: 0.7}       # category: factor on the lengths; the first is taken for no category
    size_spread: 0.07                      # relative standard deviation of the size within a category
    upright:                               # joints that are below and above while the object stands
      lower: [left_hip, right_hip]
      upper: [left_shoulder, right_shoulder]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.config import from_mapping, read_yaml_mapping, setting
from lift3d_ros.errors import ConfigError, Lift3dError, nearest_name_hint
from lift3d_ros.resources import find_resource
from lift3d_ros.types import Float64Array, Skeleton

SKELETONS_FOLDER = "config/skeletons"

_SIDES = {"left": 1, "l": 1, "right": -1, "r": -1}


@dataclass(frozen=True)
class _Length:
    joints: tuple[str, str]
    m: float


@dataclass(frozen=True)
class _Upright:
    lower: tuple[str, ...]
    upper: tuple[str, ...]


@dataclass(frozen=True)
class _SkeletonFile:
    joints: tuple[str, ...]
    edges: tuple[tuple[str, str], ...] = ()
    left: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    lengths: tuple[_Length, ...] = ()
    sizes: Mapping[str, float] = field(default_factory=dict)
    size_spread: float = setting(0.1, "relative standard deviation of the size", minimum=0.0, maximum=1.0)
    upright: _Upright | None = None


@dataclass(frozen=True, eq=False)
class SkeletonFacts:
    """A skeleton with what is known of objects that have it.

    Args:
        length_joints: (K, 2) int64 pairs of joints whose distance no pose changes.
        lengths_m: (K,) these distances for an object of size 1.
        sizes: category -> factor on the lengths, the first one for objects without category; empty where not known.
        size_spread: relative standard deviation of the size within a category.
        lower, upper: joints that are below and above while the object stands; empty where not known.
    """

    skeleton: Skeleton
    length_joints: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    lengths_m: Float64Array = field(default_factory=lambda: np.zeros(0))
    sizes: Mapping[str, float] = field(default_factory=dict)
    size_spread: float = 0.1
    lower: tuple[int, ...] = ()
    upper: tuple[int, ...] = ()

    def size_of(self, category: str) -> float | None:
        """Return the factor on the lengths for a category, None where its size is not known."""
        if not category:
            return next(iter(self.sizes.values()), None)
        return self.sizes.get(category)


def load_skeleton(name: str) -> SkeletonFacts:
    """Return the skeleton of a file in ``config/skeletons``, or of the ``.yaml`` file at the path `name`.

    Raises:
        ConfigError: no such skeleton, with the nearest name; or a damaged file, with file and joint.
    """
    if name.endswith((".yaml", ".yml")):
        return read_skeleton(Path(name))
    known = skeleton_names()
    if name not in known:
        raise ConfigError(
            f"skeleton '{name}' is not known{nearest_name_hint(name, known)}; known: {', '.join(known)}. "
            "The path of a .yaml file is accepted too"
        )
    return read_skeleton(find_resource(f"{SKELETONS_FOLDER}/{name}.yaml"))


def skeleton_names() -> tuple[str, ...]:
    """Return the names of the skeletons that come with the package, sorted."""
    return tuple(sorted(path.stem for path in find_resource(SKELETONS_FOLDER).glob("*.yaml")))


def read_skeleton(path: Path) -> SkeletonFacts:
    """Read a skeleton file; the name of the skeleton is that of the file.

    Raises:
        ConfigError: the file is missing or damaged, or names a joint that it does not declare.
    """
    where = str(path)
    content = from_mapping(_SkeletonFile, read_yaml_mapping(path), where)
    index = {name: number for number, name in enumerate(content.joints)}

    def numbers(names: Sequence[str], place: str) -> tuple[int, ...]:
        for name in names:
            if name not in index:
                raise ConfigError(
                    f"{where}: '{place}' names joint '{name}', which is not among 'joints'"
                    f"{nearest_name_hint(name, index)}; correct the name or add the joint"
                )
        return tuple(index[name] for name in names)

    left, right = numbers(content.left, "left"), numbers(content.right, "right")
    if both := set(left) & set(right):
        raise ConfigError(f"{where}: joint '{content.joints[min(both)]}' is in 'left' and in 'right'; keep one")
    side = np.zeros(len(content.joints), dtype=np.int8)
    side[list(left)], side[list(right)] = 1, -1
    if not left and not right:
        side = sides_from_names(content.joints)
    edges = [numbers(edge, f"edges[{number}]") for number, edge in enumerate(content.edges)]
    pairs = [numbers(length.joints, f"lengths[{number}]") for number, length in enumerate(content.lengths)]
    for number, length in enumerate(content.lengths):
        if problem := length_problem(*length.joints, length.m):
            raise ConfigError(f"{where}: 'lengths[{number}]' {problem}")
    for category, size in content.sizes.items():
        if not 1e-3 <= size <= 1e3:
            raise ConfigError(f"{where}: 'sizes.{category}' is {size:g}; expected a factor from 0.001 to 1000")
    try:
        skeleton = Skeleton(path.stem, content.joints, np.array(edges, dtype=np.int64).reshape(-1, 2), side)
    except Lift3dError as error:
        raise ConfigError(f"{where}: {error}") from None
    upright = content.upright or _Upright((), ())
    return SkeletonFacts(
        skeleton,
        np.array(pairs, dtype=np.int64).reshape(-1, 2),
        np.array([length.m for length in content.lengths]),
        content.sizes,
        content.size_spread,
        numbers(upright.lower, "upright.lower"),
        numbers(upright.upper, "upright.upper"),
    )


def length_problem(first: str, second: str, m: float) -> str:
    """Return what is wrong with the distance of two joints, in metres; empty where it may be."""
    if first == second:
        return f"is the distance of '{first}' to itself; name two joints"
    if not 1e-4 <= m <= 1e3:
        return f"is {m:g} m; expected 0.0001 to 1000 m, in metres"
    return ""


def sides_from_names(names: Sequence[str]) -> NDArray[np.int8]:
    """Return (J,) +1 for ``left_knee``, ``knee_l``, ``LKnee`` and the like, -1 for right, 0 for all others."""
    return np.array([_side_of(name) for name in names], dtype=np.int8)


def _side_of(name: str) -> int:
    words = [word.lower() for word in re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+", name)]
    ends = dict.fromkeys((words[0], words[-1])) if words else {}
    sides = {_SIDES[word] for word in ends if word in _SIDES}
    return sides.pop() if len(sides) == 1 else 0
