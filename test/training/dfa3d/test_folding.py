"""Blocks with folded norms compute what they compute otherwise, and also with gradients and in bfloat16."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lift3d_ros.models.backbones.config import BackboneConfig
from lift3d_ros.models.backbones.efficientnet_lite import EfficientNetLite
from lift3d_ros.ops.channel_bias import add_bias_
from lift3d_ros.training.dfa3d import folding
from lift3d_ros.training.dfa3d.folding import fold_stored_norms


def backbone(*, has_frozen_norms: bool = False) -> EfficientNetLite:
    torch.manual_seed(0)
    config = BackboneConfig(architecture="efficientnet_lite0", has_frozen_norms=has_frozen_norms)
    network = EfficientNetLite(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network


@pytest.mark.parametrize("size", [(96, 192), (90, 174), (61, 75)], ids=["even", "odd later", "odd"])
def test_folded_norms_change_the_features_by_rounding_only(size: tuple[int, int]) -> None:
    plain, folded = backbone().eval(), backbone().eval()
    fold_stored_norms(folded, is_short=False)
    pictures = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = plain(pictures)
        for found, wanted in zip(folded(pictures), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    assert not torch.equal(folded(pictures)[0].detach(), torch.zeros_like(expected[0]))


def test_blocks_that_are_trained_update_statistics_and_have_the_same_gradients() -> None:
    # In float64, as norms over few pixels make much of rounding, and how much depends on the processor.
    plain, folded = backbone().double().train(), backbone().double().train()
    fold_stored_norms(folded, is_short=False)
    pictures = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    for network in (plain, folded):
        for block in network.blocks[:5]:  # type: ignore[union-attr]
            block.requires_grad_(requires_grad=False).eval()
        sum(feature.square().mean() for feature in network(pictures)).backward()  # type: ignore[union-attr]
    assert torch.equal(plain.blocks[3].bn1.running_mean, folded.blocks[3].bn1.running_mean)
    assert plain.blocks[3].project_conv.weight.grad is None
    for name, parameter in folded.named_parameters():
        other = plain.get_parameter(name)
        if parameter.grad is not None and other.grad is not None and name.startswith("blocks.1"):
            assert (parameter.grad - other.grad).norm() <= 1e-6 * other.grad.norm() + 1e-9, name
    torch.testing.assert_close(
        folded.blocks[7].bn1.running_mean, plain.blocks[7].bn1.running_mean, rtol=1e-9, atol=1e-9
    )
    assert not torch.equal(plain.blocks[7].bn1.running_mean, backbone().blocks[7].bn1.running_mean)


def test_frozen_norms_stay_as_stored_and_their_blocks_have_the_gradients_of_plain_ones() -> None:
    plain, folded = backbone(has_frozen_norms=True).train(), backbone(has_frozen_norms=True).train()
    before = folded.blocks[7].bn1.running_mean.clone()  # type: ignore[operator, union-attr]
    fold_stored_norms(folded, is_short=False)
    pictures = torch.randn(2, 3, 64, 96)
    for network in (plain, folded):
        sum(feature.square().mean() for feature in network(pictures)).backward()  # type: ignore[union-attr]
    assert torch.equal(folded.blocks[7].bn1.running_mean, before)  # type: ignore[arg-type]
    assert folded.blocks[7].bn1.weight.grad is None
    for name, parameter in plain.named_parameters():
        if parameter.requires_grad:
            scale = float(parameter.grad.abs().max())  # type: ignore[union-attr]
            found = folded.get_parameter(name).grad
            torch.testing.assert_close(found, parameter.grad, rtol=1e-2, atol=5e-3 * scale)


def test_blocks_before_the_trained_ones_may_compute_in_bfloat16() -> None:
    exact, short = backbone(has_frozen_norms=True).train(), backbone(has_frozen_norms=True).train()
    for network, is_short in ((exact, False), (short, True)):
        fold_stored_norms(network, is_short=is_short)
        for part in (network.conv_stem, *network.blocks[:5]):
            part.requires_grad_(requires_grad=False)
    pictures = torch.randn(2, 3, 64, 96)
    for found, wanted in zip(short(pictures), exact(pictures), strict=True):
        assert found.dtype == torch.float32
        difference = (found - wanted).square().mean().sqrt() / wanted.square().mean().sqrt()
        assert 0 < float(difference.detach()) < 0.05


@pytest.mark.parametrize("size", [(64, 96), (61, 75)], ids=["even", "odd"])
def test_a_bias_added_apart_changes_the_features_by_rounding_only(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    """As on a GPU, but by torch; the kernel is tested with its operator."""
    plain, folded = backbone().eval(), backbone().eval()
    fold_stored_norms(folded, is_short=False)
    monkeypatch.setattr(folding, "_adds_bias_apart", lambda x: True)
    added: list[bool] = []

    def counted(*arguments: Any, **options: Any) -> torch.Tensor:
        added.append(arguments[2] is not None)
        return add_bias_(*arguments, **options)

    monkeypatch.setattr(folding, "add_bias_", counted)
    pictures = torch.randn(2, 3, *size)
    with torch.no_grad():
        for found, wanted in zip(folded(pictures), plain(pictures), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    assert len(added) == sum(isinstance(module, nn.Conv2d) for module in folded.modules())
    assert sum(added) == sum(block.has_shortcut for block in folded.blocks)  # type: ignore[misc]


def test_a_bias_is_added_apart_only_where_no_gradient_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, folded = backbone(has_frozen_norms=True).train(), backbone(has_frozen_norms=True).train()
    fold_stored_norms(folded, is_short=False)
    monkeypatch.setattr(folding, "_adds_bias_apart", lambda x: True)
    pictures = torch.randn(2, 3, 64, 96)
    for network in (plain, folded):
        for part in (network.conv_stem, *network.blocks[:5]):
            part.requires_grad_(requires_grad=False)
        sum(feature.square().mean() for feature in network(pictures)).backward()  # type: ignore[union-attr]
    trained = [name for name, parameter in plain.named_parameters() if parameter.requires_grad]
    assert trained
    for name in trained:
        wanted, found = plain.get_parameter(name).grad, folded.get_parameter(name).grad
        assert wanted is not None
        torch.testing.assert_close(found, wanted, rtol=1e-2, atol=5e-3 * float(wanted.abs().max()))


def test_frozen_weights_are_folded_again_only_when_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    network = backbone().eval().requires_grad_(requires_grad=False)
    fold_stored_norms(network, is_short=False)
    folds: list[int] = []
    fold = folding._fold

    def counted(*arguments: Any) -> Any:
        folds.append(1)
        return fold(*arguments)

    monkeypatch.setattr(folding, "_fold", counted)
    pictures = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        first = network(pictures)[-1]
    convolutions = len(folds)
    assert convolutions == sum(isinstance(module, nn.Conv2d) for module in network.modules())
    assert torch.equal(network(pictures)[-1], first)
    assert len(folds) == convolutions

    def expect(changes: int) -> None:
        plain = backbone()
        plain.load_state_dict(network.state_dict())
        del folds[:]
        torch.testing.assert_close(network.eval()(pictures)[-1], plain.eval()(pictures)[-1], rtol=1e-3, atol=1e-3)
        assert len(folds) == changes

    block = network.blocks[2]
    with torch.no_grad():
        block.bn1.running_var.mul_(3.0)  # type: ignore[operator, union-attr]
    expect(1)
    network.load_state_dict({name: value * 1.1 for name, value in network.state_dict().items()})
    expect(convolutions)
    block.bn1.weight.data = block.bn1.weight.data * 2.0  # type: ignore[union-attr]
    expect(1)
    block.train()(torch.randn(1, 24, 16, 24))  # statistics that change without a new version
    expect(3)
    network.to(torch.float64).to(torch.float32)  # new buffers, as by a move to another device
    expect(convolutions)
    block.requires_grad_()
    expect(3)
