"""What the lifting network promises whatever its weights: it knows no order, no padding, no unit."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from lift3d_ros.errors import ConfigError
from lift3d_ros.models.lfm.config import PRESETS, LfmConfig, preset
from lift3d_ros.models.lfm.network import LfmNetwork, LfmOutput, likelier_shape

CHOICES = [
    LfmConfig(width=32),
    LfmConfig(width=32, encoding="learned", branches="global", block="equations"),
    LfmConfig(width=32, branches="local", has_pair_bias=False, has_graph_features=False),
    LfmConfig(width=32, block="figure"),
]


def _network(config: LfmConfig = CHOICES[0]) -> LfmNetwork:
    torch.manual_seed(1)
    network = LfmNetwork(config).eval()
    torch.nn.init.normal_(network.missing)
    for parameter in network.sign_head[-1].parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network


def _inputs(count: int = 3, number: int = 11) -> list[torch.Tensor]:
    torch.manual_seed(0)
    points = torch.randn(count, number, 2)
    exists = torch.ones(count, number, dtype=torch.bool)
    is_visible = torch.rand(count, number) > 0.2
    side = torch.randint(-1, 2, (count, number)).float()
    adjacency = torch.zeros(count, number, number, dtype=torch.bool)
    for joint in range(1, number):
        adjacency[:, joint, (joint - 1) // 2] = True
    return [points, exists, is_visible, side, adjacency]


@torch.no_grad()
def _lift(network: LfmNetwork, inputs: list[torch.Tensor]) -> LfmOutput:
    output: LfmOutput = network(*inputs)
    return output


@pytest.mark.parametrize("config", CHOICES)
def test_relabelling_the_points_relabels_the_output(config: LfmConfig) -> None:
    network, inputs = _network(config), _inputs()
    order = torch.randperm(11)
    moved = [part[:, order] for part in inputs]
    moved[4] = moved[4][:, :, order]
    first, second = _lift(network, inputs), _lift(network, moved)
    assert (first.shape[:, order] - second.shape).abs().max() < 1e-5
    assert (first.sign_logit - second.sign_logit).abs().max() < 1e-5
    assert (first.spread[:, order] - second.spread).abs().max() < 1e-5


@pytest.mark.parametrize("config", CHOICES)
def test_padding_has_no_influence_whatever_it_holds(config: LfmConfig) -> None:
    network, inputs = _network(config), _inputs()
    padded = [torch.cat([part, torch.ones_like(part[:, :4])], dim=1) for part in inputs[:4]]
    padded[0][:, 11:] = float("nan")
    padded[1][:, 11:] = False
    adjacency = torch.ones(3, 15, 15, dtype=torch.bool)
    adjacency[:, :11, :11] = inputs[4]
    first, second = _lift(network, inputs), _lift(network, [*padded, adjacency])
    assert (first.shape - second.shape[:, :11]).abs().max() < 1e-5
    assert (first.sign_logit - second.sign_logit).abs().max() < 1e-5
    assert (second.shape[:, 11:] == 0).all()


def test_the_place_of_a_point_that_is_not_visible_is_not_read() -> None:
    network, inputs = _network(), _inputs()
    other = [part.clone() for part in inputs]
    other[0][~other[2]] = float("nan")
    assert (_lift(network, inputs).shape - _lift(network, other).shape).abs().max() < 1e-6


def test_moved_and_scaled_points_give_the_same_shape() -> None:
    network, inputs = _network(), _inputs()
    other = [17.0 * inputs[0] + torch.tensor([300.0, -40.0]), *inputs[1:]]
    assert (_lift(network, inputs).shape - _lift(network, other).shape).abs().max() < 1e-3


def test_the_shape_has_mean_zero_and_size_one() -> None:
    shape = _lift(_network(), _inputs()).shape
    assert shape.mean(1).abs().max() < 1e-6
    torch.testing.assert_close((shape**2).sum((1, 2)) / 11, torch.ones(3))


@pytest.mark.parametrize("number", [1, 2, 500])
def test_few_and_many_points_give_finite_shapes(number: int) -> None:
    output = _lift(_network(), _inputs(1, number))
    assert all(torch.isfinite(part).all() for part in output)


@pytest.mark.parametrize("kind", ["none visible", "one visible", "all equal", "no edges"])
def test_poor_input_gives_finite_shapes(kind: str) -> None:
    inputs = _inputs()
    if kind == "none visible":
        inputs[2][:] = False
    elif kind == "one visible":
        inputs[2][:] = torch.arange(11) == 3
    elif kind == "all equal":
        inputs[0][:] = 7.0
    else:
        inputs[4][:] = False
    assert all(torch.isfinite(part).all() for part in _lift(_network(), inputs))


def test_the_sign_chooses_between_the_shape_and_its_mirror_image() -> None:
    shape = torch.randn(2, 5, 3)
    chosen = likelier_shape(LfmOutput(shape, torch.tensor([2.0, -2.0]), torch.ones(2, 5)))
    torch.testing.assert_close(chosen[0], shape[0])
    torch.testing.assert_close(chosen[1], shape[1] * torch.tensor([1.0, 1.0, -1.0]))


def test_the_encoding_is_stored_with_the_weights() -> None:
    assert {"encoding.frequencies", "encoding.phases"} <= set(_network().state_dict())


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="width 100 with 8 heads"):
        LfmConfig(width=100, num_heads=8)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_in_float16_takes_less_than_15_megabytes(name: str) -> None:
    config = preset(name)
    assert config is not None
    assert 2 * sum(tensor.numel() for tensor in LfmNetwork(config).state_dict().values()) < 15e6
