"""Volume rendering of a field along rays: even samples, samples where the first ones found matter, summing up.

Written from the formulas (fact sheet LRM, section 7). Without random numbers the result is the same each time.
Letters: N objects, R rays of each, S samples of a ray.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lift3d_ros.models.lrm.config import RenderConfig
from lift3d_ros.models.lrm.field import TriplaneField
from lift3d_ros.models.lrm.occupancy import Occupancy
from lift3d_ros.models.lrm.rays import cross_cube, pixel_rays

# Formulas of the published samplers: floor of smoothed weights, floor of probabilities, smallest bin.
_WEIGHT_FLOOR = 0.01
_PROBABILITY_FLOOR = 1e-5
_SMALLEST_BIN = 1e-5


class Rendering(NamedTuple):
    """What rays see.

    Args:
        color: (N, R, 3), over the background.
        depth: (N, R) mean distance along the ray, NaN where it meets nothing.
        weight: (N, R) share of the colour that is not background.
        hits_cube: (N, R) whether the ray crosses the cube in front of its origin.
    """

    color: Tensor
    depth: Tensor
    weight: Tensor
    hits_cube: Tensor


class RayJitter(NamedTuple):
    """Where samples lie inside of their bins, 0..1: (N, R, first samples) and (N, R, importance samples)."""

    first: Tensor
    importance: Tensor

    @classmethod
    def draw(cls, num_objects: int, num_rays: int, config: RenderConfig, generator: torch.Generator) -> RayJitter:
        """Draw random places, on the device of the generator."""
        first, importance = (
            torch.rand((num_objects, num_rays, count), generator=generator, device=generator.device)
            for count in (config.num_samples, config.num_importance)
        )
        return cls(first, importance)

    @classmethod
    def even(cls, config: RenderConfig, device: torch.device) -> RayJitter:
        """Return the middles of the bins, the same for all rays."""
        middles = (torch.arange(config.num_importance, device=device) + 0.5) / max(config.num_importance, 1)
        return cls(torch.full((config.num_samples,), 0.5, device=device), middles)


class _Samples(NamedTuple):
    """Samples along rays, nearest first: distances, raw densities and whether inside (N, R, S), colours."""

    depths: Tensor
    raw: Tensor
    color: Tensor
    is_inside: Tensor


def render_rays(
    field: TriplaneField,
    planes: Tensor,
    origins: Tensor,
    directions: Tensor,
    config: RenderConfig,
    background: Tensor | float = 1.0,
    jitter: RayJitter | None = None,
    occupancy: Occupancy | None = None,
) -> Rendering:
    """Render rays (N, R, 3) of unit direction; those that miss the cube see the background.

    Args:
        planes: (N, 3, C, H, W).
        background: grey level or colour, (N, 1, 1), (N, R, 3) or what broadcasts to that.
        jitter: None samples the middles of the bins.
        occupancy: of the field of one object, which is then asked only where it holds anything; without gradients.
    """
    if jitter is None:
        jitter = RayJitter.even(config, origins.device)
    near, far = cross_cube(origins, directions, field.config.half_side * (1.0 - config.shrinks_cube))
    near = near.clamp(min=0.0)
    hits = far - near > config.shortest_chord
    near, far = torch.where(hits, near, 0.0), torch.where(hits, far, 0.0)
    first = _first_depths(near, far, config, jitter.first)
    samples = _sample(field, planes, origins, directions, first, occupancy)
    weights, colors, depths = _weigh(field, samples, hits, config)
    if config.num_importance:
        with torch.no_grad():
            finer = importance_depths(samples.depths, weights.detach(), jitter.importance)
        more = _sample(field, planes, origins, directions, finer, occupancy)
        weights, colors, depths = _weigh(field, _merged(samples, more), hits, config)
    weight = weights.sum(dim=-1)
    color = (weights[..., None] * colors).sum(dim=-2) + background * (1.0 - weight[..., None])
    return Rendering(color, (weights * depths).sum(dim=-1) / weight, weight, hits)


def render_view(
    field: TriplaneField,
    planes: Tensor,
    T_object_camera: Tensor,
    intrinsics: Tensor,
    size: tuple[int, int],
    config: RenderConfig,
    background: float = 1.0,
    rays_at_once: int = 4096,
    occupancy: Occupancy | None = None,
) -> Rendering:
    """Render one picture of one object without gradients, in pieces that bound the memory.

    Args:
        planes: (1, 3, C, H, W).
        T_object_camera: (4, 4).
        intrinsics: (3, 3) in units of width and height.
        size: rows and columns.
        occupancy: as in :func:`render_rays`.

    Returns:
        Tensors of shape (rows, columns) and (rows, columns, 3).
    """
    with torch.inference_mode():
        origins, directions = pixel_rays(T_object_camera[None], intrinsics[None], size)
        pieces = [
            render_rays(field, planes, piece_origins, piece_directions, config, background, None, occupancy)
            for piece_origins, piece_directions in zip(
                torch.split(origins, rays_at_once, dim=1), torch.split(directions, rays_at_once, dim=1), strict=True
            )
        ]
        whole = (torch.cat(parts, dim=1)[0] for parts in zip(*pieces, strict=True))
        return Rendering(*(values.reshape(*size, *values.shape[1:]) for values in whole))


def importance_depths(depths: Tensor, weights: Tensor, places: Tensor) -> Tensor:
    """Return distances that crowd where weights are large, in the order of `places`.

    The published sampler reads its distribution half an interval off, and weights are trained with that.

    Args:
        depths: (..., S) distances of samples.
        weights: (..., S - 1) of the intervals between them.
        places: (..., M) in 0..1, where to read the inverse of the distribution.
    """
    edge = torch.zeros_like(weights[..., :1])
    # Larger of two neighbours, then the mean of two neighbours, so that no sharp peak hides what is beside it.
    larger = torch.maximum(torch.cat([edge, weights], dim=-1), torch.cat([weights, edge], dim=-1))
    smooth = 0.5 * (larger[..., :-1] + larger[..., 1:]) + _WEIGHT_FLOOR
    middles = 0.5 * (depths[..., :-1] + depths[..., 1:])
    probabilities = smooth[..., 1:-1] + _PROBABILITY_FLOOR
    probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    cumulative = torch.cat([edge, probabilities.cumsum(dim=-1)], dim=-1)
    places = places.expand(*weights.shape[:-1], places.shape[-1]).contiguous()
    above = torch.searchsorted(cumulative, places, right=True)
    last = cumulative.shape[-1] - 1
    below, above = (above - 1).clamp(min=0), above.clamp(max=last)
    start, end = cumulative.gather(-1, below), cumulative.gather(-1, above)
    first, second = middles.gather(-1, below), middles.gather(-1, above)
    width = end - start
    width = torch.where(width < _SMALLEST_BIN, torch.ones_like(width), width)
    return first + (places - start) / width * (second - first)


def _first_depths(near: Tensor, far: Tensor, config: RenderConfig, places: Tensor) -> Tensor:
    count = config.num_samples
    num_bins = count - 1 if config.quadrature == "neighbour_means" else count
    steps = (torch.arange(count, device=near.device) + places) / num_bins
    return near[..., None] + steps * (far - near)[..., None]


def _sample(
    field: TriplaneField,
    planes: Tensor,
    origins: Tensor,
    directions: Tensor,
    depths: Tensor,
    occupancy: Occupancy | None,
) -> _Samples:
    points = origins[..., None, :] + depths[..., None] * directions[..., None, :]
    places = points.flatten(1, 2)
    raw, color = field(planes, places) if occupancy is None else occupancy.read(field, planes, places)
    is_inside = (points.abs() <= field.config.half_side).all(dim=-1)
    return _Samples(depths, raw.reshape(depths.shape), color.reshape(*depths.shape, 3), is_inside)


def _merged(first: _Samples, second: _Samples) -> _Samples:
    depths, order = torch.cat([first.depths, second.depths], dim=-1).sort(dim=-1)
    colors = torch.cat([first.color, second.color], dim=-2)
    return _Samples(
        depths,
        torch.cat([first.raw, second.raw], dim=-1).gather(-1, order),
        colors.gather(-2, order[..., None].expand_as(colors)),
        torch.cat([first.is_inside, second.is_inside], dim=-1).gather(-1, order),
    )


def _weigh(
    field: TriplaneField, samples: _Samples, hits: Tensor, config: RenderConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights, colours and distances of the parts of each ray that count."""
    depths, raw, color, is_inside = samples
    is_inside = is_inside & hits[..., None]
    if config.quadrature == "neighbour_means":
        steps = depths[..., 1:] - depths[..., :-1]
        # What lies outside of the cube is black and empty.
        color = torch.where(is_inside[..., None], color, 0.0)
        color = 0.5 * (color[..., 1:, :] + color[..., :-1, :])
        raw, depths = 0.5 * (raw[..., 1:] + raw[..., :-1]), 0.5 * (depths[..., 1:] + depths[..., :-1])
        is_inside = is_inside[..., 1:] & is_inside[..., :-1]
    else:
        steps = torch.full_like(depths, 1.0 / config.num_samples)
    optical_depths = torch.where(is_inside, field.density(raw) * steps, 0.0)
    before = torch.cat([torch.zeros_like(optical_depths[..., :1]), optical_depths[..., :-1]], dim=-1).cumsum(dim=-1)
    return -torch.expm1(-optical_depths) * torch.exp(-before), color, depths
