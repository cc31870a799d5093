"""Draws why one view does not tell a body from its depth-reversed copy, and what does: sides, and a near camera.

The animal is one that this package makes itself; nothing depends on trained weights.

  python tools/draw_mirror_images.py --out docs/images/lfm_mirror.jpg
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

import cv2
import numpy as np

from lift3d_ros.datasets.keypoint_creatures import creatures
from lift3d_ros.datasets.keypoint_rigs import sample_figure
from lift3d_ros.datasets.keypoint_views import looking
from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.types import Float64Array, Skeleton, Skeleton3D, UInt8Array
from lift3d_ros.viz.canvas import DARK, LIGHT, draw_lines, draw_text, place_text
from lift3d_ros.viz.skeletons import draw_keypoints, draw_view

FIGURE = "made_theropod21"
FRAME = 3
YAW_DEG, PITCH_DEG = 80.0, 12.0
NEAR_SIZES = 2.0
CELL_PX, GAP_PX = 340, 6


def main() -> int:
    """Draw and say what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.jpg", help="picture to write, PNG or JPEG")
    args = parser.parse_args()
    try:
        if args.out.suffix not in (".png", ".jpg", ".jpeg"):
            raise ConfigError(f"--out {args.out}: expected a file name that ends in .png or .jpg")
        picture = draw()
        args.out.parent.mkdir(parents=True, exist_ok=True)
        _, data = cv2.imencode(args.out.suffix, picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        args.out.write_bytes(data.tobytes())
    except (Lift3dError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{args.out}: {args.out.stat().st_size / 1e3:.0f} kB")
    return 0


def draw() -> UInt8Array:
    """Return the figure: what is seen, the two bodies that it may be, and the two cues that tell which."""
    figure = next(one for one in creatures() if one.name == FIGURE)
    made = sample_figure(figure, subjects=1, frames=FRAME + 1, seed=4)
    turn = looking(np.deg2rad([YAW_DEG]), np.deg2rad([PITCH_DEG]))[0]
    body = made.joints[FRAME].astype(np.float64) @ turn.T
    copy = body * [1.0, 1.0, -1.0]
    skeleton = Skeleton(made.name, made.joint_names, made.edges, made.side)
    unlabelled = dataclasses.replace(skeleton, side=np.zeros(len(body), np.int8))
    exchanged = dataclasses.replace(skeleton, side=-made.side)
    size = float(np.sqrt((body**2).sum(axis=1).mean()))
    cells = [
        _seen(unlabelled, [body[:, :2]], "what the camera sees"),
        _turned(skeleton, body, "a body like this, from its side ..."),
        _turned(exchanged, copy, "... or this one: depth reversed, left and right exchanged"),
        _seen(skeleton, [body[:, :2]], "with sides only the first one fits"),
        _seen(skeleton, [_near(body, size), _near(copy, size)], "near the camera the two (thin: second) differ"),
    ]
    gap = np.full((CELL_PX, GAP_PX, 3), LIGHT, dtype=np.uint8)
    return np.concatenate([part for cell in cells for part in (gap, cell)][1:], axis=1)


def _near(joints: Float64Array, size: float) -> Float64Array:
    """Return the perspective projection (J, 2) from so near, in the size of the parallel one."""
    distance = 2.0 * NEAR_SIZES * size
    return np.asarray(joints[:, :2] / (1.0 + joints[:, 2:] / distance))


def _seen(skeleton: Skeleton, views: list[Float64Array], title: str) -> UInt8Array:
    """Return 2D points in a square, further views as thin lines."""
    picture: UInt8Array = np.full((CELL_PX, CELL_PX, 3), DARK, dtype=np.uint8)
    middle = 0.5 * (views[0].min(axis=0) + views[0].max(axis=0))
    factor = 0.8 * CELL_PX / np.ptp(views[0], axis=0).max()
    pixels = [(points - middle) * factor + CELL_PX / 2 for points in views]
    for points in pixels[1:]:
        for edge in skeleton.edges:
            draw_lines(picture, [points[edge]], (150, 156, 164), 1.2)
    draw_keypoints(picture, pixels[0], skeleton, np.ones(len(pixels[0]), dtype=bool), thickness=3.0)
    return _titled(picture, title)


def _turned(skeleton: Skeleton, joints: Float64Array, title: str) -> UInt8Array:
    known = np.ones(len(joints), dtype=bool)
    shown = Skeleton3D(skeleton, joints[None], np.ones(1), known, np.zeros(len(joints)), mirror_cue="model")
    return _titled(draw_view(shown, 90.0, CELL_PX), title)


def _titled(picture: UInt8Array, title: str) -> UInt8Array:
    """Write the title in lines that fit."""
    words, lines = title.split(), [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if place_text(picture, longer, np.zeros(2), 10.0).width > CELL_PX - 12:
            lines.append(word)
        else:
            lines[-1] = longer
    for number, line in enumerate(lines):
        draw_text(picture, place_text(picture, line, np.array([4.0, 20.0 + 21.0 * number]), 10.0), LIGHT)
    return picture


if __name__ == "__main__":
    sys.exit(main())
