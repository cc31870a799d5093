"""A network trains on scenes that are prepared while it does, from a buffer that keeps the latest ones."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from dfa3d_recipe import SMALL, small_recipe
from painted_scenes import NUM_FRAMES, PaintedSource
from painted_street import painted_pack, painted_sample

from lift3d_ros.cli.main import main
from lift3d_ros.errors import Lift3dError
from lift3d_ros.training.dfa3d import train as training
from lift3d_ros.training.dfa3d.batch import Batch
from lift3d_ros.training.dfa3d.data import Dfa3dData
from lift3d_ros.training.dfa3d.stream import SceneRing, StreamingData
from lift3d_ros.training.packing import SimulatorSource

CPU = torch.device("cpu")
LIGHT = (
    "data.stream_samples=12", "run.workers=1", "run.device=cpu", "run.max_steps=3", "augmentation.drops_camera=0",
)  # fmt: skip


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> type[PaintedSource]:
    """Painted scenes may take the place of the simulator."""
    monkeypatch.setattr(training, "SimulatorSource", PaintedSource)
    return PaintedSource


def test_the_buffer_keeps_the_latest_scenes_and_draws_all_samples_alike() -> None:
    ring = SceneRing(7)
    for number in range(5):
        ring.add([painted_sample(f"scene{number}", index, number) for index in range(3)])
    assert [ring.samples[number].scene for number in sorted(ring.samples)] == ["scene3"] * 3 + ["scene4"] * 3
    rng = np.random.default_rng(0)
    drawn = [ring.draw(rng) for _ in range(600)]
    for name in ("scene3", "scene4"):
        for place in range(3):
            assert 60 < sum((scene.name, index) == (name, place) for scene, index in drawn) < 150
    scene, place = drawn[0]
    sample = ring.samples[scene.first + place]
    assert (sample.scene, sample.stamp_ns) == (scene.name, scene.stamps_ns[place])
    small = SceneRing(1)
    small.add([painted_sample(index=index) for index in range(3)])
    assert len(small.samples) == 3, "a scene is kept whole"


def test_batches_move_on_to_new_scenes_with_the_histories_of_their_own(painted: type[PaintedSource]) -> None:
    recipe = small_recipe(*LIGHT, "augmentation.is_used=false", "data.history_share=1", "data.drops_history=0")
    seen: set[str] = set()
    valid = []
    with training._open_stream(painted(delay_s=0.002), recipe, Path("nowhere")) as stream:
        batches = iter(StreamingData(stream, None, recipe, CPU, is_quiet=True).train_batches(0, 0, 1))
        while len(seen) < 12:
            batch: Batch = next(batches)
            before, now = batch.frames
            for row, name in enumerate(batch.names):
                scene, index = name.split(":")
                seen.add(scene)
                number = int(scene.removeprefix("painted-"))
                assert int(now.images[row].max()) == int(before.images[row].max()) == number
                assert bool(now.history_valid[row]) == (int(index) > 0)
                valid.append(float(now.history_age[row]))
        batches.close()  # type: ignore[attr-defined]
    assert set(valid) == {0.0, 0.5}
    assert multiprocessing.active_children() == []
    assert NUM_FRAMES == 3


def test_a_training_on_a_stream_ends_with_weights_and_goes_on(
    painted: type[PaintedSource], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pack = painted_pack(tmp_path / "pack", 1)
    recipe = small_recipe(*LIGHT, "run.validation_interval=2")
    with caplog.at_level("INFO", logger="lift3d_ros"):
        result = training.train(recipe, painted(), [pack], tmp_path / "out", is_quiet=True)  # type: ignore[arg-type]
    assert "the order of samples cannot be repeated" in caplog.text
    assert result.run.step == 3
    assert np.isfinite(result.run.losses).all()
    assert result.weights is not None
    longer = small_recipe(*LIGHT, "run.validation_interval=2", "run.max_steps=5")
    again = training.train(longer, painted(), [], tmp_path / "out", resume=True, is_quiet=True)  # type: ignore[arg-type]
    assert again.run.step == 5
    assert multiprocessing.active_children() == []


def test_a_scene_that_cannot_be_prepared_ends_the_training_with_its_name(
    painted: type[PaintedSource], tmp_path: Path
) -> None:
    source = painted(num_scenes=3, faults=(("painted-2", "no lamp"),))
    with pytest.raises(Lift3dError, match=r"scene 'painted-2'.*no lamp"):
        training.train(small_recipe(*LIGHT, "run.max_steps=500"), source, [], tmp_path, is_quiet=True)  # type: ignore[arg-type]
    assert multiprocessing.active_children() == []


def test_a_stream_is_other_data_for_the_same_kind_of_run() -> None:
    assert issubclass(StreamingData, Dfa3dData)
    assert "data.stream_samples" not in small_recipe().facts


@pytest.mark.slow
def test_a_network_trains_on_the_simulator_while_it_renders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("moderngl")
    settings = tmp_path / "two_frames.yaml"
    from lift3d_ros.resources import find_resource

    text = find_resource("config/simulation/train.yaml").read_text()
    settings.write_text(text.replace("frames: 5", "frames: 2").replace("width: 704", "width: 192"))
    command = ["train", "dfa3d", "--data", "simulator", "--simulation", str(settings), "--out", str(tmp_path / "out")]
    changes = [*SMALL, "run.max_steps=4", "data.stream_samples=8", "run.workers=1"]
    assert main([*command, "--set", *changes]) == 0
    assert "finished at step 4" in capsys.readouterr().out
    assert multiprocessing.active_children() == []


def test_the_simulator_of_the_command_takes_settings_seeds_and_meshes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[SimulatorSource] = []

    def note(recipe: object, data: SimulatorSource, *arguments: object, **options: object) -> None:
        given.append(data)
        raise Lift3dError("seen")

    monkeypatch.setattr(training, "train", note)
    command = ["train", "dfa3d", "--data", "simulator", "--out", str(tmp_path)]
    assert main(command) == 2
    assert main([*command, "--seeds", "5:9", "--meshes", str(tmp_path), "--split", "val"]) == 2
    assert given[0].seeds == range(9000)
    assert (given[1].seeds, given[1].meshes, given[1].split) == (range(5, 9), tmp_path, "val")
