"""A short training of the reconstructor learns, goes on where it was cut off, and says what does not fit."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("trimesh")

import torch
from object_folders import SMALL_NETWORK, write_pack
from safetensors import safe_open

from lift3d_ros.errors import ConfigError, DatasetError, WeightsError
from lift3d_ros.models.backbones.config import BackboneConfig
from lift3d_ros.models.backbones.resnet import ResNet
from lift3d_ros.pipelines.object_engine import load_lrm_network
from lift3d_ros.pipelines.object_weights import source_of_file
from lift3d_ros.training.lrm.module import build_network
from lift3d_ros.training.lrm.settings import LrmTraining, load_recipe
from lift3d_ros.training.lrm.train import open_pack, start_from, train


def _recipe(repository: Path, *changes: str) -> LrmTraining:
    return load_recipe(repository / "config" / "training" / "lrm_cpu.yaml", [*SMALL_NETWORK, *changes])


@pytest.fixture(scope="module")
def pack(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pack(tmp_path_factory.mktemp("objects"), _recipe(repository).network)


def test_the_loss_falls_and_the_weights_say_what_they_are(pack: Path, repository: Path, tmp_path: Path) -> None:
    recipe = _recipe(repository, "run.max_steps=60", "run.validation_interval=30")
    result = train(recipe, [pack], [pack], tmp_path / "run", is_quiet=True)
    assert np.mean(result.run.losses[-10:]) < 0.75 * np.mean(result.run.losses[:5])
    assert result.num_objects == 3
    assert result.best is not None
    with (tmp_path / "run" / "losses.csv").open() as file:
        names = {row["name"] for row in csv.DictReader(file)}
    assert {"loss_occupancy", "loss_color", "loss_rays", "loss_mask", "validation psnr", "validation iou"} <= names
    assert result.weights is not None
    with safe_open(str(result.weights), "pt") as file:
        metadata = file.metadata()
    assert metadata["method"] == "lrm"
    assert json.loads(metadata["network"])["decoder"]["channels"] == 8
    network, identity = load_lrm_network(source_of_file(result.weights))
    assert identity.is_trained
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, result.run.averaged[name])


def test_a_run_in_slices_is_the_run_in_one_go(pack: Path, repository: Path, tmp_path: Path) -> None:
    whole = train(_recipe(repository, "run.max_steps=4"), [pack], [], tmp_path / "whole", is_quiet=True)
    cut = _recipe(repository, "run.max_steps=4", "run.slice_minutes=1e-9")
    losses: list[float] = []
    for number in range(4):
        part = train(cut, [pack], [], tmp_path / "cut", resume=number > 0, is_quiet=True)
        losses += part.run.losses
    assert losses == pytest.approx(whole.run.losses, rel=1e-5)
    for name, tensor in whole.run.averaged.items():
        torch.testing.assert_close(tensor, part.run.averaged[name], atol=1e-6, rtol=1e-5)


def test_keeping_less_in_memory_changes_nothing(pack: Path, repository: Path, tmp_path: Path) -> None:
    plain = train(_recipe(repository, "run.max_steps=2"), [pack], [], tmp_path / "plain", is_quiet=True)
    recipe = _recipe(repository, "run.max_steps=2", "run.has_gradient_checkpoints=true")
    twice = train(recipe, [pack], [], tmp_path / "twice", is_quiet=True)
    assert twice.run.losses == pytest.approx(plain.run.losses, rel=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        ("loss.supervision=points", "loss.optimizer=adamw", "loss.variation=1e-3"),
        ("loss.supervision=rays", "loss.ray_importance=8"),
        ("loss.supervision=rays", "loss.patch_side=16"),
        ("network.decoder.starts_from_picture=false", "network.decoder.detail_width=0", "network.field.layout=object"),
        ("network.decoder.camera_width=16", "network.field.density=softplus", "network.field.num_octaves=0"),
    ],
)
def test_every_option_of_network_and_loss_trains(
    pack: Path, repository: Path, tmp_path: Path, changes: tuple[str, ...]
) -> None:
    result = train(_recipe(repository, "run.max_steps=2", *changes), [pack], [], tmp_path / "run", is_quiet=True)
    assert np.isfinite(result.run.losses).all()


def test_patches_are_compared_by_a_network_that_stays_as_it_is(pack: Path, repository: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(ResNet(BackboneConfig(width=4, output_stages=(1, 2, 3, 4))).state_dict(), tmp_path / "resnet.pth")
    patches = (
        "run.max_steps=3",
        "run.log_interval=1",
        "loss.patch_side=16",
        f"loss.perceptual_network={tmp_path / 'resnet.pth'}",
    )
    runs = {
        weight: train(
            _recipe(repository, *patches, f"loss.perceptual_weight={weight}"),
            [pack],
            [],
            tmp_path / weight,
            is_quiet=True,
        )
        for weight in ("0", "0.1")
    }
    plain = train(_recipe(repository, *patches[:3]), [pack], [], tmp_path / "plain", is_quiet=True)
    assert runs["0"].run.losses == plain.run.losses
    assert runs["0.1"].run.losses[0] > runs["0"].run.losses[0]
    assert set(runs["0.1"].run.averaged) == set(plain.run.averaged)
    changes = [(runs["0.1"].run.averaged[name] - tensor).abs().max() for name, tensor in plain.run.averaged.items()]
    assert max(changes) > 1e-5
    with (tmp_path / "0.1" / "losses.csv").open() as file:
        assert "loss_perceptual" in {row["name"] for row in csv.DictReader(file)}
    torch.save(ResNet(BackboneConfig(width=4, output_stages=(1, 2, 3, 4))).state_dict(), tmp_path / "resnet.pth")
    with pytest.raises(ConfigError, match="perceptual_network"):
        train(
            _recipe(repository, *patches, "run.max_steps=4", "loss.perceptual_weight=0.1"),
            [pack], [], tmp_path / "0.1", resume=True, is_quiet=True,
        )  # fmt: skip


def test_a_run_starts_from_weights_of_the_same_network_alone(pack: Path, repository: Path, tmp_path: Path) -> None:
    recipe = _recipe(repository, "run.max_steps=1")
    result = train(recipe, [pack], [], tmp_path / "run", is_quiet=True)
    assert result.weights is not None
    network = build_network(_recipe(repository, "run.seed=5"))
    start_from(network, result.weights)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, result.run.averaged[name])
    other = build_network(_recipe(repository, "network.decoder.channels=4"))
    with pytest.raises(WeightsError, match="tensors do not fit this network"):
        start_from(other, result.weights)


def test_packs_that_do_not_fit_the_recipe_are_refused(pack: Path, repository: Path) -> None:
    with pytest.raises(DatasetError, match=r"pictures of 32 px.*expects 64 px.*pack again"):
        open_pack(pack, _recipe(repository, "network.image.side=64"))
    with pytest.raises(ConfigError, match=r"held_out_views is 3, and objects of .* have 4 views"):
        open_pack(pack, _recipe(repository, "data.held_out_views=3"))
    with pytest.raises(ConfigError, match="patch_side is 33, and pictures have 32 px"):
        open_pack(pack, _recipe(repository, "loss.patch_side=33"))
    with pytest.raises(ConfigError, match="neither max_steps nor max_minutes"):
        train(_recipe(repository), [pack], [], pack.parent / "never", is_quiet=True)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_one_object_is_learned_to_more_than_25_db_on_views_that_are_not_trained(
    repository: Path, tmp_path: Path
) -> None:
    """Most of the error lies along outlines, so rays count more here than labelled points, which want a softer edge."""
    changes = (
        "network.image.side=96", "network.decoder.plane_side=12", "network.encoder.table_side=12",
        "network.decoder.upsampling=8", "network.decoder.detail_width=16", "network.decoder.channels=16",
        "run.max_steps=800", "run.batch_size=2", "run.learning_rate=5e-3", "run.ema_decay=0.95", "data.source_views=1",
        "data.mirrored=0", "data.tinted=0", "data.noise=0", "loss.points=256", "loss.empty_points=128",
        "loss.occupancy=0.03", "loss.rays=576", "loss.ray_samples=32", "loss.ray_importance=16", "loss.ray_color=20",
        "loss.mask=10", "data.held_out_views=6",
    )  # fmt: skip
    recipe = _recipe(repository, *changes, "run.validation_interval=200")
    pack = write_pack(tmp_path / "data", recipe.network, "val", views=36, made=0)
    result = train(recipe, [pack], [pack], tmp_path / "run", is_quiet=True)
    assert result.run.best_score is not None
    assert result.run.best_score > 25.0
