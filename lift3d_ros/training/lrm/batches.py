"""Batches of objects: a picture of each, labelled points, and rays to its other views, in the frame of the model.

Letters: B objects, S side of a picture, P points, R rays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from lift3d_ros.datasets.object_pack import ObjectPack
from lift3d_ros.datasets.object_views import ObjectPoints, ObjectViews, held_out_views, model_frame
from lift3d_ros.geometry.rigid import transform_points
from lift3d_ros.models.lrm.cameras import orbit
from lift3d_ros.models.lrm.config import ViewConfig
from lift3d_ros.models.lrm.object_image import composite
from lift3d_ros.training.lrm.settings import LrmTraining
from lift3d_ros.types import Float64Array

_BACKGROUNDS = (0.0, 0.5, 1.0)


class ObjectBatch(NamedTuple):
    """Objects of one step; without points or rays their number is 0.

    Args:
        pictures: (B, 3, S, S) RGB 0..255, as they enter the network.
        points: (B, P, 3).
        is_inside: (B, P) 0 or 1.
        counts: (B, P) 0 where it is not known whether a point is inside.
        colors: (B, P, 3) 0..1.
        is_near: (B, P) 1 where the colour counts.
        origins, directions: (B, R, 3), unit directions.
        seen: (B, R, 4) colour over `background` and opacity, 0..1.
        background: (B, R, 1) grey level.
    """

    pictures: Tensor
    points: Tensor
    is_inside: Tensor
    counts: Tensor
    colors: Tensor
    is_near: Tensor
    origins: Tensor
    directions: Tensor
    seen: Tensor
    background: Tensor


class ObjectData:
    """Training batches without end, and validation batches."""

    def __init__(self, training: Sequence[ObjectPack], validation: Sequence[ObjectPack], recipe: LrmTraining) -> None:
        """Draw from `training`, and validate all objects of `validation`."""
        self._training = [(pack, number) for pack in training for number in range(len(pack))]
        self._validation, self._recipe = validation, recipe

    def train_batches(self, first: int, rank: int, num_ranks: int) -> Any:
        """Return an endless iterable of batches."""
        workers = self._recipe.run.workers
        return DataLoader(
            _Stream(self, first, rank, num_ranks),
            batch_size=None,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
            prefetch_factor=4 if workers else None,
        )

    def validation_batches(self, rank: int, num_ranks: int) -> Any:
        """Return the validation batches, all in every process; None without any."""
        places = [(pack, number) for pack in self._validation for number in range(len(pack))]
        return DataLoader(_Fixed(places, self._recipe), batch_size=None) if places else None

    def make(self, number: int) -> ObjectBatch:
        """Return the batch of one step, the same whenever it is asked for."""
        recipe = self._recipe
        rng = np.random.default_rng((recipe.run.seed, number))
        places = _shuffled(len(self._training), recipe.run.batch_size, number, recipe.run.seed)
        objects = [self._training[place] for place in places]
        return _stacked([draw_object(rng, pack[row], recipe) for pack, row in objects])


def draw_object(rng: np.random.Generator, views: ObjectViews, recipe: LrmTraining) -> dict[str, NDArray[Any]]:
    """Return one object as a training step sees it, with random changes; keys are those of :class:`ObjectBatch`."""
    settings, loss, view = recipe.data, recipe.loss, recipe.network.view
    held_out = held_out_views(len(views), settings.held_out_views)
    trained = [number for number in range(len(views)) if number not in held_out]
    source = int(rng.choice(trained[: settings.source_views or None]))
    is_mirrored, paint = rng.uniform() < settings.mirrored, _random_paint(rng, settings.tinted)
    T = _frame_of(views, source, view)
    picture = _picture(views.rgba[source], recipe, paint, is_mirrored)
    picture = (
        np.clip(picture + rng.normal(0.0, settings.noise, picture.shape), 0.0, 255.0) if settings.noise else picture
    )
    mirror = _mirror(view) if is_mirrored else np.eye(4)
    T = mirror @ T
    sample: dict[str, NDArray[Any]] = {"pictures": picture}
    if loss.supervision != "rays" and views.points is not None:
        half_side = recipe.network.field.half_side
        empty = draw_empty(rng, views.rgba[source, ..., 3], view, half_side, loss.empty_points)
        empty = transform_points(mirror, empty)
        sample |= draw_points(rng, views.points, T, loss.points, empty, half_side, paint)
    if loss.supervision != "points":
        background = float(rng.choice(_BACKGROUNDS))
        other = int(rng.choice(trained))
        sample |= draw_rays(rng, views, other, T, loss.rays, background, paint, loss.patch_side)
    return sample


class Paint(NamedTuple):
    """A change of colours: their order, and what they are multiplied by."""

    order: NDArray[np.int64]
    gain: Float64Array

    def __call__(self, colors: NDArray[Any]) -> NDArray[np.float32]:
        """Change colours (..., 3) of 0..255 or 0..1 that come as float or uint8."""
        return np.asarray(colors[..., self.order] * self.gain, dtype=np.float32)


_PLAIN = Paint(np.arange(3), np.ones(3))


def draw_points(
    rng: np.random.Generator,
    points: ObjectPoints,
    T: Float64Array,
    num_points: int,
    anywhere: Float64Array,
    half_side: float,
    paint: Paint = _PLAIN,
) -> dict[str, NDArray[Any]]:
    """Return some labelled points in the frame `T` of the model, and points that may be empty.

    Args:
        anywhere: (E, 3) points that count as outside where they are out of the box that all labelled points are in.
    """
    chosen = rng.integers(0, len(points.positions), num_points)
    positions = points.positions[chosen].astype(np.float64)
    in_object = transform_points(np.linalg.inv(T), anywhere)
    is_around = (in_object > positions.min(axis=0)) & (in_object < positions.max(axis=0))
    none = np.zeros(len(anywhere))
    moved = transform_points(T, positions)
    is_in_cube = (np.abs(moved) <= half_side).all(axis=1)
    return {
        "points": np.concatenate([moved, anywhere]),
        "is_inside": np.concatenate([points.is_inside[chosen], none]),
        "counts": np.concatenate([is_in_cube, ~is_around.all(axis=1)]),
        "colors": np.concatenate(
            [np.clip(paint(points.colors[chosen] / 255.0), 0.0, 1.0), np.zeros((len(anywhere), 3))]
        ),
        "is_near": np.concatenate([points.is_near[chosen] & is_in_cube, none]),
    }


def draw_empty(
    rng: np.random.Generator, alpha: NDArray[np.uint8], view: ViewConfig, half_side: float, count: int
) -> Float64Array:
    """Return points (count, 3) of the model's cube: half anywhere, half on rays through what the picture shows.

    Without the latter nothing says how deep an object is: its labelled points lie in the box around it.

    Args:
        alpha: (S, S) of the picture.
    """
    num_seen = count // 2
    side = len(alpha)
    row, column = np.divmod(rng.choice(np.flatnonzero(alpha), num_seen), side)
    depth = np.maximum(view.distance + rng.uniform(-half_side, half_side, num_seen), 0.1 * view.distance)
    place = (np.stack([column, row], axis=1) + 0.5) / side - 0.5
    seen = np.column_stack([place / view.focal, np.ones(num_seen)]) * depth[:, None]
    pose = orbit([np.deg2rad(view.azimuth_deg)], 0.0, view.distance)[0]
    anywhere = rng.uniform(-half_side, half_side, (count - num_seen, 3))
    return np.concatenate([anywhere, transform_points(pose, seen)])


def draw_rays(
    rng: np.random.Generator,
    views: ObjectViews,
    number: int,
    T: Float64Array,
    num_rays: int,
    background: float,
    paint: Paint = _PLAIN,
    patch_side: int = 0,
) -> dict[str, NDArray[Any]]:
    """Return rays through random pixels of view `number` in the frame `T` of the model, and what they see.

    Args:
        patch_side: above 0, rays through all pixels of a random square, row by row, in place of `num_rays`.
    """
    side = views.rgba.shape[1]
    if patch_side:
        num_rays = patch_side**2
        corner = rng.integers(0, side - patch_side + 1, (2, 1))
        row, column = corner + np.divmod(np.arange(num_rays), patch_side)
    else:
        row, column = rng.integers(0, side, (2, num_rays))
    pixel = np.stack([(column + 0.5) / side, (row + 0.5) / side, np.ones(num_rays)], axis=1)
    to_model = T @ views.T_object_cameras[number]
    directions = pixel @ np.linalg.inv(views.intrinsics[number]).T @ to_model[:3, :3].T
    rgba = views.rgba[number][row, column] / 255.0
    color, alpha = np.clip(paint(rgba[:, :3]), 0.0, 1.0), rgba[:, 3:]
    return {
        "origins": np.broadcast_to(to_model[:3, 3], directions.shape),
        "directions": directions / np.linalg.norm(directions, axis=1, keepdims=True),
        "seen": np.concatenate([color * alpha + background * (1.0 - alpha), alpha], axis=1),
        "background": np.full((num_rays, 1), background),
    }


def _picture(rgba: NDArray[np.uint8], recipe: LrmTraining, paint: Paint, is_mirrored: bool) -> NDArray[np.float32]:
    changed = np.array(rgba)
    changed[..., :3] = np.clip(paint(changed[..., :3]), 0.0, 255.0)
    picture = 255.0 * composite(changed, recipe.network.image.background).transpose(2, 0, 1)
    return picture[..., ::-1] if is_mirrored else picture


def _random_paint(rng: np.random.Generator, share: float) -> Paint:
    if rng.uniform() >= share:
        return _PLAIN
    return Paint(rng.permutation(3), rng.uniform(0.75, 1.15) * rng.uniform(0.92, 1.08, 3))


def _frame_of(views: ObjectViews, source: int, view: ViewConfig) -> Float64Array:
    return model_frame(views.T_object_cameras[source], views.intrinsics[source], views.distances[source], view)


def _mirror(view: ViewConfig) -> Float64Array:
    """Return the reflection (4, 4) that exchanges left and right of the assumed camera."""
    azimuth = np.deg2rad(view.azimuth_deg)
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    reflection = np.eye(4)
    reflection[:3, :3] -= 2.0 * np.outer(right, right)
    return reflection


def _shuffled(length: int, size: int, number: int, seed: int) -> list[int]:
    """Return the objects of a batch: a place in an endless row of shuffled epochs."""
    places = np.arange(number * size, (number + 1) * size)
    orders = {epoch: np.random.default_rng((seed, epoch, 1)).permutation(length) for epoch in set(places // length)}
    return [int(orders[place // length][place % length]) for place in places]


def _stacked(samples: Sequence[dict[str, NDArray[Any]]]) -> ObjectBatch:
    empty = {name: np.zeros((0, width), np.float32) for name, width in _EMPTY.items()}
    empty |= {name: np.zeros(0, np.float32) for name in ("is_inside", "counts", "is_near")}
    parts = []
    for name in ObjectBatch._fields:
        values = np.stack([sample[name] if name in sample else empty[name] for sample in samples])
        parts.append(torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)))
    return ObjectBatch(*parts)


_EMPTY = {"points": 3, "colors": 3, "origins": 3, "directions": 3, "seen": 4, "background": 1}


class _Stream(IterableDataset[ObjectBatch]):
    def __init__(self, data: ObjectData, first: int, rank: int, num_ranks: int) -> None:
        self._data, self._first, self._rank, self._num_ranks = data, first, rank, num_ranks

    def __iter__(self) -> Iterator[ObjectBatch]:
        worker = get_worker_info()
        start, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for number in count(self._first + start, step):
            yield self._data.make(number * self._num_ranks + self._rank)


class _Fixed(Dataset[ObjectBatch]):
    """Objects as they are, seen by their first view, with rays to those held out or to the one opposite in the list."""

    def __init__(self, places: Sequence[tuple[ObjectPack, int]], recipe: LrmTraining) -> None:
        self._places, self._recipe = places, recipe
        self._size = min(recipe.run.batch_size, 8)

    def __len__(self) -> int:
        return -(-len(self._places) // self._size)

    def __getitem__(self, number: int) -> ObjectBatch:
        if not 0 <= number < len(self):
            raise IndexError(number)
        recipe, samples = self._recipe, []
        for pack, row in self._places[number * self._size : (number + 1) * self._size]:
            rng, views = np.random.default_rng(row), pack[row]
            T = _frame_of(views, 0, recipe.network.view)
            sample: dict[str, NDArray[Any]] = {"pictures": _picture(views.rgba[0], recipe, _PLAIN, False)}
            if views.points is not None:
                sample |= draw_points(rng, views.points, T, 2048, np.zeros((0, 3)), recipe.network.field.half_side)
            compared = held_out_views(len(views), recipe.data.held_out_views) or [len(views) // 2]
            parts = [draw_rays(rng, views, other, T, recipe.data.validation_rays, 1.0) for other in compared]
            sample |= {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            samples.append(sample)
        return _stacked(samples)
