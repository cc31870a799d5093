"""The network in stages gives what it gives as a whole, and tells how far it is."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from lift3d_ros.models.lrm.cameras import look_at_origin, view_intrinsics  # noqa: E402
from lift3d_ros.models.lrm.config import preset  # noqa: E402
from lift3d_ros.models.lrm.network import Lrm, build_lrm  # noqa: E402
from lift3d_ros.models.lrm.renderer import render_view  # noqa: E402
from lift3d_ros.models.lrm.stages import PictureToPlanes, PointsToField, render_bands  # noqa: E402


@pytest.fixture(scope="module")
def tiny() -> Lrm:
    config = preset("lift3d-lrm-tiny")
    assert config is not None
    return build_lrm(config, seed=0)


def test_stages_give_what_the_network_gives(tiny: Lrm) -> None:
    stage, shares = PictureToPlanes(tiny), []
    stage.on_layer = shares.append
    image, camera = torch.rand(1, 3, 128, 128) * 255.0, torch.zeros(1, 16)
    with torch.inference_mode():
        (planes,) = stage(image, camera)
        assert len(shares) > 50
        assert shares == sorted(shares)
        stage.on_layer = lambda share: None
        assert torch.equal(planes, tiny(image))
        points = torch.rand(1, 9, 3)
        density, color = PointsToField(tiny.field)(planes, points)
        expected = tiny.field.query(planes, points)
    assert torch.equal(density, expected[0])
    assert torch.equal(color, expected[1])


def test_bands_make_the_whole_picture(tiny: Lrm) -> None:
    rng = np.random.default_rng(0)
    planes = rng.standard_normal((1, 3, 24, 64, 64)).astype(np.float32)
    pose, intrinsics = look_at_origin((1.0, -1.5, 0.5)), view_intrinsics(tiny.config.view)
    bands = list(render_bands(tiny.field, planes, pose, intrinsics, 20, tiny.config.render, rays_at_once=130))
    assert [len(band) for band in bands] == [6, 6, 6, 2]
    whole = render_view(
        tiny.field,
        torch.from_numpy(planes),
        torch.from_numpy(pose).float(),
        torch.from_numpy(intrinsics).float(),
        (20, 20),
        tiny.config.render,
    )
    np.testing.assert_allclose(np.concatenate(bands), whole.color.numpy(), atol=1e-5)
