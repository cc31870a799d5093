"""Makes batches of windows of samples: matrices and targets are final, pictures are changed later on the device."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lift3d_ros.datasets.prepared import PreparedSample
from lift3d_ros.models.dfa3d.box_code import encode_boxes
from lift3d_ros.models.dfa3d.can_bus import (
    ACCELERATION_AT_REST,
    CAN_BUS_LENGTH,
    absolute_can_bus,
    can_bus_difference,
)
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.pipelines.box_decoding import base_from_model
from lift3d_ros.pipelines.camera_slots import embedding_rows
from lift3d_ros.training.dfa3d.augmentation import (
    SampleChange,
    change_boxes,
    change_motion,
    change_projections,
    draw_change,
)
from lift3d_ros.training.dfa3d.batch import Batch, FrameInputs
from lift3d_ros.training.dfa3d.order import Window, sample_rng
from lift3d_ros.training.dfa3d.pictures import PictureChange, sampling_matrices
from lift3d_ros.training.dfa3d.samples import PictureRows, Pictures
from lift3d_ros.training.dfa3d.settings import Dfa3dTraining
from lift3d_ros.types import EgoMotion, Float64Array


def assemble(
    windows: Sequence[Window],
    samples: Mapping[int, PreparedSample],
    source: Pictures,
    recipe: Dfa3dTraining,
    *,
    is_training: bool,
) -> Batch:
    """Make a batch of windows; matrices and targets are final, pictures are changed later on the device."""
    network = recipe.network
    changes: list[SampleChange | None] = [None] * len(windows)
    if is_training and recipe.augmentation.is_used:
        changes = [
            draw_change(
                recipe.augmentation,
                max(len(samples[number].cameras) for number in window.frames),
                network.image_width,
                network.image_height,
                sample_rng(recipe.run.seed, window.position),
            )
            for window in windows
        ]
    T_base_model = base_from_model(network)
    frames = []
    for time in range(len(windows[0].frames)):
        numbers = [window.frames[time] for window in windows]
        before = [window.frames[time - 1] if time else None for window in windows]
        frames.append(_frame(windows, numbers, before, samples, source, changes, recipe, T_base_model))
    targets = [
        _targets(samples[window.frames[-1]], change, recipe, T_base_model)
        for window, change in zip(windows, changes, strict=True)
    ]
    last = [samples[window.frames[-1]] for window in windows]
    return Batch(
        tuple(frames),
        torch.cat([codes for codes, _ in targets]),
        torch.cat([labels for _, labels in targets]),
        [len(labels) for _, labels in targets],
        [f"{sample.scene}:{sample.index}" for sample in last],
    )


def _frame(
    windows: Sequence[Window],
    numbers: Sequence[int],
    before: Sequence[int | None],
    samples: Mapping[int, PreparedSample],
    source: Pictures,
    changes: Sequence[SampleChange | None],
    recipe: Dfa3dTraining,
    T_base_model: Float64Array,
) -> FrameInputs:
    network = recipe.network
    scaling = np.eye(4)
    scaling[:3, :3] = network.scaling_matrix
    found = [samples[number] for number in numbers]
    kept, projections = [], []
    for sample, change in zip(found, changes, strict=True):
        matrices = sample.image_from_base.astype(np.float64)
        kept.append(np.ones(len(matrices), dtype=bool) if change is None else change.is_kept[: len(matrices)])
        if change is not None:
            matrices = change_projections(matrices, change)
        projections.append(scaling @ matrices @ T_base_model)
    is_kept = np.concatenate(kept)
    image_from_model = torch.from_numpy(np.concatenate(projections)[is_kept].astype(np.float32))
    counts = [int(part.sum()) for part in kept]
    sample_of_camera = torch.repeat_interleave(torch.arange(len(found)), torch.tensor(counts))
    pictures = source.pictures(numbers, dict(samples))
    rows = torch.from_numpy(is_kept.nonzero()[0])
    if isinstance(pictures, PictureRows):
        pictures = dataclasses.replace(pictures, rows=pictures.rows[rows])
        if pictures.store.device.type == "cpu":
            pictures = pictures.store.take(pictures.rows)
    elif not bool(is_kept.all()):
        pictures = pictures[rows]
    ego, valid, age = _motions(windows, found, before, samples, changes, recipe, T_base_model)
    return FrameInputs(
        pictures,
        _picture_change(changes, kept, recipe),
        torch.from_numpy(np.concatenate([sample.cell_depths for sample in found])[is_kept]),
        image_from_model,
        sample_of_camera,
        ego,
        valid,
        age,
        _camera_rows(found, is_kept, network),
    )


def _picture_change(
    changes: Sequence[SampleChange | None], kept: Sequence[NDArray[np.bool_]], recipe: Dfa3dTraining
) -> PictureChange | None:
    drawn = [(change, part) for change, part in zip(changes, kept, strict=True) if change is not None]
    if not drawn:
        return None

    def joined(name: str) -> Float64Array:
        return np.concatenate([getattr(change, name)[: len(part)][part] for change, part in drawn])

    height, width = recipe.network.image_height, recipe.network.image_width
    scale = np.concatenate([np.full(int(part.sum()), change.scale) for change, part in drawn])
    arrays = [sampling_matrices(joined("warps"), height, width), scale]
    arrays += [joined(name) for name in ("colors", "noise", "blur", "grid")]
    return PictureChange(*(torch.from_numpy(array.astype(np.float32)) for array in arrays))


def _motions(
    windows: Sequence[Window],
    found: Sequence[PreparedSample],
    before: Sequence[int | None],
    samples: Mapping[int, PreparedSample],
    changes: Sequence[SampleChange | None],
    recipe: Dfa3dTraining,
    T_base_model: Float64Array,
) -> tuple[Tensor, Tensor, Tensor]:
    network = recipe.network
    T_model_base = np.linalg.inv(T_base_model)
    ego: list[Any] = []
    valid, age = np.zeros(len(found), dtype=np.float32), np.zeros(len(found), dtype=np.float32)
    for row, (window, now, number, change) in enumerate(zip(windows, found, before, changes, strict=True)):
        last = None if number is None else samples[number]
        if last is not None and window.has_history and last.has_pose and now.has_pose:
            age[row] = (now.stamp_ns - last.stamp_ns) * 1e-9
            valid[row] = float(0.0 < age[row] <= recipe.data.max_gap_s)
        is_used = last is not None and valid[row] > 0
        if network.ego_input == "can_bus":
            ego.append(_can_bus(now, last if is_used else None, network))
            continue
        motion = np.eye(4)
        if last is not None and is_used:
            motion = np.linalg.inv(last.T_world_base) @ now.T_world_base
            if change is not None:
                motion = change_motion(motion, change)
        ego.append(T_model_base @ motion @ T_base_model)
    return torch.from_numpy(np.stack(ego).astype(np.float32)), torch.from_numpy(valid), torch.from_numpy(age * valid)


def _can_bus(now: PreparedSample, last: PreparedSample | None, network: Dfa3dConfig) -> Float64Array:
    def absolute(sample: PreparedSample | None) -> Float64Array:
        if sample is None or not sample.has_pose:
            return np.zeros(CAN_BUS_LENGTH)
        velocities = (sample.linear_velocity, sample.angular_velocity)
        known = [velocity if np.isfinite(velocity).all() else None for velocity in velocities]
        ego = EgoMotion(sample.stamp_ns, sample.T_world_base, "world", *known)
        return absolute_can_bus(ego, ACCELERATION_AT_REST, repeats_quaternion_scalar=network.repeats_quaternion_scalar)

    return can_bus_difference(absolute(now), None if last is None else absolute(last), wraps_yaw=True)


def _camera_rows(found: Sequence[PreparedSample], is_kept: NDArray[np.bool_], network: Dfa3dConfig) -> Tensor | None:
    if not network.camera_names:
        return None
    rows = [embedding_rows(sample.cameras, network, {})[name] for sample in found for name in sample.cameras]
    return torch.tensor(rows)[torch.from_numpy(is_kept)]


def _targets(
    sample: PreparedSample, change: SampleChange | None, recipe: Dfa3dTraining, T_base_model: Float64Array
) -> tuple[Tensor, Tensor]:
    """Return codes and labels of the objects that the network is to find."""
    network = recipe.network
    centers, sizes = sample.centers.astype(np.float64), sample.sizes.astype(np.float64)
    yaws, velocities = sample.yaws.astype(np.float64), sample.velocities.astype(np.float64)
    if change is not None:
        centers, sizes, yaws, velocities = change_boxes(centers, sizes, yaws, velocities, change)
    T_model_base = np.linalg.inv(T_base_model)
    centers = centers @ T_model_base[:3, :3].T + T_model_base[:3, 3]
    velocities = velocities @ T_model_base[:2, :2].T
    yaws = yaws - np.deg2rad(network.frame_yaw_deg)
    low, high = np.array(network.point_range[:3]), np.array(network.point_range[3:])
    is_target = ((centers >= low) & (centers <= high)).all(axis=1) & (sample.num_points != 0)
    is_target &= ~(sample.visibility < recipe.data.min_visibility)  # NaN, unknown, is a target
    kept = [torch.from_numpy(array[is_target]) for array in (centers, sizes, yaws, velocities)]
    codes = encode_boxes(kept[0], kept[1], kept[2], kept[3], network.yaw_code)
    return codes.float(), torch.from_numpy(sample.labels[is_target])
