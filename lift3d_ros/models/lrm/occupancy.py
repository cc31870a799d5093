"""Where a field is empty: a coarse copy of it, so that its network need not be asked there when pictures are rendered.

Letters: P points, G nodes along a side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lift3d_ros.models.lrm.field import TriplaneField

NUM_CELLS = 64
# A cell is empty if light that crosses it, and those beside it, loses less than this share.
_EMPTY_LOSS = 1e-3
_POINTS_AT_ONCE = 16384


class Occupancy(NamedTuple):
    """One field on a coarse grid.

    Args:
        values: (1, 4, G, G, G) raw density and colour at nodes, along z, y and x.
        is_occupied: (G - 1, G - 1, G - 1) whether a cell holds anything, in the same order.
        half_side: of the cube.
    """

    values: Tensor
    is_occupied: Tensor
    half_side: float

    @property
    def occupied_share(self) -> float:
        """Share of the cells that are occupied."""
        return float(self.is_occupied.float().mean())

    def read(self, field: TriplaneField, planes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return raw density (1, P) and colour (1, P, 3): exact in occupied cells, interpolated in empty ones.

        Args:
            planes: (1, 3, C, H, W), those of which this was made.
            points: (1, P, 3).
        """
        places = points / self.half_side
        read = F.grid_sample(self.values, places[:, :, None, None], padding_mode="border", align_corners=True)
        found = read[0, :, :, 0, 0].T.contiguous()
        num_cells = self.is_occupied.shape[0]
        cells = (0.5 * num_cells * (places[0] + 1.0)).long().clamp(0, num_cells - 1)
        is_asked = self.is_occupied[cells[:, 2], cells[:, 1], cells[:, 0]] & (places[0].abs() <= 1.0).all(dim=-1)
        asked = is_asked.nonzero()[:, 0]
        if len(asked):
            raw, color = field(planes, points[:, asked])
            found[asked] = torch.cat([raw[0, :, None], color[0]], dim=-1).to(found.dtype)
        return found[None, :, 0], found[None, :, 1:]


def find_occupancy(
    field: TriplaneField,
    planes: Tensor,
    num_cells: int = NUM_CELLS,
    on_piece: Callable[[float], object] = lambda share: None,
) -> Occupancy:
    """Return where the field of one object holds anything; asks it once at each node.

    Parts that lie between the nodes and are thinner than a cell are found by what their density spreads to the nodes of
    the cell or of its neighbours; one that shows at none of these is lost.

    Args:
        planes: (1, 3, C, H, W).
        on_piece: called with the share that is done; may raise to stop.
    """
    half_side, device = field.config.half_side, planes.device
    side = torch.linspace(-half_side, half_side, num_cells + 1, device=device)
    z, y, x = torch.meshgrid(side, side, side, indexing="ij")
    nodes = torch.stack([x, y, z], dim=-1).reshape(1, -1, 3)
    with torch.inference_mode():
        pieces = []
        for number, piece in enumerate(torch.split(nodes, _POINTS_AT_ONCE, dim=1)):
            on_piece(number * _POINTS_AT_ONCE / nodes.shape[1])
            pieces.append(field(planes, piece))
        raw, color = (torch.cat(parts, dim=1)[0] for parts in zip(*pieces, strict=True))
        grid = (num_cells + 1,) * 3
        density = field.density(raw).reshape(1, 1, *grid)
        # The nodes of a cell and of all cells beside it.
        nearby = F.max_pool3d(density, kernel_size=4, stride=1, padding=1)[0, 0]
        is_occupied = nearby * (2.0 * half_side / num_cells) > _EMPTY_LOSS
        values = torch.cat([raw[:, None], color], dim=-1).T.reshape(1, 4, *grid)
    return Occupancy(values, is_occupied, half_side)
