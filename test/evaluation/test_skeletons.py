"""Figures of lifted skeletons."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.datasets.keypoint_views import random_views
from lift3d_ros.errors import Lift3dError
from lift3d_ros.evaluation.skeletons import (
    aligned_errors,
    best_of_hypotheses,
    bone_length_errors,
    centred_errors,
    correct_keypoints,
    flat_guess,
    mean_error,
    reliability_table,
    rms_sizes,
    skeleton_figures,
    with_mirror_image,
)
from lift3d_ros.geometry.rotations import rotation_vectors_to_matrices

GENERATOR = np.random.default_rng(0)
TRUE = GENERATOR.normal(size=(30, 12, 3))
VALID = np.ones((30, 12), dtype=bool)
EDGES = np.array([[joint, joint + 1] for joint in range(11)])


def turned(points: np.ndarray) -> np.ndarray:
    rotation = rotation_vectors_to_matrices(GENERATOR.normal(size=(len(points), 3)))
    return 3.0 * points @ rotation + 5.0


def test_mpjpe_ignores_where_the_skeleton_is_and_pa_mpjpe_how_it_stands() -> None:
    np.testing.assert_allclose(centred_errors(TRUE + 4.0, TRUE, VALID), 0.0, atol=1e-12)
    assert mean_error(centred_errors(turned(TRUE), TRUE, VALID)) > 1.0
    np.testing.assert_allclose(aligned_errors(turned(TRUE), TRUE, VALID), 0.0, atol=1e-9)


def test_a_mirror_image_is_wrong_unless_reflections_are_allowed_or_the_better_copy_counts() -> None:
    mirrored = TRUE * [1.0, 1.0, -1.0]
    assert mean_error(aligned_errors(mirrored, TRUE, VALID)) > 0.3
    np.testing.assert_allclose(aligned_errors(mirrored, TRUE, VALID, allows_reflection=True), 0.0, atol=1e-9)
    np.testing.assert_allclose(best_of_hypotheses(with_mirror_image(mirrored), TRUE, VALID), 0.0, atol=1e-9)


def test_joints_that_are_not_valid_have_no_influence() -> None:
    valid, predicted = VALID.copy(), turned(TRUE)
    valid[:, :4], predicted[:, :4] = False, np.nan
    errors = aligned_errors(predicted, TRUE, valid)
    assert np.isnan(errors[:, :4]).all()
    np.testing.assert_allclose(errors[:, 4:], 0.0, atol=1e-9)


def test_a_valid_joint_that_is_not_finite_is_refused_with_its_place() -> None:
    predicted = TRUE.copy()
    predicted[2, 3] = np.nan
    with pytest.raises(Lift3dError, match="frame 2, joint 3"):
        aligned_errors(predicted, TRUE, VALID)
    with pytest.raises(Lift3dError, match="shapes"):
        aligned_errors(predicted[:, :5], TRUE, VALID)


def test_figures_by_hand() -> None:
    errors = np.array([[0.1, 0.3, np.nan], [0.2, 0.9, 0.0]])
    assert mean_error(errors) == pytest.approx(0.3)
    assert correct_keypoints(errors, np.array([0.2, 0.2])) == pytest.approx(3 / 5)
    line = np.array([[[0.0, 0, 0], [1, 0, 0], [3, 0, 0]]])
    stretched = np.array([[[0.0, 0, 0], [4, 0, 0], [6, 0, 0]]])
    found = bone_length_errors(stretched, line, np.ones((1, 3), dtype=bool), np.array([[0, 1], [1, 2]]))
    np.testing.assert_allclose(found, [[1.0, 1.0]])  # lengths 4 and 2, scaled to 2 and 1, should be 1 and 2
    np.testing.assert_allclose(rms_sizes(line - 7.0, np.ones((1, 3), dtype=bool)), np.sqrt((16 + 1 + 25) / 27))


def test_the_true_skeletons_have_no_error_and_the_flat_guess_has_ratio_one() -> None:
    perfect = skeleton_figures(TRUE, TRUE, VALID, EDGES)
    assert perfect.pa_mpjpe == pytest.approx(0.0, abs=1e-9)
    assert (perfect.pck, perfect.sign_rate) == (1.0, 1.0)
    flat = skeleton_figures(flat_guess(TRUE), TRUE, VALID, EDGES)
    assert flat.ratio_to_flat == pytest.approx(1.0)
    assert flat.bone_length_error > 0.1
    mirrored = skeleton_figures(TRUE * [1.0, 1.0, -1.0], TRUE, VALID, EDGES)
    assert mirrored.ratio_to_flat_best == pytest.approx(0.0, abs=1e-9)
    assert mirrored.sign_rate == 0.0


def test_a_well_stated_uncertainty_is_found_again_in_every_bin() -> None:
    std = GENERATOR.uniform(0.01, 0.2, (400, 12))
    errors = np.linalg.norm(GENERATOR.normal(size=(400, 12, 3)) * std[:, :, None], axis=2)
    errors[:, 0] = np.nan
    table = reliability_table(errors, std)
    assert sum(part.count for part in table) == 400 * 11
    for part in table:
        assert part.found == pytest.approx(part.stated, rel=0.1)
    assert reliability_table(errors[:0], std[:0]) == ()


@pytest.mark.parametrize("category", ["human_actions21", "face_68", "horse", "hand_webxr25", "chair"])
def test_the_flat_guess_of_the_data_is_reproduced(category: str, shared_dir: Path) -> None:
    folder = shared_dir / "data" / "keypoints"
    records = json.loads((folder / "manifest.json").read_text())["categories"]
    record = next(entry for entry in records if entry["category"] == category)
    with np.load(folder / f"{category}.npz") as content:
        joints, valid = content["joints"].astype(np.float64), content["valid"]
    views = random_views(np.random.default_rng(0), len(joints), record["view_range"])
    seen = joints @ np.swapaxes(views, 1, 2)
    found = mean_error(aligned_errors(flat_guess(seen), seen, valid))
    assert found == pytest.approx(record["flat_guess_pa"], rel=0.04)  # other random views


def test_points_on_a_line_have_errors_and_no_ratio() -> None:
    line = np.linspace(-1.0, 1.0, 6)[None, :, None] * np.array([0.3, 0.5, 0.7])
    predicted = np.random.default_rng(0).standard_normal((1, 6, 3))
    figures = skeleton_figures(predicted, line, np.ones((1, 6), dtype=bool), np.array([[0, 1]]))
    assert figures.pa_mpjpe > 0.1
    assert np.isnan(figures.ratio_to_flat)
    assert np.isnan(figures.ratio_to_flat_best)
