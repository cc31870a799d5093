"""Heads are trained alone on the maps that the network gives, with boxes that follow the mirrored maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from dfa3d_recipe import RECIPE, SMALL
from painted_street import fast_pack, painted_pack

from lift3d_ros.datasets.pack import PackReader
from lift3d_ros.errors import ConfigError, DatasetError
from lift3d_ros.training.dfa3d.assembly import assemble
from lift3d_ros.training.dfa3d.batch import apply_changes
from lift3d_ros.training.dfa3d.heads import (
    HeadSettings,
    MapSample,
    StoredMaps,
    _flipped,
    digest_of,
    store_maps,
    train_heads,
)
from lift3d_ros.training.dfa3d.module import Dfa3dModule
from lift3d_ros.training.dfa3d.network import build_trained_detector
from lift3d_ros.training.dfa3d.order import Window
from lift3d_ros.training.dfa3d.samples import PackedFrames
from lift3d_ros.training.dfa3d.settings import load_recipe

CHANGES = (
    *SMALL, "preset=tiny", "network.backbone.architecture=resnet", "loss.frozen_stages=0",
    "network.reads_history_age=true", "network.motion.channels=4", "network.query_source=heatmap",
)  # fmt: skip


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> PackedFrames:
    pack = painted_pack(tmp_path_factory.mktemp("painted") / "pack", num_scenes=2, num_frames=3)
    return PackedFrames([PackReader(pack)], 1.0, torch.device("cpu"), grows=False, is_quiet=True)


def new_module(*more: str) -> Dfa3dModule:
    recipe = load_recipe(RECIPE, (*CHANGES, *more))
    return Dfa3dModule(build_trained_detector(recipe.network, 0), recipe)


def stored(module: Dfa3dModule, frames: PackedFrames, folder: Path, source: str = "these") -> StoredMaps:
    return store_maps(module, frames, folder, source, lambda done, total: None)


def test_maps_are_those_of_the_network_with_its_memory(frames: PackedFrames, tmp_path: Path) -> None:
    module = new_module()
    maps = stored(module, frames, tmp_path)
    assert len(maps) == frames.count == 6
    history = torch.zeros(1, module.recipe.network.num_cells, module.recipe.network.embed_dims)
    for number in range(3):
        window = Window((number - 1, number) if number else (0,), number, number > 0)
        ((_, samples),) = frames.load(iter([[window]]))
        batch = assemble([window], samples, frames, module.recipe, is_training=False)
        frame = apply_changes(batch.frames[-1])
        with torch.no_grad():
            outputs = module.run_frame(frame, history, has_boxes=False)
        found = maps[number]
        torch.testing.assert_close(found.bev, outputs.bev[0], rtol=2e-3, atol=2e-3)
        if number:
            torch.testing.assert_close(found.aligned, outputs.aligned[0], rtol=2e-3, atol=2e-3)
        assert (found.age > 0.0) == (number > 0)
        torch.testing.assert_close(found.codes, batch.target_codes)
        history = outputs.bev
    assert maps[3].age == 0.0, "the first frame of the next scene has no frame before"


def test_the_earlier_map_is_as_old_as_the_network_expects(tmp_path: Path) -> None:
    frames = PackedFrames([PackReader(fast_pack(tmp_path / "pack", 6))], 1.0, torch.device("cpu"), grows=False,
                          is_quiet=True)  # fmt: skip
    module = new_module("network.history_s=0.3")
    maps = stored(module, frames, tmp_path / "maps")
    assert [maps[number].age for number in range(6)] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.3, 0.3])
    torch.testing.assert_close(maps[5].aligned, maps[2].bev, msg="the vehicle stands, so the map of frame 2 stays")
    assert not torch.allclose(maps[5].aligned, maps[4].bev)


def test_maps_are_moved_where_the_network_is(frames: PackedFrames, tmp_path: Path) -> None:
    module = new_module()
    maps = stored(module, frames, tmp_path)
    module.network.to("meta")  # like a GPU, it takes no tensors of the CPU
    config = module.recipe.network
    for number in (0, 1):
        sample = _flipped(maps[number], np.random.default_rng(0), config.bev_height, config.bev_width)
        assert (sample.bev.device.type, sample.aligned.device.type) == ("meta", "meta")


def test_the_loss_of_velocities_has_the_weight_of_the_recipe(frames: PackedFrames, tmp_path: Path) -> None:
    losses: list[dict[str, float]] = []
    for weight in (0.1, 0.2):
        module = new_module(f"loss.motion={weight}")
        settings = HeadSettings(steps=1, batch_size=6)
        train_heads(module, stored(module, frames, tmp_path), settings, lambda step, figures: losses.append(figures))
    lighter, heavier = losses
    assert lighter["loss_motion"] > 0.0
    assert heavier["loss_motion"] == pytest.approx(2.0 * lighter["loss_motion"], rel=1e-4)
    assert heavier["loss_cls"] == pytest.approx(lighter["loss_cls"], rel=1e-4)


@pytest.mark.parametrize("steps", [1, 10])
def test_any_number_of_steps_can_be_asked_for(frames: PackedFrames, tmp_path: Path, steps: int) -> None:
    module, done = new_module(), []
    maps = stored(module, frames, tmp_path)
    train_heads(module, maps, HeadSettings(steps=steps, batch_size=1), lambda step, figures: done.append(step))
    assert done == list(range(1, steps + 1))


def test_maps_belong_to_weights_and_not_to_a_name() -> None:
    module = new_module()
    before = digest_of(module.network)
    assert digest_of(new_module().network) == before
    with torch.no_grad():
        module.network.level_embedding += 1e-3
    assert digest_of(module.network) != before


def test_only_heads_are_trained_and_they_learn(frames: PackedFrames, tmp_path: Path) -> None:
    module = new_module()
    before = {name: tensor.clone() for name, tensor in module.network.state_dict().items()}
    losses = []
    settings = HeadSettings(steps=40, batch_size=2, learning_rate=1e-3)
    averaged = train_heads(
        module, stored(module, frames, tmp_path), settings, lambda step, figures: losses.append(sum(figures.values()))
    )
    changed = {name for name, tensor in module.network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.split(".")[0] for name in changed} == {"decoder", "motion"}
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])
    assert set(averaged) == set(before)


@pytest.mark.parametrize("seed", range(8))
def test_boxes_follow_a_mirrored_map(seed: int) -> None:
    """A cell of its own at the object's centre, one ahead of it, and one where it will be."""
    size, heading, velocity = 20, (3.0, 4.0), (2.0, -5.0)
    places = {1.0: (2.5, -3.5), 2.0: (5.5, 0.5), 3.0: (4.5, -8.5)}
    bev = torch.zeros(size * size, 1)
    for value, (x, y) in places.items():
        bev[int(y + size / 2) * size + int(x + size / 2)] = value
    codes = torch.zeros(1, 10)
    codes[0, :2] = torch.tensor(places[1.0])
    codes[0, 6:8] = torch.tensor([heading[1], heading[0]])
    codes[0, 8:] = torch.tensor(velocity)
    found = _flipped(MapSample(bev, bev, 0.5, codes, torch.zeros(1)), np.random.default_rng(seed), size, size)
    torch.testing.assert_close(found.bev, found.aligned)

    def place(value: float) -> torch.Tensor:
        row, column = divmod(int((found.bev[:, 0] == value).nonzero()), size)
        return torch.tensor([column + 0.5 - size / 2, row + 0.5 - size / 2])

    code = found.codes[0]
    torch.testing.assert_close(place(1.0), code[:2])
    torch.testing.assert_close(place(2.0), code[:2] + code[[7, 6]])
    torch.testing.assert_close(place(3.0), code[:2] + code[8:])


