"""Batches of the lifter: projected truth, padding that is padding, the same step whenever it is asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from lfm_sets import small_sets

from lift3d_ros.config import from_mapping
from lift3d_ros.errors import DatasetError
from lift3d_ros.training.lfm.batches import LfmData, LiftingBatch, validation_batch
from lift3d_ros.training.lfm.settings import LfmTraining

PLAIN = {
    "perspective": 0.0, "roll_deg": 0.0, "stretch": 0.0, "mirror": 0.0, "noisy": 0.0, "gappy": 0.0,
    "drops_side": 0.0, "changes_skeleton": 0.0, "drops_edges": 0.0,
}  # fmt: skip


def _recipe(**augmentation: float) -> LfmTraining:
    values = {"run": {"batch_size": 4}, "data": {"points_per_set": 200}, "augmentation": augmentation}
    return from_mapping(LfmTraining, values, "test")


def _batches(recipe: LfmTraining, steps: int = 5) -> list[LiftingBatch]:
    data = LfmData(small_sets(), [], recipe)
    return [part for number in range(steps) for part in data.make(number)]


def test_a_step_is_the_same_whenever_it_is_asked_for() -> None:
    data = LfmData(small_sets(), [], _recipe())
    for first, second in zip(data.make(7), data.make(7), strict=True):
        for one, other in zip(first, second, strict=True):
            torch.testing.assert_close(one, other)


def test_without_damage_points_are_the_x_and_y_of_the_truth() -> None:
    for batch in _batches(_recipe(**PLAIN)):
        torch.testing.assert_close(batch.points, batch.target[..., :2])
        assert (batch.is_visible == batch.exists).all()


def test_the_truth_has_mean_zero_and_size_one_in_every_batch() -> None:
    for batch in _batches(_recipe()):
        weights = batch.is_valid[..., None].float()
        number = weights.sum((1, 2))
        assert ((batch.target * weights).sum(1) / number[:, None]).abs().max() < 1e-5
        torch.testing.assert_close((batch.target**2 * weights).sum((1, 2)) / number, torch.ones(len(number)))


def test_batches_come_in_few_shapes() -> None:
    many = [part.exists.shape for part in _batches(_recipe(changes_skeleton=1.0), 40)]
    assert {joints for _, joints in many} <= {8, 16, 24, 32}
    assert len(set(many)) < len(many) / 3


def test_padding_has_no_edges_and_is_never_visible() -> None:
    for batch in _batches(_recipe()):
        padding = ~batch.exists
        assert not (batch.is_visible & padding).any()
        assert not (batch.adjacency & padding[:, None, :]).any()


def test_a_mirrored_body_changes_its_sides_and_a_hand_stays_as_it_is() -> None:
    from lift3d_ros.training.lfm.batches import draw_views
    from lift3d_ros.training.lfm.skeleton_changes import unchanged

    bird, hand = small_sets()
    settings = _recipe(**{**PLAIN, "mirror": 1.0}).augmentation
    for keypoints, sign in ((bird, -1), (hand, 1)):
        frames = np.arange(3)
        rng = np.random.default_rng(0)
        views = draw_views(rng, keypoints, frames, unchanged(keypoints), settings, 0)
        np.testing.assert_array_equal(views.side, np.tile(sign * keypoints.side, (3, 1)))
        centred = keypoints.joints[:3]
        volume = np.linalg.det(centred[:, :3]) * np.linalg.det(views.target[:, :3])
        assert (np.sign(volume) == sign).all()


def test_points_go_missing_as_often_as_asked() -> None:
    batches = _batches(_recipe(**{**PLAIN, "gappy": 1.0, "missing": 0.4, "missing_limb": 0.0}), 20)
    hidden = sum(int((batch.exists & ~batch.is_visible).sum()) for batch in batches)
    assert 0.15 < hidden / sum(int(batch.exists.sum()) for batch in batches) < 0.25


def test_validation_frames_are_those_of_the_validation_split_and_fixed() -> None:
    bird = small_sets()[0]
    first, second = validation_batch(bird, 0, 4), validation_batch(bird, 0, 4)
    assert len(first.points) == 4
    torch.testing.assert_close(first.target, second.target)
    assert len(validation_batch(bird, 0, 0).points) == 8


def test_sets_are_drawn_by_the_root_of_their_number_of_frames() -> None:
    bird, hand = small_sets()
    more = dataclasses.replace(
        bird,
        **{name: np.repeat(getattr(bird, name), 9, axis=0) for name in ("joints", "valid", "subject", "is_validation")},
    )
    data = LfmData([more, hand], [], _recipe(**PLAIN))
    drawn = np.concatenate([part.category.numpy() for number in range(200) for part in data.make(number)])
    assert 0.2 < drawn.mean() < 0.3


def test_sets_without_training_frames_are_refused() -> None:
    bird = small_sets()[0]
    only_held_out = dataclasses.replace(bird, is_validation=np.ones(len(bird.joints), bool))
    with pytest.raises(DatasetError, match="no set has a frame of the training split"):
        LfmData([only_held_out], [], _recipe())


def test_workers_give_the_batches_of_one_process(tmp_path: Path) -> None:
    recipe = _recipe()
    with_workers = dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, workers=2))
    alone = iter(
        LfmData(
            small_sets(), [], dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, workers=0))
        ).train_batches(3, 0, 1)
    )
    together = iter(LfmData(small_sets(), [], with_workers).train_batches(3, 0, 1))
    for _ in range(4):
        for one, other in zip(next(alone), next(together), strict=True):
            torch.testing.assert_close(one.points, other.points)
