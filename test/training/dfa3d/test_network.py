"""Frozen stages of the backbone keep their weights and statistics through training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from dfa3d_recipe import small_recipe
from painted_street import painted_pack

from lift3d_ros.datasets.pack import PackReader
from lift3d_ros.training.dfa3d.data import Dfa3dData
from lift3d_ros.training.dfa3d.module import Dfa3dModule
from lift3d_ros.training.dfa3d.network import build_trained_detector
from lift3d_ros.training.dfa3d.samples import PackedFrames

CPU = torch.device("cpu")
LITE = "network.backbone.architecture=efficientnet_lite0"


@pytest.mark.parametrize(
    ("change", "stages", "frozen", "trained"),
    [
        ("network.backbone.depth=18", 2, ("conv1", "bn1", "layer1", "layer2"), ("layer3", "layer4")),
        ("network.backbone.depth=18", 0, (), ("conv1", "layer1")),
        (LITE, 1, ("conv_stem", "bn0", "blocks.0", "blocks.2"), ("blocks.3", "blocks.10")),
        (LITE, 2, ("conv_stem", "bn0", "blocks.0", "blocks.4"), ("blocks.5", "blocks.10", "blocks.15")),
        (LITE, 3, ("conv_stem", "blocks.5", "blocks.10"), ("blocks.11", "blocks.15")),
    ],
)
def test_frozen_stages_keep_weights_and_statistics_and_the_others_move(
    change: str, stages: int, frozen: tuple[str, ...], trained: tuple[str, ...], tmp_path: Path
) -> None:
    recipe = small_recipe(change, f"loss.frozen_stages={stages}", "data.history_frames=0")
    network = build_trained_detector(recipe.network, 0, stages)
    module = Dfa3dModule(network, recipe)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    frames = PackedFrames([PackReader(painted_pack(tmp_path / "pack", 1))], 1.0, CPU, grows=False, is_quiet=True)
    batch = next(iter(Dfa3dData(frames, None, recipe, CPU).train_batches(0, 0, 1)))
    for _ in range(2):
        network.train()
        module.training_step(batch, 0).backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}

    def names(parts: tuple[str, ...]) -> set[str]:
        return {name for name in before if name.startswith(tuple(f"backbone.{part}." for part in parts))}

    assert names(frozen) <= network.frozen_names
    assert not moved & network.frozen_names
    for part in trained:
        assert any(name.endswith("weight") for name in moved & names((part,))), part
        assert any("running_mean" in name for name in moved & names((part,))) or part in {"conv1", "conv_stem"}, part
