"""LiDAR points lie on the surfaces that they are said to lie on."""

from __future__ import annotations

import numpy as np

from lift3d_ros.geometry.rigid import make_transform, transform_points
from lift3d_ros.geometry.rotations import yaw_matrix
from lift3d_ros.simulation.lidar import scan
from lift3d_ros.simulation.meshes import Finish, box, quads
from lift3d_ros.simulation.renderer import Item, Renderer

GREY = Finish((128, 128, 128))


def test_points_lie_on_a_known_box_and_on_the_ground(renderer: Renderer) -> None:
    plane = renderer.add(quads([[[-99, -99, 0], [99, -99, 0], [99, 99, 0], [-99, 99, 0]]], GREY))
    car = renderer.add(box([0, 0, 0.8], [4, 2, 1.6], GREY))
    own = renderer.add(box([0, 0, 0.9], [4, 2, 1.7], GREY))
    T_world_car = make_transform(yaw_matrix(0.4), [9.0, 6.0, 0.0])
    T_world_lidar = make_transform(yaw_matrix(-1.1), [0.0, 0.0, 1.84])
    items = [Item(plane, np.eye(4)), Item(car, T_world_car, 5), Item(own, np.eye(4), is_visible=False)]
    turn = scan(renderer, T_world_lidar, items, np.random.default_rng(0))
    again = scan(renderer, T_world_lidar, items, np.random.default_rng(0))
    assert turn.points.tobytes() == again.points.tobytes()
    assert turn.points.shape == (len(turn.intensities), 3)
    assert len(turn.points) > 10_000
    in_world = transform_points(T_world_lidar, turn.points)
    on_car = transform_points(np.linalg.inv(T_world_car), in_world[turn.instances == 5])
    beyond = np.maximum(np.abs(on_car - [0, 0, 0.8]) - [2, 1, 0.8], 0).max(axis=1)
    inside = (np.array([2, 1, 0.8]) - np.abs(on_car - [0, 0, 0.8])).min(axis=1)
    assert len(on_car) > 100
    assert beyond.max() < 0.12
    assert inside.max() < 0.12
    ground = in_world[turn.instances == 0]
    assert np.abs(ground[:, 2]).max() < 0.08
    # All around, and nothing of the own vehicle, in whose middle the LiDAR stands.
    assert np.histogram(np.arctan2(ground[:, 1], ground[:, 0]), 12, (-np.pi, np.pi))[0].min() > 500
    for number in (plane, car, own):
        renderer.remove(number)


def test_wet_ground_returns_fewer_points(renderer: Renderer) -> None:
    plane = renderer.add(quads([[[-99, -99, 0], [99, -99, 0], [99, 99, 0], [-99, 99, 0]]], GREY))
    T_world_lidar = make_transform(np.eye(3), [0.0, 0.0, 1.84])
    dry, wet = (
        len(scan(renderer, T_world_lidar, [Item(plane, np.eye(4))], np.random.default_rng(0), wet=wet).points)
        for wet in (0.0, 1.0)
    )
    assert wet < 0.6 * dry
    renderer.remove(plane)
