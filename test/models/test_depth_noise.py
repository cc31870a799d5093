"""Depth noise moves and spreads what the depth head predicts by the metres it names."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch

from lift3d_ros.errors import EngineError
from lift3d_ros.models.dfa3d.config import DepthConfig, preset
from lift3d_ros.models.dfa3d.depth_noise import DepthNoise, disturb_depth, transfer_matrix
from lift3d_ros.models.dfa3d.detector import build_detector

BINS = DepthConfig()
CODES = DepthConfig(source="aspp", num_bins=12, range=(0.0, 12.0), bins_per_code=(2, 2, 4, 4))
NOISES = [
    DepthNoise(),
    DepthNoise(shift_m=1.5),
    DepthNoise(blur_m=2.0),
    DepthNoise(2.0, 3.0),
    DepthNoise(is_uniform=True),
]


@pytest.mark.parametrize("config", [BINS, CODES], ids=["bins", "codes"])
@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.name)
def test_probability_is_neither_made_nor_lost(config: DepthConfig, noise: DepthNoise) -> None:
    matrix = transfer_matrix(config, noise)
    assert (matrix >= 0).all()
    assert matrix.sum(axis=0) == pytest.approx(np.ones(len(matrix)))


@pytest.mark.parametrize("config", [BINS, CODES], ids=["bins", "codes"])
def test_no_noise_changes_nothing(config: DepthConfig) -> None:
    matrix = transfer_matrix(config, DepthNoise())
    assert matrix == pytest.approx(np.eye(len(matrix)))


def test_a_shift_moves_the_mean_depth_by_its_metres_and_keeps_what_is_at_the_end() -> None:
    matrix = transfer_matrix(BINS, DepthNoise(shift_m=1.5))
    depths = 2.5 + np.arange(56.0)  # bins of one metre
    assert depths @ matrix == pytest.approx(np.minimum(depths + 1.5, depths[-1]))


def test_a_blur_spreads_by_its_metres_around_the_same_depth() -> None:
    depths = 2.5 + np.arange(56.0)
    column = transfer_matrix(BINS, DepthNoise(blur_m=3.0))[:, 28]
    mean = depths @ column
    assert mean == pytest.approx(depths[28])
    assert np.sqrt((depths - mean) ** 2 @ column) == pytest.approx(3.0, rel=0.01)


def test_codes_that_stand_for_several_bins_are_weighted_by_them() -> None:
    assert transfer_matrix(CODES, DepthNoise(is_uniform=True))[:, 0] == pytest.approx([1 / 6, 1 / 6, 1 / 3, 1 / 3])


def test_the_detector_sees_its_own_depth_changed() -> None:
    network = build_detector(preset("tiny"), seed=0)
    projections = torch.eye(4)[None]
    features = [torch.rand(1, network.config.embed_dims, 4, 6) for _ in range(network.config.num_levels)]
    with torch.no_grad():
        before = network.depth_scores(features, projections)[0]
        disturb_depth(network, DepthNoise(shift_m=2.0))
        after = network.depth_scores(features, projections)[0]
    assert torch.allclose(after[:, 2:-1], before[:, :-3], atol=1e-6)
    assert torch.allclose(after[:, :2], torch.zeros(1, 2, 4, 6))


def test_a_detector_without_depth_is_refused() -> None:
    config = preset("tiny")
    network = build_detector(dataclasses.replace(config, depth=dataclasses.replace(config.depth, source="none")), 0)
    with pytest.raises(EngineError, match="predicts depth; this one has no depth head"):
        disturb_depth(network, DepthNoise(shift_m=1.0))
