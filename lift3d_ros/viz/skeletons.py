"""Pictures of skeletons: keypoints over the image, and lifted joints beside them from two other directions.

The object's own left is orange, its right blue, what has no side is grey.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.rotations import rotation_vectors_to_matrices
from lift3d_ros.types import Float64Array, Keypoints2D, Skeleton, Skeleton3D, Skeletons3D, UInt8Array
from lift3d_ros.viz.canvas import DARK, LIGHT, draw_caption, draw_lines, draw_text, picture_unit, place_text
from lift3d_ros.viz.palette import Color

SIDE_COLORS: dict[int, Color] = {1: (255, 150, 30), -1: (80, 160, 255), 0: (215, 220, 228)}

# Turns about the vertical axis of the picture from which lifted joints are shown, and what they are called.
VIEWS: tuple[tuple[float, str], ...] = ((45.0, "turned 45 deg"), (90.0, "from the side"))

_FLOOR: Color = (46, 52, 60)
_HIDDEN: Color = (120, 126, 134)
_GAP_PX = 6
_MOST_ROWS = 6


def draw_keypoints(
    rgb: UInt8Array, points: Float64Array, skeleton: Skeleton, is_seen: NDArray[np.bool_], thickness: float = 2.0
) -> None:
    """Draw edges and joints (J, 2) into a picture, in place; joints that are not seen are left out."""
    unit = picture_unit(rgb)
    for first, second in skeleton.edges:
        if is_seen[first] and is_seen[second]:
            color = _edge_color(skeleton, int(first), int(second))
            draw_lines(rgb, [points[[first, second]]], color, thickness * unit, seam=0.5)
    for joint in np.flatnonzero(is_seen):
        _draw_dot(rgb, points[joint], 1.4 * thickness * unit, SIDE_COLORS[int(skeleton.sides[joint])])


def draw_view(skeleton_3d: Skeleton3D, turn_deg: float, size_px: int) -> UInt8Array:
    """Return a square picture of one lifted skeleton, turned about the camera's vertical axis by `turn_deg`.

    Parallel projection, with a square of the ground plane under it. Where nothing decided between the two mirror
    images, the other one is drawn thin and dark; joints that were not seen are hollow.
    """
    picture: UInt8Array = np.full((size_px, size_px, 3), DARK, dtype=np.uint8)
    joints = skeleton_3d.joints
    center = 0.5 * (joints.min(axis=0) + joints.max(axis=0))
    reach = max(float(np.linalg.norm(joints - center, axis=1).max()), 1e-9)
    turn = rotation_vectors_to_matrices(np.deg2rad([[0.0, turn_deg, 0.0]]))[0]
    # Looking down a little, so that the ground is seen as a face.
    tilt = rotation_vectors_to_matrices(np.deg2rad([[12.0, 0.0, 0.0]]))[0]
    scale = 0.44 * size_px / reach

    def to_pixels(points: Float64Array) -> Float64Array:
        return np.asarray(((points - center) @ turn.T @ tilt.T)[:, :2] * scale + size_px / 2)

    floor = np.array([[-1.0, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]]) * 0.7 * reach
    floor[:, 1] = np.ptp(joints[:, 1]) / 2
    draw_lines(picture, [to_pixels(floor + center)], _FLOOR, 1.5, is_closed=True)
    if skeleton_3d.mirror_cue == "undecided" and len(skeleton_3d.hypotheses) > 1:
        other = skeleton_3d.hypotheses[1]
        other = other - 0.5 * (other.min(axis=0) + other.max(axis=0)) + center
        pixels = to_pixels(other)
        for edge in skeleton_3d.skeleton.edges:
            draw_lines(picture, [pixels[edge]], _HIDDEN, 1.0)
    pixels = to_pixels(joints)
    depth = ((joints - center) @ turn.T @ tilt.T)[:, 2]
    edges = skeleton_3d.skeleton.edges
    width = size_px / 110.0
    for number in np.argsort(-depth[edges].mean(axis=1)) if len(edges) else []:
        first, second = edges[number]
        color = _edge_color(skeleton_3d.skeleton, int(first), int(second))
        draw_lines(picture, [pixels[[first, second]]], color, width, seam=0.6)
    for joint in np.argsort(-depth):
        color = SIDE_COLORS[int(skeleton_3d.skeleton.sides[joint])]
        _draw_dot(picture, pixels[joint], 1.3 * width, color, is_hollow=not skeleton_3d.is_observed[joint])
    return picture


def skeleton_sheet(
    rgb: UInt8Array | None, keypoints: Sequence[Keypoints2D], result: Skeletons3D, height_px: int = 640
) -> UInt8Array:
    """Return the keypoints in their picture and, to the right, each lifted skeleton from two other directions.

    Args:
        rgb: (H, W, 3), left as it is; None draws on a dark ground.
        keypoints: the instances that `result` was made from.
        height_px: of the sheet; at most 6 skeletons get a row, more are named in the caption.
    """
    base = _dark_ground(keypoints) if rgb is None else rgb
    factor = height_px / base.shape[0]
    size = (max(1, round(base.shape[1] * factor)), height_px)
    left: UInt8Array = cv2.resize(base, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    for lifted in result.skeletons:
        scaled = (keypoints[lifted.input_index].points + 0.5) * factor - 0.5
        draw_keypoints(left, np.nan_to_num(scaled), lifted.skeleton, lifted.is_observed)
    shown = result.skeletons[:_MOST_ROWS]
    # One skeleton has its views below each other, several have them side by side.
    rows, columns = (len(shown), len(VIEWS)) if len(shown) > 1 else (len(VIEWS), 1)
    cell = (height_px - (rows - 1) * _GAP_PX) // rows
    right: UInt8Array = np.full((height_px, columns * (cell + _GAP_PX), 3), DARK, dtype=np.uint8)
    for number, lifted in enumerate(shown):
        for view_number, (turn_deg, name) in enumerate(VIEWS):
            view = draw_view(lifted, turn_deg, cell)
            draw_text(view, place_text(view, name, np.array([0.0, 14.0]), 8.0), LIGHT)
            if view_number == 0:
                _write_facts(view, lifted)
            row, column = (number, view_number) if len(shown) > 1 else (view_number, 0)
            top, first = row * (cell + _GAP_PX), column * (cell + _GAP_PX) + _GAP_PX
            right[top : top + cell, first : first + cell] = view
    caption = [result.model.description]
    if len(result.skeletons) > len(shown):
        caption.append(f"{len(result.skeletons) - len(shown)} more skeletons are not shown")
    draw_caption(left, "\n".join(caption))
    return np.concatenate([left, right], axis=1)


def _write_facts(view: UInt8Array, lifted: Skeleton3D) -> None:
    """Write what decided about mirror image and scale into the lower corner."""
    mirror = "mirror image undecided" if lifted.mirror_cue == "undecided" else f"mirror: {lifted.mirror_cue}"
    distance = f"{np.linalg.norm(lifted.joints.mean(axis=0)):.2f} m away" if lifted.is_metric else "no scale"
    lines = (f"{distance} ({lifted.scale_source.replace('_', ' ')})" if lifted.is_metric else distance, mirror)
    bottom = float(view.shape[0])
    for line in lines:
        box = place_text(view, line, np.array([0.0, bottom]), 7.5)
        draw_text(view, box, LIGHT)
        bottom -= box.height


def _edge_color(skeleton: Skeleton, first: int, second: int) -> Color:
    sides = {int(skeleton.sides[first]), int(skeleton.sides[second])} - {0}
    return SIDE_COLORS[sides.pop() if len(sides) == 1 else 0]


def _draw_dot(rgb: UInt8Array, at: Float64Array, radius: float, color: Color, *, is_hollow: bool = False) -> None:
    if not (np.abs(at) < 1e5).all():
        return
    center = (round(float(at[0]) * 16), round(float(at[1]) * 16))
    cv2.circle(rgb, center, round((radius + 1) * 16), DARK, cv2.FILLED, cv2.LINE_AA, 4)
    cv2.circle(rgb, center, round(radius * 16), color, 1 if is_hollow else cv2.FILLED, cv2.LINE_AA, 4)


def _dark_ground(keypoints: Sequence[Keypoints2D]) -> UInt8Array:
    """Return an empty picture that is large enough for all seen keypoints."""
    seen = [instance.points[instance.seen()] for instance in keypoints]
    points = np.concatenate([np.zeros((1, 2)), *seen])
    width, height = np.clip(1.05 * points.max(axis=0) + 1, 64, 4096).astype(int)
    return np.full((height, width, 3), DARK, dtype=np.uint8)
