"""Losses of a whole batch equal those that are computed sample by sample."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lift3d_ros.errors import DatasetError
from lift3d_ros.models.dfa3d.config import DepthConfig, Dfa3dConfig, preset
from lift3d_ros.models.dfa3d.depth_labels import depth_labels, depth_loss
from lift3d_ros.models.dfa3d.losses import SetPredictionLoss
from lift3d_ros.training.dfa3d.loss import (
    check_targets,
    decoder_losses,
    level_depths,
    motion_loss,
    padded_targets,
    predicted_depth_loss,
    start_matching,
)


def predictions(
    counts: tuple[int, ...], queries: int = 12
) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(sum(counts))
    layers = [
        (
            torch.randn(len(counts), queries, 4, generator=generator),
            torch.randn(len(counts), queries, 10, generator=generator),
        )
        for _ in range(3)
    ]
    codes = [torch.randn(count, 10, generator=generator) for count in counts]
    labels = [torch.randint(0, 4, (count,), generator=generator) for count in counts]
    return layers, codes, labels


@pytest.mark.parametrize(
    "counts",
    [(5, 3), (0, 7), (0, 0), (20, 2), (4, 0, 1, 13, 12)],
    ids=["both", "one empty", "empty", "too many", "many samples"],
)
@pytest.mark.parametrize("average", [None, 3.5])
@pytest.mark.parametrize(("drops_unknown", "free_heading"), [(True, 0.0), (False, 0.8)])
def test_decoder_losses_and_gradients_equal_those_sample_by_sample(
    counts: tuple[int, ...], average: float | None, drops_unknown: bool, free_heading: float
) -> None:
    layers, codes, labels = predictions(counts)
    for part in codes:
        part[1::2, 8:] = math.nan  # unknown velocities
    loss = SetPredictionLoss(drops_unknown=drops_unknown, free_heading=free_heading)
    grads, values = [], []
    for function in (loss, lambda *a: decoder_losses(*a[:3], loss, None if a[3] is None else torch.tensor(a[3]))):
        own = [(logits.clone().requires_grad_(), code.clone().requires_grad_()) for logits, code in layers]
        found = function(own, codes, labels, average)
        torch.stack(list(found.values())).sum().backward()
        values.append({name: float(value.detach()) for name, value in found.items()})
        grads.append([part.grad for pair in own for part in pair])
    assert values[0] == pytest.approx(values[1], rel=1e-5, abs=1e-6)
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("counts", [(5, 3), (4, 0, 1, 13, 12), (0, 0)], ids=["two", "many", "empty"])
def test_pairs_are_those_of_each_sample_alone(counts: tuple[int, ...]) -> None:
    layers, codes, labels = predictions(counts)
    for part in codes:
        part[::2, 8] = math.nan
    loss = SetPredictionLoss()
    logits, found = (torch.stack(parts) for parts in zip(*layers, strict=True))
    expected = {
        (layer, sample, query, sum(counts[:sample]) + target)
        for layer, samples in enumerate(loss.assign(logits, found, codes, labels))
        for sample, pairs in enumerate(samples)
        for query, target in zip(*(part.tolist() for part in pairs), strict=True)
    }
    rows = start_matching(layers, codes, labels, loss).pairs()
    assert rows.shape == (len(expected), 4)
    assert {tuple(row) for row in rows.tolist()} == expected


def test_losses_are_the_same_whether_other_work_comes_before_the_pairs() -> None:
    layers, codes, labels = predictions((4, 0, 9))
    loss = SetPredictionLoss()
    matching = start_matching(layers, codes, labels, loss)
    found = decoder_losses(layers, codes, labels, loss, matching=matching)
    expected = decoder_losses(layers, codes, labels, loss)
    assert list(found) == list(expected) == [f"{prefix}loss_{name}" for prefix in ("", "d0.", "d1.")
                                             for name in ("cls", "bbox")]  # fmt: skip
    assert found == expected


def test_a_network_that_has_diverged_is_seen_in_its_loss() -> None:
    layers, codes, labels = predictions((4, 2))
    layers[1][1][0, 3] = math.nan
    layers[1][0][1] = math.nan
    losses = decoder_losses(layers, codes, labels, SetPredictionLoss())
    assert math.isnan(losses["d1.loss_cls"])
    assert math.isfinite(losses["d0.loss_cls"])


def test_depth_loss_takes_cells_of_another_size_than_the_head() -> None:
    depth = DepthConfig(num_bins=8, range=(2.0, 18.0))
    config = Dfa3dConfig(image_width=128, image_height=96, depth=depth)
    predicted = torch.rand(2, 8, 3, 4).softmax(dim=1)
    cells = torch.zeros(2, 6, 8)
    cells[0, 2, 3], cells[0, 3, 2], cells[1, 5, 7] = 7.5, 5.0, 30.0
    nearest = torch.zeros(2, 3, 4)
    nearest[0, 1, 1] = 5.0  # the nearer one of two; 30 m is out of range
    expected = depth_loss(predicted, depth_labels(nearest, depth, 1), 0.5)
    assert float(predicted_depth_loss(predicted, cells, config, 0.5)) == pytest.approx(float(expected), rel=1e-5)
    assert float(expected) > 0


def test_cells_of_a_scaled_and_padded_picture_meet_those_of_the_level_that_show_the_same() -> None:
    """The published small networks: 1600 x 900 px become 1280 x 736, a cell of stride 32 is 2.5 cells large."""
    config = preset("dfa3d-small")
    assert config is not None
    for row, column in [(0, 0), (2, 2), (2, 4), (9, 52), (56, 99)]:
        cells = torch.zeros(1, 57, 100)
        cells[0, row, column] = 9.0
        met = level_depths(cells, (23, 40), config)
        rows, columns = met[0].nonzero().T.tolist()
        expected = [
            [i for i in range(count) if i * 40 < (cell + 1) * 16 and (i + 1) * 40 > cell * 16]
            for cell, count in ((row, 23), (column, 40))
        ]
        assert (sorted(set(rows)), sorted(set(columns))) == tuple(expected)
        assert met[met > 0].numpy() == pytest.approx(9.0)


def test_wrong_labels_and_boxes_are_refused_by_the_name_of_their_sample() -> None:
    codes, labels = torch.zeros(2, 10), torch.tensor([0, 4])
    with pytest.raises(DatasetError, match=r"scene:3.*label 4"):
        check_targets(codes, labels, 4, ["scene:3"])
    codes[0, 3] = -math.inf
    with pytest.raises(DatasetError, match="not finite"):
        check_targets(codes, torch.tensor([0, 1]), 4, ["scene:3"])


def test_velocities_are_trained_where_they_are_known_and_there_is_a_history() -> None:
    codes = [torch.zeros(3, 10), torch.zeros(1, 10), torch.zeros(0, 10)]
    codes[0][:, 8] = torch.tensor([1.0, math.nan, 4.0])
    targets = padded_targets(codes, 0.0)
    assert targets.places.shape == (3, 3, 2)
    found = torch.zeros(3, 3, 2, requires_grad=True)
    loss = motion_loss(found, targets, torch.tensor([1.0, 0.0, 1.0]))
    # Two known ones: 0.5 * 1 / 2 below the bend of the loss at 2 m/s, 4 - 1 above it.
    assert float(loss.detach()) == pytest.approx((0.25 + 3.0) / 2)
    loss.backward()
    assert found.grad is not None
    assert found.grad[..., 0].nonzero().tolist() == [[0, 0], [0, 2]]
    assert float(motion_loss(found.detach(), targets, torch.zeros(3))) == 0.0


def test_places_scatter_about_the_centres() -> None:
    torch.manual_seed(0)
    codes = [torch.full((400, 10), 7.0)]
    places = padded_targets(codes, 0.5).places
    assert float(places.mean()) == pytest.approx(7.0, abs=0.1)
    assert float(places.std()) == pytest.approx(0.5, abs=0.05)
