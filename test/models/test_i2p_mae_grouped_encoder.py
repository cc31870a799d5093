"""The form of the encoder that engines run gives what the encoder gives, from three arrays."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from i2p_mae_networks import clouds, small_config, small_network  # noqa: E402

from lift3d_ros.models.i2p_mae.cloud_groups import batch_groups, group_cloud  # noqa: E402
from lift3d_ros.models.i2p_mae.grouped_encoder import GroupedEncoder  # noqa: E402
from lift3d_ros.models.i2p_mae.heads import PointFeatureNetwork  # noqa: E402
from lift3d_ros.models.i2p_mae.tokenizer import group_scales  # noqa: E402


def trained_network(**encoder: object) -> PointFeatureNetwork:
    """Return a network whose batch norms have statistics and factors of their own."""
    network = small_network(small_config(**encoder))
    assert isinstance(network, PointFeatureNetwork)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
                module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.2)
                module.weight.copy_(torch.randn(module.num_features, generator=generator))
                module.bias.copy_(torch.randn(module.num_features, generator=generator))
    return network


@pytest.mark.parametrize("encoder", [{}, {"drops_unused_tokens": True, "local_radii": (0.3, 0.6, 0.9)}])
def test_it_equals_the_encoder_and_leaves_it_as_it_is(encoder: dict[str, object]) -> None:
    config, network, points = small_config(**encoder), trained_network(**encoder), clouds(3)
    grouped = GroupedEncoder(network, config.tokens)
    arrays = batch_groups([group_cloud(cloud.numpy(), config.tokens) for cloud in points])
    with torch.inference_mode():
        found = grouped(**{name: torch.from_numpy(array) for name, array in arrays.items()})
        expected = network(group_scales(points, config.tokens))
    for values, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(values, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
    norms = [sum(isinstance(part, torch.nn.BatchNorm1d) for part in one.modules()) for one in (network, grouped)]
    assert norms == [6, 0]
