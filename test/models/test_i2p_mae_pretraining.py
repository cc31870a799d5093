"""Pre-training of I2P-MAE: projection, guidance, masks, reconstruction and losses."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from i2p_mae_networks import TEACHER_DIMS, clouds, edge_teacher, small_config, small_network, without_teacher  # noqa: E402

from lift3d_ros.models.i2p_mae.config import MaskConfig  # noqa: E402
from lift3d_ros.models.i2p_mae.guidance import ask_teacher  # noqa: E402
from lift3d_ros.models.i2p_mae.losses import feature_loss, point_loss, visible_features  # noqa: E402
from lift3d_ros.models.i2p_mae.masking import draw_masks, gumbel_noise, mask_finer_scales, num_visible  # noqa: E402
from lift3d_ros.models.i2p_mae.projection import IMAGE_SIZE, normalise_images, project_views, read_features  # noqa: E402
from lift3d_ros.models.i2p_mae.recipe import published_learning_rate, published_weight_decay_applies  # noqa: E402
from lift3d_ros.models.i2p_mae.teacher import ClipVisionTransformer  # noqa: E402
from lift3d_ros.models.i2p_mae.tokenizer import group_scales  # noqa: E402

CONFIG = small_config("reconstruction")


def noise(batch: int, groups: int, seed: int = 0) -> Any:
    return gumbel_noise(torch.zeros(batch, groups), torch.Generator().manual_seed(seed))


def step(config: Any, points: Any, seed: int = 0) -> Any:
    """One forward pass of pre-training; returns prediction, groups, guidance and masks."""
    guidance = ask_teacher(points, edge_teacher)
    scales = group_scales(points, config.tokens)
    saliency = guidance.saliency_at(scales[-1].centers)
    top = draw_masks(saliency, noise(*saliency.shape, seed=seed), config.masks).masked
    masks = mask_finer_scales(top, [groups.neighbours for groups in scales])
    return scales, guidance, masks


# Projection


def test_a_point_is_drawn_where_the_view_says_and_nowhere_else() -> None:
    cloud = torch.tensor([[[0.0, 0.0, 0.5], [1.0, 1.0, -2.0], [0.0, 1.0, 1.0]]])
    depth_maps, views = project_views(cloud)
    for number, view in enumerate(views):
        drawn = depth_maps[0, number]
        for point, (row, column) in zip(cloud[0], view.pixels(cloud)[0], strict=True):
            depth = point[view.axes[2]]
            square = drawn[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
            if float(depth):
                assert bool((square != 0.5).all())
        assert (drawn != 0.5).sum() <= 25 * len(cloud[0])


def test_depths_on_one_pixel_are_summed() -> None:
    corners = torch.tensor([[[0.0, 0.0, 0.1], [1.0, 1.0, 0.1]]])
    once, _ = project_views(corners)
    twice, _ = project_views(corners.repeat(1, 2, 1))
    torch.testing.assert_close(twice[:, 0].logit(), 2 * once[:, 0].logit(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "cloud",
    [
        pytest.param(torch.ones(1, 4, 3), id="one place"),
        pytest.param(torch.linspace(-1, 1, 20)[None, :, None] * torch.tensor([0.0, 0.0, 1.0]), id="along one axis"),
        pytest.param(torch.full((1, 4, 3), torch.nan), id="no finite point"),
        pytest.param(torch.zeros(1, 1, 3), id="one point"),
    ],
)
def test_clouds_without_extent_are_drawn_and_read(cloud: Any) -> None:
    """Published code divides by the extent, and stops at an assertion."""
    guidance = ask_teacher(cloud, edge_teacher)
    assert bool(guidance.features.isfinite().all())
    assert bool(guidance.saliency_at(torch.nan_to_num(cloud)).isfinite().all())


def test_points_that_are_left_out_are_not_drawn() -> None:
    cloud = clouds(2, 60)
    padded = torch.cat([cloud, 7.0 + clouds(2, 10)], dim=1)
    valid = (torch.arange(70) < 60).expand(2, -1)
    expected, views = project_views(cloud)
    found, found_views = project_views(padded, valid)
    assert torch.equal(found, expected)
    for view, other in zip(views, found_views, strict=True):
        assert torch.equal(view.shift, other.shift)


def test_pictures_come_view_by_view_with_the_imagenet_statistics() -> None:
    depth_maps, _ = project_views(clouds(2))
    images = normalise_images(depth_maps)
    assert images.shape == (6, 3, IMAGE_SIZE, IMAGE_SIZE)
    torch.testing.assert_close(images[3, 1], (depth_maps[1, 1] - 0.456) / 0.224)


@pytest.mark.parametrize("size", [(14, 14), (7, 9), (16, 16)])
def test_reading_features_equals_reading_the_enlarged_map(size: tuple[int, int]) -> None:
    cloud = clouds(2, 90)
    _, views = project_views(cloud)
    features = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    enlarged = torch.nn.functional.interpolate(features, (IMAGE_SIZE, IMAGE_SIZE), mode="bicubic")
    for view in views:
        rows, columns = view.pixels(cloud).clamp(0, IMAGE_SIZE - 1).unbind(-1)
        expected = torch.stack([enlarged[item][:, rows[item], columns[item]].T for item in range(2)])
        torch.testing.assert_close(read_features(features, view, cloud), expected, atol=1e-5, rtol=1e-5)


# Masks


@pytest.mark.parametrize("groups", [10, 64, 7])
def test_as_many_tokens_stay_visible_as_the_ratio_says(groups: int) -> None:
    config = MaskConfig(0.8)
    masked = draw_masks(torch.rand(5, groups), noise(5, groups), config).masked
    assert (~masked).sum(1).tolist() == [num_visible(groups, config)] * 5
    assert num_visible(64, config) == 13


def kept(config: MaskConfig, saliency: Any) -> Any:
    many = saliency.expand(20_000, -1)
    return (~draw_masks(many, noise(*many.shape), config).masked).float().mean(0)


def test_published_guidance_is_nearly_uniform_and_normalised_guidance_is_not() -> None:
    saliency = torch.full((1, 64), 0.004)
    saliency[0, :8] = 0.012
    published = kept(MaskConfig(normalises_saliency=False), saliency)
    assert float((published - 13 / 64).abs().max()) < 0.015
    normalised = kept(MaskConfig(), saliency)
    assert float(normalised[:8].mean()) > 1.8 * float(normalised[8:].mean())
    sharper = kept(MaskConfig(temperature=0.5), saliency)
    assert float(sharper[:8].mean()) > float(normalised[:8].mean()) + 0.1
    indifferent = kept(MaskConfig(guidance="random"), saliency)
    assert float((indifferent - 13 / 64).abs().max()) < 0.015


def test_normalised_guidance_does_not_depend_on_the_scale_of_the_saliency() -> None:
    saliency = torch.rand(3, 20)
    drawn = [draw_masks(factor * saliency, noise(3, 20), MaskConfig()).masked for factor in (1e-3, 1.0, 1e3)]
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[1], drawn[2])
    assert draw_masks(torch.zeros(1, 20), noise(1, 20), MaskConfig()).masked.sum() == 16


def test_noise_is_that_of_the_gumbel_distribution_and_of_its_seed() -> None:
    found = noise(100, 1000)
    assert float(found.mean()) == pytest.approx(0.5772, abs=0.02)
    assert float(found.std()) == pytest.approx(1.2825, abs=0.02)
    assert torch.equal(found, noise(100, 1000))


def test_a_visible_group_has_only_visible_members_and_all_else_is_hidden() -> None:
    scales = group_scales(clouds(3), CONFIG.tokens)
    top = torch.rand(3, 10, generator=torch.Generator().manual_seed(0)) < 0.7
    masks = mask_finer_scales(top, [groups.neighbours for groups in scales])
    for item in range(3):
        for scale in (1, 2):
            visible = scales[scale].neighbours[item][~masks[scale][item]].unique()
            assert (~masks[scale - 1][item]).nonzero().flatten().tolist() == visible.tolist()


def test_the_first_token_of_a_batch_is_revealed_only_on_request() -> None:
    scales = group_scales(clouds(2), CONFIG.tokens)
    neighbours = [groups.neighbours for groups in scales]
    top = torch.ones(2, 10, dtype=torch.bool)
    assert all(bool(mask.all()) for mask in mask_finer_scales(top, neighbours))
    published = mask_finer_scales(top, neighbours, reveals_first_token=True)
    assert published[2].all()
    for scale in (0, 1):
        assert not published[scale][0, 0]
    assert published[1].sum() == published[1].numel() - 1
    nothing = mask_finer_scales(~top, neighbours, reveals_first_token=True)
    assert torch.equal(nothing[1], mask_finer_scales(~top, neighbours)[1])


# Reconstruction


def test_predictions_are_those_of_hidden_and_of_visible_groups() -> None:
    network = small_network(CONFIG)
    scales, guidance, masks = step(CONFIG, clouds(3))
    found = network(scales, masks)
    hidden = int(masks[1].sum())
    assert found.decoded.shape == (3, 20, 18)
    assert found.points.shape == (hidden, 5, 3)
    assert found.features.shape == (60 - hidden, 5, 3 * TEACHER_DIMS)
    assert visible_features(masks[1], scales[1], guidance).shape == found.features.shape


def test_targets_of_visible_groups_are_the_features_at_their_points() -> None:
    scales, guidance, masks = step(CONFIG, clouds(2))
    found = visible_features(masks[1], scales[1], guidance)
    everywhere = guidance.features_at(scales[1].points.flatten(1, 2)).reshape(2, 20, 5, -1)
    torch.testing.assert_close(found, everywhere[~masks[1]])


@pytest.mark.parametrize("batch", [1, 3])
def test_a_training_step_changes_every_weight_also_with_a_single_cloud(batch: int) -> None:
    """Published code loses the batch axis of a single cloud."""
    network = small_network(CONFIG).train()
    scales, guidance, masks = step(CONFIG, clouds(batch))
    found = network(scales, masks)
    (point_loss(found, scales[1]) + feature_loss(found, scales[1], guidance)).backward()
    for name, parameter in network.named_parameters():
        if name.startswith(("encoder.norms.0", "encoder.norms.2")) and parameter.grad is None:
            continue  # the finest scale has no part in the decoder
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


def test_losses_fall_when_the_network_learns_one_cloud() -> None:
    network = small_network(CONFIG).train()
    scales, guidance, masks = step(CONFIG, clouds(2))
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    values = []
    for _ in range(30):
        found = network(scales, masks)
        loss = point_loss(found, scales[1]) + feature_loss(found, scales[1], guidance)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.6 * values[0]


def test_without_teacher_only_points_are_predicted_and_the_other_loss_is_refused() -> None:
    network = small_network(without_teacher(CONFIG))
    scales, guidance, masks = step(CONFIG, clouds(1))
    found = network(scales, masks)
    assert found.features is None
    with pytest.raises(ValueError, match=r"set reconstruction\.teacher_dims"):
        feature_loss(found, scales[1], guidance)


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_with_nothing_hidden_or_nothing_visible_losses_are_numbers(ratio: float) -> None:
    config = dataclasses.replace(CONFIG, masks=MaskConfig(ratio))
    scales, guidance, masks = step(config, clouds(2))
    found = small_network(config)(scales, masks)
    assert bool(point_loss(found, scales[1]).isfinite())
    assert bool(feature_loss(found, scales[1], guidance).isfinite())


# Teacher and recipe


def test_a_teacher_sees_patches_of_any_grid_and_its_saliency_is_a_share_of_attention() -> None:
    torch.manual_seed(0)
    teacher = ClipVisionTransformer(64, 16, 24, 2, 2, 8).eval()
    with torch.no_grad():
        maps = teacher(torch.randn(2, 3, 64, 64))
    assert maps.features.shape == (2, 8, 4, 4)
    assert maps.saliency.shape == (2, 1, 4, 4)
    assert float(maps.saliency.min()) >= 0
    assert bool((maps.saliency.sum((1, 2, 3)) < 1).all())


def test_the_teacher_is_no_part_of_the_network_and_gets_no_gradients() -> None:
    teacher = ClipVisionTransformer(224, 32, 24, 1, 2, TEACHER_DIMS)
    guidance = ask_teacher(clouds(1), teacher)
    assert not guidance.features.requires_grad
    assert not any("teacher" in name for name in small_network(CONFIG).state_dict())


def test_the_published_rate_warms_up_and_is_not_at_its_end_when_training_stops() -> None:
    rates = [published_learning_rate(epoch) for epoch in range(301)]
    assert rates[0] == rates[1] == 1e-6
    assert max(rates) < 1e-3
    assert rates[300] == pytest.approx(1.5e-4, rel=0.01)
    assert published_learning_rate(1000) == pytest.approx(1e-6)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("h_encoder.encoder_blocks.0.blocks.0.mlp.fc1.weight", (4, 4), True),
        ("h_encoder.encoder_blocks.0.blocks.0.mlp.fc1.bias", (4,), False),
        ("h_encoder.encoder_norms.0.weight", (4,), False),
        ("h_encoder.token_embed.0.first_conv.0.weight", (4, 3, 1), False),
        ("token_prop.0.fuse.net.0.weight", (4, 4, 1), False),
        ("mask_token", (1, 4), False),
    ],
)
def test_published_training_decays_matrices_whose_name_has_no_token(
    name: str, shape: tuple[int, ...], expected: bool
) -> None:
    assert published_weight_decay_applies(name, torch.zeros(shape)) is expected
