"""Point encoder: groups, local attention, hidden tokens, and what is left out of the published code."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from i2p_mae_networks import clouds, small_config, small_network  # noqa: E402

from lift3d_ros.errors import ConfigError  # noqa: E402
from lift3d_ros.models.i2p_mae.config import PRESETS, EncoderConfig, I2pMaeConfig, MaskConfig, TokenConfig, preset  # noqa: E402
from lift3d_ros.models.i2p_mae.masking import mask_finer_scales, unused_tokens  # noqa: E402
from lift3d_ros.models.i2p_mae.tokenizer import group_scales  # noqa: E402
from lift3d_ros.models.i2p_mae.transformer import Attention, Block, DropPath, excluded_by_radius  # noqa: E402

CONFIG = small_config()


def masks_for(scales: Any, seed: int = 0, ratio: float = 0.8) -> Any:
    top = torch.rand(scales[-1].centers.shape[:2], generator=torch.Generator().manual_seed(seed)) < ratio
    top[:, 0] = False
    return mask_finer_scales(top, [groups.neighbours for groups in scales])


@pytest.mark.parametrize("name", PRESETS)
def test_every_configuration_has_a_name_and_fits_together(name: str) -> None:
    config = preset(name)
    assert config is not None
    assert config.head == "reconstruction" if name.endswith("-pretrain") else config.head != "reconstruction"


def test_an_unknown_name_has_no_configuration() -> None:
    assert preset("dfa3d-base") is None
    assert preset("lift3d-points-smal") is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": TokenConfig((64, 32), (8, 8))}, r"'tokens\.num_groups' has 2 values; expected 3"),
        ({"num_points": 0}, "'num_points' is 0; expected 1 to 1000000"),
        ({"tokens": TokenConfig(num_groups=(512, 0, 64))}, r"'tokens\.num_groups' is 0; expected 1"),
        ({"encoder": EncoderConfig(num_heads=0)}, r"'encoder\.num_heads' is 0; expected 1"),
        ({"encoder": EncoderConfig(drop_path=1.5)}, r"'encoder\.drop_path' is 1\.5; expected 0 to 0\.99"),
        ({"masks": MaskConfig(ratio=1.5)}, r"'masks\.ratio' is 1\.5; expected 0 to 1"),
        ({"masks": MaskConfig(temperature=0.0)}, r"'masks\.temperature' is 0\.0; expected 1e-06 to"),
        ({"encoder": EncoderConfig(dims=(96, 192, 385))}, r"has the width 385; expected a multiple of 'encoder\.num_h"),
        (
            {"head": "reconstruction", "encoder": EncoderConfig(dims=(48, 96, 192))},
            r"'reconstruction\.dims' begins with 384; expected .* 192",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_named(arguments: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        I2pMaeConfig(**arguments)


def test_each_centre_is_its_own_first_neighbour_and_comes_from_the_scale_before() -> None:
    scales = group_scales(clouds(2), CONFIG.tokens)
    for before, groups in zip((None, *scales[:-1]), scales, strict=True):
        assert torch.equal(groups.points[:, :, 0], groups.centers)
        assert not groups.offsets[:, :, 0].any()
        if before is not None:
            row = before.centers[1, groups.neighbours[1, 3]]
            assert torch.equal(row, groups.points[1, 3])


@pytest.mark.parametrize(
    "cloud",
    [
        pytest.param(clouds(1, 3), id="fewer points than tokens"),
        pytest.param(torch.ones(1, 50, 3), id="one place"),
        pytest.param(torch.linspace(0, 1, 90)[None, :, None] * torch.tensor([1.0, 0, 0]), id="a line"),
        pytest.param(torch.full((1, 30, 3), torch.nan), id="no finite point"),
        pytest.param(clouds(1, 60).repeat(1, 3, 1), id="duplicates"),
        pytest.param(clouds(1) * torch.where(torch.rand(1, 200, 1) < 0.3, torch.inf, 1.0), id="infinite points"),
    ],
)
@pytest.mark.parametrize("radius", [0.0, 0.3])
def test_descriptors_of_poor_clouds_are_finite(cloud: Any, radius: float) -> None:
    config = small_config(local_radii=(radius,) * 3, drops_unused_tokens=True)
    descriptor, tokens = small_network(config)(group_scales(cloud, config.tokens))
    assert descriptor.shape == (1, 24)
    assert bool(descriptor.isfinite().all())
    assert bool(tokens.isfinite().all())


def test_points_that_are_left_out_change_nothing() -> None:
    cloud = clouds(1, 120)
    padded = torch.cat([cloud, torch.full((1, 30, 3), torch.nan), torch.zeros(1, 10, 3)], dim=1)
    valid = torch.arange(160)[None] < 150
    network = small_network(CONFIG)
    expected = network(group_scales(cloud, CONFIG.tokens))[0]
    torch.testing.assert_close(network(group_scales(padded, CONFIG.tokens, valid))[0], expected)


def test_a_result_does_not_depend_on_the_other_clouds_of_a_batch() -> None:
    config = small_config(local_radii=(0.3, 0.6, 1.2))
    network, points = small_network(config), clouds(3)
    together = network(group_scales(points, config.tokens))[0]
    for item in range(3):
        alone = network(group_scales(points[item : item + 1], config.tokens))[0]
        torch.testing.assert_close(together[item : item + 1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("radius", [0.0, 0.5])
def test_leaving_hidden_tokens_out_equals_not_attending_to_them(radius: float) -> None:
    config = small_config(local_radii=(radius,) * 3)
    encoder, scales = small_network(config).encoder, group_scales(clouds(3), config.tokens)
    masks = masks_for(scales)
    for packed, static, mask in zip(encoder(scales, masks, is_packed=True), encoder(scales, masks), masks, strict=True):
        torch.testing.assert_close(packed, static, atol=2e-6, rtol=1e-5)
        assert not static[mask].any()


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("radius", [0.0, 0.4])
def test_hidden_points_do_not_reach_visible_tokens(is_packed: bool, radius: float) -> None:
    """With a radius, too: published code lets visible pairs of any distance through, and padding within the radius."""
    config = small_config(local_radii=(radius,) * 3)
    encoder, scales = small_network(config).encoder, group_scales(clouds(2), config.tokens)
    masks = masks_for(scales)
    changed = [groups._replace(points=groups.points.clone()) for groups in scales]
    changed[0].points[masks[0]] += 0.05
    before, after = encoder(scales, masks, is_packed=is_packed), encoder(changed, masks, is_packed=is_packed)
    for tokens, others in zip(before, after, strict=True):
        torch.testing.assert_close(tokens, others, atol=1e-6, rtol=1e-5)


def test_with_masks_and_radius_visible_tokens_far_apart_do_not_see_each_other() -> None:
    near = small_config(depths=(1, 1, 1), local_radii=(1e-6, 1e-6, 1e-6))
    encoder, scales = small_network(near).encoder, group_scales(clouds(1), near.tokens)
    masks = masks_for(scales, ratio=0.5)
    changed = [groups._replace(points=groups.points.clone()) for groups in scales]
    token = int((~masks[0][0]).nonzero()[-1])
    changed[0].points[0, token, 1:] += 0.05
    difference = (encoder(scales, masks)[0] - encoder(changed, masks)[0]).abs().sum(-1)[0]
    assert difference.nonzero().flatten().tolist() == [token]


def test_each_scale_measures_its_own_distances_even_with_equal_numbers_of_tokens() -> None:
    """Published code keeps the distances of the scale before where the numbers of tokens are equal."""
    tokens = TokenConfig((20, 20, 20), (4, 4, 4))
    config = dataclasses.replace(small_config(depths=(1, 1, 1), local_radii=(0.0, 0.0, 0.5)), tokens=tokens)
    encoder, scales = small_network(config).encoder, list(group_scales(clouds(1), tokens))
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    mixed = scales[2]._replace(**{name: getattr(scales[2], name)[:, order] for name in scales[2]._fields})
    expected = encoder(scales)[2][:, order]
    torch.testing.assert_close(encoder([*scales[:2], mixed])[2], expected, atol=1e-6, rtol=1e-5)


def test_tokens_that_no_group_holds_are_attended_to_unless_the_configuration_drops_them() -> None:
    scales = group_scales(clouds(3, 300), CONFIG.tokens)
    unused = unused_tokens(scales)
    assert unused[0].any()
    assert not unused[-1].any()
    keeps, drops = small_network(CONFIG), small_network(small_config(drops_unused_tokens=True))
    assert not torch.allclose(keeps(scales)[0], drops(scales)[0], atol=1e-6)
    torch.testing.assert_close(drops.encoder(scales)[-1], drops.encoder(scales, unused)[-1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_numbers_even_where_a_row_sees_only_itself(dtype: Any) -> None:
    """Published masks add -100000, which is -inf in half precision and makes such rows NaN."""
    config = small_config()
    encoder, scales = small_network(config).encoder.to(dtype), group_scales(clouds(2), config.tokens)
    half = [groups._replace(centers=groups.centers.to(dtype), points=groups.points.to(dtype)) for groups in scales]
    masks = masks_for(scales)
    masks[2][1, 1:] = True
    for tokens in encoder(half, masks):
        assert bool(tokens.isfinite().all())
    attention = Attention(12, 2).to(dtype)
    alone = ~torch.eye(5, dtype=torch.bool)[None]
    assert bool(attention(torch.randn(1, 5, 12, dtype=dtype), alone).isfinite().all())


def test_the_radius_itself_is_excluded_and_a_token_always_sees_itself() -> None:
    centers = torch.tensor([[[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.4999, 0.0, 0.0]]])
    assert excluded_by_radius(centers, 0.5)[0].tolist() == [[False, True, False], [True, False, False], [False] * 3]


def test_gradients_reach_every_weight_of_the_encoder_and_are_finite() -> None:
    config = small_config(local_radii=(0.3, 0.6, 1.2))
    network, scales = small_network(config).train(), group_scales(clouds(2), config.tokens)
    masks = masks_for(scales)
    outputs = network.encoder(scales, masks)
    sum(tokens.square().sum() for tokens in outputs).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


def test_branches_are_dropped_for_whole_samples_and_only_in_training() -> None:
    drop = DropPath(0.5)
    x = torch.ones(400, 3, 2)
    torch.manual_seed(0)
    found = drop(x)
    assert set(found.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(found, found[:, :1, :1].expand_as(found))
    assert 0.4 < float((found[:, 0, 0] > 0).float().mean()) < 0.6
    assert torch.equal(drop.eval()(x), x)
    assert Block(12, 2, 4, 0.1).drop_path.rate == 0.1


def test_weights_survive_a_round_trip() -> None:
    network, other = small_network(CONFIG), small_network(CONFIG, seed=1)
    other.load_state_dict(network.state_dict())
    scales = group_scales(clouds(1), CONFIG.tokens)
    assert torch.equal(network(scales)[0], other(scales)[0])
