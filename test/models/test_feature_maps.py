"""A backbone that compares pictures gives maps from fine to coarse, and gradients of the pictures alone."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.models.backbones.config import BackboneConfig  # noqa: E402
from lift3d_ros.models.backbones.feature_maps import Backbone, FeatureMaps  # noqa: E402
from lift3d_ros.models.backbones.resnet import ResNet  # noqa: E402
from lift3d_ros.models.backbones.vit import VisionTransformer  # noqa: E402
from lift3d_ros.models.backbones.vit_config import VitConfig  # noqa: E402
from lift3d_ros.models.lrm.losses import perceptual_distance  # noqa: E402

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.2, 0.3)


def small(kind: str) -> Backbone:
    torch.manual_seed(0)
    if kind == "resnet":
        return ResNet(BackboneConfig(width=4, output_stages=(1, 2, 3, 4)))
    return VisionTransformer(VitConfig(24, 8, 3, 7, 5, num_registers=2 if kind == "registers" else 0))


@pytest.mark.parametrize("kind", ["resnet", "vit", "registers"])
def test_maps_come_from_four_depths_and_keep_gradients_of_the_pictures_alone(kind: str) -> None:
    maps = FeatureMaps(small(kind), MEAN, STD)
    images = torch.rand(2, 3, 32, 40, requires_grad=True)
    features = maps(images)
    sizes = [(8, 10), (4, 5), (2, 3), (1, 2)] if kind == "resnet" else [(5, 6)] * 4
    assert [tuple(one.shape[-2:]) for one in features] == sizes
    perceptual_distance(features, [one.detach().flip(-1) for one in features]).sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().sum(dim=(0, 1)) > 0).float().mean() > 0.9
    assert all(parameter.grad is None for parameter in maps.parameters())


def test_patches_of_the_last_map_are_those_of_the_last_block() -> None:
    network = small("vit")
    assert isinstance(network, VisionTransformer)
    maps = FeatureMaps(network, MEAN, STD)
    images = torch.rand(1, 3, 14, 21)
    normalised = (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    last = network.norm(maps(images)[-1].flatten(2).mT)
    torch.testing.assert_close(last, network(normalised)[:, 1:])


def test_a_backbone_that_compares_stays_in_evaluation() -> None:
    maps = FeatureMaps(small("resnet"), MEAN, STD)
    images = torch.rand(2, 3, 32, 32)
    before = maps(images)
    maps.train()
    for one, other in zip(before, maps(images), strict=True):
        assert torch.equal(one, other)


def test_the_distance_is_that_of_unit_channels_summed_over_channels_and_maps_and_averaged_over_places() -> None:
    first = [torch.tensor([3.0, 4.0]).view(1, 2, 1, 1), torch.tensor([[1.0, 0.0], [0.0, 2.0]]).view(1, 2, 1, 2)]
    second = [torch.tensor([8.0, 6.0]).view(1, 2, 1, 1), torch.tensor([[5.0, 7.0], [0.0, 0.0]]).view(1, 2, 1, 2)]
    # (0.6, 0.8) against (0.8, 0.6); then the same direction at one of two places, and a right angle at the other.
    expected = 2 * 0.2**2 + 0.5 * 2.0
    assert float(perceptual_distance(first, second)) == pytest.approx(expected, abs=1e-5)
    assert float(perceptual_distance(first, first)) == 0.0
