"""Batches of clouds: each cloud once in an epoch, the same batch whenever it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")

import numpy as np
import torch
from point_files import SMALL, write_clouds

from lift3d_ros.datasets.point_clouds import CloudSet, read_clouds
from lift3d_ros.training.i2p_mae.batches import CloudData
from lift3d_ros.training.i2p_mae.settings import I2pMaeTraining, load_recipe


def recipe(repository: Path, *changes: str) -> I2pMaeTraining:
    return load_recipe(repository / "config" / "training" / "i2p_mae_cpu.yaml", [*SMALL, "guidance=none", *changes])


def numbered(clouds: int) -> CloudSet:
    """Return clouds whose label is their number."""
    points = np.random.default_rng(0).standard_normal((clouds, 120, 3)).astype(np.float32)
    return CloudSet(points, np.arange(clouds))


def test_every_cloud_comes_once_before_any_comes_again(repository: Path) -> None:
    data = CloudData(numbered(10), None, recipe(repository, "run.batch_size=4"))
    labels = torch.cat([data.make(number).labels for number in range(5)]).tolist()
    assert sorted(labels[:10]) == sorted(labels[10:]) == list(range(10))
    assert labels[:10] != labels[10:]


def test_a_batch_is_the_same_whenever_it_is_asked_for_and_depends_on_the_seed(repository: Path) -> None:
    data = CloudData(numbered(10), None, recipe(repository))
    late = data.make(7)
    assert torch.equal(CloudData(numbered(10), None, recipe(repository)).make(7).points, late.points)
    assert torch.equal(next(iter(data.train_batches(7, 0, 1))).points, late.points)
    assert torch.equal(next(iter(data.train_batches(3, 1, 2))).points, late.points)  # process 1 of 2
    other = CloudData(numbered(10), None, recipe(repository, "run.seed=1")).make(7)
    assert not torch.equal(other.points, late.points)


def test_a_batch_larger_than_the_data_holds_clouds_several_times(repository: Path) -> None:
    batch = CloudData(numbered(3), None, recipe(repository, "run.batch_size=8")).make(0)
    assert np.bincount(batch.labels.numpy()).tolist() in ([3, 3, 2], [3, 2, 3], [2, 3, 3])
    assert batch.points.shape == (8, 96, 3)


def test_a_share_of_the_clouds_is_turned_thinned_and_noisy(repository: Path) -> None:
    plain = ("run.batch_size=200", "augmentation.scale=[1,1]", "augmentation.shift=0")
    harder = ("augmentation.turn_deg=180", "augmentation.fewest_points=20", "augmentation.noise=0.1")
    for share in (0.0, 0.25, 1.0):
        settings = recipe(repository, *plain, *harder, f"augmentation.harder_share={share}")
        points = CloudData(numbered(200), None, settings).make(0).points
        is_harder = (points.norm(dim=2).amax(1) - 1.0).abs() > 1e-4  # noise moves the farthest point
        assert float(is_harder.float().mean()) == pytest.approx(share, abs=0.1)
    unchanged = CloudData(numbered(200), None, recipe(repository, *plain)).make(0).points
    assert bool(((unchanged.norm(dim=2).amax(1) - 1.0).abs() < 1e-4).all())


def test_the_teacher_is_shown_each_cloud_twice_and_differently(repository: Path) -> None:
    batch = CloudData(numbered(10), None, recipe(repository, "stage=teacher", "run.batch_size=4")).make(0)
    assert (batch.points.shape, len(batch.labels)) == ((8, 96, 3), 4)
    assert not torch.equal(batch.points[:4], batch.points[4:])


def test_validation_clouds_are_unchanged_all_of_them_or_evenly_spread(repository: Path, tmp_path: Path) -> None:
    clouds = read_clouds([write_clouds(tmp_path / "clouds") / "val.npz"])
    settings = recipe(repository, "run.batch_size=4")
    batches = list(CloudData(clouds, clouds, settings).validation_batches(0, 1))
    assert [len(batch.labels) for batch in batches] == [4, 4, 1]
    assert torch.cat([batch.labels for batch in batches]).tolist() == clouds.labels.tolist()
    torch.testing.assert_close(batches[0].points.norm(dim=2).amax(1), torch.ones(4))
    few = CloudData(clouds, clouds, recipe(repository, "data.validation_clouds=3")).validation_batches(0, 1)
    assert [len(batch.labels) for batch in few] == [3]
    stored = CloudData(clouds, clouds, recipe(repository, "data.normalises=false")).validation_batches(0, 1)
    torch.testing.assert_close(next(iter(stored)).points[0], torch.from_numpy(clouds.points[0, :96]))
    assert CloudData(clouds, None, settings).validation_batches(0, 1) is None
