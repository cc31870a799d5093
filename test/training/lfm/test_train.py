"""A short training of the lifter learns, goes on where it was cut off, and says what does not fit."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

import torch
from lfm_sets import SMALL, write_sets
from safetensors import safe_open

from lift3d_ros.errors import ConfigError, WeightsError
from lift3d_ros.training.lfm.batches import LfmData
from lift3d_ros.training.lfm.module import build_network
from lift3d_ros.training.lfm.settings import LfmTraining, load_recipe
from lift3d_ros.training.lfm.start import start_from
from lift3d_ros.training.lfm.train import collect_sets, train


def _recipe(repository: Path, *changes: str) -> LfmTraining:
    return load_recipe(repository / "config" / "training" / "lfm_cpu.yaml", [*SMALL, *changes])


def test_the_loss_falls_and_the_weights_say_what_they_are(repository: Path, tmp_path: Path) -> None:
    data = write_sets(tmp_path / "data")
    recipe = _recipe(repository, "run.max_steps=60", "run.validation_interval=30", "run.learning_rate=5e-3")
    result = train(recipe, [data], [], tmp_path / "run", is_quiet=True)
    assert np.mean(result.run.losses[-10:]) < 0.85 * np.mean(result.run.losses[:5])
    assert result.categories == ("own_bird20", "own_hand21")
    assert result.best is not None
    with (tmp_path / "run" / "losses.csv").open() as file:
        names = {row["name"] for row in csv.DictReader(file)}
    assert {"loss_shape", "loss_sign", "loss_spread", "validation proper", "validation best"} <= names
    with safe_open(str(result.weights), "pt") as file:
        metadata = file.metadata()
    assert metadata["method"] == "lfm"
    assert json.loads(metadata["categories"]) == list(result.categories)


def test_a_run_in_slices_is_the_run_in_one_go(repository: Path, tmp_path: Path) -> None:
    data = write_sets(tmp_path / "data")
    whole = train(_recipe(repository, "run.max_steps=4"), [data], [], tmp_path / "whole", is_quiet=True)
    cut = _recipe(repository, "run.max_steps=4", "run.slice_minutes=1e-9")
    for number in range(4):
        part = train(cut, [data], [], tmp_path / "cut", resume=number > 0, is_quiet=True)
    assert part.run.step == 4
    for name, tensor in whole.run.averaged.items():
        torch.testing.assert_close(tensor, part.run.averaged[name], atol=1e-6, rtol=1e-5)


def test_every_option_of_network_and_loss_trains(repository: Path, tmp_path: Path) -> None:
    data = write_sets(tmp_path / "data")
    options = (
        ("network.encoding=learned", "network.branches=global", "loss.optimizer=adamw"),
        ("network.block=equations", "network.branches=local", "loss.alignment=proper"),
        ("network.has_pair_bias=false", "network.has_graph_features=false", "loss.has_procrustes=false"),
    )
    for number, changes in enumerate(options):
        out = tmp_path / str(number)
        result = train(_recipe(repository, "run.max_steps=2", *changes), [data], [], out, is_quiet=True)
        assert all(np.isfinite(result.run.losses))


def test_weights_can_be_started_from_and_those_of_another_network_are_refused(repository: Path, tmp_path: Path) -> None:
    data = write_sets(tmp_path / "data")
    result = train(_recipe(repository, "run.max_steps=1"), [data], [], tmp_path / "run", is_quiet=True, is_half=True)
    assert result.weights is not None
    network = build_network(_recipe(repository, "run.seed=5"))
    start_from(network, result.weights)
    averaged = result.run.averaged["embedding.weight"]
    torch.testing.assert_close(network.embedding.weight.detach(), averaged, atol=1e-3, rtol=1e-3)
    with pytest.raises(WeightsError, match="do not fit this network"):
        start_from(build_network(_recipe(repository, "network.width=32")), result.weights)


def test_a_deeper_network_starts_as_the_shallower_and_learns_in_all_blocks(repository: Path, tmp_path: Path) -> None:
    data = write_sets(tmp_path / "data")
    small = _recipe(repository, "run.max_steps=2", "network.num_layers=2")
    result = train(small, [data], [], tmp_path / "run", is_quiet=True)
    assert result.weights is not None
    shallow = build_network(small)
    start_from(shallow, result.weights)
    deeper = _recipe(repository, "run.max_steps=2", "network.num_layers=5")
    network = build_network(deeper)
    start_from(network, result.weights)
    sets = collect_sets([data], deeper.data)
    batch = LfmData(sets, sets, deeper).make(0)[0]
    arguments = (batch.points, batch.exists, batch.is_visible, batch.side, batch.adjacency)
    with torch.no_grad():
        torch.testing.assert_close(network(*arguments).shape, shallow(*arguments).shape, atol=1e-5, rtol=1e-5)
    further = train(deeper, [data], [], tmp_path / "deeper", init_from=result.weights, is_quiet=True)
    for number, block in enumerate(network.blocks):
        before = block.perceptron[2].weight.detach()
        assert not torch.equal(before, further.run.averaged[f"blocks.{number}.perceptron.2.weight"])


def test_sets_that_are_left_out_are_named_or_refused(repository: Path, tmp_path: Path) -> None:
    data = write_sets(tmp_path / "data")
    kept = collect_sets([data], _recipe(repository, "data.leaves_out=[own_bird20]").data)
    assert [one.name for one in kept] == ["own_hand21"]
    made = collect_sets([data], _recipe(repository, "data.has_generated=true").data)
    assert len(made) >= 8
    with pytest.raises(ConfigError, match="'own_bird21' is not there; did you mean 'own_bird20'"):
        collect_sets([data], _recipe(repository, "data.leaves_out=[own_bird21]").data)
    with pytest.raises(ConfigError, match="own_bird20, own_hand21 found in several folders"):
        collect_sets([data, data], _recipe(repository).data)
