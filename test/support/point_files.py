"""Small labelled clouds as files, and short recipes for tests of the point encoder's training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = ("ball", "rod", "plate")

SMALL = (
    "network.num_points=96",
    "network.tokens.num_groups=[24,12,6]",
    "network.tokens.group_sizes=[6,4,4]",
    "network.encoder.dims=[12,18,24]",
    "network.encoder.num_heads=6",
    "network.encoder.depths=[1,1,1]",
    "network.encoder.embedding_dims=[8,16,16]",
    "network.reconstruction.dims=[24,18]",
    "network.reconstruction.num_points=4",
    "network.classification.hidden_dims=16",
    "teacher.patch_size=56",
    "teacher.dims=16",
    "teacher.num_layers=1",
    "teacher.num_heads=2",
    "teacher.out_dims=8",
    "loss.expanded_dims=16",
    "run.batch_size=6",
    "run.workers=0",
    "run.warmup_steps=0",
    "run.validation_interval=0",
    "run.device=cpu",
    "run.log_interval=2",
)


def shapes(count: int, points: int = 128, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return points (3 * count, points, 3) float16 and labels of balls, rods and plates."""
    rng = np.random.default_rng(seed)
    labels = np.arange(3 * count) % 3
    sizes = np.array([[1.0, 1.0, 1.0], [0.15, 0.15, 1.0], [1.0, 1.0, 0.08]])[labels]
    directions = rng.standard_normal((len(labels), points, 3))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    return (directions * sizes[:, None] * rng.uniform(0.8, 1.0, (len(labels), 1, 3))).astype(np.float16), labels


def write_clouds(folder: Path, train: int = 6, val: int = 3, points: int = 128) -> Path:
    """Write a training and a validation file, and the names of the classes."""
    folder.mkdir()
    for name, count, seed in (("train_0", train, 0), ("val", val, 1)):
        values, labels = shapes(count, points, seed)
        np.savez(folder / f"{name}.npz", points=values, labels=labels.astype(np.int16))
    (folder / "classes.json").write_text(json.dumps({"classes": CLASSES}))
    return folder
