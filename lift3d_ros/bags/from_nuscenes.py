"""Turns a scene of a nuScenes folder into a recording."""

from __future__ import annotations

from pathlib import Path

from lift3d_ros.bags.write_scene import write_scene
from lift3d_ros.datasets.nuscenes import read_nuscenes_scene


def bag_from_nuscenes(
    root: Path,
    scene_name: str,
    version: str,
    out: Path,
    *,
    storage: str = "mcap",
    overwrite: bool = False,
    sweeps: bool = False,
) -> int:
    """Write one scene of the nuScenes folder `root` as a recording at `out`; what it holds, `write_scene` tells.

    Args:
        version: folder of the tables, for example ``v1.0-mini``.
        sweeps: also the pictures between the key frames (12 Hz in place of 2 Hz).

    Returns:
        The number of messages.

    Raises:
        DatasetError: the folder or the scene cannot be read, or the nuscenes-devkit is not installed.
        BagError: `out` exists already or cannot be written.
    """
    scene = read_nuscenes_scene(root, version, scene_name, sweeps=sweeps)
    return write_scene(scene, out, storage=storage, overwrite=overwrite)
