"""The network treats cameras as a set, ignores what is left out, and is repeatable."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dfa3d_configs import PUBLISHED, SMALL  # noqa: E402
from dfa3d_ring import inputs, run, with_pairs  # noqa: E402

from lift3d_ros.models.dfa3d.config import PRESETS, Dfa3dConfig, MotionConfig, preset  # noqa: E402
from lift3d_ros.models.dfa3d.detector import Dfa3dDetector, build_detector  # noqa: E402
from lift3d_ros.models.dfa3d.visibility import find_visible_pairs, join_pairs  # noqa: E402


def pick(values: dict[str, Any], cameras: list[int], config: Dfa3dConfig = SMALL) -> dict[str, Any]:
    """Return the inputs with only these cameras, in this order."""
    names = [name for name in ("images", "image_from_model", "camera_rows") if name in values]
    return with_pairs({**values, **{name: values[name][cameras] for name in names}}, config)


@pytest.fixture(scope="module")
def network() -> Any:
    return build_detector(SMALL, seed=0)


def largest_difference(first: list[Any], second: list[Any]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("num_cameras", [1, 4, 8])
@pytest.mark.parametrize(("width", "height"), [(192, 96), (256, 64)])
def test_any_number_of_cameras_and_any_picture_size_runs(num_cameras: int, width: int, height: int) -> None:
    config = replace(SMALL, image_width=width, image_height=height)
    logits, codes, bev = run(build_detector(config, seed=0), inputs(config, num_cameras))
    assert logits.shape == (1, 30, 10)
    assert codes.shape == (1, 30, 10)
    assert bev.shape == (1, SMALL.num_cells, 32)
    assert all(bool(torch.isfinite(output).all()) for output in (logits, codes, bev))


@pytest.mark.parametrize("config", [SMALL, PUBLISHED], ids=["ours", "published"])
def test_every_parameter_learns_from_the_outputs_of_all_layers(config: Dfa3dConfig) -> None:
    network = build_detector(config, seed=0).train()
    generator = torch.Generator().manual_seed(1)
    # Sampling offsets start with zero weights, so that their inputs learn from the second step on.
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    layers: list[Any] = []
    network.decoder.register_forward_hook(lambda _module, _inputs, output: layers.extend(output))
    network(**inputs(config))
    tensors = [tensor for layer in layers for tensor in layer]
    sum((tensor * torch.randn(tensor.shape, generator=generator)).sum() for tensor in tensors).backward()
    assert len(layers) == config.num_decoder_layers
    learning = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert [name for name, parameter in learning.items() if parameter.grad is None] == []
    assert [name for name, parameter in learning.items() if not parameter.grad.isfinite().all()] == []
    assert [name for name, parameter in learning.items() if not parameter.grad.any()] == []
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert bool(frozen) == config.backbone.has_frozen_norms
    assert all(name.startswith("backbone.") and ("bn" in name or "downsample" in name) for name in frozen)


def test_weights_survive_saving_and_loading(network: Any) -> None:
    other = build_detector(SMALL, seed=1)
    values = inputs()
    assert largest_difference(run(other, values), run(network, values)) > 0.01
    other.load_state_dict(network.state_dict(), strict=True)
    assert largest_difference(run(other, values), run(network, values)) == 0.0


@pytest.mark.parametrize("config", [SMALL, PUBLISHED], ids=["ours", "published"])
def test_a_camera_that_is_left_out_counts_as_if_it_were_not_there(config: Dfa3dConfig) -> None:
    network, values = build_detector(config, seed=0), inputs(config)
    without = with_pairs(values, config, [True, True, False, True, False, True])
    assert largest_difference(run(network, without), run(network, pick(values, [0, 1, 3, 5], config))) < 1e-5
    assert largest_difference(run(network, without), run(network, values)) > 1e-3


@pytest.mark.parametrize("config", [SMALL, PUBLISHED], ids=["ours", "published"])
def test_the_order_of_the_cameras_does_not_matter(config: Dfa3dConfig) -> None:
    network, values = build_detector(config, seed=0), inputs(config)
    other_order = pick(values, [4, 2, 0, 5, 1, 3], config)
    assert largest_difference(run(network, other_order), run(network, values)) < 1e-5


def test_a_rig_turned_by_45_degrees_sees_the_cells_turned_by_45_degrees(network: Any) -> None:
    straight, turned = inputs(num_cameras=8), inputs(num_cameras=8, turned_deg=45.0)
    # Eight cameras every 45 degrees: the turned rig is the same rig with the cameras counted from the next one.
    shifted = pick(straight, [1, 2, 3, 4, 5, 6, 7, 0])
    np.testing.assert_allclose(turned["image_from_model"], shifted["image_from_model"], atol=1e-3)
    shifted["images"] = turned["images"]
    assert largest_difference(run(network, turned), run(network, shifted)) < 1e-3


@pytest.mark.parametrize("config", [SMALL, PUBLISHED], ids=["ours", "published"])
def test_a_batch_gives_what_each_sample_gives_alone(config: Dfa3dConfig) -> None:
    network = build_detector(config, seed=0)
    samples = [inputs(config, seed=0), inputs(config, seed=1, turned_deg=20.0)]
    samples[1]["history_valid"] = torch.zeros(1)
    batch = {name: torch.cat([sample[name] for sample in samples]) for name in samples[0] if "pair" not in name}
    pairs = join_pairs(
        [find_visible_pairs(sample["image_from_model"].numpy(), config) for sample in samples], 6, config
    )
    batch["pair_camera"], batch["pair_cell"] = torch.from_numpy(pairs.camera), torch.from_numpy(pairs.cell)
    batch["pairs_of_cell"] = torch.from_numpy(pairs.pairs_of_cell)
    together = run(network, batch)
    for index, sample in enumerate(samples):
        alone = run(network, sample)
        assert largest_difference([output[index : index + 1] for output in together], alone) < 1e-4


def test_padding_of_the_pair_lists_changes_nothing(network: Any) -> None:
    from lift3d_ros.models.dfa3d.visibility import PairCapacity, pad_pairs

    values = inputs()
    exact = find_visible_pairs(values["image_from_model"].numpy(), SMALL)
    padded = pad_pairs(exact, PairCapacity(exact.num_pairs + 77, exact.pairs_of_cell.shape[1] + 2))
    names = {"pair_camera": padded.camera, "pair_cell": padded.cell, "pairs_of_cell": padded.pairs_of_cell}
    with_room = {**values, **{name: torch.from_numpy(array) for name, array in names.items()}}
    assert largest_difference(run(network, with_room), run(network, values)) < 1e-6


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_built(name: str) -> None:
    config = preset(name)
    assert config is not None
    with torch.device("meta"):
        network = Dfa3dDetector(config)
    count = sum(parameter.numel() for parameter in network.parameters())
    # Millions of parameters: fact sheet DFA3D, section 19, less the depth head where depth is measured.
    published = {"dfa3d-small": 66.07, "dfa3d-base": 75.99}
    if name in published:
        assert count / 1e6 == pytest.approx(published[name], abs=0.01)


def test_pictures_matter_where_a_camera_looks(network: Any) -> None:
    """Another picture of the front camera changes cells ahead more than cells behind."""
    values = inputs()
    changed = {**values, "images": values["images"].clone()}
    changed["images"][0] = 255 - changed["images"][0]
    difference = (run(network, changed)[2] - run(network, values)[2])[0].abs().sum(-1)
    ahead = difference.reshape(SMALL.bev_height, SMALL.bev_width)[:, SMALL.bev_width // 2 :]
    behind = difference.reshape(SMALL.bev_height, SMALL.bev_width)[:, : SMALL.bev_width // 2]
    assert float(ahead.mean()) > 3 * float(behind.mean())


def test_an_invalid_history_is_ignored(network: Any) -> None:
    values = {**inputs(), "history_valid": torch.zeros(1)}
    moved = torch.eye(4)[None].clone()
    moved[0, 0, 3] = 7.0
    nothing = {**values, "history": torch.zeros_like(values["history"])}
    elsewhere = {**values, "history": 100 * values["history"], "ego": moved}
    broken = {**values, "history": torch.full_like(values["history"], torch.nan)}
    assert largest_difference(run(network, elsewhere), run(network, nothing)) == 0.0
    assert largest_difference(run(network, broken), run(network, nothing)) == 0.0
    valid = {**values, "history_valid": torch.ones(1)}
    assert largest_difference(run(network, valid), run(network, nothing)) > 1e-3


def test_history_moves_with_the_vehicle(network: Any) -> None:
    """What was 12 m ahead in the last frame is 7.7 m ahead after driving one cell (4.3 m) forward."""
    cell_m = (SMALL.point_range[3] - SMALL.point_range[0]) / SMALL.bev_width
    values = inputs()
    last = values["history"].reshape(SMALL.bev_height, SMALL.bev_width, -1)
    T_history_current = torch.eye(4)[None].clone()
    T_history_current[0, 0, 3] = cell_m
    driven = {**values, "ego": T_history_current}
    shifted = torch.zeros_like(last)
    shifted[:, :-1] = last[:, 1:]
    by_hand = {**values, "history": shifted.reshape(1, SMALL.num_cells, -1)}
    assert largest_difference(run(network, driven), run(network, by_hand)) < 1e-4


def test_box_centres_lie_in_the_range_of_the_model(network: Any) -> None:
    centers = torch.cat([run(network, inputs(seed=seed))[1][0][:, [0, 1, 4]] for seed in range(3)])
    low, high = torch.tensor(SMALL.point_range).reshape(2, 3)
    assert bool(((centers >= low) & (centers <= high)).all())
    # Untrained, queries start spread over the range, not in one heap.
    assert float(centers[:, :2].std()) > 10.0


def test_untrained_weights_depend_on_the_seed_alone(network: Any) -> None:
    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    again = build_detector(SMALL, seed=0)
    assert torch.equal(torch.random.get_rng_state(), state), "the caller's random numbers are left alone"
    assert not again.training
    expected = network.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in again.state_dict().items())


def test_a_detector_with_lift_splat_trains_its_depth_head() -> None:
    splat = build_detector(replace(SMALL, view_transform="lift_splat"), seed=0)
    logits, codes, _ = splat(**inputs())
    (logits.sum() + codes.sum()).backward()
    assert splat.depth_head is not None
    assert all(parameter.grad is not None for parameter in splat.depth_head.parameters())


def test_the_age_of_the_history_counts_only_where_there_is_one() -> None:
    aged = build_detector(replace(SMALL, reads_history_age=True), seed=0)
    recent, old = ({**inputs(), "history_age": torch.tensor([age])} for age in (0.1, 1.0))
    assert largest_difference(run(aged, recent), run(aged, old)) > 1e-3
    without = [{**values, "history_valid": torch.zeros(1)} for values in (recent, old)]
    assert largest_difference(run(aged, without[0]), run(aged, without[1])) == 0.0


def test_a_motion_head_replaces_the_velocities_where_there_is_a_history_and_nothing_else() -> None:
    moving = build_detector(replace(SMALL, reads_history_age=True, motion=MotionConfig(channels=8)), seed=0)
    values = {**inputs(), "history_age": torch.tensor([0.5])}
    first = {**values, "history_valid": torch.zeros(1)}
    found, at_first = run(moving, values), run(moving, first)
    moving.motion = None
    without = run(moving, values)
    assert largest_difference([found[0], found[1][..., :8]], [without[0], without[1][..., :8]]) == 0.0
    assert float((found[1] - without[1])[..., 8:].abs().max()) > 1e-3
    assert largest_difference(at_first, run(moving, first)) == 0.0


def test_samples_of_a_batch_with_heatmap_queries_are_those_of_single_calls() -> None:
    config = replace(SMALL, query_source="heatmap")
    dense = build_detector(config, seed=0)
    samples = [inputs(config, seed=seed, turned_deg=10.0 * seed) for seed in range(2)]
    joined = {
        name: torch.cat([sample[name] for sample in samples])
        for name in ("images", "image_from_model", "ego", "history_valid", "history")
    }
    pairs = [find_visible_pairs(sample["image_from_model"].numpy(), config) for sample in samples]
    together = join_pairs(pairs, 6, config)
    joined |= {
        "pair_camera": torch.from_numpy(together.camera),
        "pair_cell": torch.from_numpy(together.cell),
        "pairs_of_cell": torch.from_numpy(together.pairs_of_cell),
    }
    batch = run(dense, joined)
    for index, sample in enumerate(samples):
        alone = run(dense, sample)
        assert largest_difference([output[index : index + 1] for output in batch], alone) < 1e-4
