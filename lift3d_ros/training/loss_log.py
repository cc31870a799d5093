"""The record of a run: a row of figures for each logged step, and a picture of their course."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import cv2
import numpy as np

from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.types import UInt8Array

_COLORS = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (140, 86, 75), (90, 90, 90))
_SIZE = (520, 900)
_MARGIN = 60


class LossLog:
    """Writes ``losses.csv`` in long form (step, name, value), so that a run may go on with other losses."""

    def __init__(self, path: Path, last_step: int) -> None:
        """Open `path`; rows behind `last_step`, of a run that was cut off after its checkpoint, are dropped."""
        self._path = path
        self._rows: list[tuple[int, str, float]] = []
        if last_step > 0 and path.is_file():
            self._rows = [row for row in _read(path) if row[0] <= last_step]
        text = io.StringIO(newline="")
        csv.writer(text).writerow(("step", "name", "value"))
        _write(text, self._rows)
        write_atomically(path, text.getvalue().encode())

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append the figures of one step."""
        rows = [(step, name, float(value)) for name, value in values.items()]
        self._rows += rows
        with self._path.open("a", newline="", encoding="utf-8") as file:
            _write(file, rows)

    def draw(self, path: Path, names: Sequence[str]) -> None:
        """Draw the course of the figures called `names`, losses on a logarithmic scale."""
        curves = {name: [(step, value) for step, found, value in self._rows if found == name] for name in names}
        cv2.imwrite(str(path), draw_curves({name: curve for name, curve in curves.items() if curve})[..., ::-1])


def draw_curves(curves: Mapping[str, Sequence[tuple[int, float]]]) -> UInt8Array:
    """Return a picture (H, W, 3) of positive figures over steps, logarithmic, smoothed a little."""
    height, width = _SIZE
    picture: UInt8Array = np.full((height, width, 3), 255, dtype=np.uint8)
    points = {name: np.array([p for p in curve if p[1] > 0], dtype=np.float64) for name, curve in curves.items()}
    points = {name: curve for name, curve in points.items() if len(curve)}
    if not points:
        return picture
    every = np.concatenate(list(points.values()))
    last = max(1.0, every[:, 0].max())
    low, high = np.floor(np.log10(every[:, 1].min())), np.ceil(np.log10(every[:, 1].max()) + 1e-9)
    span = max(1.0, high - low)
    left, top, right, bottom = _MARGIN, 20, width - 20, height - 40
    for decade in np.arange(low, low + span + 1):
        y = round(bottom - (decade - low) / span * (bottom - top))
        cv2.line(picture, (left, y), (right, y), (225, 225, 225), 1)
        _text(picture, f"{10.0**decade:g}", (6, y + 4), (90, 90, 90))
    _text(picture, f"step {int(last)}", (right - 110, height - 14), (90, 90, 90))
    for row, (name, curve) in enumerate(points.items()):
        color = _COLORS[row % len(_COLORS)]
        window = max(1, len(curve) // 50)
        kernel = np.ones(window) / window
        smooth = np.convolve(np.log10(curve[:, 1]), kernel, mode="valid")
        steps = curve[window - 1 :, 0]
        x = left + steps / last * (right - left)
        y = bottom - (smooth - low) / span * (bottom - top)
        cv2.polylines(picture, [np.stack([x, y], axis=1).round().astype(np.int32)], False, color, 2, cv2.LINE_AA)
        _text(picture, f"{name} {curve[-1, 1]:.3g}", (left + 10 + 200 * (row % 4), top + 4 + 16 * (row // 4)), color)
    return picture


def _text(picture: UInt8Array, text: str, place: tuple[int, int], color: tuple[int, int, int]) -> None:
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, color, 1, cv2.LINE_AA)


def _write(file: TextIO, rows: Iterable[tuple[int, str, float]]) -> None:
    csv.writer(file).writerows((step, name, f"{value:.9g}") for step, name, value in rows)


def _read(path: Path) -> list[tuple[int, str, float]]:
    """Return the whole rows; a machine that was switched off may have torn the last one, even to another number."""
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            ((step, name, value),) = csv.reader([line])
            if line.endswith("\n"):
                rows.append((int(step), name, float(value)))
        except (ValueError, csv.Error):  # the header is none either
            continue
    return rows
