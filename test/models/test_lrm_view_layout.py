"""Our small model: planes that start from the picture, a field laid out as the view, and its loss at points."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.geometry.rigid import invert, transform_points  # noqa: E402
from lift3d_ros.models.lrm.cameras import orbit  # noqa: E402
from lift3d_ros.models.lrm.config import FieldConfig, ViewConfig, preset  # noqa: E402
from lift3d_ros.models.lrm.field import TriplaneField  # noqa: E402
from lift3d_ros.models.lrm.losses import occupancy_loss  # noqa: E402
from lift3d_ros.models.lrm.network import Lrm, build_lrm  # noqa: E402


@pytest.fixture(scope="module")
def tiny() -> Lrm:
    config = preset("lift3d-lrm-tiny")
    assert config is not None
    return build_lrm(config, seed=0)


def test_the_front_plane_starts_from_what_the_picture_shows_there(tiny: Lrm) -> None:
    """The picture's top left shows at the left and, as rows of planes go up, in the last rows of the front plane."""
    assert tiny.decoder.picture_start is not None
    picture = torch.zeros(1, 65, 192)
    with torch.inference_mode():
        plain = tiny.decoder.picture_start(torch.zeros(1, 192, 192), picture)
        picture[0, 1] = 1.0  # the first patch
        changed = tiny.decoder.picture_start(torch.zeros(1, 192, 192), picture) - plain
    top, front, side = changed.abs().sum(dim=-1).reshape(3, 8, 8)
    assert torch.equal(front.nonzero(), torch.tensor([[7, 0]]))
    assert torch.equal(top[:, 1:], torch.zeros(8, 7))  # columns of the top plane go right
    assert (top[:, 0] > 0).all()
    assert torch.equal(side[:, :7], torch.zeros(8, 7))  # columns of the side plane go up
    assert (side[:, 7] > 0).all()


def test_fine_detail_changes_its_place_of_the_front_plane_most(tiny: Lrm) -> None:
    assert tiny.detail is not None
    images = torch.zeros(1, 3, 128, 128)
    with torch.inference_mode():
        plain = tiny.detail(images)
        images[0, :, 10:12, 100:102] = 3.0
        changed = (tiny.detail(images) - plain).abs().sum(dim=1)[0]
    assert changed.shape == (64, 64)
    row, column = divmod(int(changed.argmax()), 64)
    assert abs(row - (63 - 5)) <= 2
    assert abs(column - 50) <= 2


def test_planes_that_do_not_divide_the_picture_are_refused(tiny: Lrm) -> None:
    image = dataclasses.replace(tiny.config.image, side=144)
    with pytest.raises(ValueError, match="planes of 64 texels: expected a picture of a multiple of that, not of 144"):
        Lrm(dataclasses.replace(tiny.config, image=image))


def test_a_field_laid_out_as_a_view_is_read_where_the_camera_sees_a_point() -> None:
    view = ViewConfig(azimuth_deg=25.0, distance=1.8, focal=1.25)
    field = TriplaneField(FieldConfig(layout="view"), 4, view)
    pose = orbit([np.deg2rad(25.0)], 0.0, 1.8)[0]
    points = np.random.default_rng(0).uniform(-0.6, 0.6, (50, 3))
    seen = transform_points(invert(pose), points)
    places = field.places(torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(places[:, 0], 2.0 * 1.25 * seen[:, 0] / seen[:, 2], atol=1e-9)
    np.testing.assert_allclose(places[:, 1], seen[:, 2] - 1.8, atol=1e-9)
    np.testing.assert_allclose(places[:, 2], -2.0 * 1.25 * seen[:, 1] / seen[:, 2], atol=1e-9)
    with pytest.raises(ValueError, match="'view' is missing"):
        TriplaneField(FieldConfig(layout="view"), 4)


def test_the_surface_density_is_as_likely_inside_as_outside() -> None:
    for density in ("softplus", "exp"):
        field = TriplaneField(FieldConfig(density=density, surface_density=7.0), 4)
        raw = 1.0 + math.log(7.0) if density == "exp" else 1.0 + math.log(math.expm1(7.0))
        inside, weights = torch.tensor([[0.0, 1.0]]), torch.ones(1, 2)
        loss = occupancy_loss(field, torch.full((1, 2), raw), inside, weights)
        assert float(loss) == pytest.approx(math.log(2.0), abs=1e-5)
        assert float(occupancy_loss(field, torch.tensor([[-30.0, 90.0]]), inside, weights)) < 0.1
        none = occupancy_loss(field, torch.tensor([[90.0, raw]]), inside, torch.tensor([[0.0, 1.0]]))
        assert float(none) == pytest.approx(math.log(2.0), abs=1e-5)
