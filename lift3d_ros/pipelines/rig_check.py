"""Compares the cameras of a rig with each other and with their names; a part of the check of its calibration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from lift3d_ros.types import CameraModel, Float64Array

_PARALLEL_DEG = 1.0
_ONE_SIDE_DEG = 30.0
# Part of the viewing direction that points to the wrong side; a base frame turned by 45 degrees stays below it.
_OPPOSITE = -0.5

LOOK = "then look at the pictures that 'lift3d doctor --bag BAG --out DIR' draws"
_CHECK_SIGNS = f"check the signs of y and yaw, degrees against radians, and for exchanged cameras, {LOOK}"


@dataclass(frozen=True)
class Finding:
    """What is wrong with a camera, or with several together; those with the same remedy become one sentence."""

    cameras: tuple[str, ...]
    found: str
    expected: str
    remedy: str


@dataclass(frozen=True, eq=False)
class CameraPose:
    """Where a camera sits and looks: degrees down from level, of roll, and left of forward."""

    position: Float64Array
    forward: Float64Array
    pitch_deg: float
    roll_deg: float
    yaw_deg: float

    @classmethod
    def of(cls, T_base_cam: Float64Array) -> CameraPose:
        """Take the pose of an optical frame in the base frame apart."""
        right, forward = T_base_cam[:3, 0], T_base_cam[:3, 2]
        level = np.array([forward[1], -forward[0], 0.0])  # to the right of the optical axis
        roll = np.degrees(np.arctan2(right @ np.cross(forward, level), right @ level))
        pitch = np.degrees(np.arcsin(np.clip(-forward[2], -1.0, 1.0)))
        yaw = np.degrees(np.arctan2(forward[1], forward[0]))
        return cls(T_base_cam[:3, 3], forward, float(pitch), float(roll), float(yaw))


@dataclass(frozen=True, eq=False)
class MountedCamera:
    """A camera whose mounting is plausible on its own."""

    name: str
    model: CameraModel
    pose: CameraPose


def fields_deg(model: CameraModel) -> Float64Array:
    """Return the horizontal and vertical field of view, as if the principal point were in the middle."""
    half = np.array([model.width, model.height]) / (2.0 * model.intrinsics[[0, 1], [0, 1]])
    return np.asarray(np.degrees(2.0 * (half if model.distortion_model == "equidistant" else np.arctan(half))))


def check_rig(cameras: Sequence[MountedCamera]) -> list[Finding]:
    """Return what no camera shows on its own: copied, exchanged and mirrored mountings."""
    one_side = _check_one_side(cameras)
    if one_side:
        return one_side
    by_name = [finding for camera in cameras for finding in _check_name(camera)]
    named = {name for finding in by_name for name in finding.cameras}
    crossing = [finding for finding in _check_crossing(cameras) if named.isdisjoint(finding.cameras)]
    return [*_check_twins(cameras), *by_name, *crossing]


def _check_one_side(cameras: Sequence[MountedCamera]) -> list[Finding]:
    if len(cameras) < 4:
        return []
    yaws = [camera.pose.yaw_deg for camera in cameras]
    spread = max(float(_turn_deg(a, b)) for a, b in combinations(yaws, 2))
    if spread > _ONE_SIDE_DEG:
        return []
    found = f"all {len(cameras)} look the same way within {spread:.1f} deg"
    remedy = f"give the direction of each camera, in degrees where degrees are asked for, {LOOK}"
    return [Finding(tuple(c.name for c in cameras), found, "different directions from so many cameras", remedy)]


def _check_twins(cameras: Sequence[MountedCamera]) -> Iterator[Finding]:
    """Find cameras that got the mounting of another one: all of it, or only its direction."""
    for first, second in combinations(cameras, 2):
        cosine = np.clip(first.pose.forward @ second.pose.forward, -1.0, 1.0)
        if np.degrees(np.arccos(cosine)) > _PARALLEL_DEG:
            continue
        names = (first.name, second.name)
        offset = second.pose.position - first.pose.position
        if np.abs(offset).max() < 0.005:
            found = "look the same way from the same place"
            remedy = f"check for a mounting that was copied or published twice, {LOOK}"
            yield Finding(names, found, "a mounting of its own for each camera", remedy)
            continue
        # A stereo pair stands side by side, and a spare camera has a name of the same side. Otherwise one of the two
        # is suspect where the only direction that no camera sees is one that it could fill.
        is_in_a_row = abs(offset @ first.pose.forward) > 0.05
        has_same_side = bool(_sides(first.name)) and _sides(first.name) == _sides(second.name)
        gaps = _gaps_deg(cameras) if len(cameras) >= 5 and is_in_a_row and not has_same_side else []
        if len(gaps) == 1 and gaps[0] <= max(fields_deg(first.model)[0], fields_deg(second.model)[0]):
            found = f"look the same way, while {gaps[0]} deg around the vehicle are seen by no camera"
            remedy = f"check for a direction that was copied, {LOOK}"
            yield Finding(names, found, "a direction of its own for each of them", remedy)


def _check_name(camera: MountedCamera) -> Iterator[Finding]:
    """Compare directions in the name of a camera with where it looks."""
    x, y = camera.pose.forward[:2]
    sides = _sides(camera.name)
    toward = {"left": y, "right": -y} if sides & {"left", "right"} else {"front": x, "back": -x}
    told = [toward[side] for side in sides if side in toward]
    if len(told) == 1 and told[0] < _OPPOSITE:
        yaw = camera.pose.yaw_deg
        found = f"looks {abs(yaw):.0f} deg to the {'left' if yaw > 0 else 'right'} of forward"
        expected = "the side that the name tells, with x forward, y left and yaw growing to the left"
        yield Finding((camera.name,), found, expected, _CHECK_SIGNS)


def _check_crossing(cameras: Sequence[MountedCamera]) -> list[Finding]:
    """Find several cameras that sit on one side of the rig and look across it to the other side."""
    if len(cameras) < 4:
        return []
    middle = float(np.mean([camera.pose.position[1] for camera in cameras]))
    crossing = []
    for camera in cameras:
        aside = camera.pose.position[1] - middle
        if abs(aside) > 0.3 and camera.pose.forward[1] * np.sign(aside) < _OPPOSITE:
            found = f"looks across the vehicle, {camera.pose.yaw_deg:.0f} deg left of forward"
            crossing.append(Finding((camera.name,), found, "cameras at the sides to look outward", _CHECK_SIGNS))
    return crossing if len(crossing) > 1 else []


def _sides(name: str) -> set[str]:
    words = re.findall("front|back|rear|left|right", name.lower())
    return {"back" if word == "rear" else word for word in words}


def _turn_deg(a: Float64Array | float, b: float) -> Float64Array:
    return np.asarray(np.abs((np.asarray(a) - b + 180.0) % 360.0 - 180.0))


def _gaps_deg(cameras: Sequence[MountedCamera]) -> list[int]:
    """Return the width in degrees of each run of horizontal directions that no camera sees."""
    directions = np.arange(360.0)
    is_seen = np.zeros(360, dtype=bool)
    for camera in cameras:
        is_seen |= _turn_deg(directions, camera.pose.yaw_deg) <= fields_deg(camera.model)[0] / 2
    start = int(np.argmax(is_seen))
    runs = "".join("." if seen else "x" for seen in np.roll(is_seen, -start)).split(".")
    return [len(run) for run in runs if run]
