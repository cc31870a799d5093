"""Turns a scene folder into a recording."""

from __future__ import annotations

from pathlib import Path

from lift3d_ros.bags.write_scene import write_scene
from lift3d_ros.datasets.frames import read_scene


def bag_from_frames(directory: Path, out: Path, *, storage: str = "mcap", overwrite: bool = False) -> int:
    """Write the scene in `directory` as a recording at `out`; what it holds, :func:`write_scene` tells.

    Labels keep their classes, also those that no network knows: whoever reads the recording may have a table for them.

    Returns:
        The number of messages.

    Raises:
        DatasetError, CalibrationError: the scene cannot be read.
        BagError: `out` exists already or cannot be written.
    """
    return write_scene(read_scene(directory, keeps_classes=True), out, storage=storage, overwrite=overwrite)
