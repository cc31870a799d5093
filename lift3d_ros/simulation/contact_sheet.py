"""Small pictures of scenes on one page, to look at what was simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from lift3d_ros.datasets.frames import SceneCamera
from lift3d_ros.geometry.boxes import corners
from lift3d_ros.geometry.camera import project
from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.simulation.frame import SimulatedFrame
from lift3d_ros.types import UInt8Array

_HEIGHT_PX = 110
_EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
_BOX_COLOR, _TEXT_COLOR = (255, 210, 40), (255, 255, 255)


def scene_strip(frame: SimulatedFrame, caption: str) -> UInt8Array:
    """Return all pictures of a frame beside each other from left to right, above them once more with the boxes."""
    order = _from_left(frame.cameras)
    plain = [_small(frame.views[name].rgb) for name in order]
    boxed = [_small(_with_boxes(frame, name)) for name in order]
    strip = np.concatenate([np.concatenate(plain, axis=1), np.concatenate(boxed, axis=1)], axis=0)
    cv2.putText(strip, caption, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(strip, caption, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _TEXT_COLOR, 1, cv2.LINE_AA)
    return strip


def contact_sheet(strips: Sequence[UInt8Array]) -> UInt8Array:
    """Return strips below each other; narrower ones are filled up with black."""
    width = max(strip.shape[1] for strip in strips)
    rows = [np.pad(strip, ((0, 4), (0, width - strip.shape[1]), (0, 0))) for strip in strips]
    return np.asarray(np.concatenate(rows, axis=0))


def _from_left(cameras: Mapping[str, SceneCamera]) -> list[str]:
    """Return the cameras by direction, from the back left over the front to the back right."""

    def clockwise(name: str) -> float:
        axis = cameras[name].T_base_cam[:3, 2]
        return float(-np.arctan2(axis[1], axis[0]))

    return sorted(cameras, key=clockwise)


def _small(rgb: UInt8Array) -> UInt8Array:
    height, width = rgb.shape[:2]
    size = (round(width * _HEIGHT_PX / height), _HEIGHT_PX)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))


def _with_boxes(frame: SimulatedFrame, name: str) -> UInt8Array:
    camera, view = frame.cameras[name], frame.views[name]
    picture = view.rgb.copy()
    T_cam_frame = invert(view.T_world_base @ camera.T_base_cam) @ frame.T_world_base
    thickness = max(1, picture.shape[1] // 300)
    for points in corners(frame.boxes):
        in_camera = transform_points(T_cam_frame, points)
        if (in_camera[:, 2] < 0.3).any():
            continue
        pixels = np.round(project(camera.model, in_camera)[0]).astype(int)
        if np.abs(pixels).max() > 20_000:
            continue
        for i, j in _EDGES:
            cv2.line(picture, tuple(pixels[i].tolist()), tuple(pixels[j].tolist()), _BOX_COLOR, thickness, cv2.LINE_AA)
    return picture
