"""The lists of visible cells are those of the plain projection, in the order and sizes that engines rely on."""

from __future__ import annotations

import itertools
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lift3d_ros.errors import CalibrationError, EngineError
from lift3d_ros.geometry.project import image_from_base
from lift3d_ros.geometry.rig import load_rig
from lift3d_ros.geometry.rigid import invert, make_transform
from lift3d_ros.geometry.rotations import rpy_matrix
from lift3d_ros.models.dfa3d.config import Dfa3dConfig, preset, published_pillar_heights
from lift3d_ros.models.dfa3d.visibility import (
    PairCapacity,
    VisiblePairs,
    anchor_grid,
    capacity_for,
    default_capacity,
    find_visible_pairs,
    join_pairs,
    pad_pairs,
)

SMALL = Dfa3dConfig(image_width=300, image_height=170, bev_height=20, bev_width=24, pixel_origin="center")
_BODY_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def ring(num_cameras: int, config: Dfa3dConfig, *, focal: float = 0.6, seed: int | None = None) -> Any:
    """Projections (N, 4, 4) of cameras around the vehicle; with a seed each stands somewhere and is tilted."""
    height, width = config.scaled_size
    K = np.array([[focal * width, 0, width / 2], [0, focal * width, height / 2], [0, 0, 1]])
    matrices = []
    for i in range(num_cameras):
        tilt, position = np.zeros(2), np.array([0.0, 0.0, 1.5])
        if seed is not None:
            random = np.random.default_rng([seed, i])
            tilt, position = random.normal(0.0, 0.1, 2), position + random.normal(0.0, 0.5, 3)
        yaw = 2 * np.pi * i / num_cameras
        T_base_cam = make_transform(rpy_matrix(*tilt, yaw) @ _BODY_OPTICAL, position)
        matrices.append(image_from_base(K, invert(T_base_cam)))
    return np.array(matrices, dtype=np.float32)


def plain_visibility(matrices: Any, config: Dfa3dConfig, margin: float = 0.0) -> Any:
    """(N, cells) by the formula; a margin moves all borders outward, a negative one inward."""
    anchors = anchor_grid(config).astype(np.float64)
    homogeneous = np.concatenate([anchors, np.ones_like(anchors[..., :1])], axis=-1)
    projected = np.einsum("nij,qzj->nqzi", np.asarray(matrices, dtype=np.float64), homogeneous)
    depth = projected[..., 2]
    height, width = config.padded_size
    origin = 0.5 if config.pixel_origin == "center" else 0.0
    safe = np.maximum(depth, 1e-5)
    u, v = (projected[..., 0] / safe + origin) / width, (projected[..., 1] / safe + origin) / height
    low, high = -margin, 1.0 + margin
    return ((depth > 1e-5 - margin) & (u > low) & (u < high) & (v > low) & (v < high)).any(axis=-1)


def as_mask(pairs: VisiblePairs, num_cameras: int, config: Dfa3dConfig) -> Any:
    mask = np.zeros((num_cameras, config.num_cells), dtype=bool)
    mask[pairs.camera[: pairs.num_pairs], pairs.cell[: pairs.num_pairs]] = True
    return mask


def assert_table_matches_pairs(pairs: VisiblePairs) -> None:
    """Every pair stands in the row of its cell, once, and nothing else but the number past the last pair does."""
    past_the_last = len(pairs.cell)
    for cell, row in enumerate(pairs.pairs_of_cell):
        found = row[row != past_the_last]
        np.testing.assert_array_equal(np.sort(found), np.flatnonzero(pairs.cell[: pairs.num_pairs] == cell))


