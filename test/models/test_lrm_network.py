"""One network serves all families: published ones by their sizes, our small one in seconds on a CPU."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.models.lrm.config import PRESETS, LrmConfig, preset  # noqa: E402
from lift3d_ros.models.lrm.network import Lrm, build_lrm  # noqa: E402

# Weights of each published model, without what takes no part in its output (fact sheet LRM, section 1).
NUM_WEIGHTS = {
    "openlrm-small-1.1": 111_390_948,
    "openlrm-base-1.1": 260_201_972,
    "openlrm-large-1.1": 452_138_004,
    "openlrm-base-1.0": 360_935_148,
    "triposr": 419_275_628 - 768 * 769,  # the pooler of its encoder
}


def config_of(name: str) -> LrmConfig:
    config = preset(name)
    assert config is not None
    return config


@pytest.fixture(scope="module")
def tiny() -> Lrm:
    return build_lrm(config_of("lift3d-lrm-tiny"), seed=0)


@pytest.mark.parametrize("name", PRESETS)
def test_every_configuration_makes_planes_of_its_size(name: str) -> None:
    config = config_of(name)
    with torch.device("meta"):
        network = Lrm(config)
        side = config.image.side
        planes = network(torch.zeros(2, 3, side, side, dtype=torch.uint8), torch.zeros(2, 16))
        density, color = network.field.query(planes, torch.zeros(2, 7, 3))
    assert planes.shape == (2, 3, config.decoder.channels, 64, 64)
    assert density.shape == (2, 7)
    assert color.shape == (2, 7, 3)
    if name in NUM_WEIGHTS:
        assert sum(tensor.numel() for tensor in network.state_dict().values()) == NUM_WEIGHTS[name]


def test_an_unknown_configuration_is_none() -> None:
    assert preset("openlrm-huge-1.1") is None


def test_the_small_model_fits_into_15_megabytes_of_half_precision(tiny: Lrm) -> None:
    assert 2 * sum(tensor.numel() for tensor in tiny.state_dict().values()) < 15e6


def test_the_same_seed_gives_the_same_object(tiny: Lrm) -> None:
    image = torch.randint(0, 256, (1, 3, 128, 128), dtype=torch.uint8)
    again, other = build_lrm(config_of("lift3d-lrm-tiny"), seed=0), build_lrm(config_of("lift3d-lrm-tiny"), seed=1)
    with torch.inference_mode():
        planes = tiny(image)
        assert torch.equal(planes, again(image))
        assert not torch.allclose(planes, other(image))
        assert torch.equal(planes, tiny(image.float()))


def test_objects_of_a_batch_do_not_depend_on_each_other(tiny: Lrm) -> None:
    images = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(tiny(images)[1:], tiny(images[1:]), rtol=1e-4, atol=1e-4)


def test_every_weight_of_the_small_model_learns() -> None:
    network = build_lrm(config_of("lift3d-lrm-tiny"), seed=0).train()
    planes = network(torch.rand(1, 3, 128, 128) * 255.0)
    density, color = network.field.query(planes, 2.0 * torch.rand(1, 50, 3) - 1.0)
    (density.mean() + color.square().mean()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_a_model_that_is_told_its_camera_asks_for_it() -> None:
    with torch.device("meta"):
        network = Lrm(config_of("openlrm-small-1.1"))
        with pytest.raises(ValueError, match=r"'cameras' is missing; expected \(N, 16\)"):
            network(torch.zeros(1, 3, 224, 224))
