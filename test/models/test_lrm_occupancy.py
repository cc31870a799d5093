"""Rendering asks the network only where the field holds anything, and the picture stays the same within a bound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.models.lrm.cameras import look_at_origin, view_intrinsics  # noqa: E402
from lift3d_ros.models.lrm.config import FieldConfig, RenderConfig, ViewConfig  # noqa: E402
from lift3d_ros.models.lrm.field import TriplaneField  # noqa: E402
from lift3d_ros.models.lrm.occupancy import find_occupancy  # noqa: E402
from lift3d_ros.models.lrm.renderer import render_view  # noqa: E402

PLANES = torch.zeros(1, 3, 4, 8, 8)
CONFIGS = {
    "neighbour means": (FieldConfig(), RenderConfig(48, 48)),
    "unit chord": (FieldConfig(density="exp"), RenderConfig(96, 0, "unit_chord", 0.001, 0.01)),
}
# Of 0..1: below what a picture of 8 bits can show.
BOUND = 1.0 / 255.0


class Shape(TriplaneField):
    """A field with a steep surface where a signed distance is 0, coloured by place; counts points it is asked for."""

    def __init__(self, config: FieldConfig, distance: Any) -> None:
        super().__init__(config, 1)
        self.distance, self.num_points = distance, 0

    def forward(self, planes: Any, points: Any) -> Any:
        self.num_points += points.shape[1]
        top = 40.0 if self.config.density == "softplus" else 4.7
        return (top - 300.0 * self.distance(points)).clamp(-12.0, top), 0.5 + 0.5 * torch.sin(3.0 * points)


def ball(points: Any) -> Any:
    return (points - torch.tensor([0.2, 0.0, 0.1])).norm(dim=-1) - 0.4


def ring(points: Any) -> Any:
    across = points[..., :2].norm(dim=-1) - 0.6
    return torch.hypot(across, points[..., 2]) - 0.06


def plate(points: Any) -> Any:
    """Two cells thick."""
    return torch.maximum(points[..., 2].abs() - 0.03, points[..., :2].abs().amax(dim=-1) - 0.7)


def view(field: Shape, config: RenderConfig, occupancy: Any = None) -> Any:
    pose = torch.from_numpy(look_at_origin((1.4, -1.2, 0.9)).astype(np.float32))
    intrinsics = torch.from_numpy(view_intrinsics(ViewConfig()).astype(np.float32))
    field.num_points = 0
    return render_view(field, PLANES, pose, intrinsics, (48, 48), config, occupancy=occupancy)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("shape", [ball, ring, plate], ids=lambda shape: shape.__name__)
def test_the_picture_is_that_of_asking_everywhere(kind: str, shape: Any) -> None:
    field_config, config = CONFIGS[kind]
    field = Shape(field_config, shape)
    dense = view(field, config)
    num_dense = field.num_points
    occupancy = find_occupancy(field, PLANES)
    found = view(field, config, occupancy)
    assert (dense.weight.max() > 0.95).item()
    assert (found.color - dense.color).abs().max() < BOUND
    assert (found.weight - dense.weight).abs().max() < BOUND
    # Importance samples crowd at the surface, where the field has to be asked.
    assert field.num_points < (0.25 if kind == "unit chord" else 0.75) * num_dense


def test_cells_of_the_shape_and_those_beside_them_are_occupied() -> None:
    occupancy = find_occupancy(Shape(FieldConfig(), ball), PLANES, num_cells=32)
    assert occupancy.is_occupied.shape == (32, 32, 32)
    middles = (torch.arange(32) + 0.5) / 16.0 - 1.0
    z, y, x = torch.meshgrid(middles, middles, middles, indexing="ij")
    distance = ball(torch.stack([x, y, z], dim=-1))
    assert occupancy.is_occupied[distance < 0.0].all()
    assert not occupancy.is_occupied[distance > 0.35].any()
    assert occupancy.occupied_share < 0.2


def test_what_is_read_is_exact_where_there_is_anything_and_close_elsewhere() -> None:
    field = Shape(FieldConfig(), ball)
    occupancy = find_occupancy(field, PLANES)
    points = torch.rand(1, 5000, 3, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0
    raw, color = occupancy.read(field, PLANES, points)
    wanted_raw, wanted_color = field(PLANES, points)
    is_near = ball(points)[0] < 0.02
    torch.testing.assert_close(raw[0, is_near], wanted_raw[0, is_near])
    torch.testing.assert_close(color[0, is_near], wanted_color[0, is_near])
    assert (field.density(raw) - field.density(wanted_raw)).abs().max() < 1e-2
    assert (color - wanted_color).abs().max() < 1e-2


def test_finding_it_can_be_stopped() -> None:
    shares: list[float] = []

    def stop(share: float) -> None:
        shares.append(share)
        if len(shares) == 2:
            raise InterruptedError

    field = Shape(FieldConfig(), ball)
    with pytest.raises(InterruptedError):
        find_occupancy(field, PLANES, on_piece=stop)
    assert shares[0] == 0.0 < shares[1] < 1.0
    assert field.num_points == 16384


def test_an_empty_field_and_a_solid_one_are_rendered_too() -> None:
    config = RenderConfig(16, 0)
    for shape in (lambda points: 0.0 * points[..., 0] + 1.0, lambda points: 0.0 * points[..., 0] - 1.0):
        field = Shape(FieldConfig(), shape)
        dense = view(field, config)
        occupancy = find_occupancy(field, PLANES, num_cells=8)
        assert occupancy.occupied_share in (0.0, 1.0)
        torch.testing.assert_close(view(field, config, occupancy).color, dense.color, atol=1e-3, rtol=0.0)
