"""Reads the network that compares pictures in training: a published EfficientNet-Lite0, ResNet, DINO or DINOv2."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from lift3d_ros.errors import WeightsError
from lift3d_ros.models.backbones.config import BackboneConfig
from lift3d_ros.models.backbones.efficientnet_lite import EfficientNetLite
from lift3d_ros.models.backbones.feature_maps import Backbone, FeatureMaps
from lift3d_ros.models.backbones.resnet import ResNet, resnet_config
from lift3d_ros.models.backbones.vit import VisionTransformer
from lift3d_ros.models.backbones.vit_config import dino_config
from lift3d_ros.models.backbones.vit_keys import DINO_SIGNS, our_dino_names
from lift3d_ros.weights.checkpoint import read_checkpoint, shown

Shape = tuple[int, ...]

_ALL_STAGES = (1, 2, 3, 4)
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_LITE = ((127.0 / 255.0,) * 3, (128.0 / 255.0,) * 3)
_LITE_SIGN, _RESNET_SIGN = "conv_stem.weight", "layer1.0.conv1.weight"
_UNUSED_COUNTER = "num_batches_tracked"


def load_feature_network(path: Path) -> FeatureMaps:
    """Read the weights of a published backbone.

    Layers behind the features, of its classifier, are left out.

    Raises:
        WeightsError: the file is missing, damaged, or of another network.
    """
    state = read_checkpoint(path).tensors
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    plain = {".".join(part.lstrip("_") for part in name.split(".")): name for name in state}
    normalisation = _IMAGENET
    with torch.device("meta"):
        backbone: Backbone
        if set(DINO_SIGNS) <= set(state):
            backbone, names = VisionTransformer(dino_config(shapes)), _inverted(our_dino_names(state))
        elif _LITE_SIGN in plain:
            architecture = BackboneConfig(architecture="efficientnet_lite0", output_stages=_ALL_STAGES)
            backbone, names, normalisation = EfficientNetLite(architecture), plain, _LITE
        elif _RESNET_SIGN in state and (config := resnet_config(shapes)) is not None:
            backbone, names = ResNet(config), {name: name for name in state}
        else:
            raise WeightsError(
                f"{path}: is none of the networks that compare pictures; its first of {len(state)} weights is "
                f"'{shown(next(iter(state)))}'. Expected the published weights of EfficientNet-Lite0, a ResNet of "
                "torchvision (18, 34, 50 or 101), DINO or DINOv2"
            )
    backbone.to_empty(device="cpu")
    backbone.load_state_dict(_fitting(path, backbone.state_dict(), {ours: state[names[ours]] for ours in names}))
    return FeatureMaps(backbone, *normalisation)


def _inverted(names: Mapping[str, str]) -> dict[str, str]:
    return {ours: published for published, ours in names.items()}


def _fitting(path: Path, own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a tensor of the file for each of the network.

    Raises:
        WeightsError: one is missing, of another shape, or not finite.
    """
    fitting = {}
    for name, expected in own.items():
        tensor = torch.zeros((), dtype=torch.int64) if name.endswith(_UNUSED_COUNTER) else found.get(name)
        if tensor is None or tensor.shape != expected.shape:
            what = "is missing" if tensor is None else f"has shape {tuple(tensor.shape)}"
            raise WeightsError(
                f"{path}: '{name}' {what}; expected {tuple(expected.shape)}; give an unchanged published file"
            )
        if not tensor.isfinite().all():
            raise WeightsError(f"{path}: '{name}' holds numbers that are not finite; get the file again")
        fitting[name] = tensor.to(expected.dtype)
    return fitting
