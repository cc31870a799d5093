"""Published backbones are read as networks that compare pictures; other files are refused in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

import torch
from torch import Tensor

from lift3d_ros.errors import ConfigError, WeightsError
from lift3d_ros.models.backbones.config import BackboneConfig
from lift3d_ros.models.backbones.efficientnet_lite import EfficientNetLite
from lift3d_ros.models.backbones.resnet import ResNet
from lift3d_ros.models.backbones.vit import VisionTransformer
from lift3d_ros.models.backbones.vit_config import VitConfig
from lift3d_ros.models.backbones.vit_keys import DINO_NAMES
from lift3d_ros.models.lrm.losses import perceptual_distance
from lift3d_ros.models.renaming import Renaming
from lift3d_ros.training.lrm.feature_network import load_feature_network
from lift3d_ros.training.lrm.settings import LrmLossSettings
from lift3d_ros.training.lrm.train import open_feature_network

STAGES = (1, 2, 3, 4)


def published(kind: str) -> tuple[torch.nn.Module, dict[str, Tensor]]:
    """Return a small network with random weights, and its state under published names."""
    torch.manual_seed(0)
    network: torch.nn.Module
    if kind == "lite":
        network = EfficientNetLite(BackboneConfig(architecture="efficientnet_lite0", output_stages=STAGES)).eval()
        state = {name.replace("conv", "_conv", 1): tensor for name, tensor in network.state_dict().items()}
        return network, {f"_{name}".replace("__", "_"): tensor for name, tensor in state.items()}
    if kind == "resnet":
        network = ResNet(BackboneConfig(width=4, output_stages=STAGES)).eval()
        return network, {**network.state_dict(), "fc.weight": torch.zeros(10, 32), "fc.bias": torch.zeros(10)}
    network, names = VisionTransformer(VitConfig(64, 4, 1, 14, 3)).eval(), Renaming(DINO_NAMES)
    state = {str(names.published(name)): tensor for name, tensor in network.state_dict().items()}
    return network, {**state, "mask_token": torch.zeros(1, 64)}


@pytest.mark.parametrize("kind", ["lite", "resnet", "dino"])
def test_a_published_backbone_compares_pictures_with_its_own_weights(kind: str, tmp_path: Path) -> None:
    network, state = published(kind)
    torch.save(state, tmp_path / "weights.pth")
    maps = load_feature_network(tmp_path / "weights.pth")
    own = network.state_dict()
    for name, tensor in maps.backbone.state_dict().items():
        torch.testing.assert_close(tensor, own[name])
    truth = torch.rand(2, 3, 64, 64)
    drawn = truth.roll(3, dims=3).requires_grad_()
    distance = perceptual_distance(maps(drawn), maps(truth))
    assert (distance > 1e-4).all()
    distance.sum().backward()
    assert drawn.grad is not None
    assert drawn.grad.isfinite().all()
    assert drawn.grad.abs().sum() > 0


def _cut(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name != "layer3.1.bn2.running_var"}


def _reshaped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, "layer4.0.conv1.weight": torch.zeros(32, 16, 1, 1)}


def _damaged(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, "layer1.0.conv1.weight": torch.full((4, 4, 3, 3), torch.nan)}


def _shallow(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("layer4")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_cut, r"'layer3\.1\.bn2\.running_var' is missing; expected \(16,\); give an unchanged published file"),
        (_reshaped, r"'layer4\.0\.conv1\.weight' has shape \(32, 16, 1, 1\); expected \(32, 16, 3, 3\)"),
        (_damaged, r"'layer1\.0\.conv1\.weight' holds numbers that are not finite"),
        (_shallow, r"none of the networks that compare pictures.*EfficientNet-Lite0, a ResNet of torchvision"),
        (lambda state: {"weight": torch.ones(2)}, r"its first of 1 weights is 'weight'\. Expected the published"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    torch.save(change(published("resnet")[1]), tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=message):
        load_feature_network(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (LrmLossSettings(perceptual_weight=0.1, perceptual_network="x.pth"), r"there are none.*loss\.patch_side=64"),
        (LrmLossSettings(perceptual_weight=0.1, patch_side=8, supervision="points"), r"supervision is 'points'"),
        (LrmLossSettings(perceptual_weight=0.1, patch_side=8), r"perceptual_network names no file"),
    ],
)
def test_a_comparison_of_patches_without_patches_or_network_is_refused(settings: LrmLossSettings, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_feature_network(settings)


def test_without_a_weight_no_file_is_opened() -> None:
    assert open_feature_network(LrmLossSettings(perceptual_network="not_there.pth")) is None