def test_maps_of_other_weights_and_unfit_networks_are_refused(frames: PackedFrames, tmp_path: Path) -> None:
    module = new_module()
    maps = stored(module, frames, tmp_path)
    assert len(stored(module, frames, tmp_path)) == len(maps), "maps that are there are used again"
    with pytest.raises(DatasetError, match="holds maps of other weights or data"):
        stored(module, frames, tmp_path, "others")
    (tmp_path / "targets.npz").write_bytes(b"cut")
    with pytest.raises(DatasetError, match="no complete maps"):
        stored(module, frames, tmp_path)
    published = new_module("network.motion.channels=0", "network.ego_input=can_bus")
    with pytest.raises(ConfigError, match="heads are trained alone where it is 'transform'"):
        train_heads(published, maps, HeadSettings(steps=1))
    with pytest.raises(ConfigError, match="yaw_code is 'mmdet3d'; heads are trained alone where it is 'heading'"):
        train_heads(new_module("network.yaw_code=mmdet3d"), maps, HeadSettings(steps=1))


def test_the_motion_head_has_a_learning_rate_of_its_own() -> None:
    module = new_module("run.learning_rate=0.001", "loss.backbone_rate=0.5", "loss.motion_rate=5")
    groups = module.configure_optimizers().param_groups
    rate_of = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    network = module.network
    assert network.motion is not None
    parts = (network.backbone, 0.0005), (network.motion, 0.005), (network.decoder, 0.001)
    for part, expected in parts:
        assert [*{rate_of[id(parameter)] for parameter in part.parameters()}] == [pytest.approx(expected)]
    assert len(rate_of) == len(list(network.parameters()))
