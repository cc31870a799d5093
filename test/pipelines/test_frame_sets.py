"""Frame sets carry exact projections, and say which camera lacks what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lift3d_ros.errors import CalibrationError
from lift3d_ros.geometry.project import project_points
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.pipelines.bev_detection import BevDetector
from lift3d_ros.pipelines.frame_sets import EGO_STREAM, FrameSetAssembler, SyncConfig, camera_collector
from lift3d_ros.types import FrameSet

MS = 1_000_000
REFERENCE_NS = 500 * MS
CAPTURE_NS = 430 * MS


def make_tree(vehicle: Any, *, first_ms: int = 0, mounted: tuple[str, ...] = ("front", "back")) -> TransformTree:
    """The drive of the vehicle from `first_ms` to 600 ms, every 10 ms."""
    tree = TransformTree()
    for stamp_ms in range(first_ms, 601, 10):
        tree.add("odom", "base_link", stamp_ms * MS, vehicle.T_world_base(stamp_ms * MS))
    for name in mounted:
        tree.add("base_link", f"{name}_optical", 0, vehicle.T_base_cam[name], is_static=True)
    return tree


def assemble(
    vehicle: Any,
    tree: TransformTree,
    *,
    world_frame: str | None = "odom",
    calibrated: tuple[str, ...] = ("front", "back"),
    stamps_ns: dict[str, int] | None = None,
    **options: Any,
) -> FrameSet:
    stamps_ns = {"front": REFERENCE_NS, "back": CAPTURE_NS} if stamps_ns is None else stamps_ns
    images = {name: vehicle.image(name, stamp_ns) for name, stamp_ns in stamps_ns.items()}
    models = {name: vehicle.model(name) for name in calibrated}
    assembler = FrameSetAssembler(tree, "base_link", world_frame, **options)
    return assembler.assemble(REFERENCE_NS, images, models, vehicle.cameras)


def test_each_camera_is_projected_from_where_the_vehicle_was_when_it_fired(vehicle: Any) -> None:
    frame_set = assemble(vehicle, make_tree(vehicle))
    assert frame_set.problems == ()
    expected = (
        np.linalg.inv(vehicle.T_base_cam["back"])
        @ np.linalg.inv(vehicle.T_world_base(CAPTURE_NS))
        @ vehicle.T_world_base(REFERENCE_NS)
    )
    np.testing.assert_allclose(frame_set.views["back"].T_cam_reference, expected, atol=1e-9)
    # 70 ms at 10 m/s: the difference is not small.
    at_rest = np.linalg.inv(vehicle.T_base_cam["back"])
    assert np.abs(expected - at_rest).max() > 0.6
    np.testing.assert_allclose(
        frame_set.views["front"].T_cam_reference, np.linalg.inv(vehicle.T_base_cam["front"]), atol=1e-9
    )


def test_the_velocity_of_the_vehicle_comes_from_its_last_poses(vehicle: Any) -> None:
    """10 m/s on a circle of 10 m radius to the left: one radian a second."""
    ego = assemble(vehicle, make_tree(vehicle)).ego
    assert ego is not None
    np.testing.assert_allclose(ego.linear_velocity, [10.0, 0.0, 0.0], atol=0.01)
    np.testing.assert_allclose(ego.angular_velocity, [0.0, 0.0, 1.0], atol=1e-6)
    # The drive is known for less than a tenth of a second before the pictures.
    at_start = assemble(vehicle, make_tree(vehicle, first_ms=420)).ego
    assert at_start is not None
    assert at_start.linear_velocity is None


def test_a_thing_in_the_world_lands_on_the_pixel_where_its_camera_saw_it(
    detector: Callable[..., BevDetector], vehicle: Any
) -> None:
    """Network input pixels, computed by hand: the thing seen from the pose at capture, then scaled by two."""
    prepared = detector().prepare(assemble(vehicle, make_tree(vehicle)))
    thing_in_world = vehicle.T_world_base(CAPTURE_NS) @ [-12.0, 2.0, 0.5, 1.0]
    x, y, depth = (np.linalg.inv(vehicle.T_base_cam["back"]) @ [-12.0, 2.0, 0.5, 1.0])[:3]
    u, v = 220.0 * x / depth + 175.5, 220.0 * y / depth + 70.5
    scale, cropped_rows = 704 / 352, 320 - 256  # rows above the network input are cut off
    expected = [scale * (u + 0.5) - 0.5, scale * (v + 0.5) - 0.5 - cropped_rows]
    thing_now = np.linalg.inv(vehicle.T_world_base(REFERENCE_NS)) @ thing_in_world
    pixels, depths = project_points(prepared.inputs["image_from_model"][1].astype(np.float64), thing_now[:3])
    np.testing.assert_allclose(pixels[0], expected, atol=1e-3)
    assert depths[0] == pytest.approx(12.0, abs=1e-4)


def test_the_known_offset_of_a_camera_shifts_its_capture_time(vehicle: Any) -> None:
    """A driver that stamps 70 ms late: the picture stamped 500 ms was taken at 430 ms."""
    late = assemble(vehicle, make_tree(vehicle), stamps_ns={"back": CAPTURE_NS + 70 * MS}, offsets_s={"back": 0.07})
    exact = assemble(vehicle, make_tree(vehicle), stamps_ns={"back": CAPTURE_NS})
    np.testing.assert_allclose(late.views["back"].T_cam_reference, exact.views["back"].T_cam_reference, atol=1e-12)
    assert late.views["back"].capture_ns == exact.views["back"].capture_ns == CAPTURE_NS


def test_compensation_can_be_switched_off(vehicle: Any) -> None:
    frame_set = assemble(vehicle, make_tree(vehicle), compensate_ego_motion=False)
    np.testing.assert_array_equal(frame_set.views["back"].T_reference_capture, np.eye(4))
    assert frame_set.ego is not None, "memory still needs ego motion"


def test_a_camera_without_calibration_is_left_out_and_named(vehicle: Any) -> None:
    frame_set = assemble(vehicle, make_tree(vehicle), calibrated=("front",))
    assert (list(frame_set.views), frame_set.missing) == (["front"], ("back",))
    (problem,) = frame_set.problems
    assert problem.startswith("camera 'back': no calibration received for topic '/back/image/compressed'")
    assert "rig file" in problem


def test_a_camera_without_mounting_is_left_out_and_named(vehicle: Any) -> None:
    frame_set = assemble(vehicle, make_tree(vehicle, mounted=("front",)))
    assert (list(frame_set.views), frame_set.missing) == (["front"], ("back",))
    (problem,) = frame_set.problems
    assert problem.startswith("camera 'back': frame 'back_optical' is not known; did you mean 'front_optical'?")


@pytest.mark.parametrize("mounted", [("front",), ("front", "back")])
def test_the_mounting_of_the_rig_file_holds_whatever_the_transforms_say(vehicle: Any, mounted: tuple[str, ...]) -> None:
    of_rig = make_transform(np.eye(3), [9.0, 0.0, 1.5])
    frame_set = assemble(vehicle, make_tree(vehicle, mounted=mounted), mountings={"front": None, "back": of_rig})
    np.testing.assert_array_equal(frame_set.views["back"].T_base_cam, of_rig)
    np.testing.assert_allclose(frame_set.views["front"].T_base_cam, vehicle.T_base_cam["front"])
    assert frame_set.problems == ()


def test_a_set_without_usable_camera_is_refused_with_every_reason(vehicle: Any) -> None:
    with pytest.raises(CalibrationError, match=r"camera 'front': frame .* is not known.*camera 'back': no calibration"):
        assemble(vehicle, make_tree(vehicle, mounted=()), calibrated=("front",))


def test_without_odometry_the_set_says_so_and_goes_on(vehicle: Any) -> None:
    frame_set = assemble(vehicle, make_tree(vehicle, first_ms=590))
    assert frame_set.ego is None
    (problem,) = frame_set.problems
    assert "no ego motion" in problem
    assert "0.090 s older than the samples of 'odom' -> 'base_link'" in problem
    np.testing.assert_array_equal(frame_set.views["back"].T_reference_capture, np.eye(4))
    no_odometry_at_all = assemble(vehicle, make_tree(vehicle), world_frame=None)
    assert no_odometry_at_all.ego is None
    assert no_odometry_at_all.problems == ()


def test_a_camera_that_fired_before_the_first_pose_is_used_and_named(vehicle: Any) -> None:
    frame_set = assemble(vehicle, make_tree(vehicle, first_ms=450))
    assert list(frame_set.views) == ["front", "back"]
    (problem,) = frame_set.problems
    assert problem.startswith("camera 'back': used as if it had fired at the reference stamp: transform")


def test_a_camera_that_delivered_nothing_is_missing_without_a_problem(vehicle: Any) -> None:
    frame_set = assemble(vehicle, make_tree(vehicle), stamps_ns={"front": REFERENCE_NS})
    assert (frame_set.missing, frame_set.problems) == (("back",), ())


def test_sets_wait_for_the_pose_that_covers_them(vehicle: Any) -> None:
    collector = camera_collector({"front": 0.0, "back": 0.07}, SyncConfig(), has_ego_motion=True)
    assert collector.add("front", vehicle.image("front", CAPTURE_NS), 0) == []
    assert collector.add("back", vehicle.image("back", CAPTURE_NS + 70 * MS), MS) == []
    assert collector.cover(EGO_STREAM, CAPTURE_NS - 1, 2 * MS) == []
    (released,) = collector.cover(EGO_STREAM, CAPTURE_NS, 3 * MS)
    assert (released.stamp_ns, released.is_complete) == (CAPTURE_NS, True)
