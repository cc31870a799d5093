"""The colours of classes and of ground truth, the same in every picture and on the report page; RGB, 0-255."""

from __future__ import annotations

import zlib

Color = tuple[int, int, int]

GROUND_TRUTH: Color = (255, 255, 255)
WARNING: Color = (255, 196, 0)

_CLASS_COLORS: dict[str, Color] = {
    "car": (255, 150, 30),
    "truck": (255, 84, 84),
    "construction_vehicle": (196, 140, 84),
    "bus": (255, 224, 70),
    "trailer": (190, 120, 255),
    "barrier": (160, 176, 200),
    "motorcycle": (255, 100, 200),
    "bicycle": (50, 225, 225),
    "pedestrian": (80, 160, 255),
    "traffic_cone": (255, 190, 150),
}
_OTHER_COLORS: tuple[Color, ...] = ((220, 220, 220), (150, 190, 110), (110, 130, 230), (200, 90, 120), (90, 180, 170))


def class_color(name: str) -> Color:
    """Return the colour of a class; names outside the nuScenes ten get one that depends on nothing but the name."""
    return _CLASS_COLORS.get(name) or _OTHER_COLORS[zlib.crc32(name.encode()) % len(_OTHER_COLORS)]
