"""Pictures, depth and instances are where the calibration says, and the same at every run."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lift3d_ros.geometry.rigid import invert, make_transform, transform_points
from lift3d_ros.geometry.rotations import rpy_matrix
from lift3d_ros.simulation.gl_context import RenderingError
from lift3d_ros.simulation.meshes import Finish, Material, Mesh, box, combine, placed, quads
from lift3d_ros.simulation.renderer import Item, Lighting, Renderer
from lift3d_ros.simulation.weather import Lamp
from lift3d_ros.types import CameraModel

OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
T_WORLD_CAM = make_transform(OPTICAL, [0.0, 0.0, 1.5])
GREY = Finish((128, 128, 128))
RED = Finish((255, 0, 0))


def camera(width: int = 200, height: int = 120, **changes: object) -> CameraModel:
    K = np.array([[150.0, 0.0, 121.3], [0.0, 160.0, 47.6], [0.0, 0.0, 1.0]])
    return CameraModel("test", "test", width, height, K, **changes)  # type: ignore[arg-type]


def ground(finish: Finish = GREY) -> Mesh:
    return quads([[[-200, -200, 0], [200, -200, 0], [200, 200, 0], [-200, 200, 0]]], finish)


def test_a_point_is_drawn_where_opencv_projects_it(renderer: Renderer) -> None:
    tilted = make_transform(rpy_matrix(0.1, -0.15, 0.2) @ OPTICAL, [1.0, -2.0, 1.3])
    points = transform_points(
        tilted, np.array([[-2.0, 0.5, 9.0], [1.2, -0.8, 6.0], [0.5, 1.5, 12.0], [3.0, 1.0, 15.0]])
    )
    ball = renderer.add(box([0, 0, 0], [0.1, 0.1, 0.1], RED))
    model = camera(800, 480)
    T_cam_world = invert(tilted)
    for at in points:
        view = renderer.render(model, tilted, [Item(ball, make_transform(np.eye(3), at), 1)])
        rvec = cv2.Rodrigues(T_cam_world[:3, :3])[0]
        expected = cv2.projectPoints(at[None], rvec, T_cam_world[:3, 3], model.intrinsics, None)[0].reshape(2)
        rows, columns = np.nonzero(view.instances == 1)
        middle = np.array([(columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2])
        assert np.abs(middle - expected).max() < 0.8
    renderer.remove(ball)


def test_depth_of_a_wall_is_its_distance_along_the_optical_axis(renderer: Renderer) -> None:
    wall = renderer.add(quads([[[17.0, -90, -90], [17.0, 90, -90], [17.0, 90, 90], [17.0, -90, 90]]], GREY))
    view = renderer.render(camera(), T_WORLD_CAM, [Item(wall, np.eye(4), 3)])
    assert np.allclose(view.depth, 17.0, rtol=1e-5)
    assert (view.instances == 3).all()
    depth, instances = renderer.render_truth(camera(), T_WORLD_CAM, [Item(wall, np.eye(4), 3)])
    assert np.allclose(depth, 17.0, rtol=1e-5)
    assert (instances == 3).all()
    renderer.remove(wall)


def test_depth_of_the_ground_follows_from_the_rays_of_the_samples(renderer: Renderer) -> None:
    number, model = renderer.add(ground()), camera()
    rows = np.arange(80, model.height)
    for depth, offset in (
        (renderer.render(model, T_WORLD_CAM, [Item(number, np.eye(4))]).depth, renderer.sample_offset_px),
        (renderer.render_truth(model, T_WORLD_CAM, [Item(number, np.eye(4))])[0], 0.0),
    ):
        expected = 1.5 * model.intrinsics[1, 1] / (rows + offset - model.intrinsics[1, 2])
        assert np.allclose(depth[80:], expected[:, None], rtol=1e-4)
    renderer.remove(number)


def test_what_is_not_hit_is_sky(renderer: Renderer) -> None:
    view = renderer.render(camera(), T_WORLD_CAM, [])
    assert np.isinf(view.depth).all()
    assert (view.instances == -1).all()
    depth, instances = renderer.render_truth(camera(), T_WORLD_CAM, [])
    assert np.isinf(depth).all()
    assert (instances == -1).all()


def test_the_same_scene_gives_the_same_bytes(renderer: Renderer) -> None:
    lamp = Lamp((0.0, 0.0, 3.0), (1.0, 0.8, 0.6), 10.0, (0.0, 0.0, -1.0), 1.0)
    meshes = [renderer.add(ground(Finish((110, 110, 110), Material.ASPHALT)))]
    meshes.append(renderer.add(combine([box([8, 1, 1], [3, 2, 2], Finish((90, 20, 30), m)) for m in Material])))
    items = [Item(meshes[0], np.eye(4)), Item(meshes[1], np.eye(4), 1, contact=(1.5, 1.0), lamps=(lamp,))]
    for lighting in (Lighting(), Lighting(sun_color=(0, 0, 0), lamps=1.0, wetness=0.8, lit_windows=0.3)):
        renderer.set_lighting(lighting)
        first = renderer.render(camera(), T_WORLD_CAM, items)
        renderer.render(camera(320, 100), T_WORLD_CAM, items[:1])
        again = renderer.render(camera(), T_WORLD_CAM, items)
        assert first.light.tobytes() == again.light.tobytes()
        assert first.depth.tobytes() == again.depth.tobytes()
        assert first.rgb.std() > 5
    renderer.set_lighting(Lighting())
    for number in meshes:
        renderer.remove(number)


def test_a_texture_is_upright(renderer: Renderer) -> None:
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[:128, :128] = 255, 0, 0  # top left
    picture[:128, 128:] = 0, 255, 0
    picture[128:, :128] = 0, 0, 255
    # A board before the camera: its left is +y, its top is +z; u runs to the right and v up.
    corners = np.array([[9, 3, -1.5], [9, -3, -1.5], [9, -3, 4.5], [9, 3, 4.5]], dtype=float)
    plain = quads([corners], Finish((255, 255, 255)))
    uvs = np.array([[0, 0], [1, 0], [1, 1], [0, 0], [1, 1], [0, 1]], dtype=np.float32)
    board = renderer.add(Mesh(plain.positions, plain.normals, plain.colors, picture, uvs))
    K = np.array([[100.0, 0.0, 49.5], [0.0, 100.0, 49.5], [0.0, 0.0, 1.0]])
    rgb = renderer.render(CameraModel("c", "c", 100, 100, K), T_WORLD_CAM, [Item(board, np.eye(4))]).rgb.astype(int)
    for (row, column), channel in {(35, 35): 0, (35, 65): 1, (65, 35): 2}.items():
        others = [c for c in range(3) if c != channel]
        assert rgb[row, column, channel] > rgb[row, column, others].max() + 60
    assert rgb[65, 65].max() < 60
    renderer.remove(board)


def test_corners_outside_the_texture_keep_their_colour_when_meshes_are_combined(renderer: Renderer) -> None:
    blue = np.full((256, 256, 3), (0, 0, 255), np.uint8)
    plain = box([9, 2, 1.5], [1, 2, 2], Finish((255, 255, 255)))
    textured = Mesh(plain.positions, plain.normals, plain.colors, blue, np.full((len(plain.positions), 2), 0.5, "f4"))
    both = renderer.add(combine([textured, box([9, -2, 1.5], [1, 2, 2], RED)]))
    K = np.array([[100.0, 0.0, 49.5], [0.0, 100.0, 49.5], [0.0, 0.0, 1.0]])
    rgb = renderer.render(CameraModel("c", "c", 100, 100, K), T_WORLD_CAM, [Item(both, np.eye(4))]).rgb
    assert rgb[50, 26].argmax() == 2
    assert rgb[50, 74].argmax() == 0
    renderer.remove(both)


def test_meshes_can_be_replaced_many_times(renderer: Renderer) -> None:
    K = np.array([[100.0, 0.0, 49.5], [0.0, 100.0, 49.5], [0.0, 0.0, 1.0]])
    plain = box([9, 0, 1.5], [1, 4, 4], Finish((255, 255, 255)))
    uvs = np.full((len(plain.positions), 2), 0.5, np.float32)
    held = []
    for shade in range(40, 120):  # more textures than fit at first
        texture = np.full((256, 256, 3), shade, np.uint8)
        held.append(renderer.add(Mesh(plain.positions, plain.normals, plain.colors, texture, uvs)))
    first = renderer.render(CameraModel("c", "c", 100, 100, K), T_WORLD_CAM, [Item(held[0], np.eye(4))]).rgb
    last = renderer.render(CameraModel("c", "c", 100, 100, K), T_WORLD_CAM, [Item(held[-1], np.eye(4))]).rgb
    assert last[50, 50].mean() > first[50, 50].mean() + 30
    for number in held:
        renderer.remove(number)


def test_things_cast_shadows_and_shared_shadows_fall_at_the_same_place(renderer: Renderer) -> None:
    plane, block = renderer.add(ground()), renderer.add(box([0, 0, 1], [2, 2, 2], GREY))
    renderer.set_lighting(Lighting(sun_azimuth=np.pi / 2, sun_elevation=0.8, fog=0.0))
    look_down = make_transform(np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]), [0.0, 0.0, 20.0])
    K = np.array([[200.0, 0.0, 99.5], [0.0, 200.0, 99.5], [0.0, 0.0, 1.0]])
    model = CameraModel("c", "c", 200, 200, K)
    items = [Item(plane, np.eye(4)), Item(block, np.eye(4), 1)]
    alone = renderer.render(model, look_down, items).light
    renderer.begin_frame(np.eye(4), items)
    shared = renderer.render(model, look_down, items).light
    # The sun stands at +y, on the left of the picture: the shadow lies on the right.
    right, left = (round(99.5 + 10 * side * 1.8) for side in (1, -1))
    assert alone[100, right].mean() < 0.6 * alone[100, left].mean()
    assert np.abs(alone - shared).mean() < 0.02
    hidden = [items[0], Item(block, np.eye(4), 1, is_visible=False)]
    unseen = renderer.render(model, look_down, hidden)
    assert (unseen.instances == 0).all()
    assert unseen.light[100, right].mean() < 0.6 * alone[100, left].mean()
    renderer.set_lighting(Lighting())
    renderer.remove(plane)
    renderer.remove(block)


def test_lamps_light_the_ground_below_them_only_when_they_are_on(renderer: Renderer) -> None:
    plane = renderer.add(ground(Finish((110, 110, 110), Material.ASPHALT)))
    lamp = Lamp((12.0, 0.0, 5.0), (1.0, 0.7, 0.4), 14.0, (0.0, 0.0, -1.0), 1.2)
    model = camera()
    item = Item(plane, np.eye(4), lamps=(lamp,))
    pixel = (int(model.intrinsics[1, 2] + 160 * 1.5 / 12), round(model.intrinsics[0, 2]))
    light = {}
    for strength in (0.0, 1.0):
        renderer.set_lighting(Lighting(sun_color=(0, 0, 0), ambient_sky=(0.01,) * 3, lamps=strength))
        light[strength] = renderer.render(model, T_WORLD_CAM, [item]).light[pixel]
    assert light[1.0].mean() > 3 * light[0.0].mean()
    assert light[1.0][0] > 1.5 * light[1.0][2]
    renderer.set_lighting(Lighting())
    renderer.remove(plane)


def test_marks_lie_on_the_ground_without_flicker(renderer: Renderer) -> None:
    plane = renderer.add(ground())
    mark = renderer.add(quads([[[3, -2, 0], [60, -2, 0], [60, 2, 0], [3, 2, 0]]], RED))
    view = renderer.render(camera(), T_WORLD_CAM, [Item(mark, np.eye(4), mark_layer=1), Item(plane, np.eye(4))])
    red = view.light[..., 0] > 2 * view.light[..., 2]
    column = red[55:, round(camera().intrinsics[0, 2])]
    assert column.mean() > 0.97
    renderer.remove(plane)
    renderer.remove(mark)


def test_a_distorted_camera_is_refused_by_name(renderer: Renderer) -> None:
    model = camera(distortion_model="plumb_bob", distortion=np.array([0.1, 0.0, 0.0, 0.0]))
    with pytest.raises(RenderingError, match=r"camera 'test'.*plumb_bob.*Lens"):
        renderer.render(model, T_WORLD_CAM, [])


def test_a_texture_of_another_size_is_refused(renderer: Renderer) -> None:
    plain = placed(box([0, 0, 0], [1, 1, 1], GREY), [0, 0, 0])
    uvs = np.zeros((len(plain.positions), 2), np.float32)
    with pytest.raises(ValueError, match="expected \\(256, 256, 3\\)"):
        renderer.add(Mesh(plain.positions, plain.normals, plain.colors, np.zeros((64, 64, 3), np.uint8), uvs))
