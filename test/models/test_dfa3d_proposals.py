"""Dense proposals start queries at the peaks of the heatmap, and their losses pull the peaks onto the objects."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch")

from lift3d_ros.models.dfa3d.box_code import encode_boxes  # noqa: E402
from lift3d_ros.models.dfa3d.config import Dfa3dConfig  # noqa: E402
from lift3d_ros.models.dfa3d.decoder import Decoder  # noqa: E402
from lift3d_ros.models.dfa3d.dense_losses import PerspectiveHead, draw_heatmaps, heatmap_loss, proposal_losses  # noqa: E402
from lift3d_ros.models.dfa3d.proposals import DenseProposals  # noqa: E402

CONFIG = Dfa3dConfig(
    embed_dims=8, bev_height=20, bev_width=30, point_range=(-30, -20, -3, 30, 20, 3), num_queries=5,
    query_source="heatmap", class_names=("car", "pedestrian"), crowded_classes=("pedestrian",),
)  # fmt: skip


def _peak_module(peaks: dict[tuple[int, int, int], float], batch: int = 1) -> DenseProposals:
    """Return proposals whose heatmap has the given logits at (class, row, column) and -9 elsewhere."""
    module = DenseProposals(CONFIG).eval()
    logits = torch.full((batch, 2, 20, 30), -9.0)
    for place, value in peaks.items():
        logits[(slice(None), *place)] = value
    module.heatmap.forward = lambda features: logits  # type: ignore[method-assign]
    torch.nn.init.zeros_(module.codes.weight)
    torch.nn.init.zeros_(module.codes.bias)
    return module


def test_queries_start_at_the_centres_of_the_best_cells() -> None:
    module = _peak_module({(0, 3, 7): 4.0, (1, 12, 20): 2.0})
    reference = module(torch.zeros(1, 600, 8)).reference[0]
    metric = reference * torch.tensor([60.0, 40.0, 6.0]) - torch.tensor([30.0, 20.0, 3.0])
    torch.testing.assert_close(metric[0, :2], torch.tensor([-30 + 7.5 * 2, -20 + 3.5 * 2]))
    torch.testing.assert_close(metric[1, :2], torch.tensor([-30 + 20.5 * 2, -20 + 12.5 * 2]))


def test_a_neighbour_of_a_stronger_cell_starts_no_query_unless_its_class_stands_in_crowds() -> None:
    cars = _peak_module({(0, 5, 5): 4.0, (0, 5, 6): 3.9})(torch.zeros(1, 600, 8))
    people = _peak_module({(1, 5, 5): 4.0, (1, 5, 6): 3.9})(torch.zeros(1, 600, 8))
    columns = [(found.reference[0, :2, 0] * 30).floor().tolist() for found in (cars, people)]
    assert columns[0][1] != 6.0
    assert columns[1] == [5.0, 6.0]


def test_decoder_layers_add_to_what_the_maps_say_in_the_cells_of_the_queries() -> None:
    decoder = Decoder(CONFIG).eval()
    for branch in (*decoder.cls_branches, *decoder.reg_branches):
        last = list(branch.children())[-1]
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
    bev = torch.randn(1, CONFIG.num_cells, CONFIG.embed_dims)
    found = decoder.proposals(bev)
    for logits, codes in decoder(bev, found):
        torch.testing.assert_close(logits, found.logits)
        torch.testing.assert_close(codes[..., 5:], found.code[..., 5:])
    best = found.logits[0, 0].max()
    torch.testing.assert_close(best, found.heatmap.max())


def test_the_heatmap_of_an_object_is_one_in_its_cell_only() -> None:
    target = draw_heatmaps(
        torch.tensor([1, 1]), torch.tensor([0, 1]), torch.tensor([[4.9, 2.1], [-0.1, 3.0]]), torch.tensor([1.0, 1.0]),
        2, 2, (6, 8),
    )  # fmt: skip
    assert (target == 1).nonzero().tolist() == [[1, 0, 2, 4]]
    assert target[0].sum() == 0
    assert target[1, 1].sum() == 0  # outside of the map


def test_losses_fall_to_zero_at_the_truth() -> None:
    codes = encode_boxes(
        torch.tensor([[3.4, -6.2, 0.5]]), torch.tensor([[4.0, 2.0, 1.5]]), torch.tensor([0.3]), torch.tensor([[1.0, 2]])
    )
    row, column = int((-6.2 + 20) / 2), int((3.4 + 30) / 2)
    module = _peak_module({})
    found = module(torch.zeros(1, 600, 8))
    wanted = codes.clone()
    wanted[:, 0] -= -30 + (column + 0.5) * 2
    wanted[:, 1] -= -20 + (row + 0.5) * 2
    maps = found.codes.detach().clone()
    maps[0, :, row, column] = wanted[0]
    losses = proposal_losses(found._replace(codes=maps), [codes], [torch.tensor([0])], CONFIG)
    assert losses["loss_dense_bbox"] < 1e-5
    assert losses["loss_heatmap"] > 1.0
    target = draw_heatmaps(
        torch.tensor([0]), torch.tensor([0]), torch.tensor([[1.5, 1.5]]), torch.ones(1), 1, 2, (4, 4)
    )
    assert heatmap_loss(torch.where(target == 1, 20.0, -20.0), target) < 1e-6


def test_losses_of_a_sample_without_objects_and_of_unknown_velocity_are_finite() -> None:
    found = _peak_module({}, batch=2)(torch.zeros(2, 600, 8))
    codes = torch.zeros(1, 10)
    codes[0, 8:] = torch.nan
    losses = proposal_losses(found, [torch.zeros(0, 10), codes], [torch.zeros(0).long(), torch.tensor([1])], CONFIG)
    assert all(loss.isfinite() for loss in losses.values())


def test_the_perspective_loss_is_smallest_where_the_centre_is_projected() -> None:
    config = dataclasses.replace(CONFIG, image_width=64, image_height=32, size_divisor=32)
    head = PerspectiveHead(config)
    # Camera at the origin that looks along +x: u = 32 - 32 y / x, v = 16 - 32 z / x.
    camera = torch.tensor([[[32.0, -32, 0, 0], [16.0, 0, -32, 0], [1.0, 0, 0, 0], [0.0, 0, 0, 1]]])
    codes = torch.zeros(1, 10)
    codes[0, 0], codes[0, 1] = 10.0, 5.0  # u = 16, v = 16: cell (1, 1) of 16 pixels
    logits = torch.full((1, 2, 2, 4), -5.0)
    losses = []
    for row, column in ((1, 1), (0, 3)):
        shifted = logits.clone()
        shifted[0, 0, row, column] = 5.0
        losses.append(head.loss(shifted, camera, torch.zeros(1).long(), [codes], [torch.tensor([0])]))
    assert losses[0] < 0.1 < losses[1]
