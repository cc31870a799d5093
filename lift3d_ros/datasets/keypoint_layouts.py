"""The joint sets that detectors deliver, made from the measured sets: COCO-17, MediaPipe, BODY_25, Halpe-26, AP-10K.

Points that no motion capture has (nose, eyes, ears, heels, fingers) are put where a body has them, relative to the
joints that were measured; a head turns a little at random, as nothing measured says how it is held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lift3d_ros.datasets.keypoints import KeypointSet
from lift3d_ros.types import Float64Array

Points = dict[str, Float64Array]

GROUP = "layout"
_TRUNK_M = 0.52  # from hips to the base of the neck, of the person that the offsets below belong to
_HEAD_YAW_DEG, _HEAD_PITCH_DEG = 25.0, 12.0

# Names of joints in each measured set, for the joints that the layouts use; {s} is l or r, {side} left or right.
_HUMANS: Mapping[str, Mapping[str, str]] = {
    "human_cmu31": {
        "pelvis": "root", "spine": "upperback", "thorax": "thorax", "neck": "lowerneck", "head": "head",
        "hip": "{s}hipjoint", "knee": "{s}femur", "ankle": "{s}tibia", "toe": "{s}toes",
        "shoulder": "{s}clavicle", "elbow": "{s}humerus", "wrist": "{s}radius",
    },
    "human_actions21": {
        "pelvis": "pelvis", "spine": "spine", "thorax": "thorax", "neck": "neck", "head": "head",
        "hip": "hip_{side}", "knee": "knee_{side}", "ankle": "ankle_{side}", "toe": "toe_{side}",
        "shoulder": "shoulder_{side}", "elbow": "elbow_{side}", "wrist": "wrist_{side}",
    },
    "human_acrobatics18": {
        "pelvis": "root", "spine": "chest", "thorax": "neck", "neck": "neck", "head": "head",
        "hip": "{side}_hip", "knee": "{side}_knee", "ankle": "{side}_ankle", "toe": "{side}_toe",
        "shoulder": "{side}_shoulder", "elbow": "{side}_elbow", "wrist": "{side}_wrist",
    },
}  # fmt: skip
_PAIRED = ("hip", "knee", "ankle", "toe", "shoulder", "elbow", "wrist")
_QUADRUPEDS = ("canine", "horse", "cow", "deer")
_HAND = "hand_webxr25"

# From the base of the neck: up, forward, to the left; metres for a trunk of _TRUNK_M.
_FACE = {
    "nose": (0.16, 0.13, 0.0), "eye": (0.195, 0.105, 0.032), "eye_inner": (0.195, 0.108, 0.018),
    "eye_outer": (0.195, 0.095, 0.045), "ear": (0.175, 0.01, 0.075), "mouth": (0.115, 0.11, 0.025),
}  # fmt: skip


@dataclass(frozen=True)
class _Layout:
    name: str
    joints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]


def _pairs(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}_{side}" for name in names for side in ("left", "right"))


_COCO = _Layout(
    "layout_coco17",
    ("nose", *_pairs("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")),
    ((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
     (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
)  # fmt: skip
_MEDIAPIPE = _Layout(
    "layout_mediapipe33",
    ("nose", "eye_inner_left", "eye_left", "eye_outer_left", "eye_inner_right", "eye_right", "eye_outer_right",
     *_pairs("ear", "mouth", "shoulder", "elbow", "wrist", "pinky", "index", "thumb", "hip", "knee", "ankle", "heel",
             "toe")),
    ((0, 1), (1, 2), (2, 3), (3, 7), (0, 4), (4, 5), (5, 6), (6, 8), (9, 10), (11, 12), (11, 13), (13, 15), (15, 17),
     (15, 19), (15, 21), (17, 19), (12, 14), (14, 16), (16, 18), (16, 20), (16, 22), (18, 20), (11, 23), (12, 24),
     (23, 24), (23, 25), (24, 26), (25, 27), (26, 28), (27, 29), (28, 30), (29, 31), (30, 32), (27, 31), (28, 32)),
)  # fmt: skip
_HUMAN36M = _Layout(
    "layout_human36m17",
    ("pelvis", "hip_right", "knee_right", "ankle_right", "hip_left", "knee_left", "ankle_left", "spine", "thorax",
     "nose", "head", "shoulder_left", "elbow_left", "wrist_left", "shoulder_right", "elbow_right", "wrist_right"),
    ((0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9), (9, 10), (8, 11), (11, 12), (12, 13),
     (8, 14), (14, 15), (15, 16)),
)  # fmt: skip
_BODY25 = _Layout(
    "layout_body25",
    ("nose", "neck_base", "shoulder_right", "elbow_right", "wrist_right", "shoulder_left", "elbow_left", "wrist_left",
     "mid_hip", "hip_right", "knee_right", "ankle_right", "hip_left", "knee_left", "ankle_left", "eye_right",
     "eye_left", "ear_right", "ear_left", "big_toe_left", "small_toe_left", "heel_left", "big_toe_right",
     "small_toe_right", "heel_right"),
    ((1, 8), (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (10, 11), (8, 12), (12, 13), (13, 14),
     (1, 0), (0, 15), (15, 17), (0, 16), (16, 18), (14, 19), (19, 20), (14, 21), (11, 22), (22, 23), (11, 24)),
)  # fmt: skip
_HALPE26 = _Layout(
    "layout_halpe26",
    ("nose", *_pairs("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"), "head", "neck_base",
     "mid_hip", *_pairs("big_toe", "small_toe", "heel")),
    ((15, 13), (13, 11), (11, 19), (16, 14), (14, 12), (12, 19), (17, 18), (18, 19), (18, 5), (5, 7), (7, 9), (18, 6),
     (6, 8), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6), (15, 20), (15, 22), (15, 24), (16, 21),
     (16, 23), (16, 25)),
)  # fmt: skip
_OF_PEOPLE = (_COCO, _MEDIAPIPE, _HUMAN36M, _BODY25, _HALPE26)
_AP10K = _Layout(
    "layout_ap10k17",
    ("eye_left", "eye_right", "nose", "neck", "tail_base", "shoulder_left", "elbow_left", "paw_front_left",
     "shoulder_right", "elbow_right", "paw_front_right", "hip_left", "knee_left", "paw_back_left", "hip_right",
     "knee_right", "paw_back_right"),
    ((0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (3, 5), (5, 6), (6, 7), (3, 8), (8, 9), (9, 10), (4, 11), (11, 12),
     (12, 13), (4, 14), (14, 15), (15, 16)),
)  # fmt: skip


def layout_sets(sets: Sequence[KeypointSet], seed: int = 0) -> list[KeypointSet]:
    """Return the layouts of detectors, as far as the sets they are made from are among `sets`; splits are kept."""
    found = {one.name: one for one in sets}
    humans = [found[name] for name in _HUMANS if name in found]
    animals = [found[name] for name in _QUADRUPEDS if name in found]
    made = [_arrange(layout, humans, _human_points, seed) for layout in _OF_PEOPLE if humans]
    if animals:
        made.append(_arrange(_AP10K, animals, _animal_points, seed))
    if _HAND in found:
        made += _hands(found[_HAND])
    return made


def _arrange(
    layout: _Layout,
    sources: Sequence[KeypointSet],
    points_of: Callable[[KeypointSet, np.random.Generator], Points],
    seed: int,
) -> KeypointSet:
    parts = []
    for source in sources:
        rng = np.random.default_rng((seed, sum(source.name.encode())))
        points = points_of(source, rng)
        parts.append(np.stack([points[name] for name in layout.joints], axis=1))
    joints = np.concatenate(parts)
    joints -= joints.mean(1, keepdims=True)
    side = [1 if name.endswith("_left") else -1 if name.endswith("_right") else 0 for name in layout.joints]
    first = np.cumsum([0, *(int(source.subject.max()) + 1 for source in sources)])
    return KeypointSet(
        layout.name,
        joints.astype(np.float32),
        np.array(layout.edges, np.int64),
        layout.joints,
        np.array(side, np.int8),
        np.ones(joints.shape[:2], bool),
        np.concatenate([s.subject + start for s, start in zip(sources, first, strict=False)]).astype(np.int32),
        np.concatenate([source.is_validation for source in sources]),
        "upright",
        GROUP,
    )


def _human_points(source: KeypointSet, rng: np.random.Generator) -> Points:
    """Return measured and constructed points of a person, name -> (N, 3)."""
    index = {name: number for number, name in enumerate(source.joint_names)}
    joints = source.joints.astype(np.float64)
    points: Points = {}
    for name, pattern in _HUMANS[source.name].items():
        if name in _PAIRED:
            for side in ("left", "right"):
                points[f"{name}_{side}"] = joints[:, index[pattern.format(s=side[0], side=side)]]
        else:
            points[name] = joints[:, index[pattern]]
    neck = points["neck"]
    scale = np.linalg.norm(neck - points["pelvis"], axis=1, keepdims=True) / _TRUNK_M
    up, forward, left = _head_axes(points, rng)
    for name, (above, ahead, aside) in _FACE.items():
        for side, sign in (("left", 1.0), ("right", -1.0)) if aside else (("", 0.0),):
            place = neck + scale * (above * up + ahead * forward + sign * aside * left)
            points[f"{name}_{side}" if side else name] = place
    # The top of the head, as Human3.6M has it.
    points["head"] = neck + scale * (0.27 * up + 0.01 * forward)
    points["mid_hip"] = (points["hip_left"] + points["hip_right"]) / 2.0
    points["neck_base"] = (points["shoulder_left"] + points["shoulder_right"]) / 2.0
    for side in ("left", "right"):
        points |= _hand_and_foot(points, side, scale, forward)
    return points


def _head_axes(points: Points, rng: np.random.Generator) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return up, forward and left of heads, each (N, 3)."""
    up = _unit(points["head"] - points["neck"])
    across = points["shoulder_left"] - points["shoulder_right"]
    left = _unit(across - (across * up).sum(1, keepdims=True) * up)
    forward = np.cross(left, up)
    yaw = np.deg2rad(_HEAD_YAW_DEG) * rng.standard_normal((len(up), 1)) / 2
    forward, left = np.cos(yaw) * forward + np.sin(yaw) * left, np.cos(yaw) * left - np.sin(yaw) * forward
    pitch = np.deg2rad(_HEAD_PITCH_DEG) * rng.standard_normal((len(up), 1)) / 2
    up, forward = np.cos(pitch) * up + np.sin(pitch) * forward, np.cos(pitch) * forward - np.sin(pitch) * up
    return up, forward, left


