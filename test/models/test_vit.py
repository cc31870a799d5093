"""Encoders take pictures of any multiple of their patch, and hand on the class token and one token for each patch."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.models.backbones.vit import VisionTransformer  # noqa: E402
from lift3d_ros.models.backbones.vit_config import VitConfig, dino_base, dinov2  # noqa: E402

SMALL = {"width": 24, "depth": 2, "num_heads": 3, "patch_size": 4, "table_side": 5}
VARIANTS = {
    "DINO": dataclasses.replace(dino_base(), **SMALL),
    "DINOv2": dataclasses.replace(dinov2(384, 6, has_registers=False), **SMALL),
    "DINOv2 with registers": dataclasses.replace(dinov2(384, 6, has_registers=True), **SMALL),
    "modulated": dataclasses.replace(dinov2(384, 6, has_registers=True), **SMALL, modulation_width=6),
}


def encoder(config: VitConfig) -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(config).eval()


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize(("height", "width"), [(20, 20), (8, 28)])
def test_every_patch_of_a_picture_gets_a_token_and_a_gradient(name: str, height: int, width: int) -> None:
    network = encoder(VARIANTS[name])
    modulation = torch.rand(2, 6) if name == "modulated" else None
    images = torch.rand(2, 3, height, width, requires_grad=True)
    tokens = network(images, modulation)
    assert tokens.shape == (2, 1 + height // 4 * (width // 4), 24)
    tokens.square().sum().backward()
    assert torch.isfinite(images.grad).all()
    assert (images.grad.unfold(2, 4, 4).unfold(3, 4, 4).abs().sum((0, 1, 4, 5)) > 0).all()


@pytest.mark.parametrize("name", VARIANTS)
def test_stored_weights_give_the_same_tokens(name: str) -> None:
    network, other = encoder(VARIANTS[name]), VisionTransformer(VARIANTS[name]).eval()
    other.load_state_dict(network.state_dict())
    arguments = (torch.rand(1, 3, 12, 12), torch.rand(1, 6) if name == "modulated" else None)
    assert torch.equal(network(*arguments), other(*arguments))


def test_a_picture_does_not_depend_on_those_beside_it() -> None:
    network, images = encoder(VARIANTS["DINOv2 with registers"]), torch.rand(3, 3, 12, 12)
    torch.testing.assert_close(network(images)[1:2], network(images[1:2]), rtol=1e-5, atol=1e-5)


def test_a_table_of_the_right_size_is_used_as_it_is() -> None:
    network = encoder(VARIANTS["DINO"])
    assert network.positions(5, 5) is network.position_table
    assert network.positions(5, 4).shape == (1, 21, 24)


def test_a_picture_that_patches_do_not_cover_is_named() -> None:
    with pytest.raises(ValueError, match=r"picture of \(12, 14\) px: expected multiples of the patch, 4 px"):
        encoder(VARIANTS["DINO"])(torch.rand(1, 3, 12, 14))


def test_a_missing_condition_is_named() -> None:
    with pytest.raises(ValueError, match="condition, which is missing"):
        encoder(VARIANTS["modulated"])(torch.rand(1, 3, 12, 12))