def load_case(shared_dir: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return configuration and arrays of a numeric case."""
    folder = shared_dir / "parity" / "dfa3d"
    if not (folder / f"{name}.npz").is_file():
        pytest.skip(f"no numeric case {name} in {folder}")
    index = json.loads((folder / "INDEX.json").read_text())
    config = next(case["config"] for case in index["cases"] if case["name"] == name)
    with np.load(folder / f"{name}.npz") as archive:
        return config, {key: archive[key] for key in archive.files}


@pytest.mark.parametrize("origin", ["center", "corner"])
@pytest.mark.parametrize("num_cameras", [1, 4, 8])
@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_a_camera_sees_exactly_the_cells_that_the_plain_projection_puts_into_its_picture(
    origin: Any, num_cameras: int, seed: int | None
) -> None:
    config = replace(SMALL, pixel_origin=origin, bev_height=90, bev_width=60)
    matrices = ring(num_cameras, config, seed=seed)
    pairs = find_visible_pairs(matrices, config)
    found = as_mask(pairs, num_cameras, config)
    # Only a point on the border itself, where float32 decides, may go either way.
    assert (found >= plain_visibility(matrices, config, -1e-6)).all()
    assert (found <= plain_visibility(matrices, config, 1e-6)).all()
    assert 0.05 < found.mean() < 0.5
    assert pairs.num_pairs == len(pairs.camera) == len(pairs.cell) == found.sum()


def test_pairs_come_camera_by_camera_and_in_the_order_of_the_cells() -> None:
    pairs = find_visible_pairs(ring(5, SMALL, seed=4), SMALL)
    order = pairs.camera * SMALL.num_cells + pairs.cell
    assert (np.diff(order) > 0).all()
    assert pairs.camera.dtype == pairs.cell.dtype == pairs.pairs_of_cell.dtype == np.int64
    assert_table_matches_pairs(pairs)
    assert (np.sort((pairs.pairs_of_cell < pairs.num_pairs).sum(axis=1))[-1]) == pairs.pairs_of_cell.shape[1]


def test_the_picture_ends_with_its_padding_and_half_a_pixel_matters() -> None:
    """A camera that looks straight down at one row of cells, 1 px for each: the borders can be counted by hand."""
    config = Dfa3dConfig(
        image_width=8, image_height=6, size_divisor=8, bev_height=1, bev_width=20, pillar_heights=(0.0,),
        point_range=(-10.0, -0.5, -5.0, 10.0, 0.5, 3.0),
    )  # fmt: skip
    matrix = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 4.0], [0, 0, 0, 1.0], [0, 0, 0, 1.0]], dtype=np.float32)[None]
    x = anchor_grid(config)[:, 0, 0]
    corner = find_visible_pairs(matrix, replace(config, pixel_origin="corner"))
    np.testing.assert_allclose(x[corner.cell], np.arange(0.5, 8.0))
    center = find_visible_pairs(matrix, replace(config, pixel_origin="center"))
    # x = -0.5 and x = 7.5 lie on the border and do not count.
    np.testing.assert_allclose(x[center.cell], np.arange(0.5, 7.0))
    wide = find_visible_pairs(matrix, replace(config, image_width=9, pixel_origin="corner"))
    np.testing.assert_allclose(x[wide.cell], np.arange(0.5, 10.0))


def test_what_lies_behind_a_camera_or_in_its_plane_is_not_seen() -> None:
    matrices = ring(1, SMALL)
    seen = find_visible_pairs(matrices, SMALL).cell
    assert (anchor_grid(SMALL)[seen, 0, 0] > 0).all()
    mirrored = -matrices
    assert not np.isin(seen, find_visible_pairs(mirrored, SMALL).cell).any()
    nothing = find_visible_pairs(np.zeros((2, 4, 4), dtype=np.float32), SMALL)
    assert nothing.num_pairs == 0
    assert nothing.pairs_of_cell.shape == (SMALL.num_cells, 1)
    assert (nothing.pairs_of_cell == 0).all()


def test_a_camera_that_is_not_used_leaves_the_pairs_of_the_others_as_they_are() -> None:
    matrices = ring(4, SMALL, seed=5)
    matrices[1] = np.nan
    masked = find_visible_pairs(matrices, SMALL, np.array([True, False, True, True]))
    assert set(masked.camera) == {0, 2, 3}
    without = find_visible_pairs(matrices[[0, 2, 3]], SMALL)
    np.testing.assert_array_equal(masked.cell, without.cell)
    np.testing.assert_array_equal(masked.pairs_of_cell, without.pairs_of_cell)
    assert find_visible_pairs(matrices, SMALL, np.zeros(4, dtype=bool)).num_pairs == 0


def test_a_projection_that_is_not_finite_is_refused_with_the_number_of_the_camera() -> None:
    matrices = ring(3, SMALL)
    matrices[2, 0, 0] = np.inf
    with pytest.raises(CalibrationError, match=r"camera 2 of the rig.*not finite; expected.*check its intrinsics"):
        find_visible_pairs(matrices, SMALL)


def test_padding_keeps_the_pairs_and_marks_free_places_with_the_number_past_the_last_row() -> None:
    pairs = find_visible_pairs(ring(4, SMALL), SMALL)
    capacity = PairCapacity(pairs.num_pairs + 7, 3)
    padded = pad_pairs(pairs, capacity)
    assert padded.num_pairs == pairs.num_pairs
    assert padded.camera.shape == padded.cell.shape == (capacity.pairs,)
    assert padded.pairs_of_cell.shape == (SMALL.num_cells, 3)
    np.testing.assert_array_equal(padded.camera, [*pairs.camera, *[0] * 7])
    np.testing.assert_array_equal(padded.cell, [*pairs.cell, *[0] * 7])
    assert_table_matches_pairs(padded)
    assert set(padded.pairs_of_cell[padded.pairs_of_cell >= pairs.num_pairs]) == {capacity.pairs}


def test_the_table_takes_a_value_of_each_pair_back_to_its_cell() -> None:
    """What the network does with it: a row of zeros behind the pairs, a gather, a sum."""
    pairs = pad_pairs(find_visible_pairs(ring(6, SMALL, seed=6), SMALL), default_capacity(6, SMALL))
    values = np.random.default_rng(0).normal(size=len(pairs.cell))
    expected = np.zeros(SMALL.num_cells)
    np.add.at(expected, pairs.cell[: pairs.num_pairs], values[: pairs.num_pairs])
    found = np.append(values, 0.0)[pairs.pairs_of_cell].sum(axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("room", [pytest.param((-1, 0), id="pairs"), pytest.param((0, -1), id="cameras of one cell")])
def test_more_pairs_than_an_engine_has_room_for_is_an_error_that_names_the_remedy(room: tuple[int, int]) -> None:
    pairs = find_visible_pairs(ring(8, SMALL), SMALL)
    capacity = PairCapacity(pairs.num_pairs + room[0], pairs.pairs_of_cell.shape[1] + room[1])
    with pytest.raises(EngineError) as error:
        pad_pairs(pairs, capacity)
    for part in (
        f"see {pairs.num_pairs} pairs",
        f"room for {capacity.pairs} and",
        "lift3d export dfa3d --model NAME --rig",
    ):
        assert part in str(error.value)


def test_capacity_leaves_headroom_but_not_more_than_can_exist() -> None:
    pairs = find_visible_pairs(ring(6, SMALL), SMALL)
    capacity = capacity_for(pairs)
    assert capacity.pairs == math.ceil(pairs.num_pairs * 1.25)
    assert capacity.cameras_per_cell == math.ceil(pairs.pairs_of_cell.shape[1] * 1.25)
    pad_pairs(pairs, capacity)
    single = capacity_for(find_visible_pairs(ring(1, SMALL), SMALL), headroom=50.0)
    assert single == PairCapacity(SMALL.num_cells, 1)


@pytest.mark.parametrize(
    ("num_cameras", "focal"),
    [
        pytest.param(1, 0.2, id="one camera, 136 degrees"),
        pytest.param(2, 0.2, id="two cameras, 136 degrees"),
        pytest.param(4, 0.3, id="four cameras, 118 degrees"),
        pytest.param(8, 0.4, id="eight cameras, 103 degrees"),
        pytest.param(12, 0.45, id="twelve cameras, 96 degrees"),
    ],
)
def test_default_capacity_has_room_for_usual_rigs(num_cameras: int, focal: float) -> None:
    for seed in (None, 0, 1):
        matrices = ring(num_cameras, SMALL, focal=focal, seed=seed)
        pad_pairs(find_visible_pairs(matrices, SMALL), default_capacity(num_cameras, SMALL))


def test_six_cameras_of_a_car_need_about_1_1_pairs_per_cell(repository: Path) -> None:
    config = preset("bevformer-base")
    assert config is not None
    pairs = find_visible_pairs(car(repository, config), config)
    assert 1.0 < pairs.num_pairs / config.num_cells < 1.25
    assert pairs.pairs_of_cell.shape[1] == 2
    pad_pairs(pairs, default_capacity(6, config))


def test_a_batch_is_its_samples_one_after_another() -> None:
    samples = [find_visible_pairs(ring(3, SMALL, seed=seed, focal=0.3 + 0.3 * seed), SMALL) for seed in (0, 1)]
    joined = join_pairs(samples, 3, SMALL)
    assert joined.num_pairs == sum(pairs.num_pairs for pairs in samples)
    assert joined.pairs_of_cell.shape[0] == 2 * SMALL.num_cells
    assert_table_matches_pairs(joined)
    second = slice(samples[0].num_pairs, None)
    np.testing.assert_array_equal(joined.camera[second] - 3, samples[1].camera)
    np.testing.assert_array_equal(joined.cell[second] - SMALL.num_cells, samples[1].cell)
    np.testing.assert_array_equal(join_pairs(samples[:1], 3, SMALL).pairs_of_cell, samples[0].pairs_of_cell)


def test_anchors_stand_in_the_middle_of_their_cells_row_by_row() -> None:
    config = replace(SMALL, point_range=(-12.0, -10.0, -5.0, 12.0, 10.0, 3.0), pillar_heights=(-1.0, 0.25))
    anchors = anchor_grid(config)
    assert anchors.shape == (480, 2, 3)
    assert anchors.dtype == np.float32
    np.testing.assert_allclose(anchors[0], [[-11.5, -9.5, -1.0], [-11.5, -9.5, 0.25]])
    np.testing.assert_allclose(anchors[1, 0], [-10.5, -9.5, -1.0])
    np.testing.assert_allclose(anchors[24, 0], [-11.5, -8.5, -1.0])
    with pytest.raises(ValueError):
        anchors[0, 0, 0] = 1.0


def test_finding_pairs_takes_milliseconds(repository: Path) -> None:
    """An order of magnitude above what it takes, because test machines are shared."""
    config = preset("bevformer-base")
    assert config is not None
    matrices = car(repository, config)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        find_visible_pairs(matrices, config)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.03


def test_anchors_are_those_of_the_published_grid(shared_dir: Path) -> None:
    case, arrays = load_case(shared_dir, "mod_reference_points")
    config = published_grid(case, case["bev_h"], case["bev_w"], case["num_points_in_pillar"])
    low, high = np.array(config.point_range[:3]), np.array(config.point_range[3:])
    normalised = (anchor_grid(config) - low) / (high - low)
    for expected in arrays["out.ref_3d"]:
        np.testing.assert_allclose(normalised, expected.transpose(1, 0, 2), atol=1e-6)
    for expected in arrays["out.ref_2d"]:
        np.testing.assert_allclose(normalised[:, 0, :2], expected[:, 0], atol=1e-6)


def test_visible_cells_are_those_of_the_published_projection(shared_dir: Path) -> None:
    case, arrays = load_case(shared_dir, "mod_point_sampling")
    reference, matrices, expected = arrays["in.ref_3d"], arrays["in.lidar2img"], arrays["out.bev_mask"] > 0
    # The case gives anchors without the grid that they come from.
    height = len(np.unique(np.round(reference[0, 0, :, 1], 5)))
    config = published_grid(case, height, reference.shape[2] // height, reference.shape[1])
    config = replace(config, image_width=case["img_w"], image_height=case["img_h"], size_divisor=1)
    low, high = np.array(config.point_range[:3]), np.array(config.point_range[3:])
    np.testing.assert_allclose((anchor_grid(config) - low) / (high - low), reference[0].transpose(1, 0, 2), atol=1e-6)
    num_cameras = matrices.shape[1]
    samples = [find_visible_pairs(sample, config) for sample in matrices]
    for b, pairs in enumerate(samples):
        np.testing.assert_array_equal(as_mask(pairs, num_cameras, config), expected[:, b].any(axis=-1))
    joined = join_pairs(samples, num_cameras, config)
    found = set(zip(joined.camera.tolist(), joined.cell.tolist(), strict=True))
    seen = expected.any(axis=-1)
    assert found == {
        (num_cameras * b + n, config.num_cells * b + q)
        for n, b, q in itertools.product(*(range(size) for size in seen.shape))
        if seen[n, b, q]
    }


def published_grid(case: dict[str, Any], height: int, width: int, num_anchors: int) -> Dfa3dConfig:
    config = preset("bevformer-base")
    assert config is not None
    point_range: Any = tuple(case["pc_range"])
    return replace(
        config,
        point_range=point_range,
        bev_height=height,
        bev_width=width,
        pillar_heights=published_pillar_heights(point_range, num_anchors),
    )


def car(repository: Path, config: Dfa3dConfig) -> Any:
    """Projections of the cameras of the example rig from the frame of a published model."""
    T_base_model = make_transform(rpy_matrix(0.0, 0.0, np.deg2rad(config.frame_yaw_deg)), config.frame_origin)
    matrices = []
    for name, camera in load_rig(repository / "config" / "rigs" / "nuscenes_like.yaml").cameras.items():
        model, T_base_cam = camera.model(name), camera.T_base_cam
        assert model is not None
        assert T_base_cam is not None
        matrices.append(image_from_base(model.intrinsics, invert(T_base_cam) @ T_base_model))
    return np.array(matrices, dtype=np.float32)
