"""What a step compares with is where the picture of the object shows it, mirrored or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("trimesh")

import torch
from object_folders import SMALL_NETWORK, write_pack

from lift3d_ros.datasets.object_pack import ObjectPack
from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.models.lrm.cameras import orbit
from lift3d_ros.training.lrm.batches import ObjectData, draw_object
from lift3d_ros.training.lrm.settings import LrmTraining, load_recipe


def _recipe(repository: Path, *changes: str) -> LrmTraining:
    return load_recipe(repository / "config" / "training" / "lrm_cpu.yaml", [*SMALL_NETWORK, *changes])


@pytest.fixture(scope="module")
def pack(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> ObjectPack:
    return ObjectPack(write_pack(tmp_path_factory.mktemp("objects"), _recipe(repository).network))


@pytest.mark.parametrize("mirrored", [0, 1])
def test_points_inside_lie_where_the_picture_shows_the_object(
    pack: ObjectPack, repository: Path, mirrored: int
) -> None:
    recipe = _recipe(repository, f"data.mirrored={mirrored}", "data.tinted=0", "data.noise=0", "loss.points=2000")
    for row in range(len(pack)):
        sample = draw_object(np.random.default_rng(row), pack[row], recipe)
        points = sample["points"][sample["is_inside"] > 0]
        seen = transform_points(invert(orbit([-np.pi / 2], 0.0, recipe.network.view.distance)[0]), points)
        pixels = (recipe.network.view.focal * seen[:, :2] / seen[:, 2:] + 0.5) * 32
        column, row_px = np.clip(pixels.astype(int), 0, 31).T
        picture = sample["pictures"]
        is_object = np.abs(picture - 127.5).max(axis=0) > 6.0
        # Points at the outline may fall onto the pixel beside it.
        assert is_object[row_px, column].mean() > 0.85


@pytest.mark.parametrize("mirrored", [0, 1])
def test_rays_to_the_picture_itself_see_its_pixels(pack: ObjectPack, repository: Path, mirrored: int) -> None:
    recipe = _recipe(repository, f"data.mirrored={mirrored}", "data.tinted=0", "data.noise=0", "data.source_views=1")
    view = recipe.network.view
    pose = orbit([-np.pi / 2], 0.0, view.distance)[0]
    compared = 0
    for seed in range(12):
        sample = draw_object(np.random.default_rng(seed), pack[2], recipe)
        if np.abs(sample["origins"][0] - pose[:3, 3]).max() > 1e-6:
            continue  # rays to another view
        compared += 1
        seen = sample["directions"] @ pose[:3, :3]
        column, row = np.clip(((view.focal * seen[:, :2] / seen[:, 2:] + 0.5) * 32).astype(int), 0, 31).T
        alpha = sample["seen"][:, 3:]
        background = sample["background"]
        color = sample["seen"][:, :3] - background * (1.0 - alpha) + 0.5 * (1.0 - alpha)
        np.testing.assert_allclose(color, sample["pictures"][:, row, column].T / 255.0, atol=0.02)
    assert compared > 0


def test_a_step_draws_the_same_whenever_it_is_asked_for_and_all_objects_before_any_again(
    pack: ObjectPack, repository: Path
) -> None:
    recipe = _recipe(repository, "run.batch_size=3")
    data = ObjectData([pack], [], recipe)
    for first, again in zip(data.make(5), ObjectData([pack], [], recipe).make(5), strict=True):
        assert torch.equal(first, again)
    assert not torch.equal(data.make(5).pictures, data.make(6).pictures)


@pytest.mark.parametrize(("supervision", "points", "rays"), [("points", 130, 0), ("rays", 0, 32), ("both", 130, 32)])
def test_a_step_holds_what_the_recipe_compares(
    pack: ObjectPack, repository: Path, supervision: str, points: int, rays: int
) -> None:
    recipe = _recipe(repository, f"loss.supervision={supervision}", "loss.empty_points=2")
    batch = ObjectData([pack], [pack], recipe).make(0)
    assert batch.points.shape == (4, points, 3)
    assert batch.seen.shape == (4, rays, 4)
    (validated,) = ObjectData([pack], [pack], recipe).validation_batches(0, 1)
    assert validated.points.shape[0] == validated.seen.shape[0] == 3


def test_points_that_nothing_is_known_of_do_not_count(pack: ObjectPack, repository: Path) -> None:
    recipe = _recipe(repository, "loss.points=500", "loss.empty_points=500")
    sample = draw_object(np.random.default_rng(0), pack[0], recipe)
    anywhere, counts = sample["points"][500:], sample["counts"][500:]
    # The ball takes most of the picture, and the cube is larger.
    radius = np.linalg.norm(anywhere, axis=1)
    assert counts[radius > 1.2].all()
    assert not counts[radius < 0.4].any()
    assert not sample["is_inside"][500:].any()


def test_half_of_the_empty_points_lie_before_and_behind_what_the_picture_shows(
    pack: ObjectPack, repository: Path
) -> None:
    recipe = _recipe(repository, "data.mirrored=0", "loss.points=16", "loss.empty_points=400")
    sample = draw_object(np.random.default_rng(1), pack[1], recipe)
    behind = sample["points"][-200:]
    seen = transform_points(invert(orbit([-np.pi / 2], 0.0, recipe.network.view.distance)[0]), behind)
    column, row = np.clip(((recipe.network.view.focal * seen[:, :2] / seen[:, 2:] + 0.5) * 32).astype(int), 0, 31).T
    is_object = np.abs(sample["pictures"] - 127.5).max(axis=0) > 8.0
    assert is_object[row, column].mean() > 0.8
    assert np.ptp(behind[:, 1]) > 1.8


def test_rays_of_a_patch_go_through_the_pixels_of_a_square_row_by_row(pack: ObjectPack, repository: Path) -> None:
    recipe = _recipe(repository, "data.mirrored=0", "data.tinted=0", "data.noise=0", "loss.patch_side=8")
    rgba = pack[0].rgba / 255.0
    corners = set()
    for seed in range(4):
        sample = draw_object(np.random.default_rng(seed), pack[0], recipe)
        background = sample["background"].reshape(8, 8, 1)
        over = rgba[..., :3] * rgba[..., 3:] + background[0, 0] * (1.0 - rgba[..., 3:])
        windows = np.lib.stride_tricks.sliding_window_view(over, (8, 8), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)
        seen = sample["seen"][:, :3].reshape(8, 8, 3)
        places = np.argwhere(np.abs(windows - seen).max(axis=(3, 4, 5)) < 1e-6)
        assert len(places) >= 1
        corners.add(tuple(places[0]))
    assert len(corners) > 1


def test_views_that_are_held_out_are_only_validated(pack: ObjectPack, repository: Path) -> None:
    recipe = _recipe(repository, "data.mirrored=0", "data.held_out_views=2", "data.validation_rays=16")
    data = ObjectData([pack], [pack], recipe)
    (validated,) = data.validation_batches(0, 1)
    assert validated.seen.shape == (3, 2 * 16, 4)
    held_out = {_viewpoint(origin) for origins in validated.origins for origin in origins}
    assert len(held_out) == 3 * 2
    # The frame is that of the first view, as in the validation.
    first = ("data.mirrored=0", "data.source_views=1")
    assert not _origins(pack, _recipe(repository, *first, "data.held_out_views=2")) & held_out
    assert _origins(pack, _recipe(repository, *first)) & held_out


def _origins(pack: ObjectPack, recipe: LrmTraining) -> set[tuple[float, ...]]:
    samples = (draw_object(np.random.default_rng(seed), pack[row], recipe) for seed in range(12) for row in range(3))
    return {_viewpoint(sample["origins"][0]) for sample in samples}


def _viewpoint(origin: Any) -> tuple[float, ...]:
    return tuple(round(float(value), 3) for value in origin)
