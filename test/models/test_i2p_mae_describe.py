"""Descriptors of many clouds, and the small teacher of our own."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import numpy as np  # noqa: E402
from i2p_mae_networks import clouds, small_config  # noqa: E402

from lift3d_ros.errors import ConfigError, EngineError  # noqa: E402
from lift3d_ros.models.i2p_mae.build import build_encoder  # noqa: E402
from lift3d_ros.models.i2p_mae.config import TeacherConfig  # noqa: E402
from lift3d_ros.models.i2p_mae.describe import describe_clouds  # noqa: E402
from lift3d_ros.models.i2p_mae.projection import normalise_images  # noqa: E402
from lift3d_ros.models.i2p_mae.teacher import SmallTeacher, one_channel_state  # noqa: E402
from lift3d_ros.models.i2p_mae.tokenizer import group_scales  # noqa: E402

CONFIG = small_config()


def test_descriptors_are_those_of_the_network_however_many_clouds_are_encoded_at_once() -> None:
    points = clouds(5)
    network = build_encoder(CONFIG, seed=1)
    found = describe_clouds(network, CONFIG.tokens, points.numpy(), batch_size=2)
    with torch.no_grad():
        expected = network(group_scales(points, CONFIG.tokens))[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert describe_clouds(network, CONFIG.tokens, points[:0].numpy()).shape == (0, 24)


@pytest.mark.parametrize("damage", ["few", "one place", "holes", "nothing finite"])
def test_clouds_that_are_hardly_there_have_finite_descriptors(damage: str) -> None:
    points = clouds(2).numpy()
    if damage == "few":
        points = points[:, :3]
    elif damage == "one place":
        points[:] = 0.5
    else:
        points[0, : 150 if damage == "holes" else None] = np.nan
    found = describe_clouds(build_encoder(CONFIG), CONFIG.tokens, points)
    assert np.isfinite(found).all()


def test_random_weights_follow_from_their_seed_and_leave_the_random_state_alone() -> None:
    state = torch.get_rng_state()
    first, again, other = (build_encoder(dataclasses.replace(CONFIG, head="reconstruction"), s) for s in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    name = "encoder.positions.0.0.weight"
    assert torch.equal(first.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], other.state_dict()[name])
    assert set(first.state_dict()) == {key for key in first.state_dict() if key.startswith("encoder.")}


def test_a_device_that_is_not_there_is_named() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(EngineError, match="device 'cuda:0': torch cannot use it"):
        describe_clouds(build_encoder(CONFIG), CONFIG.tokens, clouds(1).numpy(), device="cuda:0")


def test_features_of_the_small_teacher_have_mean_zero_and_variance_one_over_what_it_saw() -> None:
    torch.manual_seed(0)
    teacher = SmallTeacher(TeacherConfig(patch_size=56, dims=16, num_layers=1, num_heads=2, out_dims=6)).train()
    maps = teacher(torch.randn(8, 3, 224, 224))
    values = maps.features.transpose(0, 1).flatten(1)
    torch.testing.assert_close(values.mean(1), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(values.std(1), torch.ones(6), atol=2e-2, rtol=0)
    assert (maps.features.shape, maps.saliency.shape) == ((8, 6, 4, 4), (8, 1, 4, 4))


def test_a_teacher_of_one_channel_says_of_depth_maps_what_that_of_three_says() -> None:
    torch.manual_seed(0)
    config = TeacherConfig(patch_size=56, dims=16, num_layers=2, num_heads=2, out_dims=6)
    teacher = SmallTeacher(config).eval()
    reduced = SmallTeacher(dataclasses.replace(config, channels=1)).eval()
    reduced.load_state_dict(one_channel_state(teacher.state_dict()))
    images = normalise_images(torch.rand(2, 3, 224, 224))
    with torch.no_grad():
        for expected, found in zip(teacher(images), reduced(images), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patch_size": 30}, "divisor of 224"),
        ({"dims": 10}, "multiple of"),
        ({"channels": 2}, "expected 3, or 1"),
        ({"out_dims": 0}, r"'teacher\.out_dims' is 0; expected 1 and above"),
    ],
)
def test_sizes_of_a_teacher_that_do_not_fit_are_refused(changes: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TeacherConfig(**changes)
