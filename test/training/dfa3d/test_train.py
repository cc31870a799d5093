"""The detector learns, goes on where it stopped, and several processes learn what one would."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from dfa3d_recipe import RECIPE, small_recipe
from labelled_drive import Labelled
from painted_street import painted_pack
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lift3d_ros.datasets.class_map import ClassMap
from lift3d_ros.datasets.pack import PackReader
from lift3d_ros.errors import ConfigError, Lift3dError, WeightsError
from lift3d_ros.geometry.rig import Rig, RigCamera
from lift3d_ros.models.dfa3d.detector import build_detector
from lift3d_ros.replay.labelled_data import LabelledChoice
from lift3d_ros.training.checkpoint import find_checkpoint, read_checkpoint
from lift3d_ros.training.dfa3d.batch import Batch
from lift3d_ros.training.dfa3d.data import Dfa3dData
from lift3d_ros.training.dfa3d.module import Dfa3dModule
from lift3d_ros.training.dfa3d.network import build_trained_detector
from lift3d_ros.training.dfa3d.order import Window
from lift3d_ros.training.dfa3d.samples import PackedFrames
from lift3d_ros.training.dfa3d.settings import load_recipe
from lift3d_ros.training.dfa3d.start import start_from
from lift3d_ros.training.dfa3d.train import TrainResult, open_frames, train


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return painted_pack(tmp_path_factory.mktemp("painted") / "pack")


def go(pack: Path, out: Path, *changes: str, **options: object) -> TrainResult:
    return train(small_recipe(*changes), [pack], [pack], out, is_quiet=True, **options)  # type: ignore[arg-type]


def test_a_resumed_training_has_the_same_losses_bit_by_bit(pack: Path, tmp_path: Path) -> None:
    whole = go(pack, tmp_path / "whole", "run.max_steps=12", "run.checkpoint_interval=6")
    # Going on from an older checkpoint is what happens after a loss of power.
    out = tmp_path / "parts"
    go(pack, out, "run.max_steps=12", "run.slice_minutes=1e-9")
    again = go(pack, out, "run.max_steps=12", resume=True)
    assert again.run.step == 12
    assert len(again.run.losses) == 11
    assert again.run.losses == whole.run.losses[1:]
    one, other = (load_file(str(result.weights)) for result in (whole, again))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_finished_training_leaves_weights_that_fit_and_say_what_they_are(pack: Path, tmp_path: Path) -> None:
    result = go(pack, tmp_path, "run.max_steps=4", "run.validation_interval=2", is_half=True)
    assert result.weights == tmp_path / "weights.safetensors"
    assert result.best == tmp_path / "best.safetensors"
    with safe_open(str(result.weights), framework="pt") as file:
        facts = json.loads(file.metadata()["facts"])
        assert file.get_tensor("backbone.conv1.weight").dtype == torch.float16
    assert facts["network.embed_dims"] == 32
    network = build_detector(small_recipe().network, 0)
    network.load_state_dict(load_file(str(result.weights)))
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert pictures[0] == "step0000002_0.jpg"
    assert "validation score" in (tmp_path / "losses.csv").read_text()


def test_a_loss_that_is_not_finite_names_the_frames_of_its_batch(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, seen = Dfa3dModule.training_step, list[Batch]()

    def poisoned(self: Dfa3dModule, batch: Batch, batch_idx: int) -> torch.Tensor:
        seen.append(batch)
        return step(self, batch, batch_idx) * float("nan")

    monkeypatch.setattr(Dfa3dModule, "training_step", poisoned)
    with pytest.raises(Lift3dError) as caught:
        go(pack, tmp_path, "run.max_steps=1")
    ((batch,), path) = seen, tmp_path / "bad_batch.safetensors"
    assert len(batch.names) == 2
    assert f"The batch of {', '.join(batch.names)} is in {path}" in str(caught.value)
    with safe_open(str(path), framework="pt") as file:
        assert json.loads(file.metadata()["samples"]) == batch.names
        parts = torch.split(file.get_tensor("target_codes"), file.get_tensor("target_counts").tolist())
    assert all(torch.equal(one, other) for one, other in zip(parts, batch.codes, strict=True))


def test_a_run_of_another_network_or_data_is_not_gone_on_with(pack: Path, tmp_path: Path) -> None:
    go(pack, tmp_path, "run.max_steps=1")
    with pytest.raises(ConfigError, match=r"network.num_queries: 40 there, 30 here"):
        go(pack, tmp_path, "run.max_steps=2", "network.num_queries=30", resume=True)
    go(pack, tmp_path, "run.max_steps=2", resume=True)  # training longer is no other run


def test_a_growing_pack_is_not_followed_by_several_processes(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    monkeypatch.setattr(torch.distributed, "is_torchelastic_launched", lambda: True)
    with pytest.raises(ConfigError, match=r"add --set data\.follows=false"):
        go(pack, tmp_path, "data.follows=true", "run.max_steps=1")
    document = (repository / "docs" / "training.md").read_text(encoding="utf-8")
    (command,) = [line for line in document.splitlines() if line.strip().startswith("torchrun")]
    config = repository / command.partition("--config ")[2].split()[0]
    changes = command.partition("--set ")[2].partition(" --")[0].split()
    assert not load_recipe(config, changes).data.follows


def test_weights_of_other_classes_are_taken_but_for_the_class_head(pack: Path, tmp_path: Path) -> None:
    first = go(pack, tmp_path / "first", "run.max_steps=1")
    other = build_detector(small_recipe("network.class_names=[car, pedestrian]").network, 5)
    report = start_from(other, str(first.weights))
    assert report.reshaped
    assert all("cls_branches" in name for name in report.reshaped)
    assert "of another shape, starts at random" in report.describe()
    stored = load_file(str(first.weights))
    assert torch.equal(other.state_dict()["backbone.conv1.weight"], stored["backbone.conv1.weight"])
    checkpoint = find_checkpoint(tmp_path / "first" / "checkpoints", "last")
    assert start_from(build_detector(small_recipe().network, 5), str(checkpoint)).reshaped == ()


def test_weights_that_cannot_be_started_from_are_refused(tmp_path: Path) -> None:
    network = build_detector(small_recipe().network, 0)
    save_file({"something": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="not one of its 1 tensors"):
        start_from(network, str(tmp_path / "other.safetensors"))
    save_file({"backbone.conv1.weight": torch.full((8, 3, 7, 7), float("nan"))}, tmp_path / "bad.safetensors")
    with pytest.raises(WeightsError, match="not finite"):
        start_from(network, str(tmp_path / "bad.safetensors"))
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        start_from(network, str(tmp_path / "text.safetensors"))
    with pytest.raises(WeightsError, match="is not in"):
        start_from(network, "no_such_model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("run.max_stepz=3", "did you mean 'max_steps'"),
        ("preset=tinny", "did you mean 'tiny'"),
        ("network.depth.sauce=none", "did you mean 'source'"),
        ("run.batch_size", "expected NAME=VALUE"),
        ("run.batch_size=many", "must be a whole number"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_nearest_name(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(RECIPE, [change])


@pytest.mark.parametrize(
    ("name", "preset", "frozen", "free_heading"),
    [
        ("dfa3d_cpu.yaml", "lift3d-bev-tiny", 2, 0.8),
        ("dfa3d_gpu.yaml", "lift3d-bev-tiny", 2, 0.8),
        ("dfa3d_finetune.yaml", "dfa3d-small", 1, 0.0),  # published weights know fronts, and nothing turns their boxes
    ],
)
def test_recipes_can_be_read_and_train_a_preset_that_can_be_named(
    name: str, preset: str, frozen: int, free_heading: float
) -> None:
    recipe = load_recipe(RECIPE.parent / name)
    assert recipe.is_plain_preset
    assert (recipe.preset, recipe.loss.frozen_stages) == (preset, frozen)
    assert recipe.loss.free_heading == free_heading


@pytest.mark.parametrize("depth", ["none", "lidar"])
def test_networks_without_predicted_depth_train_too(pack: Path, tmp_path: Path, depth: str) -> None:
    result = go(pack, tmp_path, "run.max_steps=2", f"network.depth.source={depth}")
    assert np.isfinite(result.run.losses).all()
    assert "loss_depth" not in (tmp_path / "losses.csv").read_text()


def test_networks_with_the_habits_of_the_published_ones_are_tuned(pack: Path, tmp_path: Path) -> None:
    habits = ["network.camera_names=[camera0, camera1, camera2, camera3]", "network.ego_input=can_bus"]
    with pytest.raises(ConfigError, match=r"can_bus.*augmentation.turn_deg=0"):
        go(pack, tmp_path, *habits)
    still = [f"augmentation.{name}=0" for name in ("turn_deg", "flip_x", "flip_y")]
    result = go(pack, tmp_path, "run.max_steps=2", *habits, *still, "augmentation.scale=[1,1]")
    assert np.isfinite(result.run.losses).all()


def test_data_that_is_not_packed_is_prepared_on_the_fly(shared_dir: Path, tmp_path: Path) -> None:
    scenes = shared_dir / "data" / "driving"
    folder = next((path.parent for path in sorted(scenes.rglob("meta.json"))), None)
    if folder is None:
        pytest.skip(f"no scene folder in {scenes}")
    table = ClassMap(table=dict.fromkeys(("animal",), "ignore"))
    recipe = small_recipe("run.max_steps=2", "run.workers=1")
    result = train(recipe, [folder], [], tmp_path, class_map=table, is_quiet=True)
    assert np.isfinite(result.run.losses).all()


def test_training_straight_from_a_recording_is_warned_of(
    pack: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drive = Labelled(frames=2).write(tmp_path / "drive")
    recipe = small_recipe("run.max_steps=1", "run.workers=0")
    train(recipe, [drive], [], tmp_path / "run", is_quiet=True)
    assert "drive: a recording is read from its beginning for nearly every sample" in caplog.text
    assert f"--data {drive} --pack DIR" in caplog.text
    caplog.clear()
    train(recipe, [pack], [], tmp_path / "packed", is_quiet=True)
    assert "pack it first" not in caplog.text


def test_the_own_vehicle_is_black_in_pictures_that_are_prepared_on_the_fly(repository: Path) -> None:
    whole = ((0.0, 0.0), (704.0, 0.0), (704.0, 396.0), (0.0, 396.0))
    choice = LabelledChoice(rig=Rig(cameras={"back": RigCamera(own_vehicle=(whole,))}))
    recipe, cpu = small_recipe("run.workers=0"), torch.device("cpu")
    frames = open_frames([repository / "demo" / "street"], recipe, cpu, None, choice, grows=False, is_quiet=True)
    _, samples = next(iter(frames.load(iter([[Window((0,), 0)]]))))
    assert [name for name, pixels in zip(samples[0].cameras, samples[0].images, strict=True) if not pixels.any()] == [
        "back"
    ]


def test_gradient_checkpoints_change_no_loss(pack: Path, tmp_path: Path) -> None:
    frozen = "network.backbone.has_frozen_norms=true"  # statistics would be updated twice
    plain = go(pack, tmp_path / "plain", "run.max_steps=3", frozen)
    less = go(pack, tmp_path / "less", "run.max_steps=3", frozen, "run.has_gradient_checkpoints=true")
    assert less.run.losses == pytest.approx(plain.run.losses, rel=1e-5)


def test_history_runs_without_gradient_and_leaves_batch_norms_alone(pack: Path) -> None:
    recipe = small_recipe("augmentation.is_used=false", "data.drops_history=0")
    module = Dfa3dModule(build_trained_detector(recipe.network, 0), recipe)
    before = module.network.backbone.bn1.num_batches_tracked.clone()
    cpu = torch.device("cpu")
    frames = PackedFrames([PackReader(pack)], 1.0, cpu, grows=False, is_quiet=True)
    batch = next(iter(Dfa3dData(frames, None, recipe, cpu).train_batches(0, 0, 1)))
    module.training_step(batch, 0).backward()
    assert int(module.network.backbone.bn1.num_batches_tracked - before) == 1
    assert module.network.training


def test_labels_without_velocity_teach_places_and_sizes(pack: Path) -> None:
    recipe = small_recipe("augmentation.is_used=false", "data.history_frames=0")
    module = Dfa3dModule(build_trained_detector(recipe.network, 0), recipe)
    cpu = torch.device("cpu")
    frames = PackedFrames([PackReader(pack)], 1.0, cpu, grows=False, is_quiet=True)
    batch = next(iter(Dfa3dData(frames, None, recipe, cpu).train_batches(0, 0, 1)))
    assert len(batch.target_codes)
    batch.target_codes[:, 8:] = float("nan")
    total = module.training_step(batch, 0)
    assert total.isfinite()
    assert module.figures["loss_bbox"] > 0


def in_two_processes(body: str) -> list[list[str]]:
    """Run lines of Python in two processes of one training, and return the words that each has printed."""
    script = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parents[2] / "support"), str(Path(__file__).parents[3])]!r}
from pathlib import Path
import torch
torch.set_num_threads(1)
from dfa3d_recipe import small_recipe
from lift3d_ros.training.dfa3d.train import train
{body}
"""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    common |= {"GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    words = []
    try:
        for process in processes:
            output, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors[-3000:]
            words.append(output.split())
    finally:
        for process in processes:
            process.kill()  # one that waits for the other would stay
            process.wait()
    return words


def test_two_processes_learn_what_one_learns_with_twice_the_batch(pack: Path, tmp_path: Path) -> None:
    same = [
        "augmentation.is_used=false", "network.backbone.has_frozen_norms=true", "network.depth.source=none",
        "network.dropout=0", "run.max_steps=4", "run.device=cpu", "run.log_interval=1",
    ]  # fmt: skip
    expected = go(pack, tmp_path / "one", *same, "run.batch_size=4").run.losses
    two = tmp_path / "two"
    words = in_two_processes(f"""
recipe = small_recipe(*{[*same, "run.batch_size=2"]!r})
result = train(recipe, [Path({str(pack)!r})], [], Path({str(two)!r}), is_quiet=True)
print(*result.run.losses)
""")
    losses = [[float(word) for word in part] for part in words]
    assert losses[0] != pytest.approx(losses[1], rel=0.01)  # each saw samples of its own
    assert np.mean(losses, axis=0) == pytest.approx(expected, rel=2e-3)
    checkpoint = find_checkpoint(two / "checkpoints", "last")
    assert checkpoint is not None
    assert read_checkpoint(checkpoint).step == 4


def test_two_processes_with_other_clocks_and_samples_agree_on_weights_and_figures(pack: Path, tmp_path: Path) -> None:
    changes = [
        "run.max_steps=0", "run.max_minutes=0.1", "run.validation_interval=2", "run.batch_size=1", "run.device=cpu",
        "data.validation_samples=3",
    ]  # fmt: skip
    words = in_two_processes(f"""
import itertools, os, types
from lift3d_ros.training import bookkeeping
from lift3d_ros.training.dfa3d.validation import Validation
bookkeeping.time = types.SimpleNamespace(monotonic=itertools.count(0, 1 + int(os.environ["RANK"])).__next__)
add, figures, added, validations = Validation.add, Validation.figures, [], []
Validation.add = lambda self, *arguments: added.append(add(self, *arguments))
Validation.figures = lambda self: validations.append(figures(self)) or validations[-1]
recipe = small_recipe(*{changes!r})
run = train(recipe, [Path({str(pack)!r})], [Path({str(pack)!r})], Path({str(tmp_path / "two")!r}), is_quiet=True).run
print(len(added) / len(validations), [sorted(found.items()) for found in validations], run.step)
print(*(float(weights.double().sum()) for name, weights in run.averaged.items() if "running" not in name))
""")
    assert [own.pop(0) for own in words] == ["2.0", "1.0"]  # samples in each validation
    assert words[0] == words[1]


@pytest.mark.slow
def test_four_samples_are_learned_by_heart(pack: Path, tmp_path: Path) -> None:
    result = go(
        pack, tmp_path, "run.max_steps=250", "run.batch_size=4", "run.validation_interval=250", "network.dropout=0",
        "augmentation.is_used=false", "data.drops_history=0", "network.bev_height=24", "network.bev_width=24",
    )  # fmt: skip
    assert result.run.losses[-1] < 0.1 * result.run.losses[0]
    assert result.run.best_score is not None
    assert result.run.best_score > 0.9
