"""Small point sets and a short recipe for tests of the skeleton lifter's training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lift3d_ros.datasets.keypoint_creatures import creatures
from lift3d_ros.datasets.keypoint_rigs import sample_figure
from lift3d_ros.datasets.keypoints import KeypointSet

SMALL = (
    "network.width=16",
    "network.num_layers=1",
    "network.num_heads=2",
    "run.batch_size=2",
    "run.workers=0",
    "run.validation_interval=0",
    "run.warmup_steps=0",
    "run.device=cpu",
    "data.points_per_set=100",
    "data.has_generated=false",
)


def small_sets() -> list[KeypointSet]:
    """Return a bird and a hand."""
    figures = {figure.name: figure for figure in creatures()}
    return [sample_figure(figures[name], subjects=5, frames=8, seed=1) for name in ("made_bird20", "made_hand21")]


def write_sets(folder: Path) -> Path:
    """Write them as files under names of their own."""
    folder.mkdir()
    for one in small_sets():
        np.savez(
            folder / f"own_{one.name.removeprefix('made_')}.npz",
            joints=one.joints.astype(np.float16),
            edges=one.edges.astype(np.int16),
            names=np.array(one.joint_names),
            side=one.side,
            valid=one.valid,
            subject=one.subject,
            split=one.is_validation.astype(np.uint8),
        )
    return folder
