"""The figure of merit: the flat guess of the data's own manifest is found again, and the truth has no error."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from lfm_sets import small_sets

from lift3d_ros.datasets.keypoints import read_keypoint_folder
from lift3d_ros.errors import DatasetError
from lift3d_ros.models.lfm.network import LfmOutput
from lift3d_ros.training.lfm.batches import validation_batch
from lift3d_ros.training.lfm.validation import Validation, errors_of, flat_guess_error


def test_the_flat_guess_of_the_manifest_is_found_again(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "keypoints"
    records = json.loads((folder / "manifest.json").read_text())["categories"]
    stated = {record["category"]: record["flat_guess_pa"] for record in records}
    sets = read_keypoint_folder(folder, has_non_commercial=True)
    ratios = np.array([flat_guess_error(one) / stated[one.name] for one in sets])
    # One random view for each frame on both sides: single sets differ by up to 3 %, all together by far less.
    assert abs(ratios.mean() - 1.0) < 0.01
    assert abs(ratios - 1.0).max() < 0.03


def test_the_true_shape_has_ratio_zero_and_a_flat_one_about_one() -> None:
    bird = small_sets()[0]
    batch = validation_batch(bird, 0, 0)
    count, number = batch.exists.shape
    for shape, low, high in ((batch.target, 0.0, 1e-4), (batch.target * torch.tensor([1.0, 1.0, 0.0]), 0.7, 1.4)):
        validation = Validation([bird])
        validation.add(LfmOutput(shape, torch.ones(count), torch.ones(count, number)), batch)
        proper, best = validation.ratios()[bird.name]
        assert low <= best <= proper + 1e-6 <= high
        assert validation.figures()["score"] == pytest.approx(1.0 / max(proper, 1e-3))


def test_the_wrong_sign_costs_the_proper_figure_only() -> None:
    batch = validation_batch(small_sets()[0], 0, 0)
    count, number = batch.exists.shape
    proper, best = errors_of(LfmOutput(batch.target, -torch.ones(count), torch.ones(count, number)), batch)
    assert best < 1e-5
    assert proper > 0.01


def test_a_set_whose_points_lie_on_a_line_is_refused_before_the_training() -> None:
    bird = small_sets()[0]
    number = bird.num_joints
    line = np.linspace(-1.0, 1.0, number, dtype=np.float32)[None, :, None] * np.ones(3, np.float32)
    lines = dataclasses.replace(bird, joints=np.repeat(line, len(bird.joints), axis=0))
    points = dataclasses.replace(bird, joints=np.zeros_like(bird.joints))
    for one in (lines, points):
        with pytest.raises(DatasetError, match=f"set '{bird.name}': its points are equal or on a line"):
            Validation([one])
