"""Rays see what lies in front of them, the same each time, whatever else is rendered with them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.models.lrm.cameras import look_at_origin, view_intrinsics  # noqa: E402
from lift3d_ros.models.lrm.config import FieldConfig, RenderConfig, ViewConfig, preset  # noqa: E402
from lift3d_ros.models.lrm.field import TriplaneField, sample_planes  # noqa: E402
from lift3d_ros.models.lrm.rays import cross_cube, pixel_rays  # noqa: E402
from lift3d_ros.models.lrm.renderer import RayJitter, importance_depths, render_rays, render_view  # noqa: E402

PLANES = torch.zeros(1, 3, 4, 8, 8)
FINE = RenderConfig(128, 64)
UNIT = RenderConfig(128, 0, "unit_chord", shrinks_cube=0.001, shortest_chord=0.01)


class Analytic(TriplaneField):
    """A field of one colour whose raw density is a function of the place."""

    def __init__(self, raw: Any, color: tuple[float, float, float] = (0.2, 0.4, 0.6)) -> None:
        super().__init__(FieldConfig(), 1)
        self.raw, self.color = raw, torch.tensor(color)

    def forward(self, planes: Any, points: Any) -> Any:
        return self.raw(points), self.color.expand(points.shape)


def fog(density: float) -> Analytic:
    raw = math.log(math.expm1(density)) + 1.0
    return Analytic(lambda points: torch.full(points.shape[:-1], raw))


def wall(x: float) -> Analytic:
    """Opaque beyond a plane."""
    return Analytic(lambda points: torch.where(points[..., 0] > x, 500.0, -500.0))


def rays(origin: Any, directions: Any) -> tuple[Any, Any]:
    directions = torch.nn.functional.normalize(torch.tensor(directions), dim=-1)[None]
    return torch.tensor(origin).expand_as(directions), directions


def test_fog_weighs_what_its_chord_says() -> None:
    origins, directions = rays([-3.0, 0.1, 0.2], [[1.0, 0.0, 0.0], [1.0, 0.1, 0.05]])
    near, far = cross_cube(origins, directions, 1.0)
    found = render_rays(fog(0.7), PLANES, origins, directions, FINE)
    torch.testing.assert_close(found.weight, 1.0 - torch.exp(-0.7 * (far - near)), rtol=0.02, atol=0.0)
    color = torch.tensor([0.2, 0.4, 0.6]) * found.weight[..., None] + 1.0 - found.weight[..., None]
    torch.testing.assert_close(found.color, color)


def test_importance_samples_find_a_wall() -> None:
    origins, directions = rays([-3.0, 0.1, 0.2], [[1.0, 0.0, 0.0]])
    coarse = render_rays(wall(0.3), PLANES, origins, directions, RenderConfig(16, 0))
    fine = render_rays(wall(0.3), PLANES, origins, directions, RenderConfig(16, 32))
    assert abs(float(fine.depth) - 3.3) < 0.02 < abs(float(coarse.depth) - 3.3)
    assert float(fine.weight) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("config", [FINE, UNIT], ids=["neighbour means", "unit chord"])
def test_rays_that_miss_see_the_background_alone(config: RenderConfig) -> None:
    origins, directions = rays([-3.0, 0.0, 0.0], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    background = torch.tensor([0.1, 0.5, 0.9])
    found = render_rays(fog(3.0), PLANES, origins, directions, config, background)
    assert found.hits_cube[0].tolist() == [True, False, False, False]
    torch.testing.assert_close(found.color[0, 1:], background.expand(3, 3))
    assert found.weight[0, 1:].tolist() == [0.0, 0.0, 0.0]
    assert found.depth[0, 1:].isnan().all()


def test_a_camera_inside_does_not_see_what_is_behind_it() -> None:
    origins, directions = rays([0.5, 0.0, 0.0], [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    found = render_rays(wall(0.6), PLANES, origins, directions, FINE)
    assert float(found.weight[0, 0]) == 0.0
    assert float(found.weight[0, 1]) > 0.99


@pytest.mark.parametrize("config", [FINE, UNIT], ids=["neighbour means", "unit chord"])
def test_rays_along_faces_and_axes_give_numbers(config: RenderConfig) -> None:
    origins, directions = rays([-3.0, 1.0, 0.0], [[1.0, 0.0, 0.0], [1.0, 1e-9, 0.0], [1.0, -0.2, 0.0]])
    found = render_rays(fog(3.0), PLANES, origins, directions, config)
    assert torch.isfinite(found.color).all()
    assert torch.isfinite(found.weight).all()


def test_what_is_behind_something_opaque_weighs_nothing() -> None:
    """Sums of very different optical depths must not lose the small ones before the large."""

    def raw(points: Any) -> Any:
        return torch.where(points[..., 0] > 0.0, 1e20, 2.0)

    origins, directions = rays([-3.0, 0.0, 0.0], [[1.0, 0.0, 0.0]])
    found = render_rays(Analytic(raw), PLANES, origins, directions, RenderConfig(64, 0))
    assert float(found.weight) == pytest.approx(1.0, abs=1e-6)


def real_field() -> tuple[TriplaneField, Any]:
    torch.manual_seed(0)
    field = TriplaneField(FieldConfig(), 4)
    for layer in field.layers:
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=2.0 / layer.in_features**0.5)
    return field, torch.randn(2, 3, 4, 8, 8)


def test_without_random_numbers_the_result_is_the_same_each_time() -> None:
    field, planes = real_field()
    origins, directions = rays([-3.0, 0.1, 0.2], [[1.0, 0.0, 0.0], [1.0, 0.1, 0.05]])
    first, second = (render_rays(field, planes[:1], origins, directions, FINE) for _ in range(2))
    assert torch.equal(first.color, second.color)


def test_random_places_follow_their_seed() -> None:
    field, planes = real_field()
    origins, directions = rays([-3.0, 0.1, 0.2], [[1.0, 0.0, 0.0], [1.0, 0.1, 0.05]])
    config = RenderConfig(16, 16)
    colors = [
        render_rays(
            field,
            planes[:1],
            origins,
            directions,
            config,
            jitter=RayJitter.draw(1, 2, config, torch.Generator().manual_seed(seed)),
        ).color
        for seed in (1, 1, 2)
    ]
    assert torch.equal(colors[0], colors[1])
    assert not torch.equal(colors[0], colors[2])


def test_an_object_does_not_depend_on_those_rendered_with_it() -> None:
    field, planes = real_field()
    near, far = rays([-3.0, 0.1, 0.2], [[1.0, 0.0, 0.0]]), rays([-9.0, 0.1, 0.2], [[0.0, 1.0, 0.0]])
    origins, directions = (torch.cat(parts) for parts in zip(near, far, strict=True))
    together = render_rays(field, planes, origins, directions, FINE)
    alone = render_rays(field, planes[:1], *near, FINE)
    torch.testing.assert_close(together.color[:1], alone.color)
    torch.testing.assert_close(together.depth[:1], alone.depth)


def test_gradients_stay_finite_where_the_field_is_opaque_and_where_rays_miss() -> None:
    for name in ("lift3d-lrm-tiny", "triposr"):
        config = preset(name)
        assert config is not None
        field = TriplaneField(config.field, 4, config.view)
        with torch.no_grad():
            field.layers[-1].bias[0] = 95.0  # beyond what exp can hold
        planes = torch.randn(1, 3, 4, 8, 8, requires_grad=True)
        origins, directions = rays([-3.0, 0.0, 0.0], [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        found = render_rays(field, planes, origins, directions, config.render)
        (found.color.sum() + found.weight.sum()).backward()
        assert torch.isfinite(planes.grad).all()
        assert all(torch.isfinite(parameter.grad).all() for parameter in field.parameters())


def test_a_picture_is_the_same_in_pieces_of_any_size() -> None:
    field, planes = real_field()
    pose = torch.tensor(look_at_origin((-1.0, -2.0, 0.5))).float()
    intrinsics = torch.tensor(view_intrinsics(ViewConfig())).float()
    whole = render_view(field, planes[:1], pose, intrinsics, (6, 8), RenderConfig(12, 12))
    pieces = render_view(field, planes[:1], pose, intrinsics, (6, 8), RenderConfig(12, 12), rays_at_once=7)
    assert whole.color.shape == (6, 8, 3)
    assert whole.depth.shape == whole.weight.shape == whole.hits_cube.shape == (6, 8)
    torch.testing.assert_close(whole.color, pieces.color, rtol=1e-4, atol=1e-5)


def test_the_middle_pixel_looks_at_the_object_and_pictures_are_upright() -> None:
    pose = torch.tensor(look_at_origin((0.0, -2.0, 0.0))).float()[None]
    origins, directions = pixel_rays(pose, torch.tensor(view_intrinsics(ViewConfig())).float()[None], (3, 3))
    middle, above, right = (directions[0, index] for index in (4, 1, 5))
    torch.testing.assert_close(middle, torch.tensor([0.0, 1.0, 0.0]))
    assert above[2] > 0.2
    assert right[0] > 0.2
    torch.testing.assert_close(origins[0, 0], torch.tensor([0.0, -2.0, 0.0]))


def test_planes_are_read_along_their_axes_and_empty_outside() -> None:
    planes = torch.zeros(1, 3, 1, 4, 4)
    planes[0, 0, 0] = torch.arange(4.0).expand(4, 4)  # grows along columns
    points = torch.tensor([[[-0.75, 0.0, 0.0], [0.75, 0.9, -0.3], [0.25, 0.0, 0.0], [3.0, 0.0, 0.0]]])
    found = sample_planes(planes, points, ((0, 1), (0, 2), (2, 1)))[0, 0, :, 0]
    torch.testing.assert_close(found[[0, 2, 3]], torch.tensor([0.0, 2.0, 0.0]))
    turned = sample_planes(planes, points.flip(-1), ((2, 1), (0, 2), (2, 1)))[0, 0, :, 0]
    torch.testing.assert_close(turned, found)


def test_importance_samples_are_sorted_finite_and_within_the_ray() -> None:
    depths = torch.linspace(1.0, 2.0, 9).expand(3, 9)
    weights = torch.zeros(3, 8)
    weights[1, 3], weights[2] = 1.0, torch.rand(8)
    found = importance_depths(depths, weights, torch.linspace(0.0, 1.0, 11))
    assert torch.isfinite(found).all()
    assert (found.diff(dim=-1) >= 0).all()
    assert float(found.min()) >= 1.0
    assert float(found.max()) <= 2.0
    assert np.ptp(found[1].numpy()[2:-2]) < np.ptp(found[0].numpy()[2:-2])