def _hand_and_foot(points: Points, side: str, scale: Float64Array, forward: Float64Array) -> Points:
    wrist, ankle, toe = (points[f"{name}_{side}"] for name in ("wrist", "ankle", "toe"))
    along = _unit(wrist - points[f"elbow_{side}"])
    # Thumbs point forward where arms hang down.
    aside = _unit(forward - (forward * along).sum(1, keepdims=True) * along)
    shank = _unit(ankle - points[f"knee_{side}"])
    ahead = _unit(toe - ankle)
    across = points[f"hip_{side}"] - points["mid_hip"]
    outward = _unit(across - (across * ahead).sum(1, keepdims=True) * ahead)
    return {
        f"index_{side}": wrist + scale * (0.085 * along + 0.025 * aside),
        f"pinky_{side}": wrist + scale * (0.08 * along - 0.035 * aside),
        f"thumb_{side}": wrist + scale * (0.045 * along + 0.04 * aside),
        f"big_toe_{side}": toe - scale * 0.015 * outward,
        f"small_toe_{side}": toe + scale * (0.05 * outward - 0.035 * ahead),
        f"heel_{side}": ankle + scale * (0.05 * shank - 0.05 * ahead),
    }


def _animal_points(source: KeypointSet, rng: np.random.Generator) -> Points:
    """Return the points of AP-10K of a quadruped, name -> (N, 3)."""
    joints = dict(zip(source.joint_names, source.joints.astype(np.float64).transpose(1, 0, 2), strict=True))
    head, nose = joints["head"], joints["nose"]
    length = np.linalg.norm(nose - head, axis=1, keepdims=True)
    forward = (nose - head) / np.maximum(length, 1e-9)
    across = joints["front_shoulder_left"] - joints["front_shoulder_right"]
    left = _unit(across - (across * forward).sum(1, keepdims=True) * forward)
    eyes = head + length * (0.35 * forward + 0.2 * np.cross(forward, left))
    points: Points = {"nose": nose, "neck": joints["neck_base"], "tail_base": joints["tail_base"]}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        points[f"eye_{side}"] = eyes + sign * 0.22 * length * left
        for name, measured in (
            ("shoulder", "front_shoulder"), ("elbow", "front_elbow"), ("paw_front", "front_foot"),
            ("hip", "back_thigh"), ("knee", "back_stifle"), ("paw_back", "back_foot"),
        ):  # fmt: skip
            points[f"{name}_{side}"] = joints[f"{measured}_{side}"]
    return points


def _hands(source: KeypointSet) -> list[KeypointSet]:
    """Return hands of 21 joints, all points of a right hand on the right side, and their mirror images on the left."""
    kept = [n for n, name in enumerate(source.joint_names) if "metacarpal" not in name or name.startswith("thumb")]
    edges = [(0, start) for start in (1, 5, 17)] + [(start, start + 4) for start in (5, 9, 13)]
    edges += [(start + step, start + step + 1) for start in range(1, 21, 4) for step in range(3)]
    names = tuple(source.joint_names[number] for number in kept)
    hands = []
    for name, sign in (("right", -1), ("left", 1)):
        joints = source.joints[:, kept] * np.array([1.0, -sign, 1.0], np.float32)
        joints = joints - joints.mean(1, keepdims=True)
        hands.append(
            KeypointSet(
                f"layout_hand21_{name}",
                joints.astype(np.float32),
                np.array(edges, np.int64),
                names,
                np.full(len(kept), sign, np.int8),
                source.valid[:, kept],
                source.subject,
                source.is_validation,
                "so3",
                GROUP,
            )
        )
    return hands


def _unit(vectors: Float64Array) -> Float64Array:
    unit: Float64Array = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return unit
