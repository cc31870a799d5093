"""Lifters of one set each, to compare with: a shape basis fitted to the view, and a perceptron of fixed point order.

Both know which point is which and are made from the training split of their set alone. Points are told the same as the
network is: x and y of those that are seen. Shape letters: N views, J joints, K components.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.datasets.keypoints import KeypointSet
from lift3d_ros.errors import DatasetError
from lift3d_ros.geometry.alignment import align
from lift3d_ros.geometry.orthographic_n_point import orthographic_n_point
from lift3d_ros.models.lfm.network import normalise
from lift3d_ros.training.lfm.batches import draw_views
from lift3d_ros.training.lfm.settings import LfmAugmentationSettings
from lift3d_ros.training.lfm.skeleton_changes import unchanged
from lift3d_ros.types import Float64Array

_EXPLAINED = 0.95
_MOST_COMPONENTS = 20
_ALIGNMENT_ROUNDS = 5
_NUM_STARTS = 8
_FITTING_ROUNDS = 10
_NOISE = 0.02  # of a view, in RMS sizes: how far it is trusted against the basis


@dataclass(frozen=True, eq=False)
class ShapeBasis:
    """Mean shape and principal components of a set, as non-rigid structure from motion models it.

    Args:
        mean: (J, 3) with mean 0 and RMS size 1.
        components: (K, J, 3), each scaled to one standard deviation.
        starts: (S, K) coefficients to begin a fit from, spread over the training frames.
    """

    mean: Float64Array
    components: Float64Array
    starts: Float64Array

    @classmethod
    def of(cls, keypoints: KeypointSet) -> ShapeBasis:
        """Find the basis of the complete frames of the training split.

        Raises:
            DatasetError: fewer than two frames have all joints.
        """
        frames = keypoints.frames(is_validation=False)
        shapes = keypoints.joints[frames][keypoints.valid[frames].all(axis=1)].astype(np.float64)
        if len(shapes) < 2:
            raise DatasetError(f"set '{keypoints.name}': {len(shapes)} complete training frames; expected at least 2")
        shapes = _of_size_one(shapes)
        mean = shapes[len(shapes) // 2]
        for _ in range(_ALIGNMENT_ROUNDS):
            shapes = align(shapes, np.broadcast_to(mean, shapes.shape)).apply(shapes)
            mean = _of_size_one(shapes.mean(axis=0)[None])[0]
        rows = (shapes - mean).reshape(len(shapes), -1)
        _, singular, axes = np.linalg.svd(rows, full_matrices=False)
        part = np.cumsum(singular**2) / max(float((singular**2).sum()), 1e-24)
        count = min(int((part < _EXPLAINED).sum()) + 1, _MOST_COMPONENTS)
        std = np.maximum(singular[:count] / np.sqrt(len(shapes)), 1e-9)
        coefficients = rows @ axes[:count].T / std
        components = (axes[:count] * std[:, None]).reshape(count, *mean.shape)
        return cls(mean, components, _spread_out(coefficients, _NUM_STARTS))

    def lift(self, points: Float64Array, is_seen: NDArray[np.bool_]) -> Float64Array:
        """Return joints (N, J, 3) over points (N, J, 2): the likeliest shape and pose, parallel projection.

        Pose and coefficients are fitted in turns from several starts; the best fit stands.
        """
        weights = is_seen.astype(np.float64)
        placed = normalise(torch.from_numpy(points), torch.from_numpy(is_seen)).double().numpy()
        best, lowest = np.zeros((*points.shape[:2], 3)), np.full(len(points), np.inf)
        flat = self.components.reshape(len(self.components), -1)
        for start in (np.zeros_like(self.starts[0]), *self.starts):
            coefficients = np.repeat(start[None], len(points), axis=0)
            for _ in range(_FITTING_ROUNDS):
                shape = self.mean + (coefficients @ flat).reshape(len(points), *self.mean.shape)
                pose = orthographic_n_point(shape, placed, weights, iterations=2)
                standing = pose.place(shape)
                # In the picture, per coefficient: linear once the pose stands still.
                slopes = np.einsum("n,kji,nil->njlk", pose.scale, self.components, pose.rotation[:, :, :2])
                slopes = (slopes * weights[:, :, None, None]).reshape(len(points), -1, len(flat))
                offset = ((placed - standing[:, :, :2]) * weights[:, :, None]).reshape(len(points), -1)
                offset = offset + np.einsum("nrk,nk->nr", slopes, coefficients)
                trust = (_NOISE * pose.scale) ** 2
                normal = np.einsum("nrk,nrl->nkl", slopes, slopes) + trust[:, None, None] * np.eye(len(flat))
                right = np.einsum("nrk,nr->nk", slopes, offset)
                coefficients = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
            shape = self.mean + (coefficients @ flat).reshape(len(points), *self.mean.shape)
            pose = orthographic_n_point(shape, placed, weights)
            fit = weights.sum(axis=1) * (pose.residual / np.maximum(_NOISE * pose.scale, 1e-9)) ** 2
            cost = fit + (coefficients**2).sum(axis=1)
            is_better = cost < lowest
            best[is_better], lowest[is_better] = pose.place(shape)[is_better], cost[is_better]
        best[:, :, :2] = np.where(is_seen[:, :, None], placed, best[:, :, :2])
        return best


class PerceptronLifter(nn.Module):
    """Two residual blocks that know each point by its place in the list, one set each (Martinez et al. 2017)."""

    def __init__(self, num_joints: int, width: int = 256) -> None:
        """Build it with random weights."""
        super().__init__()
        self.first = nn.Linear(3 * num_joints, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
            for _ in range(2)
        )
        self.last = nn.Linear(width, 3 * num_joints)

    def forward(self, placed: Tensor, is_seen: Tensor) -> Tensor:
        """Return joints (N, J, 3) of normalised points (N, J, 2); those that are seen keep x and y."""
        values = self.first(torch.cat([placed.flatten(1), is_seen.to(placed.dtype)], dim=1))
        for block in self.blocks:
            values = values + block(values)
        found: Tensor = self.last(F.gelu(values)).unflatten(1, (-1, 3))
        known = torch.where(is_seen[..., None], placed, found[..., :2])
        return torch.cat([known, found[..., 2:]], dim=2)

    def lift(self, points: Float64Array, is_seen: NDArray[np.bool_]) -> Float64Array:
        """Return joints (N, J, 3) over points (N, J, 2)."""
        seen = torch.from_numpy(is_seen)
        with torch.inference_mode():
            return np.asarray(self(normalise(torch.from_numpy(points), seen), seen).double().numpy())


def train_perceptron(
    keypoints: KeypointSet, settings: LfmAugmentationSettings, *, steps: int, batch: int = 256, seed: int = 0
) -> PerceptronLifter:
    """Train the lifter of one set on random views, noise and gaps as the network is trained on."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    # A mirrored body has left and right exchanged, which a list of points cannot express.
    settings = dataclasses.replace(settings, mirror=0.0)
    network = PerceptronLifter(keypoints.num_joints)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps, pct_start=0.05)
    frames, skeleton = keypoints.frames(is_validation=False), unchanged(keypoints)
    for _ in range(steps):
        views = draw_views(rng, keypoints, frames[rng.integers(0, len(frames), batch)], skeleton, settings, 0)
        seen, valid = torch.from_numpy(views.is_visible), torch.from_numpy(views.is_valid)
        points = torch.from_numpy(views.points)
        # The truth in the units of the view that the network sees.
        truth = torch.from_numpy(views.target)
        half = _half_extent(points, seen)[:, None, None]
        found = network(normalise(points, seen), seen)
        weights = valid[..., None].float()
        number = weights.sum(1, keepdim=True).clamp(min=1.0)
        found = found - (found * weights).sum(1, keepdim=True) / number
        distance = ((found - truth / half).pow(2).sum(-1) + 1e-6).sqrt()
        loss = (distance * weights[..., 0]).sum() / weights.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def _half_extent(points: Tensor, seen: Tensor) -> Tensor:
    """Return (N,) what :func:`normalise` divides by."""
    inside = seen[..., None].float()
    mean = (points * inside).sum(1, keepdim=True) / inside.sum(1, keepdim=True).clamp(min=1.0)
    largest = ((points - mean) * inside).abs().amax((1, 2))
    return torch.where(largest > 0, largest, torch.ones_like(largest))


def _of_size_one(shapes: Float64Array) -> Float64Array:
    """Return shapes (N, J, 3) with mean 0 and RMS distance 1."""
    centred = shapes - shapes.mean(axis=1, keepdims=True)
    size = np.sqrt((centred**2).sum(axis=2).mean(axis=1))
    return np.asarray(centred / np.maximum(size, 1e-12)[:, None, None])


def _spread_out(points: Float64Array, count: int) -> Float64Array:
    """Return `count` of the points (N, K), each as far from those before as can be."""
    chosen = [int(np.linalg.norm(points, axis=1).argmin())]
    distance = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return points[chosen]
