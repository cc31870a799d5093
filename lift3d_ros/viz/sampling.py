"""Where one BEV query samples in each camera, and how depth separates two queries on one ray of a camera.

What the figure of docs/dfa3d.md shows. Depth is that of measured points, and offsets are those that attention starts
from: it shows the method and not the state of a training. Needs torch.

Letters: N cameras, P pairs of a camera and a cell that it sees, Z anchors of a cell, S samples of a pair, K bins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import ConfigError, DatasetError, nearest_name_hint
from lift3d_ros.geometry.boxes import points_in_boxes
from lift3d_ros.geometry.project import image_from_base, project_points
from lift3d_ros.geometry.rigid import transform_points
from lift3d_ros.images.preprocess import ImagePreprocessor, InputSpec
from lift3d_ros.models.dfa3d.config import Dfa3dConfig, preset
from lift3d_ros.models.dfa3d.visibility import anchor_grid, find_visible_pairs
from lift3d_ros.pipelines.box_decoding import base_from_model
from lift3d_ros.types import Boxes3D, Float32Array, Float64Array, FrameSet, UInt8Array

if TYPE_CHECKING:
    from torch import Tensor

# The second query of a pair is at least so much nearer or farther than the first one, metres.
_LEAST_STEP_M, _LARGEST_STEP_M = 7.0, 20.0
_PIXEL_REACH = 12.0
_ON_SURFACE = 0.5
_ABOVE_ROAD_M = 0.7


@dataclass(frozen=True, eq=False)
class SampledFrame:
    """What every BEV query reads in one frame. Pixels are those of `pictures`, depths metres along the optical axis.

    Args:
        pictures: camera name -> (H, W, 3) as the network takes it.
        returns: camera name -> (R, 3) measured points in the picture: u, v, depth.
        depth_scores: (N, K, h, w) at the finest level.
        camera, cell: (P,).
        anchors, anchor_scores: (P, Z, 3) u, v, depth; (P, Z) depth score there.
        samples, sample_scores: the same of the sampling points, (P, S, 3) and (P, S); a score is the share of a
            feature that the sample takes, so 0 outside of the picture.
        share, share_2d: (P,) share of the picture's features that the query takes, with depth and without.
    """

    config: Dfa3dConfig
    pictures: Mapping[str, UInt8Array]
    returns: Mapping[str, Float64Array]
    depth_scores: Float32Array
    camera: NDArray[np.int64]
    cell: NDArray[np.int64]
    anchors: Float64Array
    anchor_scores: Float64Array
    samples: Float64Array
    sample_scores: Float64Array
    share: Float64Array
    share_2d: Float64Array

    @property
    def cameras(self) -> tuple[str, ...]:
        """Camera names in the order of `camera`."""
        return tuple(self.pictures)

    def rows_of_cell(self, cell: int) -> list[int]:
        """Return the pairs of a cell, one for each camera that sees it."""
        return [int(row) for row in np.flatnonzero(self.cell == cell)]

    def outline(self, cell: int) -> Float64Array:
        """Return the four corners of a cell on the ground, (4, 2) metres in the base frame."""
        x_min, y_min, _, x_max, y_max, _ = self.config.point_range
        step = np.array([(x_max - x_min) / self.config.bev_width, (y_max - y_min) / self.config.bev_height])
        center = anchor_grid(self.config)[cell, 0, :2]
        corners = center + step / 2 * np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]])
        in_model = np.concatenate([corners, np.zeros((4, 1))], axis=1)
        return transform_points(base_from_model(self.config), in_model)[:, :2]


@dataclass(frozen=True)
class RayPair:
    """Two queries that sample the same place of a picture: `surface` at the measured depth, `other` not.

    Both are rows of :class:`SampledFrame` of one camera; the anchors are those at this place.
    """

    surface: int
    other: int
    surface_anchor: int
    other_anchor: int


def figure_config() -> Dfa3dConfig:
    """Return the preset ``tiny`` with measured depth: bins and tolerance of ``dfa3d-base-gtdepth``."""
    tiny, measured = preset("tiny"), preset("dfa3d-base-gtdepth")
    assert tiny is not None
    assert measured is not None
    return dataclasses.replace(tiny, depth=dataclasses.replace(measured.depth, level=0))


def sample_frame(frame_set: FrameSet, points: Float32Array, config: Dfa3dConfig) -> SampledFrame:
    """Compute where all cells sample in all pictures and what the depth scores let through.

    Args:
        points: (R, 3) measured points in the base frame at the reference stamp, metres.

    Raises:
        ImageError, CalibrationError: a picture cannot be decoded or has another shape than its calibration.
    """
    preprocessor = ImagePreprocessor(InputSpec(config.image_width, config.image_height))
    pictures, returns, projections = {}, {}, []
    for name, view in frame_set.views.items():
        prepared = preprocessor.to_array(view.image, view.model)
        pictures[name] = np.ascontiguousarray(prepared.pixels.transpose(1, 2, 0))
        matrix = image_from_base(prepared.intrinsics, view.T_cam_reference)
        pixels, depth = project_points(matrix, points)
        size = np.array([config.image_width, config.image_height])
        is_seen = (depth > 0) & ((pixels >= -0.5) & (pixels < size - 0.5)).all(axis=1)
        returns[name] = np.column_stack([pixels, depth])[is_seen]
        scaled = image_from_base(config.scaling_matrix @ prepared.intrinsics, view.T_cam_reference)
        projections.append((scaled @ base_from_model(config)).astype(np.float32))
    return _sample(config, pictures, returns, np.stack(projections))


def depth_profile(frame: SampledFrame, camera: int, pixel: Sequence[float]) -> tuple[Float64Array, Float64Array]:
    """Return the depths of the bin centres, metres, and the scores that a sample at a pixel finds there, (K,) each."""
    import torch

    bins = frame.config.depth.num_bins
    d = (np.arange(bins) + 0.5) / bins
    depths = frame.config.depth.range[0] + d * np.ptp(frame.config.depth.range)
    places = np.column_stack([np.tile(_normalised(frame.config, pixel), (bins, 1)), d])
    scores = torch.from_numpy(frame.depth_scores)
    found = _received(scores, torch.full((bins,), camera), torch.from_numpy(places.astype(np.float32)), has_depth=True)
    return depths, _float64(found)


def choose_pair(
    frame: SampledFrame,
    boxes: Boxes3D | None = None,
    *,
    camera: str | None = None,
    pixel: tuple[float, float] | None = None,
    place: tuple[float, float] | None = None,
) -> RayPair:
    """Choose a query on the surface of something and one before or behind it on the same ray.

    Args:
        boxes: labelled objects in the base frame; without `pixel` and `place` the first query lies in one of them,
            near the middle of a picture; without boxes it lies on anything above the road.
        camera: look in this one only.
        pixel: u, v in the picture of `camera` where the first query samples.
        place: x, y in the base frame, metres, of the first query.

    Raises:
        ConfigError: unknown camera, or a pixel without camera.
        DatasetError: no measured depth there, or no such pair; says what to try.
    """
    if camera is not None and camera not in frame.cameras:
        raise ConfigError(
            f"camera '{camera}' is not in this frame; expected one of {', '.join(frame.cameras)}"
            f"{nearest_name_hint(camera, frame.cameras)}"
        )
    is_candidate = frame.anchor_scores >= _ON_SURFACE
    if camera is not None:
        is_candidate &= (frame.camera == frame.cameras.index(camera))[:, None]
    if pixel is not None:
        if camera is None:
            raise ConfigError("a pixel was given without a camera; expected both, give the name of the camera, too")
        is_candidate &= np.hypot(*(frame.anchors[..., :2] - pixel).transpose(2, 0, 1)) <= _PIXEL_REACH
    elif place is not None:
        is_candidate &= (frame.cell == _cell_at(frame.config, place))[:, None]
    else:
        anchors = anchor_grid(frame.config)[frame.cell].reshape(-1, 3)
        in_base = transform_points(base_from_model(frame.config), anchors)
        is_on_object = in_base[:, 2] > _ABOVE_ROAD_M
        if boxes is not None and len(boxes):
            is_on_object = points_in_boxes(in_base, boxes).any(axis=1)
        is_candidate &= is_on_object.reshape(is_candidate.shape)
    best, best_value = None, -np.inf
    for row, anchor in np.argwhere(is_candidate):
        pair, value = _best_partner(frame, int(row), int(anchor))
        if value > best_value:
            best, best_value = pair, value
    if best is None:
        where = "there" if pixel or place else "in this frame"
        raise DatasetError(
            f"no query {where} lies on a measured surface with another query {_LEAST_STEP_M:g} to "
            f"{_LARGEST_STEP_M:g} m before or behind it on the same ray; try another place, camera or frame"
        )
    return best


def _best_partner(frame: SampledFrame, row: int, anchor: int) -> tuple[RayPair | None, float]:
    """Return the clearest pair of an anchor on a surface, and how clear it is."""
    here = frame.anchors[row, anchor]
    offset = frame.anchors - here
    step = np.abs(offset[..., 2])
    distance = np.hypot(offset[..., 0], offset[..., 1])
    near, far = frame.config.depth.range
    is_partner = (step >= _LEAST_STEP_M) & (step <= _LARGEST_STEP_M) & (distance <= _PIXEL_REACH)
    is_partner &= (frame.camera == frame.camera[row])[:, None] & (frame.cell != frame.cell[row])[:, None]
    is_partner &= (frame.anchors[..., 2] > near) & (frame.anchors[..., 2] < far)
    if not is_partner.any():
        return None, -np.inf
    # An object that two cameras see says more; one at the border of a picture is hard to recognise.
    elsewhere = sum(frame.share[k] for k in frame.rows_of_cell(int(frame.cell[row])) if k != row)
    off_middle = np.abs(here[:2] / [frame.config.image_width, frame.config.image_height] - 0.5).max()
    value = frame.share[row] + 0.5 * elsewhere - 0.5 * off_middle
    value = value - frame.share[:, None] - distance / frame.config.image_width
    value = np.where(is_partner, value, -np.inf)
    other, other_anchor = np.unravel_index(int(value.argmax()), value.shape)
    pair = RayPair(row, int(other), anchor, int(other_anchor))
    return pair, float(value[other, other_anchor])


def _cell_at(config: Dfa3dConfig, place: tuple[float, float]) -> int:
    """Return the cell nearest to a place in the base frame."""
    in_model = transform_points(np.linalg.inv(base_from_model(config)), [[*place, 0.0]])[0, :2]
    x_min, y_min, _, x_max, y_max, _ = config.point_range
    if not (x_min <= in_model[0] <= x_max and y_min <= in_model[1] <= y_max):
        raise ConfigError(
            f"the place ({place[0]:g}, {place[1]:g}) m lies outside of the BEV grid; expected a place at most "
            f"{x_max:g} m from the vehicle along each axis of the base frame"
        )
    distance = np.linalg.norm(anchor_grid(config)[:, 0, :2] - in_model, axis=1)
    return int(distance.argmin())


def _sample(
    config: Dfa3dConfig,
    pictures: Mapping[str, UInt8Array],
    returns: Mapping[str, Float64Array],
    image_from_model: Float32Array,
) -> SampledFrame:
    import torch

    from lift3d_ros.models.dfa3d.attention import DeformableAttention
    from lift3d_ros.models.dfa3d.depth_head import resize_scores
    from lift3d_ros.models.dfa3d.reference_points import project_anchors

    pairs = find_visible_pairs(image_from_model, config)
    camera = torch.from_numpy(pairs.camera)
    levels = _level_sizes(config)
    finest = _depth_scores(config, list(returns.values()))
    scores = [resize_scores(finest, height, width) for height, width in levels]
    sizes = (config.num_heads, config.num_levels, config.num_points)
    attention = DeformableAttention(config.embed_dims, *sizes, has_depth=True)
    with torch.inference_mode():
        cells = torch.from_numpy(anchor_grid(config)[pairs.cell])
        anchors = project_anchors(cells, torch.from_numpy(image_from_model)[camera], config)
        query = torch.zeros(1, len(camera), config.embed_dims)  # offsets start with zero weights: any query will do
        located = attention.locate(query, anchors[None], levels, config.depth.num_bins)
        places, weights = located[0][0], located[1][0].flatten(1) / config.num_heads
        with_depth, without = (
            torch.stack(
                [_received(score, camera, places[:, :, level], has_depth=flag) for level, score in enumerate(scores)],
                dim=2,
            ).flatten(1)
            for flag in (True, False)
        )
        anchor_scores = _received(scores[0], camera, anchors, has_depth=True)
    return SampledFrame(
        config=config,
        pictures=pictures,
        returns=returns,
        depth_scores=finest.numpy(),
        camera=pairs.camera,
        cell=pairs.cell,
        anchors=_in_picture(config, anchors),
        anchor_scores=_float64(anchor_scores),
        samples=_in_picture(config, places.flatten(1, 3)),
        sample_scores=_float64(with_depth),
        share=_float64((weights * with_depth).sum(1)),
        share_2d=_float64((weights * without).sum(1)),
    )


def _received(scores: Tensor, camera: Tensor, places: Tensor, *, has_depth: bool) -> Tensor:
    """Return what samples take of a feature that is one everywhere.

    Args:
        scores: (N, K, h, w).
        camera: (P,).
        places: (P, ..., 3) normalised u, v, d.

    Returns:
        (P, ...).
    """
    from lift3d_ros.ops.deformable_attention_3d import deformable_attention_3d

    batch, _, height, width = scores.shape
    flat = places.reshape(1, -1, 1, 1, 1, 3)
    items = camera.repeat_interleave(flat.shape[1] // max(len(camera), 1))[None]
    received = deformable_attention_3d(
        scores.new_ones(batch, height * width, 1, 1),
        scores.flatten(2).transpose(1, 2).contiguous() if has_depth else None,
        flat if has_depth else flat[..., :2],
        scores.new_ones(flat.shape[:-1]),
        [(height, width)],
        items,
    )
    return received.reshape(places.shape[:-1])


def _depth_scores(config: Dfa3dConfig, returns: Sequence[Float64Array]) -> Tensor:
    """Return the depth scores (N, K, h, w) at the finest level of measured points (R, 3) in each picture."""
    import torch

    from lift3d_ros.models.dfa3d.depth_labels import depth_map_from_points, depth_scores_from_lidar

    height, width = config.padded_size
    offset = 0.5 if config.pixel_origin == "center" else 0.0
    maps = []
    for points in returns:
        scaled = np.column_stack([points[:, :2], np.ones(len(points))]) @ config.scaling_matrix.T
        # Depth maps count from the border of the picture.
        drawn = np.column_stack([scaled[:, :2] + offset, points[:, 2]]).astype(np.float32)
        maps.append(depth_map_from_points(torch.from_numpy(drawn), height, width))
    stride = round(height / _level_sizes(config)[0][0])
    return depth_scores_from_lidar(torch.stack(maps), config.depth, stride)


def _level_sizes(config: Dfa3dConfig) -> list[tuple[int, int]]:
    """Return (height, width) of each pyramid level; every step halves and rounds up."""
    stride = 2 ** (config.backbone.output_stages[0] + 1)
    height, width = config.padded_size
    sizes = [(-(-height // stride), -(-width // stride))]
    while len(sizes) < config.num_levels:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


def _in_picture(config: Dfa3dConfig, places: Tensor) -> Float64Array:
    """Return normalised places (..., 3) as pixels of the picture and metres."""
    height, width = config.padded_size
    near, far = config.depth.range
    scale = [width / config.image_scale, height / config.image_scale, far - near]
    return _float64(places) * scale + [-0.5, -0.5, near]


def _normalised(config: Dfa3dConfig, pixel: Sequence[float]) -> Float64Array:
    """Return the normalised place (2,) of a pixel of the picture."""
    height, width = config.padded_size
    return (np.asarray(pixel, dtype=np.float64) + 0.5) * config.image_scale / [width, height]


def _float64(tensor: Tensor) -> Float64Array:
    return np.asarray(tensor.numpy(), dtype=np.float64)
