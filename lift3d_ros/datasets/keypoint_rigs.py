"""Articulated figures from a list of joints: random proportions and angles in, frames of 3D points out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.keypoints import KeypointSet, ViewRange
from lift3d_ros.types import Float64Array

_VALIDATION_EVERY = 5


@dataclass(frozen=True)
class Joint:
    """One point of a figure, which carries those below it.

    Args:
        parent: name of the point that carries it, empty for the root.
        offset: from the parent, in the parent's frame at rest (x forward, y left, z up), metres.
        turns: (axis, lowest, highest) in degrees, turned in this order; what hangs on this joint turns along.
        side: +1 left, -1 right, 0 middle or unknown.
        part: joints of one part share a random scale.
    """

    name: str
    parent: str
    offset: tuple[float, float, float]
    turns: tuple[tuple[str, float, float], ...] = ()
    side: int = 0
    part: str = ""


@dataclass(frozen=True)
class Figure:
    """A category that forward kinematics makes.

    Args:
        joints: parents before children.
        extra_edges: pairs of names joined beside the bones.
        scale_spread: standard deviation of the logarithm of each part's length over subjects.
        axis_spread: the same of each axis of the whole figure.
        hidden: joints that carry others but are no points of the skeleton.
    """

    name: str
    group: str
    joints: tuple[Joint, ...]
    extra_edges: tuple[tuple[str, str], ...] = ()
    hidden: tuple[str, ...] = ()
    view_range: ViewRange = "upright"
    scale_spread: float = 0.12
    axis_spread: float = 0.08


def both_sides(joints: Sequence[Joint], middle: Sequence[str] = ()) -> tuple[Joint, ...]:
    """Return joints of the left side and their mirror images; names get ``_left`` and ``_right``.

    Args:
        middle: names of parents that both sides share.
    """
    mirrored: list[Joint] = []
    for sign, ending in ((1, "_left"), (-1, "_right")):
        for joint in joints:
            x, y, z = joint.offset
            turns = tuple(
                (axis, low, high) if axis == "y" or sign > 0 else (axis, -high, -low) for axis, low, high in joint.turns
            )
            parent = joint.parent if joint.parent in middle else joint.parent + ending
            mirrored.append(Joint(joint.name + ending, parent, (x, sign * y, z), turns, sign, joint.part))
    return tuple(mirrored)


def sample_figure(figure: Figure, *, subjects: int, frames: int, seed: int) -> KeypointSet:
    """Return frames of subjects with random proportions in random poses; each fifth subject is for validation."""
    rng = np.random.default_rng((seed, sum(figure.name.encode())))
    names = [joint.name for joint in figure.joints]
    parts = sorted({joint.part for joint in figure.joints})
    poses = []
    for _ in range(subjects):
        scales = dict(zip(parts, np.exp(figure.scale_spread * rng.standard_normal(len(parts))), strict=True))
        axes = np.exp(figure.axis_spread * rng.standard_normal(3))
        axes[1] *= np.exp(0.5 * figure.axis_spread * rng.standard_normal())
        poses.append(_pose(figure, rng, frames, scales) * axes)
    kept = [number for number, name in enumerate(names) if name not in figure.hidden]
    heading = rng.uniform(-np.pi, np.pi, subjects * frames)
    joints = np.concatenate(poses)[:, kept] @ _turn("z", heading).transpose(0, 2, 1)
    joints -= joints.mean(1, keepdims=True)
    subject = np.repeat(np.arange(subjects), frames)
    edges = _edges(figure, names, kept)
    return KeypointSet(
        figure.name,
        joints.astype(np.float32),
        edges,
        tuple(names[number] for number in kept),
        np.array([figure.joints[number].side for number in kept], np.int8),
        np.ones(joints.shape[:2], bool),
        subject.astype(np.int32),
        subject % _VALIDATION_EVERY == _VALIDATION_EVERY - 1,
        figure.view_range,
        figure.group,
    )


def _pose(figure: Figure, rng: np.random.Generator, count: int, scales: dict[str, float]) -> Float64Array:
    """Return points (count, joints, 3) of one subject."""
    places: dict[str, Float64Array] = {}
    frames: dict[str, Float64Array] = {}
    for joint in figure.joints:
        offset = scales[joint.part] * np.array(joint.offset)
        if joint.parent:
            places[joint.name] = places[joint.parent] + frames[joint.parent] @ offset
            frame = frames[joint.parent]
        else:
            places[joint.name] = np.repeat(offset[None], count, axis=0)
            frame = np.repeat(np.eye(3)[None], count, axis=0)
        for axis, low, high in joint.turns:
            # The mean of two draws: middle angles are more frequent than the limits.
            angles = np.deg2rad(rng.uniform(low, high, (2, count)).mean(0))
            frame = frame @ _turn(axis, angles)
        frames[joint.name] = frame
    return np.stack([places[joint.name] for joint in figure.joints], axis=1)


def _edges(figure: Figure, names: Sequence[str], kept: Sequence[int]) -> NDArray[np.int64]:
    """Return bones as index pairs, through hidden joints."""
    parent = {joint.name: joint.parent for joint in figure.joints}
    number = {names[index]: position for position, index in enumerate(kept)}
    pairs = []
    for name in number:
        above = parent[name]
        while above in figure.hidden:
            above = parent[above]
        if above:
            pairs.append((number[above], number[name]))
    pairs += [(number[one], number[other]) for one, other in figure.extra_edges]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _turn(axis: str, angles: Float64Array) -> Float64Array:
    """Return rotations (N, 3, 3) about an axis."""
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrices = np.repeat(np.eye(3)[None], len(angles), axis=0)
    matrices[:, first, first] = matrices[:, second, second] = np.cos(angles)
    matrices[:, first, second], matrices[:, second, first] = -np.sin(angles), np.sin(angles)
    return matrices
