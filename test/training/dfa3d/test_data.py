"""Batches hold what the network would see on the vehicle, in an order that only seed and position decide."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dfa3d_recipe import small_recipe
from painted_street import fast_pack, painted_pack, painted_sample

from lift3d_ros.datasets.pack import PackReader, write_pack
from lift3d_ros.datasets.prepared import PreparedSample
from lift3d_ros.errors import ConfigError, DatasetError
from lift3d_ros.models.dfa3d.box_code import decode_codes
from lift3d_ros.training.dfa3d.assembly import assemble
from lift3d_ros.training.dfa3d.batch import Batch, apply_changes
from lift3d_ros.training.dfa3d.data import Dfa3dData
from lift3d_ros.training.dfa3d.order import Window
from lift3d_ros.training.dfa3d.samples import PackedFrames

CPU = torch.device("cpu")
STILL = small_recipe("augmentation.is_used=false")


def packed(folder: Path, memory_gb: float = 1.0, *, grows: bool = False) -> PackedFrames:
    return PackedFrames([PackReader(folder)], memory_gb, CPU, grows=grows, is_quiet=True)


def written(folder: Path, *samples: PreparedSample) -> PackedFrames:
    painted_pack(folder, 0)
    write_pack(folder, samples[0].scene, samples, None)
    return packed(folder)


def batch_of(source: PackedFrames, recipe: Any, *windows: Window, is_training: bool = False) -> Batch:
    loaded, samples = next(source.load(iter([list(windows)])))
    return assemble(loaded, samples, source, recipe, is_training=is_training)


def test_samples_of_any_number_of_cameras_stand_one_after_the_other(tmp_path: Path) -> None:
    samples = [painted_sample(index=0, num_cameras=3), painted_sample(index=1, num_cameras=5)]
    source = written(tmp_path / "pack", *samples)
    batch = batch_of(source, STILL, Window((0,), 0), Window((1,), 1))
    frame = batch.frames[-1]
    assert frame.sample.tolist() == [0] * 3 + [1] * 5
    np.testing.assert_array_equal(frame.images, np.concatenate([sample.images for sample in samples]))
    assert torch.equal(frame.image_from_model[3:], torch.from_numpy(samples[1].image_from_base))
    assert batch.target_counts == [5, 5]
    boxes = decode_codes(batch.codes[1])
    np.testing.assert_allclose(boxes.centers, samples[1].centers, atol=1e-5)
    np.testing.assert_allclose(boxes.sizes, samples[1].sizes, rtol=1e-5)


def test_history_is_used_only_where_time_and_pose_allow_it(tmp_path: Path) -> None:
    samples = [painted_sample(index=index) for index in range(4)]
    T = np.eye(4)
    T[:2, 3] = [3.0, 1.0]
    samples[1] = dataclasses.replace(samples[1], T_world_base=T)
    samples[2] = dataclasses.replace(samples[2], stamp_ns=samples[1].stamp_ns + 5_000_000_000)
    samples[3] = dataclasses.replace(samples[3], stamp_ns=samples[2].stamp_ns + 500_000_000, has_pose=False)
    source = written(tmp_path / "pack", *samples)
    windows = [Window((0, 1), 0), Window((1, 2), 1), Window((2, 3), 2), Window((0, 0), 3), Window((0, 1), 4, False)]
    first, last = batch_of(source, STILL, *windows).frames
    assert first.history_valid.tolist() == [0.0] * 5
    assert last.history_valid.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert last.history_age.tolist() == [0.5, 0.0, 0.0, 0.0, 0.0]
    assert torch.equal(last.ego[0], torch.from_numpy(T).float())  # a point of now, seen from before
    assert torch.equal(last.ego[1], torch.eye(4))


def test_histories_of_fast_frames_are_as_old_as_the_network_expects(tmp_path: Path) -> None:
    source = packed(fast_pack(tmp_path / "pack", 4))
    for history_s, stride, oldest in ((0.0, 1, 0.1), (0.3, 1, 0.3), (0.3, 2, 0.2)):
        changes = (
            "run.batch_size=4",
            "data.drops_history=0",
            "data.history_share=1",
            f"data.history_strides=[{stride}]",
        )
        recipe = small_recipe(f"network.history_s={history_s}", *changes)
        data = Dfa3dData(source, source, recipe, CPU)
        for stream in (data.train_batches(0, 0, 1), data.validation_batches(0, 1)):
            assert stream is not None
            batch = next(iter(stream))
            ages = dict(zip(batch.names, batch.frames[-1].history_age.tolist(), strict=True))
            assert ages["fast:3"] == pytest.approx(oldest)


def test_a_validation_has_a_sample_for_each_process(tmp_path: Path) -> None:
    source = packed(fast_pack(tmp_path / "pack", 3))
    data = Dfa3dData(source, source, small_recipe("run.batch_size=1"), CPU)
    streams = [data.validation_batches(rank, 2) for rank in range(2)]
    assert [len(stream) for stream in streams if stream is not None] == [2, 1]
    with pytest.raises(ConfigError, match=r"3 validation samples for 4 processes.*--val.*validation_interval=0"):
        data.validation_batches(0, 4)


def test_only_objects_that_can_be_seen_are_targets(tmp_path: Path) -> None:
    sample = painted_sample(num_boxes=6)
    sample.centers[:2] = [[100.0, 0.0, 0.0], [0.0, 10.0, 9.0]]
    sample.visibility[:] = [1.0, 1.0, 0.05, np.nan, 0.9, 0.9]
    sample.num_points[:] = [5, 5, 5, -1, 0, 3]
    sample.velocities[3] = np.nan
    batch = batch_of(written(tmp_path / "pack", sample), STILL, Window((0,), 0))
    found = decode_codes(batch.codes[0])
    np.testing.assert_allclose(found.centers, sample.centers[[3, 5]], atol=1e-5)
    assert found.velocities.isnan().any(dim=1).tolist() == [True, False]


def test_augmentation_depends_on_the_position_alone(tmp_path: Path) -> None:
    source = packed(painted_pack(tmp_path / "pack"))
    recipe = small_recipe("augmentation.drops_camera=0")
    alone = batch_of(source, recipe, Window((1,), 7), is_training=True)
    together = batch_of(source, recipe, Window((0,), 6), Window((1,), 7), is_training=True)
    assert torch.equal(alone.frames[0].image_from_model, together.frames[0].image_from_model[4:])
    assert torch.equal(alone.codes[0], together.codes[1])
    elsewhere = batch_of(source, recipe, Window((1,), 8), is_training=True)
    assert not torch.equal(alone.frames[0].image_from_model, elsewhere.frames[0].image_from_model)
    assert apply_changes(alone.frames[0]).images.dtype == torch.float32


def test_a_whole_sequence_is_augmented_alike(tmp_path: Path) -> None:
    """Turned and mirrored frames with a turned motion give the same places as plain ones."""
    samples = [painted_sample(index=index, seed=1) for index in range(2)]
    T = np.eye(4)
    T[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    T[:2, 3] = [2.0, -1.0]
    samples[1] = dataclasses.replace(samples[1], T_world_base=T)
    source = written(tmp_path / "pack", *samples)
    options = [f"augmentation.{name}=0" for name in ("calibration_px", "calibration_focal", "drops_camera", "shift")]
    recipe = small_recipe(*options, "augmentation.scale=[1.1,1.2]")
    plain = batch_of(source, recipe, Window((0, 1), 0))
    changed = batch_of(source, recipe, Window((0, 1), 0), is_training=True)
    now = torch.tensor([4.0, 9.0, 1.0, 1.0], dtype=torch.float64)
    before, after = (decode_codes(batch.codes[0]).centers.double() for batch in (plain, changed))
    solve = np.linalg.lstsq(np.c_[before, np.ones(len(before))], after, rcond=None)[0]
    change = torch.eye(4, dtype=torch.float64)
    change[:3] = torch.from_numpy(solve.T)
    one = change @ plain.frames[1].ego[0].double() @ now
    other = changed.frames[1].ego[0].double() @ (change @ now)
    torch.testing.assert_close(one[:2], other[:2], rtol=0, atol=1e-3)


def test_batches_of_two_processes_are_those_of_one_with_twice_the_size(tmp_path: Path) -> None:
    source = packed(painted_pack(tmp_path / "pack", num_scenes=3))
    pair, single = small_recipe("run.batch_size=4"), small_recipe("run.batch_size=2")

    def names(recipe: Any, rank: int, ranks: int, first: int = 0) -> list[list[str]]:
        stream = Dfa3dData(source, None, recipe, CPU).train_batches(first, rank, ranks)
        return [batch.names for batch in itertools.islice(stream, 4)]

    together = names(pair, 0, 1)
    apart = [names(single, rank, 2) for rank in range(2)]
    assert [one + other for one, other in zip(*apart, strict=True)] == together
    assert names(pair, 0, 1, first=2)[:2] == together[2:]
    seen = [name for batch in together for name in batch]
    assert len(set(seen[:6])) == 6  # each sample once in an epoch


def test_a_share_of_the_batches_leaves_out_earlier_frames(tmp_path: Path) -> None:
    source = packed(painted_pack(tmp_path / "pack"))
    stream = Dfa3dData(source, None, small_recipe("data.history_share=0.5"), CPU).train_batches(0, 0, 1)
    lengths = [len(batch.frames) for batch in itertools.islice(stream, 40)]
    assert set(lengths) == {1, 2}
    assert 10 < lengths.count(1) < 30


def test_a_growing_pack_is_followed_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    folder = painted_pack(tmp_path / "pack", num_scenes=1)
    source = packed(folder, grows=True)
    stream = iter(Dfa3dData(source, None, small_recipe("data.follows=true"), CPU)._training_batches(0, 0, 1))
    assert {name.split(":")[0] for name in next(stream).names} == {"scene0"}
    write_pack(folder, "late", [painted_sample("late", index, 5) for index in range(2)], None)
    later = {name.split(":")[0] for _ in range(2) for name in next(stream).names}
    assert later == {"scene0", "late"}


def test_more_than_the_memory_allows_is_refused(tmp_path: Path) -> None:
    folder = painted_pack(tmp_path / "pack")
    with pytest.raises(DatasetError, match=r"16 pictures need 0.0 GB.*data.memory_gb"):
        packed(folder, memory_gb=0.0001)


def test_an_empty_pack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no sample"):
        packed(painted_pack(tmp_path / "pack", num_scenes=0))


def test_rare_classes_come_more_often_where_asked(tmp_path: Path) -> None:
    common, rare = (painted_sample(scene, 0, 0, num_boxes=1) for scene in ("common", "rare"))
    folder = painted_pack(tmp_path / "pack", num_scenes=0)
    common.labels[:], rare.labels[:] = 0, 8
    write_pack(folder, "common", [dataclasses.replace(common, index=index) for index in range(9)], None)
    write_pack(folder, "rare", [rare], None)
    stream = Dfa3dData(packed(folder), None, small_recipe("data.balances_classes=true"), CPU).train_batches(0, 0, 1)
    names = [name for batch in itertools.islice(stream, 100) for name in batch.names]
    assert 0.35 < sum(name.startswith("rare") for name in names) / len(names) < 0.65


def test_an_error_while_batches_are_made_reaches_the_run(tmp_path: Path) -> None:
    sample = painted_sample()
    sample.sizes[2, 1] = 0.0
    source = written(tmp_path / "pack", sample)
    with pytest.raises(DatasetError, match=r"painted:0.*not finite"):
        next(iter(Dfa3dData(source, None, STILL, CPU).train_batches(0, 0, 1)))
