"""Heads on the point encoder: classification and part segmentation."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from i2p_mae_networks import clouds, small_config, small_network  # noqa: E402

from lift3d_ros.models.i2p_mae.heads import pool_tokens  # noqa: E402
from lift3d_ros.models.i2p_mae.losses import classification_loss, restrict_parts, segmentation_loss  # noqa: E402
from lift3d_ros.models.i2p_mae.tokenizer import group_scales  # noqa: E402


def test_a_descriptor_is_the_maximum_or_has_the_mean_added_or_holds_both_of_every_scale() -> None:
    fine, coarse = torch.randn(2, 9, 4), torch.randn(2, 5, 3)
    assert torch.equal(pool_tokens([fine, coarse], "max"), coarse.amax(1))
    assert torch.equal(pool_tokens([fine, coarse], "mean_plus_max"), coarse.amax(1) + coarse.mean(1))
    expected = torch.cat([fine.mean(1), fine.amax(1), coarse.mean(1), coarse.amax(1)], dim=1)
    assert torch.equal(pool_tokens([fine, coarse], "all_scales"), expected)


@pytest.mark.parametrize("pooling", ["max", "mean_plus_max", "all_scales"])
def test_the_configuration_knows_the_size_of_a_descriptor(pooling: Any) -> None:
    config = dataclasses.replace(small_config("none"), pooling=pooling)
    descriptor, tokens = small_network(config)(group_scales(clouds(2, 100), config.tokens))
    assert descriptor.shape == (2, config.descriptor_dims)
    assert tokens.shape[2] == config.encoder.dims[-1]


@pytest.mark.parametrize("pooling", ["sum", "concat"])
@pytest.mark.parametrize("num_points", [60, 300])
def test_a_classifier_gives_logits_and_finite_gradients(pooling: Any, num_points: int) -> None:
    config = small_config("classification", local_radii=(0.3, 0.6, 1.2))
    head = dataclasses.replace(config.classification, pooling=pooling)
    config = dataclasses.replace(config, classification=head)
    network = small_network(config).train()
    logits = network(group_scales(clouds(3, num_points), config.tokens))
    assert logits.shape == (3, 6)
    classification_loss(logits, torch.tensor([0, 5, 2]), 0.2).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


def test_smoothing_gives_the_wrong_classes_their_share() -> None:
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 4, 2])
    plain = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(classification_loss(logits, labels, 0.0), plain)
    # torch shares among all classes: its smoothing is larger by n / (n - 1) for the same share of the wrong ones.
    smoothed = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.2 * 5 / 4)
    torch.testing.assert_close(classification_loss(logits, labels, 0.2), smoothed)


def test_parts_of_each_point_depend_on_the_category_and_only_its_parts_are_predicted() -> None:
    config = small_config("part_segmentation")
    network, points = small_network(config), clouds(2, 90)
    scales = group_scales(points, config.tokens)
    first = network(points, scales, torch.tensor([0, 2]))
    assert first.shape == (2, 90, 7)
    second = network(points, scales, torch.tensor([1, 2]))
    assert not torch.allclose(first[0], second[0])
    torch.testing.assert_close(first[1], second[1])
    parts = restrict_parts(first, [(0, 1), (5,)])
    assert set(parts[0].tolist()) <= {0, 1}
    assert parts[1].tolist() == [5] * 90


def test_part_segmentation_learns_from_finite_gradients() -> None:
    config = small_config("part_segmentation")
    network, points = small_network(config).train(), clouds(2, 90)
    logits = network(points, group_scales(points, config.tokens), torch.tensor([0, 1]))
    loss = segmentation_loss(logits, torch.randint(0, 7, (2, 90)))
    loss.backward()
    assert loss.item() == pytest.approx(1.9, abs=1.0)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
