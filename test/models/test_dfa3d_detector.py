"""The network treats cameras as a set, ignores what is masked, and is repeatable."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.models.dfa3d.config import Dfa3dConfig  # noqa: E402
from lift3d_ros.models.dfa3d.detector import build_detector  # noqa: E402

SMALL = replace(
    Dfa3dConfig.tiny(),
    image_width=192,
    image_height=96,
    backbone_width=8,
    embed_dims=32,
    num_depth_bins=16,
    bev_height=20,
    bev_width=24,
    num_queries=30,
)
CELLS = SMALL.bev_height * SMALL.bev_width


def camera_ring(config: Dfa3dConfig, yaws_deg: list[float]) -> np.ndarray[Any, Any]:
    """Projections (N, 4, 4) of cameras 1.5 m above the origin that look in these directions."""
    focal = 0.6 * config.image_width
    K = np.array(
        [[focal, 0, config.image_width / 2, 0], [0, focal, config.image_height / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    rows = []
    for yaw in np.deg2rad(yaws_deg):
        c, s = np.cos(yaw), np.sin(yaw)
        rows.append(K @ np.array([[s, -c, 0, 0], [0, 0, -1, 1.5], [c, s, 0, 0], [0, 0, 0, 1]]))
    return np.stack(rows)


def inputs(config: Dfa3dConfig = SMALL, num_cameras: int = 6, seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    yaws = [360.0 * i / num_cameras for i in range(num_cameras)]
    shape = (num_cameras, 3, config.image_height, config.image_width)
    return {
        "images": torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8),
        "image_from_base": torch.tensor(camera_ring(config, yaws), dtype=torch.float32),
        "camera_mask": torch.ones(num_cameras),
        "T_history_current": torch.eye(4),
        "history_valid": torch.tensor(1.0),
        "history": torch.randn(config.bev_height * config.bev_width, config.embed_dims, generator=generator),
    }


def pick(values: dict[str, Any], cameras: list[int]) -> dict[str, Any]:
    """Return the inputs with only these cameras, in this order."""
    return {**values, **{name: values[name][cameras] for name in ("images", "image_from_base", "camera_mask")}}


@pytest.fixture(scope="module")
def network() -> Any:
    return build_detector(SMALL, seed=0)


def run(network: Any, values: dict[str, Any]) -> list[Any]:
    with torch.inference_mode():
        return [output.clone() for output in network(**values)]


def largest_difference(first: list[Any], second: list[Any]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("num_cameras", [1, 6])
@pytest.mark.parametrize(("width", "height"), [(192, 96), (256, 64)])
def test_any_number_of_cameras_and_any_picture_size_runs(num_cameras: int, width: int, height: int) -> None:
    config = replace(SMALL, image_width=width, image_height=height)
    logits, codes, bev = run(build_detector(config, seed=0), inputs(config, num_cameras))
    assert logits.shape == (30, 10)
    assert codes.shape == (30, 10)
    assert bev.shape == (CELLS, 32)
    assert all(bool(torch.isfinite(output).all()) for output in (logits, codes, bev))


def test_every_parameter_learns_from_the_outputs_of_all_layers() -> None:
    network = build_detector(SMALL, seed=0).train()
    generator = torch.Generator().manual_seed(1)
    with (
        torch.no_grad()
    ):  # sampling offsets start with zero weights, so that their inputs learn from the second step on
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    layers: list[Any] = []
    network.decoder.register_forward_hook(lambda _module, _inputs, output: layers.extend(output))
    network(**inputs())
    tensors = [tensor for layer in layers for tensor in layer]
    sum((tensor * torch.randn(tensor.shape, generator=generator)).sum() for tensor in tensors).backward()
    assert len(layers) == SMALL.num_decoder_layers
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert without == []
    not_finite = [name for name, parameter in network.named_parameters() if not parameter.grad.isfinite().all()]
    assert not_finite == []
    idle = [name for name, parameter in network.named_parameters() if not parameter.grad.any()]
    assert idle == []


def test_weights_survive_saving_and_loading(network: Any) -> None:
    other = build_detector(SMALL, seed=1)
    values = inputs()
    assert largest_difference(run(other, values), run(network, values)) > 0.01
    other.load_state_dict(network.state_dict(), strict=True)
    assert largest_difference(run(other, values), run(network, values)) == 0.0


def test_a_masked_camera_counts_as_if_it_were_not_there(network: Any) -> None:
    values = inputs()
    masked = {**values, "camera_mask": torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])}
    assert largest_difference(run(network, masked), run(network, pick(values, [0, 1, 3, 5]))) < 1e-5
    assert largest_difference(run(network, masked), run(network, values)) > 1e-3


def test_the_order_of_the_cameras_does_not_matter(network: Any) -> None:
    values = inputs()
    assert largest_difference(run(network, pick(values, [4, 2, 0, 5, 1, 3])), run(network, values)) < 1e-5


def test_pictures_matter_where_a_camera_looks(network: Any) -> None:
    """Another picture of the front camera changes cells ahead more than cells behind."""
    values = inputs()
    changed = {**values, "images": values["images"].clone()}
    changed["images"][0] = 255 - changed["images"][0]
    difference = (run(network, changed)[2] - run(network, values)[2]).abs().sum(-1)
    ahead = difference.reshape(SMALL.bev_height, SMALL.bev_width)[:, SMALL.bev_width // 2 :]
    behind = difference.reshape(SMALL.bev_height, SMALL.bev_width)[:, : SMALL.bev_width // 2]
    assert float(ahead.mean()) > 3 * float(behind.mean())


def test_an_invalid_history_is_ignored(network: Any) -> None:
    values = {**inputs(), "history_valid": torch.tensor(0.0)}
    moved = torch.eye(4)
    moved[0, 3] = 7.0
    nothing = {**values, "history": torch.zeros_like(values["history"])}
    elsewhere = {**values, "history": 100 * values["history"], "T_history_current": moved}
    broken = {**values, "history": torch.full_like(values["history"], torch.nan)}
    assert largest_difference(run(network, elsewhere), run(network, nothing)) == 0.0
    assert largest_difference(run(network, broken), run(network, nothing)) == 0.0
    valid = {**values, "history_valid": torch.tensor(1.0)}
    assert largest_difference(run(network, valid), run(network, nothing)) > 1e-3


def test_history_moves_with_the_vehicle(network: Any) -> None:
    """What was 12 m ahead in the last frame is 7.7 m ahead after driving one cell (4.3 m) forward."""
    cell_m = (SMALL.point_range[3] - SMALL.point_range[0]) / SMALL.bev_width
    values = inputs()
    last = values["history"].reshape(SMALL.bev_height, SMALL.bev_width, -1)
    T_history_current = torch.eye(4)
    T_history_current[0, 3] = cell_m
    driven = {**values, "T_history_current": T_history_current}
    shifted = torch.zeros_like(last)
    shifted[:, :-1] = last[:, 1:]
    by_hand = {**values, "history": shifted.reshape(CELLS, -1)}
    assert largest_difference(run(network, driven), run(network, by_hand)) < 1e-4


def test_box_centres_lie_in_the_range_of_the_model(network: Any) -> None:
    centers = torch.cat([run(network, inputs(seed=seed))[1][:, [0, 1, 4]] for seed in range(3)])
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
