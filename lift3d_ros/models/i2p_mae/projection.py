"""Depth maps of a cloud from three sides, and the way back from a feature map to the points.

View 0 looks along z, with x down and y to the right of the picture; view 1 along y, with z and x; view 2 along x, with
y and z. Letters: B clouds, N points, Q queries, C channels, h w cells of a feature map.
Source: fact sheet I2P-MAE, section 6. The constants are those that published features were made with.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

IMAGE_SIZE = 224
_AXES = ((0, 1, 2), (2, 0, 1), (1, 2, 0))  # row, column, depth
NUM_VIEWS = len(_AXES)
_CELLS = IMAGE_SIZE - 3
_REACH = 2  # a point paints a square of this many pixels around it
IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CUBIC = -0.75


class View(NamedTuple):
    """Where the points of a cloud come to lie in one picture.

    Args:
        axes: coordinates that are row, column and depth.
        lower: (B, 1, 2) smallest row and column coordinate.
        cell: (B, 1, 1) size of a pixel.
        shift: (B, 2) pixels that bring the object to the middle.
    """

    axes: tuple[int, int, int]
    lower: Tensor
    cell: Tensor
    shift: Tensor

    def pixels(self, points: Tensor) -> Tensor:
        """Return row and column, (B, Q, 2) int64, of points (B, Q, 3)."""
        place = points[..., list(self.axes[:2])]
        return ((place - self.lower) / self.cell).floor().long() + 1 + self.shift[:, None]


def project_views(points: Tensor, is_valid: Tensor | None = None) -> tuple[Tensor, tuple[View, ...]]:
    """Draw a cloud from three sides.

    A pixel is the sigmoid of the sum of the depth coordinates that fall on it, 0.5 where nothing does; so a picture
    depends on the number of points.

    Args:
        points: (B, N, 3), finite where valid.
        is_valid: (B, N) bool, false for points that are not drawn; None for all.

    Returns:
        Depth maps (B, 3 views, 224, 224), and the views. A cloud without extent is drawn in one place.
    """
    views = tuple(_fit_view(points, axes, is_valid) for axes in _AXES)
    return torch.stack([_draw(points, view, is_valid) for view in views], dim=1), views


def draw_sides(points: Tensor, sides: Tensor) -> Tensor:
    """Draw each cloud (B, N, 3) from one side (B,) int64, a view of :func:`project_views`; returns (B, 224, 224)."""
    axes = torch.tensor(_AXES, device=points.device)[sides]
    turned = points.gather(2, axes[:, None].expand(-1, points.shape[1], -1))
    return _draw(turned, _fit_view(turned, _AXES[0], None), None)


def normalise_images(depth_maps: Tensor) -> Tensor:
    """Return depth maps (B, V, H, W) as pictures for a teacher, (V * B, 3, H, W): all of view 0 first."""
    mean = torch.tensor(IMAGE_MEAN, device=depth_maps.device)[:, None, None]
    std = torch.tensor(IMAGE_STD, device=depth_maps.device)[:, None, None]
    return (depth_maps.transpose(0, 1).flatten(0, 1)[:, None] - mean) / std


def read_features(features: Tensor, view: View, points: Tensor) -> Tensor:
    """Give points the features of the pixels that they fall on.

    The map counts as enlarged to the picture by bicubic interpolation; only the pixels that are asked for are computed.

    Args:
        features: (B, C, h, w) of one view.
        points: (B, Q, 3) of the cloud that the view was made of.

    Returns:
        (B, Q, C), differentiable in `features`.
    """
    batch, channels, height, width = features.shape
    pixels = view.pixels(points).clamp(0, IMAGE_SIZE - 1)
    rows, row_weights = _cubic_taps(pixels[..., 0], height)
    columns, column_weights = _cubic_taps(pixels[..., 1], width)
    cells = (rows[..., :, None] * width + columns[..., None, :]).flatten(2)  # (B, Q, 16)
    weights = (row_weights[..., :, None] * column_weights[..., None, :]).flatten(2)
    first = torch.arange(batch, device=features.device)[:, None, None] * (height * width)
    table = features.flatten(2).transpose(1, 2).reshape(-1, channels)
    taps = 16
    mixed = F.embedding_bag(
        (cells + first).reshape(-1, taps),
        table,
        per_sample_weights=weights.reshape(-1, taps).to(table.dtype),
        mode="sum",
    )
    return mixed.reshape(batch, -1, channels)


def _fit_view(points: Tensor, axes: tuple[int, int, int], is_valid: Tensor | None) -> View:
    place = points[..., list(axes[:2])]
    valid = torch.ones_like(place[..., :1], dtype=torch.bool) if is_valid is None else is_valid[..., None]
    lower = place.masked_fill(~valid, torch.inf).amin(1, keepdim=True)
    upper = place.masked_fill(~valid, -torch.inf).amax(1, keepdim=True)
    extent = (upper - lower).amax(2, keepdim=True)
    has_extent = extent > 0
    lower = torch.where(upper >= lower, lower, 0.0)  # a cloud without points
    # Divided, not multiplied by an inverse: rounding decides in which pixel the outermost point lies.
    cell = torch.where(has_extent, extent / _CELLS, 1.0)
    view = View(axes, lower, cell, torch.zeros(len(points), 2, dtype=torch.int64, device=points.device))
    pixels = view.pixels(points)
    most = pixels.masked_fill(~valid, -IMAGE_SIZE).amax(1) + _REACH
    least = pixels.masked_fill(~valid, IMAGE_SIZE).amin(1) - _REACH
    middle = torch.div(most + least, 2, rounding_mode="floor")
    return view._replace(shift=IMAGE_SIZE // 2 - middle - 1)


def _draw(points: Tensor, view: View, is_valid: Tensor | None) -> Tensor:
    depth = points[..., view.axes[2]]
    pixels = view.pixels(points)
    if is_valid is not None:
        depth = depth.masked_fill(~is_valid, 0.0)
        pixels = pixels.masked_fill(~is_valid[..., None], IMAGE_SIZE // 2)  # adds nothing there
    cells = pixels[..., 0] * IMAGE_SIZE + pixels[..., 1]
    centers = torch.zeros(len(points), IMAGE_SIZE * IMAGE_SIZE, dtype=points.dtype, device=points.device)
    centers.scatter_add_(1, cells, depth)
    # A square is a row of rows: summed along both axes, and over all points at once.
    painted = _painted(_painted(centers.reshape(-1, IMAGE_SIZE, IMAGE_SIZE)).mT).mT
    return painted.sigmoid()


def _painted(pictures: Tensor) -> Tensor:
    """Spread each row over those within reach, (B, H, W); what passes the border by one row falls on the last."""
    size = pictures.shape[1]
    padded = F.pad(pictures, (0, 0, _REACH + 1, _REACH + 1))
    spread = padded[:, : size + 2].clone()
    for step in range(1, 2 * _REACH + 1):
        spread += padded[:, step : size + 2 + step]
    result = spread[:, 1:-1].clone()
    result[:, 0] += spread[:, 0]
    result[:, -1] += spread[:, -1]
    return result


def _cubic_taps(pixel: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the four cells that a pixel of the enlarged map mixes, and their weights, (..., 4) each."""
    place = (pixel.float() + 0.5) * (size / IMAGE_SIZE) - 0.5
    corner = place.floor()
    fraction = place - corner
    steps = torch.arange(-1, 3, device=pixel.device)
    distance = (fraction[..., None] - steps).abs()
    near = ((_CUBIC + 2.0) * distance - (_CUBIC + 3.0)) * distance * distance + 1.0
    far = _CUBIC * (((distance - 5.0) * distance + 8.0) * distance - 4.0)
    weights = torch.where(distance <= 1.0, near, far)
    return (corner.long()[..., None] + steps).clamp(0, size - 1), weights
