"""Parts of the network as the pipeline runs them: picture to planes, points to density and colour, rays to a picture.

Letters: N objects, P points, C channels and R side of the planes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from lift3d_ros.models.lrm.config import RenderConfig
from lift3d_ros.models.lrm.field import TriplaneField
from lift3d_ros.models.lrm.network import Lrm
from lift3d_ros.models.lrm.occupancy import Occupancy, find_occupancy
from lift3d_ros.models.lrm.rays import pixel_rays
from lift3d_ros.models.lrm.renderer import render_rays
from lift3d_ros.types import Float32Array, Float64Array


class PictureToPlanes(nn.Module):
    """Encoder and decoder; tells how far it is before each of its layers.

    Args:
        on_layer: called with the share of layers that are done, 0..1; may raise to stop.
    """

    def __init__(self, network: Lrm) -> None:
        super().__init__()
        self.network = network
        self.on_layer: Callable[[float], object] = lambda fraction: None
        layers = [
            layer
            for part in (network.encoder, network.decoder)
            for layer in part.modules()
            if next(layer.children(), None) is None
        ]
        self._num_layers = max(len(layers), 1)
        self._num_done = 0
        for layer in layers:
            layer.register_forward_pre_hook(self._before_layer)

    def forward(self, images: Tensor, cameras: Tensor) -> tuple[Tensor]:
        """Map pictures (N, 3, S, S) RGB 0..255 and cameras (N, 16) to planes (N, 3, C, R, R)."""
        self._num_done = 0
        return (self.network(images, cameras),)

    def _before_layer(self, layer: nn.Module, inputs: object) -> None:
        self.on_layer(min(self._num_done / self._num_layers, 1.0))
        self._num_done += 1


class PlanesGraph(nn.Module):
    """Encoder and decoder as they are exported: told nothing, and telling nothing."""

    def __init__(self, network: Lrm) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, cameras: Tensor) -> tuple[Tensor]:
        """Map pictures (N, 3, S, S) RGB 0..255 and cameras (N, 16) to planes (N, 3, C, R, R)."""
        return (self.network(images, cameras),)


class PointsToField(nn.Module):
    """Density and colour of points."""

    def __init__(self, field: TriplaneField) -> None:
        super().__init__()
        self.field = field

    def forward(self, planes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Map planes (N, 3, C, R, R) and points (N, P, 3) to densities (N, P) and colours (N, P, 3)."""
        density, color = self.field.query(planes, points)
        return density, color


def render_bands(
    field: TriplaneField,
    planes: Float32Array,
    T_object_camera: Float64Array,
    intrinsics: Float64Array,
    side: int,
    config: RenderConfig,
    background: float = 1.0,
    rays_at_once: int = 4096,
    occupancy: Occupancy | None = None,
) -> Iterator[Float32Array]:
    """Render a square picture of one object from the top down and yield it in bands (rows, side, 3), colours 0..1.

    Args:
        planes: (1, 3, C, R, R).
        T_object_camera: (4, 4).
        intrinsics: (3, 3) in units of the side.
        occupancy: of the same planes, as :func:`occupancy_of` gives it; None asks the field everywhere.
    """
    device = next(field.parameters()).device
    on_device = torch.from_numpy(planes).to(device)
    pose, matrix = (
        torch.from_numpy(np.asarray(array, dtype=np.float32)).to(device)[None]
        for array in (T_object_camera, intrinsics)
    )
    rows = max(1, rays_at_once // side)
    for first in range(0, side, rows):
        window = (min(rows, side - first), side)
        with torch.inference_mode():
            anchor = torch.tensor([[float(first), 0.0]], device=device)
            origins, directions = pixel_rays(pose, matrix, (side, side), window, anchor)
            color = render_rays(field, on_device, origins, directions, config, background, None, occupancy).color
        yield color[0].reshape(*window, 3).cpu().numpy()


def occupancy_of(field: TriplaneField, planes: Float32Array, on_piece: Callable[[float], object]) -> Occupancy:
    """Return where the field of one object holds anything, for :func:`render_bands`.

    Args:
        planes: (1, 3, C, R, R).
        on_piece: as of :func:`find_occupancy`.
    """
    on_device = torch.from_numpy(planes).to(next(field.parameters()).device)
    return find_occupancy(field, on_device, on_piece=on_piece)
