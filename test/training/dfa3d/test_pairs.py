"""Pairs found for a whole batch are those that the vehicle would find for each sample."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from painted_street import camera_matrices

from lift3d_ros.models.dfa3d.config import Dfa3dConfig, preset
from lift3d_ros.models.dfa3d.visibility import find_visible_pairs
from lift3d_ros.training.dfa3d.pairs import find_pairs

TINY = dataclasses.replace(Dfa3dConfig(), image_width=192, image_height=96, bev_height=20, bev_width=30)


@pytest.mark.parametrize("config", [TINY, preset("bevformer-tiny")], ids=["ours", "published"])
def test_pairs_of_one_sample_equal_those_of_inference(config: Dfa3dConfig) -> None:
    matrices = camera_matrices(6, *config.padded_size[::-1])
    matrices[2, :3, 3] += 0.7
    expected = find_visible_pairs(matrices, config)
    found = find_pairs(torch.from_numpy(matrices), torch.zeros(6, dtype=torch.int64), 1, config)
    assert expected.num_pairs > 100
    np.testing.assert_array_equal(found.camera, expected.camera)
    np.testing.assert_array_equal(found.cell, expected.cell)
    np.testing.assert_array_equal(found.of_cell, expected.pairs_of_cell)


def test_cells_of_later_samples_follow_those_of_earlier_ones() -> None:
    """Samples may have any number of cameras, and one of them may see nothing at all."""
    first, last = camera_matrices(4), camera_matrices(5)
    last[:, 2] *= -1.0  # depth is negative before these cameras: nothing is seen
    last[1:] = camera_matrices(4)
    sample = torch.tensor([0] * 4 + [2] * 5)
    found = find_pairs(torch.from_numpy(np.concatenate([first, last])), sample, 3, TINY)
    expected = [find_visible_pairs(part, TINY) for part in (first, last)]
    cells = TINY.num_cells
    np.testing.assert_array_equal(found.camera, np.concatenate([expected[0].camera, expected[1].camera + 4]))
    np.testing.assert_array_equal(found.cell, np.concatenate([expected[0].cell, expected[1].cell + 2 * cells]))
    count = len(found.camera)
    assert bool((found.of_cell[cells : 2 * cells] == count).all())
    table = found.of_cell[2 * cells :].numpy()
    wanted = expected[1].pairs_of_cell
    shifted = np.where(wanted < expected[1].num_pairs, wanted + expected[0].num_pairs, count)
    np.testing.assert_array_equal(table[:, : wanted.shape[1]], shifted)


def test_a_batch_without_any_visible_cell_has_no_pairs() -> None:
    blind = torch.zeros(1, 4, 4)
    found = find_pairs(blind, torch.zeros(1, dtype=torch.int64), 1, TINY)
    assert len(found.camera) == 0
    assert found.of_cell.shape == (TINY.num_cells, 1)
