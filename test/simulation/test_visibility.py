"""The share of an object that is seen equals what separate pictures of it say."""

from __future__ import annotations

import numpy as np

from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.simulation.meshes import Finish, box, ellipsoid
from lift3d_ros.simulation.renderer import Item, Renderer
from lift3d_ros.simulation.visibility import full_pixels, shares, visible_pixels
from lift3d_ros.types import CameraModel

OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
T_WORLD_CAM = make_transform(OPTICAL, [0.0, 0.0, 1.5])
MODEL = CameraModel("c", "c", 320, 180, np.array([[250.0, 0.0, 171.0], [0.0, 250.0, 85.0], [0.0, 0.0, 1.0]]))
GREY = Finish((128, 128, 128))


def test_full_counts_equal_those_of_pictures_of_each_object_alone(renderer: Renderer) -> None:
    rng = np.random.default_rng(3)
    meshes = [
        renderer.add(box([0, 0, 0], [4, 2, 1.6], GREY)),
        renderer.add(ellipsoid([0, 0, 0], [0.5, 0.6, 0.9], GREY)),
    ]
    items = []
    for i in range(14):
        at = [float(rng.uniform(2, 40)), float(rng.uniform(-15, 15)), float(rng.uniform(0, 2))]
        items.append(Item(meshes[i % 2], make_transform(np.eye(3), at), 1 + i // 2 * 2 % 12))
    full = full_pixels(renderer, MODEL, T_WORLD_CAM, items, 12)
    for instance in range(1, 13):
        own = [item for item in items if item.instance == instance]
        alone = renderer.render(MODEL, T_WORLD_CAM, own).instances
        # Some drivers round a pixel on an edge to the other side.
        assert abs(full[instance] - np.count_nonzero(alone == instance)) <= 2
    assert full[0] == 0
    assert (full > 100).sum() > 4
    for number in meshes:
        renderer.remove(number)


def test_an_object_half_behind_a_wall_is_half_seen(renderer: Renderer) -> None:
    thing, wall = (
        renderer.add(box([20, 0, 1.5], [0.1, 4, 2], GREY)),
        renderer.add(box([10, -5, 1.5], [0.1, 10, 8], GREY)),
    )
    items = [Item(thing, np.eye(4), 1), Item(wall, np.eye(4))]
    view = renderer.render(MODEL, T_WORLD_CAM, items)
    seen = shares(visible_pixels(view.instances, 2), full_pixels(renderer, MODEL, T_WORLD_CAM, items, 2))
    assert abs(seen[1] - 0.5) < 0.02
    assert seen[2] == 0.0
    renderer.remove(thing)
    renderer.remove(wall)
