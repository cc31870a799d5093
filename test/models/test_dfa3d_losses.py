"""Targets find the queries that predict them, samples do not influence each other, odd data does no harm."""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("scipy", reason="scipy is not installed")

from lift3d_ros.errors import ConfigError, DatasetError, Lift3dError  # noqa: E402
from lift3d_ros.models.dfa3d.config import DepthConfig  # noqa: E402
from lift3d_ros.models.dfa3d.depth_labels import (  # noqa: E402
    depth_labels,
    depth_loss,
    depth_map_from_points,
    depth_scores_from_lidar,
)
from lift3d_ros.models.dfa3d.losses import (  # noqa: E402
    MatchWeights,
    SetPredictionLoss,
    code_differences,
    match,
    matching_costs,
    sigmoid_focal_loss,
)

CLASSES = 4
LOSS = SetPredictionLoss()


def targets(count: int, seed: int = 0) -> tuple[Any, Any]:
    """Return codes (count, 10) of boxes that lie well apart, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    codes = 20 * torch.rand(count, 10, generator=generator)
    codes[:, 0] += 10.0 * torch.arange(count)
    return codes, torch.randint(0, CLASSES, (count,), generator=generator)


def predictions(queries: int, samples: int = 1, layers: int = 1, seed: int = 1) -> list[tuple[Any, Any]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(samples, queries, CLASSES, generator=generator, requires_grad=True),
            (20 * torch.rand(samples, queries, 10, generator=generator)).requires_grad_(),
        )
        for _ in range(layers)
    ]


def total(losses: dict[str, Any]) -> Any:
    return torch.stack(list(losses.values())).sum()


def leaves(layers: list[tuple[Any, Any]]) -> list[Any]:
    return [tensor for layer in layers for tensor in layer]


def test_focal_loss_equals_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(6, CLASSES, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, CLASSES, CLASSES])
    expected = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        for index, logit in enumerate(row):
            p = 1 / (1 + math.exp(-logit))
            expected -= 0.3 * (1 - p) ** 1.5 * math.log(p) if index == label else 0.7 * p**1.5 * math.log(1 - p)
    assert float(sigmoid_focal_loss(logits, labels, 0.3, 1.5)) == pytest.approx(expected, rel=1e-12)


def test_focal_loss_and_gradient_stay_finite_for_extreme_logits() -> None:
    logits = torch.tensor([[200.0, -200.0, 0.0, 50.0]] * 2, requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([1, CLASSES]))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_every_target_gets_the_query_that_predicts_it() -> None:
    codes, labels = targets(5)
    order = torch.tensor([7, 2, 0, 5, 3])
    logits = torch.full((9, CLASSES), -4.0)
    predicted = torch.full((9, 10), -300.0)
    predicted[order] = codes + 0.01
    logits[order, labels] = 4.0
    query, target = match(logits, predicted, codes, labels, MatchWeights())
    assert query.dtype == torch.int64
    assert dict(zip(target.tolist(), query.tolist(), strict=True)) == dict(enumerate(order.tolist()))


def test_the_matching_has_the_smallest_cost_of_all_assignments() -> None:
    codes, labels = targets(3)
    ((logits, predicted),) = predictions(5)
    cost = sum(matching_costs(logits[0], predicted[0], codes, labels, MatchWeights())).numpy()
    query, target = match(logits[0], predicted[0], codes, labels, MatchWeights())
    best = min(sum(cost[q, n] for n, q in enumerate(order)) for order in itertools.permutations(range(5), 3))
    assert cost[query, target].sum() == pytest.approx(best, rel=1e-6)


def test_class_and_distance_weigh_against_each_other() -> None:
    """Two queries, one nearer, one of the right class: the weights decide."""
    codes, labels = torch.zeros(1, 10), torch.tensor([2])
    logits = torch.tensor([[0.0, 0.0, -5.0, 0.0], [0.0, 0.0, 5.0, 0.0]])
    predicted = torch.tensor([[0.1] * 10, [1.0] * 10])
    for weights, nearest in ((MatchWeights(), 1), (MatchWeights(class_cost=0.0), 0)):
        assert match(logits, predicted, codes, labels, weights)[0].tolist() == [nearest]


def test_velocity_is_learned_but_does_not_decide_the_matching() -> None:
    codes, labels = targets(1)
    logits = torch.zeros(1, 2, CLASSES)
    predicted = torch.stack([codes[0] + 0.001, codes[0]])[None]
    predicted[0, 1, 8:] += 50.0
    # Query 1 is nearer in the first eight numbers, and far off in velocity.
    assert match(logits[0], predicted[0], codes, labels, MatchWeights())[0].tolist() == [1]
    loss = LOSS([(logits, predicted)], [codes], [labels])["loss_bbox"]
    assert loss.item() == pytest.approx(0.25 * 0.2 * 2 * 50.0, rel=1e-5)


def test_losses_are_named_by_layer_with_the_last_one_first() -> None:
    layers = predictions(6, layers=3)
    codes, labels = targets(2)
    losses = LOSS(layers, [codes], [labels])
    assert list(losses) == ["loss_cls", "loss_bbox", "d0.loss_cls", "d0.loss_bbox", "d1.loss_cls", "d1.loss_bbox"]
    assert losses["d1.loss_bbox"] == LOSS(layers[1:2], [codes], [labels])["loss_bbox"]
    assert losses["loss_cls"] == LOSS(layers[2:], [codes], [labels])["loss_cls"]


def test_the_order_of_the_targets_does_not_matter() -> None:
    layers = predictions(8, layers=2)
    codes, labels = targets(5)
    shuffled = torch.tensor([3, 0, 4, 2, 1])
    expected = LOSS(layers, [codes], [labels])
    found = LOSS(layers, [codes[shuffled]], [labels[shuffled]])
    assert {name: loss.item() for name, loss in found.items()} == pytest.approx(
        {name: loss.item() for name, loss in expected.items()}, rel=1e-6
    )


def test_samples_of_a_batch_are_matched_each_with_its_own_targets() -> None:
    counts = (4, 0, 2)
    layers = predictions(7, samples=3, layers=2)
    by_sample = [targets(count, seed) for seed, count in enumerate(counts)]
    together = LOSS(layers, [code for code, _ in by_sample], [label for _, label in by_sample])
    alone: dict[str, float] = dict.fromkeys(together, 0.0)
    for sample, (codes, labels) in enumerate(by_sample):
        single = [(logits[sample : sample + 1], boxes[sample : sample + 1]) for logits, boxes in layers]
        for name, loss in LOSS(single, [codes], [labels], average_factor=1.0).items():
            alone[name] += loss.item() / sum(counts)
    assert {name: loss.item() for name, loss in together.items()} == pytest.approx(alone, rel=1e-5)


def test_a_frame_without_boxes_teaches_background_only() -> None:
    layers = predictions(6, samples=2, layers=2)
    codes, labels = torch.zeros(0, 10), torch.zeros(0, dtype=torch.int64)
    losses = LOSS(layers, [codes, codes], [labels, labels])
    total(losses).backward()
    assert losses["loss_bbox"] == 0.0
    assert losses["loss_cls"] > 0.0
    assert all((logits.grad > 0).all() for logits, _ in layers), "less confidence lowers the loss of every query"
    assert all((boxes.grad == 0).all() for _, boxes in layers)


def test_an_object_of_unknown_velocity_is_learned_as_an_object_without_its_box() -> None:
    ((logits, predicted),) = predictions(6)
    codes, labels = targets(2)
    unknown = codes.clone()
    unknown[0, 8:] = math.nan
    known = LOSS([(logits, predicted)], [codes], [labels])
    losses = LOSS([(logits, predicted)], [unknown], [labels])
    assert losses["loss_cls"] == known["loss_cls"]
    assert 0.0 < losses["loss_bbox"] < known["loss_bbox"]
    total(losses).backward()
    assert all(tensor.grad.isfinite().all() for tensor in (logits, predicted))


def test_a_box_of_unknown_velocity_is_learned_but_for_the_velocity_where_that_is_asked_for() -> None:
    ((logits, predicted),) = predictions(6)
    codes, labels = targets(2)
    unknown = codes.clone()
    unknown[:, 8:] = math.nan
    still = replace(LOSS, code_weights=(*LOSS.code_weights[:8], 0.0, 0.0))
    expected = still([(logits, predicted)], [codes], [labels])["loss_bbox"]
    found = replace(LOSS, drops_unknown=False)([(logits, predicted)], [unknown], [labels])["loss_bbox"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    found.backward()
    assert (predicted.grad[..., :8] != 0).any()
    assert (predicted.grad[..., 8:] == 0).all()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_target_without_place_or_extent_is_left_out(value: float) -> None:
    layers = predictions(6, layers=2)
    codes, labels = targets(3)
    broken = codes.clone()
    broken[1, 2] = value
    rest = torch.tensor([0, 2])
    assert LOSS(layers, [broken], [labels]) == LOSS(layers, [codes[rest]], [labels[rest]])
    query, target = match(layers[0][0][0], layers[0][1][0], broken, labels, MatchWeights())
    assert sorted(target.tolist()) == [0, 2]
    assert len(set(query.tolist())) == 2


def test_more_objects_than_queries_fill_all_queries() -> None:
    layers = predictions(3)
    codes, labels = targets(8)
    query, target = match(layers[0][0][0], layers[0][1][0], codes, labels, MatchWeights())
    assert sorted(query.tolist()) == [0, 1, 2]
    assert len(set(target.tolist())) == 3
    assert LOSS.num_pairs([codes], 3) == 3
    assert total(LOSS(layers, [codes], [labels])).isfinite()


def test_several_workers_average_by_the_pairs_of_all() -> None:
    layers = predictions(6)
    codes, labels = targets(4)
    own = LOSS(layers, [codes], [labels])
    shared = LOSS(layers, [codes], [labels], average_factor=torch.tensor(8.0))
    assert {name: 2 * loss.item() for name, loss in shared.items()} == pytest.approx(
        {name: loss.item() for name, loss in own.items()}, rel=1e-6
    )
    fewer = LOSS(layers, [codes], [labels], average_factor=0.25)
    assert fewer["loss_cls"].item() == pytest.approx(4 * own["loss_cls"].item(), rel=1e-6), (
        "never divided by less than 1"
    )


def test_background_can_count_in_the_average_of_the_class_loss() -> None:
    layers = predictions(6)
    codes, labels = targets(2)
    without, counted = LOSS, replace(LOSS, background_weight=0.5)
    ratio = counted(layers, [codes], [labels])["loss_cls"] / without(layers, [codes], [labels])["loss_cls"]
    assert ratio.item() == pytest.approx(2 / (2 + 0.5 * 4), rel=1e-6)


def test_a_network_that_has_diverged_shows_in_the_loss() -> None:
    ((logits, predicted),) = predictions(6)
    codes, labels = targets(2)
    with torch.no_grad():
        logits[0, 3] = math.nan
        predicted[0, 2] = math.inf
    assert LOSS([(logits, predicted)], [codes], [labels])["loss_cls"].isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_losses_of_half_precision_predictions_are_float32(dtype: Any) -> None:
    layers = [(logits.detach().to(dtype), boxes.detach().to(dtype)) for logits, boxes in predictions(6)]
    codes, labels = targets(2)
    losses = LOSS(layers, [codes], [labels])
    widened = [(logits.float(), boxes.float()) for logits, boxes in layers]
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    assert losses == LOSS(widened, [codes], [labels])


@pytest.mark.parametrize("label", [-1, CLASSES])
def test_a_label_that_is_no_class_is_named(label: int) -> None:
    codes, labels = targets(3)
    labels[1] = label
    with pytest.raises(DatasetError, match=rf"label {label}, expected 0 to {CLASSES - 1}"):
        LOSS(predictions(6), [codes], [labels])


def test_a_missing_solver_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    codes, labels = targets(3)
    with pytest.raises(Lift3dError, match=r"needs scipy.*pip install"):
        LOSS(predictions(6), [codes], [labels])


def test_targets_of_another_number_of_samples_are_refused() -> None:
    codes, labels = targets(3)
    with pytest.raises(ValueError, match="targets of 1 samples for predictions of 2"):
        LOSS(predictions(6, samples=2), [codes], [labels])


def test_training_on_one_frame_finds_its_boxes() -> None:
    codes, labels = targets(3)
    layers = predictions(10)
    optimizer = torch.optim.Adam(leaves(layers), lr=0.3)
    for _ in range(300):
        optimizer.zero_grad()
        total(LOSS(layers, [codes], [labels])).backward()
        optimizer.step()
    ((logits, predicted),) = layers
    confident, classes = logits[0].sigmoid().max(-1)
    found = (confident > 0.5).nonzero()[:, 0]
    assert len(found) == 3
    order = predicted[0, found, 0].argsort()
    torch.testing.assert_close(predicted[0, found[order]], codes, atol=0.2, rtol=0)
    assert classes[found[order]].tolist() == labels.tolist()


# Measured depth

PUBLISHED = DepthConfig(source="aspp", num_bins=112, range=(2.0, 58.0), bins_per_code=(2,) * 8 + (4,) * 8 + (8,) * 8)
COARSE = DepthConfig(num_bins=14, range=(2.0, 58.0))


def one_return(depth: float, height: int = 4, width: int = 4) -> Any:
    depth_map = torch.zeros(1, height, width)
    depth_map[0, 1, 2] = depth
    return depth_map


@pytest.mark.parametrize(
    ("depth", "published_code", "coarse_bin"),
    [
        pytest.param(1.99, [], [], id="in front of the first bin"),
        pytest.param(2.0, [0], [0], id="first border"),
        pytest.param(9.9, [7], [1], id="end of the fine codes"),
        pytest.param(10.0, [8], [2], id="start of the middle codes"),
        pytest.param(26.0, [16], [6], id="start of the coarse codes"),
        pytest.param(57.9, [23], [13], id="last bin"),
        pytest.param(58.0, [], [], id="behind the last bin"),
    ],
)
def test_depth_falls_into_its_bin(depth: float, published_code: list[int], coarse_bin: list[int]) -> None:
    for config, expected in ((PUBLISHED, published_code), (COARSE, coarse_bin)):
        labels = depth_labels(one_return(depth), config, 4)
        assert labels.shape == (1, len(config.bins_per_code) or config.num_bins, 1, 1)
        assert labels[0, :, 0, 0].nonzero()[:, 0].tolist() == expected
        assert set(labels.unique().tolist()) <= {0.0, 1.0}


def test_the_nearest_return_of_a_cell_counts() -> None:
    depth_map = torch.zeros(1, 4, 8)
    depth_map[0, 0, :3] = torch.tensor([30.0, 12.0, -50.0])
    depth_map[0, 3, 7] = 45.0
    labels = depth_labels(depth_map, COARSE, 4)
    assert labels[0, :, 0].argmax(0).tolist() == [2, 10]


def test_cells_at_the_border_may_be_incomplete() -> None:
    labels = depth_labels(one_return(20.0, height=2, width=5), COARSE, 4)
    assert labels.shape == (1, 14, 1, 2)
    assert labels.sum((0, 1, 2)).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("value", [0.0, -3.0, math.nan, math.inf])
def test_a_cell_without_a_usable_return_scores_zero_everywhere(value: float) -> None:
    config = replace(COARSE, bin_tolerance=2)
    assert not depth_scores_from_lidar(one_return(value), config, 4).any()


@pytest.mark.parametrize(
    ("bin_index", "hits"),
    [
        pytest.param(7, {5: 1, 6: 4, 7: 6, 8: 4, 9: 1}, id="inside"),
        pytest.param(0, {0: 1, 1: 2, 2: 1}, id="first bin"),
        pytest.param(1, {0: 2, 1: 5, 2: 4, 3: 1}, id="second bin"),
        pytest.param(13, {11: 1, 12: 4, 13: 6}, id="last bin"),
    ],
)
def test_measured_depth_scores_nearly_one_around_its_bin(bin_index: int, hits: dict[int, int]) -> None:
    config = replace(COARSE, source="lidar", bin_tolerance=2)
    scores = depth_scores_from_lidar(one_return(2.0 + 4.0 * bin_index + 1.0), config, 4)[0, :, 0, 0]
    expected = torch.zeros(14)
    for index, count in hits.items():
        expected[index] = count / (count + 1e-5)
    torch.testing.assert_close(scores, expected, atol=1e-7, rtol=0)


def test_a_label_with_tolerance_marks_every_code_that_the_window_touches() -> None:
    labels = depth_labels(one_return(10.1), replace(PUBLISHED, bin_tolerance=1), 4)[0, :, 0, 0]
    assert labels.nonzero()[:, 0].tolist() == [7, 8]
    assert float(labels.max()) <= 1.0


def test_measured_depth_is_scored_by_bin_where_the_head_would_predict_codes() -> None:
    assert depth_scores_from_lidar(one_return(20.0), PUBLISHED, 4).shape == (1, 112, 1, 1)


def test_codes_that_do_not_stand_for_all_bins_are_refused() -> None:
    config = replace(COARSE, bins_per_code=(2, 4))
    with pytest.raises(ConfigError, match=r"depth.bins_per_code stands for 6 bins, depth.num_bins is 14"):
        depth_labels(one_return(20.0), config, 4)


def test_only_cells_with_a_label_are_learned() -> None:
    predicted = torch.full((1, 14, 1, 2), 0.25, requires_grad=True)
    depth_map = torch.zeros(1, 4, 8)
    depth_map[0, 0, 0] = 20.0
    loss = depth_loss(predicted, depth_labels(depth_map, COARSE, 4))
    assert loss.item() == pytest.approx(-0.5 * (math.log(0.25) + 13 * math.log(0.75)), rel=1e-6)
    loss.backward()
    assert predicted.grad is not None
    assert (predicted.grad[..., 0] != 0).all()
    assert (predicted.grad[..., 1] == 0).all()


def test_depth_loss_is_averaged_over_the_cells_with_a_label() -> None:
    predicted = torch.full((1, 14, 3, 3), 0.25)
    depth_map = torch.zeros(1, 12, 12)
    depth_map[0, 0, 0] = 20.0
    one = depth_loss(predicted, depth_labels(depth_map, COARSE, 4))
    depth_map[0, 5, 5], depth_map[0, 9, 9] = 30.0, 40.0
    torch.testing.assert_close(depth_loss(predicted, depth_labels(depth_map, COARSE, 4)), one)


def test_pictures_without_any_return_give_no_depth_loss() -> None:
    predicted = torch.rand(2, 14, 3, 3, requires_grad=True)
    loss = depth_loss(predicted, depth_labels(torch.zeros(2, 12, 12), COARSE, 4))
    loss.backward()
    assert loss == 0.0
    assert predicted.grad is not None
    assert not predicted.grad.any()


def test_a_depth_head_that_is_sure_and_wrong_still_learns() -> None:
    logits = torch.zeros(1, 14, 1, 1)
    logits[0, 3] = 60.0
    logits.requires_grad_()
    loss = depth_loss(logits.softmax(1), depth_labels(one_return(30.0), COARSE, 4))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert float(logits.grad[0, 7]) < -0.4


def test_projected_points_are_drawn_into_the_pixel_they_fall_into() -> None:
    points = torch.tensor(
        [
            [2.9, 1.2, 10.0],
            [2.1, 1.9, 7.0],  # the same pixel, later
            [-0.9, 0.0, 5.0],  # cut towards zero
            [-1.0, 0.0, 4.0],
            [4.0, 0.0, 4.0],
            [1e9, 1.0, 4.0],
            [math.nan, 1.0, 4.0],
            [1.0, 1.0, -4.0],
            [1.0, 1.0, math.inf],
        ]
    )
    depth_map = depth_map_from_points(points, height=3, width=4)
    expected = torch.zeros(3, 4)
    expected[1, 2], expected[0, 0] = 7.0, 5.0
    assert torch.equal(depth_map, expected)


def test_the_last_of_many_points_on_a_pixel_counts() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform([0, 0, 1], [8, 6, 60], (2000, 3)).astype(np.float32)
    expected = np.zeros((6, 8), dtype=np.float32)
    for u, v, depth in points:
        expected[int(v), int(u)] = depth
    np.testing.assert_array_equal(depth_map_from_points(torch.from_numpy(points), 6, 8).numpy(), expected)


def test_no_points_draw_an_empty_map() -> None:
    assert torch.equal(depth_map_from_points(torch.zeros(0, 3), 2, 3), torch.zeros(2, 3))


@pytest.mark.parametrize(("turned_deg", "expected"), [(0.0, 0.0), (180.0, 0.2), (90.0, 1.0)])
def test_a_share_of_the_heading_may_point_backwards(turned_deg: float, expected: float) -> None:
    """In units of the difference of opposite headings: all of it without the share."""
    yaw = math.radians(30.0)
    wanted, found = torch.zeros(1, 10), torch.zeros(1, 10)
    wanted[:, 6:8] = torch.tensor([math.sin(yaw), math.cos(yaw)])
    turned = yaw + math.radians(turned_deg)
    found[:, 6:8] = torch.tensor([math.sin(turned), math.cos(turned)])
    found[:, 0] = 3.0
    published, free = code_differences(found, wanted), code_differences(found, wanted, 0.8)
    assert torch.equal(published, (found - wanted).abs())
    torch.testing.assert_close(free[:, 6:8], published[:, 6:8] * expected)
    assert torch.equal(free[:, :6], published[:, :6])
