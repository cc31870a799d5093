"""Short trainings of teacher, encoder and classifier learn, go on where they were cut off, and fit together."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

import numpy as np
import torch
from point_files import CLASSES, SMALL, write_clouds
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lift3d_ros.errors import ConfigError, DatasetError, WeightsError
from lift3d_ros.models.backbones.vit import VisionTransformer
from lift3d_ros.models.backbones.vit_config import VitConfig
from lift3d_ros.models.backbones.vit_keys import DINO_NAMES
from lift3d_ros.models.i2p_mae.teacher import ClipVisionTransformer
from lift3d_ros.models.renaming import Renaming
from lift3d_ros.pipelines.point_network import find_points, load_point_network
from lift3d_ros.training.i2p_mae.module import nearest_is_alike
from lift3d_ros.training.i2p_mae.settings import I2pMaeLossSettings, I2pMaeTraining, load_recipe
from lift3d_ros.training.i2p_mae.teacher_module import vicreg_losses
from lift3d_ros.training.i2p_mae.teachers import find_teacher, load_teacher
from lift3d_ros.training.i2p_mae.train import TrainResult, train

VALIDATED = ("run.validation_interval=2",)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clouds(tmp_path_factory.mktemp("data") / "clouds")


@pytest.fixture(scope="module")
def teacher(data: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    out = tmp_path_factory.mktemp("teacher")
    return train(recipe(repository, "teacher", "run.max_steps=4", *VALIDATED), [data], [], out, is_quiet=True)


@pytest.fixture(scope="module")
def encoder(
    data: Path, repository: Path, teacher: TrainResult, tmp_path_factory: pytest.TempPathFactory
) -> TrainResult:
    out = tmp_path_factory.mktemp("encoder")
    wanted = recipe(repository, "cpu", "run.max_steps=4", *VALIDATED)
    return train(wanted, [data], [], out, teacher=teacher.weights, is_quiet=True)


def recipe(repository: Path, name: str, *changes: str) -> I2pMaeTraining:
    return load_recipe(repository / "config" / "training" / f"i2p_mae_{name}.yaml", [*SMALL, *changes])


def figures_of(path: Path | None) -> set[str]:
    assert path is not None
    with (path.parent / "losses.csv").open() as file:
        return {row["name"] for row in csv.DictReader(file)}


def header_of(path: Path | None) -> dict[str, str]:
    with safe_open(str(path), "pt") as file:
        return dict(file.metadata())


def test_the_teacher_trains_without_labels_and_its_file_says_what_it_is(teacher: TrainResult) -> None:
    assert {"validation contrast", "validation nearest"} <= figures_of(teacher.weights)
    assert header_of(teacher.weights)["stage"] == "teacher"
    assert teacher.weights is not None
    loaded = load_teacher(teacher.weights)
    with torch.no_grad():
        maps = loaded.network.eval()(torch.randn(2, 3, 224, 224))
    assert (loaded.dims, maps.features.shape, maps.saliency.shape) == (8, (2, 8, 4, 4), (2, 1, 4, 4))
    assert (maps.saliency > 0).all()
    assert json.loads(header_of(teacher.weights)["teacher"])["channels"] == 1
    with pytest.raises(WeightsError, match="holds a 2D teacher; expected a point encoder"):
        find_points(str(teacher.weights))


def test_the_teacher_of_the_package_is_found_by_its_name() -> None:
    assert load_teacher(find_teacher("lift3d-depth-teacher")).dims == 64
    with pytest.raises(WeightsError, match=r"model 'lift3d-lfm': method 'lfm' .* is no trained 2D teacher"):
        find_teacher("lift3d-lfm")


def test_pretraining_with_all_guidance_leaves_an_encoder_that_can_be_used(encoder: TrainResult) -> None:
    names = {"loss_points", "loss_features"}
    assert names | {f"validation {name}" for name in (*names, "nearest")} <= figures_of(encoder.weights)
    assert encoder.best is None  # no labels choose the weights
    source = find_points(str(encoder.encoder))
    assert (source.config.head, source.config.encoder.dims) == ("none", (12, 18, 24))
    network, identity = load_point_network(source)
    assert identity.is_trained
    whole = load_file(str(encoder.weights))
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, whole[name])
    assert load_point_network(find_points(str(encoder.weights)))[0].state_dict().keys() == network.state_dict().keys()
    assert json.loads(header_of(encoder.weights)["classes"]) == list(CLASSES)


@pytest.mark.parametrize(
    "changes",
    [
        ("guidance=masks",),
        ("guidance=masks", "network.masks.normalises_saliency=false", "network.masks.temperature=0.5"),
        ("guidance=masks_and_features", "run.precision=bfloat16", "loss.features=0.1", "augmentation.turn_deg=180"),
    ],
)
def test_every_guidance_trains(
    changes: tuple[str, ...], data: Path, teacher: TrainResult, repository: Path, tmp_path: Path
) -> None:
    wanted = recipe(repository, "cpu", "run.max_steps=2", "run.batch_size=2", *changes)
    result = train(wanted, [data], [], tmp_path, teacher=teacher.weights, is_quiet=True)
    assert all(np.isfinite(result.run.losses))


def test_the_loss_of_a_plain_autoencoder_falls_also_without_labels_and_validation(
    data: Path, repository: Path, tmp_path: Path
) -> None:
    with np.load(data / "train_0.npz") as file:
        np.savez(tmp_path / "plain.npz", points=file["points"])
    wanted = recipe(repository, "cpu", "guidance=none", "run.max_steps=25", "run.learning_rate=5e-3", *VALIDATED)
    result = train(wanted, [tmp_path / "plain.npz"], [], tmp_path / "run", is_quiet=True)
    assert np.mean(result.run.losses[-5:]) < 0.75 * np.mean(result.run.losses[:3])
    assert result.num_classes == 0


def test_a_run_in_slices_is_the_run_in_one_go(
    data: Path, teacher: TrainResult, repository: Path, tmp_path: Path
) -> None:
    length = ("run.max_steps=3", "run.batch_size=3")
    where = {"teacher": teacher.weights, "is_quiet": True}
    whole = train(recipe(repository, "cpu", *length), [data], [], tmp_path / "whole", **where)
    cut = recipe(repository, "cpu", *length, "run.slice_minutes=1e-9")
    for number in range(3):
        part = train(cut, [data], [], tmp_path / "cut", resume=number > 0, **where)
    assert part.run.step == 3
    for name, tensor in whole.run.averaged.items():
        torch.testing.assert_close(tensor, part.run.averaged[name], atol=1e-6, rtol=1e-5)


def test_classification_starts_from_the_encoder_and_its_best_weights_are_kept(
    data: Path, encoder: TrainResult, repository: Path, tmp_path: Path
) -> None:
    wanted = recipe(repository, "finetune", "run.max_steps=4", *VALIDATED)
    result = train(wanted, [data], [], tmp_path / "run", init_from=encoder.encoder, is_quiet=True)
    assert result.num_loaded == len(load_file(str(encoder.encoder)))
    assert (result.num_classes, result.best is not None) == (3, True)
    assert "validation accuracy" in figures_of(result.weights)
    assert result.recipe.network.classification.num_classes == 3
    again = train(wanted, [data], [], tmp_path / "again", init_from=encoder.weights, is_quiet=True)
    torch.testing.assert_close(again.run.averaged, result.run.averaged)
    with pytest.raises(WeightsError, match="weights of the encoder have another shape"):
        train(
            recipe(repository, "finetune", "run.max_steps=1", "network.encoder.dims=[12,18,30]"),
            [data], [], tmp_path / "other", init_from=encoder.encoder, is_quiet=True,
        )  # fmt: skip


def test_what_does_not_go_together_is_said_before_anything_is_read(
    data: Path, teacher: TrainResult, repository: Path, tmp_path: Path
) -> None:
    nowhere = [tmp_path / "nowhere"]
    for name, changes, given, words in (
        ("cpu", (), {}, "guidance is 'masks_and_features', and no teacher is given"),
        ("cpu", ("guidance=none",), {"teacher": teacher.weights}, "has no effect, guidance is 'none'"),
        ("finetune", (), {"teacher": teacher.weights}, "has no effect, stage is 'finetune'"),
        ("teacher", (), {"init_from": teacher.weights}, "a teacher starts from random weights"),
        ("finetune", ("run.batch_size=1",), {}, "run.batch_size is 1, and stage 'finetune' compares clouds"),
    ):
        with pytest.raises(ConfigError, match=words):
            train(recipe(repository, name, *changes), nowhere, [], tmp_path / "run", **given)


def test_classification_needs_labels_of_the_same_classes(data: Path, repository: Path, tmp_path: Path) -> None:
    with np.load(data / "train_0.npz") as file:
        np.savez(tmp_path / "plain.npz", points=file["points"])
        np.savez(tmp_path / "more.npz", points=file["points"], labels=np.arange(len(file["points"])))
    wanted = recipe(repository, "finetune", "run.max_steps=1")
    with pytest.raises(DatasetError, match="needs a label for each cloud"):
        train(wanted, [tmp_path / "plain.npz"], [], tmp_path / "run")
    with pytest.raises(DatasetError, match="the validation has 18 classes, the training data 3"):
        train(wanted, [data / "train_0.npz"], [tmp_path / "more.npz"], tmp_path / "run")
    other = write_clouds(tmp_path / "other")
    (other / "classes.json").write_text('{"classes": ["rod", "ball", "plate"]}')
    with pytest.raises(DatasetError, match=r"other classes \(rod, ball, plate, \.\.\.\) than the training data \(ball"):
        train(wanted, [data / "train_0.npz"], [other / "val.npz"], tmp_path / "run")
    np.savez(tmp_path / "one.npz", points=np.ones((4, 50, 3)), labels=np.zeros(4, int))
    with pytest.raises(DatasetError, match="the training data has 1 class; expected at least two"):
        train(wanted, [tmp_path / "one.npz"], [], tmp_path / "run")


def test_clouds_with_fewer_points_than_tokens_are_trained_on(repository: Path, tmp_path: Path) -> None:
    data = write_clouds(tmp_path / "few", points=5)
    wanted = recipe(repository, "cpu", "guidance=none", "run.max_steps=2", "run.batch_size=2")
    result = train(wanted, [data], [], tmp_path / "run", is_quiet=True)
    assert all(np.isfinite(result.run.losses))


# Parts


def test_a_state_dict_of_clip_is_a_teacher_with_the_sizes_of_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    clip = ClipVisionTransformer(224, 56, 128, 2, 2, 12)
    state = {f"visual.{name}": tensor for name, tensor in clip.state_dict().items()}
    torch.save({**state, "logit_scale": torch.ones(())}, tmp_path / "clip.pth")
    loaded = load_teacher(tmp_path / "clip.pth")
    assert loaded.dims == 12
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(loaded.network(images).features, clip(images).features)
    del state["visual.proj"]
    torch.save(state, tmp_path / "resnet.pth")
    with pytest.raises(WeightsError, match=r"has no 'visual\.proj'; expected CLIP with a vision transformer"):
        load_teacher(tmp_path / "resnet.pth")


@pytest.mark.parametrize("registers", [0, 2])
def test_a_state_dict_of_dino_is_a_teacher_with_the_sizes_of_its_weights(tmp_path: Path, registers: int) -> None:
    config = VitConfig(64, 2, 1, 28, 3, registers, has_layer_scale=registers > 0, table_offset=0.1 * (registers == 0))
    config = dataclasses.replace(config, antialiases_table=registers > 0)
    names, vision = Renaming(DINO_NAMES), VisionTransformer(config).eval()
    state = {str(names.published(name)): tensor for name, tensor in vision.state_dict().items()}
    torch.save({**state, "mask_token": torch.zeros(1, 64)}, tmp_path / "dino.pth")
    loaded = load_teacher(tmp_path / "dino.pth")
    assert loaded.dims == 64
    images = torch.randn(2, 3, 224, 224)
    maps = loaded.network(images)
    assert maps.features.shape == (2, 64, 8, 8)
    torch.testing.assert_close(maps.features.flatten(2).mT, vision(images)[:, 1:])
    shares = maps.saliency.flatten(1).sum(1)
    assert bool((shares < 1).all())
    assert bool((shares > 0.5).all())

    del state["blocks.1.norm2.weight"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(WeightsError, match=r"does not fit a teacher.*blocks.1.norm2.weight"):
        load_teacher(tmp_path / "cut.pth")


def test_weights_of_something_else_are_no_teacher(tmp_path: Path, encoder: TrainResult) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"none of its 1 weights begins with 'visual\.'"):
        load_teacher(tmp_path / "other.pth")
    save_file({"weight": torch.ones(2)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(WeightsError, match="its header names method 'none' and no 'teacher'"):
        load_teacher(tmp_path / "other.safetensors")
    assert encoder.encoder is not None
    with pytest.raises(WeightsError, match="names method 'i2p_mae' and no 'teacher'"):
        load_teacher(encoder.encoder)


def test_the_losses_of_the_teacher_vanish_for_equal_spread_and_independent_embeddings() -> None:
    settings = I2pMaeLossSettings()
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert all(float(value) < 1e-6 for value in vicreg_losses(2 * signs, 2 * signs, settings).values())
    collapsed = vicreg_losses(torch.ones(4, 2), torch.ones(4, 2), settings)
    assert float(collapsed["loss_spread"]) > 20
    repeated = signs[:, :1].repeat(1, 2)
    assert float(vicreg_losses(repeated, repeated, settings)["loss_covariance"]) > 1
    assert float(vicreg_losses(signs, -signs, settings)["loss_likeness"]) == pytest.approx(100)


def test_nearest_is_the_share_of_clouds_beside_one_of_their_class() -> None:
    features = torch.tensor([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.0], [-0.9, -0.1]])
    assert nearest_is_alike(features, torch.tensor([0, 0, 1, 1])) == 1.0
    assert nearest_is_alike(features, torch.tensor([0, 1, 0, 1])) == 0.0
