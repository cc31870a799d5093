"""Objects cut out of a recording have the cameras that took them, and pixels that fit from one to another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from object_folders import brick, renderer_or_skip

from lift3d_ros.bags.reader import open_bag
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.datasets.object_captures import find_captures, read_capture
from lift3d_ros.datasets.object_renders import Light
from lift3d_ros.errors import BagError, DatasetError
from lift3d_ros.geometry.camera import to_pixels
from lift3d_ros.geometry.rigid import invert, make_transform, transform_points
from lift3d_ros.geometry.rotations import yaw_matrix
from lift3d_ros.models.lrm.cameras import orbit
from lift3d_ros.models.lrm.config import ObjectImageConfig
from lift3d_ros.models.lrm.object_image import PixelBox
from lift3d_ros.pipelines.object_sets import ObjectInputConfig, ObjectSyncConfig
from lift3d_ros.pipelines.object_triggers import TriggerConfig
from lift3d_ros.replay.bag_objects import BagObjects, RecordedTopics
from lift3d_ros.replay.object_captures import CaptureSettings, WrittenCaptures, read_all_transforms, write_captures
from lift3d_ros.types import Boxes3D, CameraImage, CameraModel, Float64Array

START_NS = 1_700_000_000_000_000_000
SIDE, FOCAL = 128, 1.1
CAMERA = CameraModel(
    "hand",
    "hand_optical",
    SIDE,
    SIDE,
    [[FOCAL * SIDE, 0, SIDE / 2 - 0.5], [0, FOCAL * SIDE, SIDE / 2 - 0.5], [0, 0, 1]],
)
# The object lies somewhere in the map, turned; the camera goes around it once in six seconds.
T_MAP_OBJECT = make_transform(yaw_matrix(0.7), [4.0, -2.0, 0.6])
NUM_PICTURES, PERIOD_NS, TF_PERIOD_NS = 6, 1_000_000_000, 20_000_000
# Halfway between two transforms, where the nearest one is half a degree off.
DELAY_NS = 10_000_000
IMAGE = ObjectImageConfig(side=96, fill=0.85)


def pose_at(stamp_ns: int) -> Float64Array:
    """Return T_object_camera."""
    angle = 2.0 * np.pi * (stamp_ns - START_NS) / (NUM_PICTURES * PERIOD_NS)
    return orbit([angle], 0.4, 2.6)[0]


def stamps() -> list[int]:
    return [START_NS + DELAY_NS + number * PERIOD_NS for number in range(NUM_PICTURES)]


@dataclasses.dataclass
class Walk:
    """A recording of a camera around an object, with what the tests change."""

    model: CameraModel = CAMERA
    has_masks: bool = True
    boxes: Callable[[int], Boxes3D] | None = None
    seconds: float = NUM_PICTURES
    distorted: Callable[[Any], Any] = lambda picture: picture

    def write(self, path: Path) -> Path:
        events: list[tuple[int, Callable[[BagWriter], Any]]] = []
        for stamp_ns in range(START_NS, START_NS + round(self.seconds * 1e9) + 1, TF_PERIOD_NS):
            T = {("map", "hand_optical"): T_MAP_OBJECT @ pose_at(stamp_ns)}
            events.append((stamp_ns, lambda w, T=T, t=stamp_ns: w.transforms(T, t, t)))
        with renderer_or_skip(SIDE) as renderer:
            renderer.load(brick())
            for stamp_ns in stamps():
                rgba, _ = renderer.draw(pose_at(stamp_ns), FOCAL, Light())
                whole = self.distorted(rgba)
                events += self._picture_events(whole, stamp_ns)
        static = {("map", "object"): T_MAP_OBJECT}
        with BagWriter(path) as writer:
            writer.transforms(static, 0, START_NS, is_static=True)
            for _, write in sorted(events, key=lambda event: event[0]):
                write(writer)
        return path

    def _picture_events(self, rgba: Any, stamp_ns: int) -> list[tuple[int, Callable[[BagWriter], Any]]]:
        log_ns = stamp_ns + 5_000_000
        wall = np.full((SIDE, SIDE, 3), (120, 110, 90), np.uint8)
        colors = np.where(rgba[..., 3:] > 0, rgba[..., :3], wall)
        image = _image(colors, "rgb8", stamp_ns)
        events: list[tuple[int, Callable[[BagWriter], Any]]] = [
            (log_ns, lambda w: w.camera_info("/hand/camera_info", self.model, stamp_ns, log_ns)),
            (log_ns, lambda w: w.image("/hand/image", image, log_ns)),
        ]
        if self.has_masks:
            mask = _image(rgba[..., 3:], "mono8", stamp_ns)
            events.append((log_ns + 30_000_000, lambda w: w.image("/hand/mask", mask, log_ns + 30_000_000)))
        if self.boxes is not None:
            boxes = self.boxes(stamp_ns)
            events.append((log_ns + 40_000_000, lambda w: w.boxes("/boxes", boxes, stamp_ns, log_ns + 40_000_000)))
        return events


def _image(pixels: Any, encoding: str, stamp_ns: int) -> CameraImage:
    data = np.ascontiguousarray(pixels).reshape(-1)
    step = SIDE * pixels.shape[2]
    return CameraImage("hand", stamp_ns, "hand_optical", encoding, data, SIDE, SIDE, step, source="/hand/image")


def capture(bag: Path, out: Path, settings: CaptureSettings, topics: RecordedTopics | None = None) -> WrittenCaptures:
    topics = topics or RecordedTopics(image="/hand/image", mask="/hand/mask")
    with open_bag(bag) as reader:
        trigger = TriggerConfig(min_interval_s=0.0, min_visible=0.5)
        source = BagObjects(reader, topics, ObjectInputConfig(), ObjectSyncConfig(), trigger)
        return write_captures(source.requests(), read_all_transforms(reader), out, settings)


def one_box(T_frame_object: Float64Array, frame_id: str, yaw: float) -> Boxes3D:
    center, size = T_frame_object[None, :3, 3], np.array([[1.0, 0.6, 0.45]])
    ones, none = np.ones(1), np.zeros((1, 2))
    return Boxes3D(
        frame_id, ("brick",), center, size, yaw * ones, none, 0.9 * ones, np.zeros(1, np.int64), np.array([3])
    )


def test_cameras_are_those_that_took_the_pictures_and_pixels_of_one_are_found_in_the_others(tmp_path: Path) -> None:
    bag = Walk().write(tmp_path / "bag")
    found = capture(bag, tmp_path / "out", CaptureSettings(object_frame="object"))
    (folder,) = found.pictures
    assert found.pictures[folder] == NUM_PICTURES
    assert not found.left_out
    views = read_capture(folder, IMAGE, NUM_PICTURES)
    truth = np.stack([pose_at(stamp_ns) for stamp_ns in stamps()])
    # A circle is cut short between two transforms by 0.4 mm; the nearest transform would be 14 mm away.
    np.testing.assert_allclose(views.T_object_cameras, truth, atol=1e-3)
    np.testing.assert_allclose(views.distances, 2.6, atol=0.1)
    compared = 0
    with renderer_or_skip(SIDE) as renderer:
        renderer.load(brick())
        drawn = [renderer.draw(pose, FOCAL, Light()) for pose in truth]
    for first, (rgba, depth) in enumerate(drawn):
        row, column = np.nonzero(depth)
        ray = (
            np.stack([(column + 0.5) / SIDE - 0.5, (row + 0.5) / SIDE - 0.5, np.full(len(row), FOCAL)], axis=1) / FOCAL
        )
        points = transform_points(truth[first], ray * depth[row, column][:, None])
        for other in ((first + 1) % NUM_PICTURES, first):
            seen = transform_points(invert(views.T_object_cameras[other]), points)
            place = seen[:, :2] / seen[:, 2:]
            full = np.floor((place * FOCAL + 0.5) * SIDE).astype(int)
            visible = (full >= 0).all(axis=1) & (full < SIDE).all(axis=1)
            full = np.clip(full, 0, SIDE - 1)
            visible &= np.abs(drawn[other][1][full[:, 1], full[:, 0]] - seen[:, 2]) < 0.01
            cropped = place @ views.intrinsics[other][:2, :2].T + views.intrinsics[other][:2, 2]
            pixel = np.clip(np.floor(cropped * IMAGE.side).astype(int), 0, IMAGE.side - 1)
            color = views.rgba[other][pixel[:, 1], pixel[:, 0]].astype(float)
            error = np.abs(color[:, :3] - rgba[row, column, :3])[visible & (color[:, 3] > 250)].max(axis=1)
            assert np.median(error) < 3
            assert (error < 20).mean() > 0.93
            compared += len(error)
    assert compared > 5000


def test_the_box_of_an_object_can_be_its_frame(tmp_path: Path) -> None:
    bag = Walk(boxes=lambda stamp_ns: one_box(T_MAP_OBJECT, "map", 0.7)).write(tmp_path / "bag")
    found = capture(bag, tmp_path / "out", CaptureSettings())
    assert [folder.name for folder in found.pictures] == ["brick_3"]
    views = read_capture(tmp_path / "out" / "brick_3", IMAGE, NUM_PICTURES)
    truth = np.stack([pose_at(stamp_ns) for stamp_ns in stamps()])
    np.testing.assert_allclose(views.T_object_cameras, truth, atol=1e-3)
    assert find_captures(tmp_path / "out") == [tmp_path / "out" / "brick_3"]
    with pytest.raises(DatasetError, match="holds a capture already"):
        capture(bag, tmp_path / "out", CaptureSettings())


def test_without_masks_grabcut_finds_the_object_in_its_box(tmp_path: Path) -> None:
    walk = Walk(boxes=lambda stamp_ns: one_box(T_MAP_OBJECT, "map", 0.7), has_masks=False)
    topics = RecordedTopics(image="/hand/image")
    capture(walk.write(tmp_path / "plain"), tmp_path / "plain_out", CaptureSettings("object", every=2), topics)
    masked = dataclasses.replace(walk, has_masks=True).write(tmp_path / "masked")
    capture(masked, tmp_path / "masked_out", CaptureSettings("object", every=2))
    plain, exact = (read_capture(tmp_path / name / "brick_3", IMAGE, 3) for name in ("plain_out", "masked_out"))
    np.testing.assert_allclose(plain.intrinsics, exact.intrinsics, atol=0.05)
    assert ((plain.rgba[..., 3] > 127) == (exact.rgba[..., 3] > 127)).mean() > 0.95


def test_a_distorted_picture_is_straightened_with_its_mask(tmp_path: Path) -> None:
    model = dataclasses.replace(CAMERA, distortion_model="plumb_bob", distortion=np.array([-0.25, 0.05, 0, 0, 0]))

    def distorted(rgba: Any) -> Any:
        """Look each pixel of the distorted picture up in the straight one."""
        import cv2

        from lift3d_ros.geometry.camera import unproject

        row, column = np.mgrid[0:SIDE, 0:SIDE]
        rays = unproject(model, np.stack([column.ravel(), row.ravel()], axis=1).astype(float))
        source = to_pixels(CAMERA, rays[:, :2] / rays[:, 2:]).reshape(SIDE, SIDE, 2).astype(np.float32)
        return cv2.remap(rgba, source, None, cv2.INTER_LINEAR)

    outs = []
    for name, walk in (("straight", Walk()), ("distorted", Walk(model=model, distorted=distorted))):
        capture(walk.write(tmp_path / name), tmp_path / f"{name}_out", CaptureSettings("object"))
        outs.append(read_capture(tmp_path / f"{name}_out" / "object_untracked0", IMAGE, NUM_PICTURES))
    straight, straightened = outs
    overlap = (straight.rgba[..., 3] > 127) == (straightened.rgba[..., 3] > 127)
    assert overlap.mean() > 0.97
    # Masks are cut at whole pixels, of which an object has forty.
    np.testing.assert_allclose(straightened.intrinsics, straight.intrinsics, rtol=0.05, atol=0.03)


def test_pictures_outside_of_the_transforms_are_left_out_and_two_are_needed(tmp_path: Path) -> None:
    bag = Walk(seconds=2.5).write(tmp_path / "bag")
    found = capture(bag, tmp_path / "out", CaptureSettings(object_frame="object"))
    assert list(found.pictures.values()) == [3]
    assert found.left_out == {"as the place of the camera is not known": 3}
    with pytest.raises(BagError, match=r"no object has 2 pictures.*\(6 as the place of the camera is not known\)"):
        capture(bag, tmp_path / "other", CaptureSettings(object_frame="turntable"))
    with pytest.raises(BagError, match=r"6 without a 3D box or a frame of the object"):
        capture(bag, tmp_path / "no_frame", CaptureSettings())


def test_a_given_box_waits_for_the_mask_of_its_picture(tmp_path: Path) -> None:
    bag, box = Walk().write(tmp_path / "bag"), PixelBox(10, 10, 110, 110)
    with open_bag(bag) as reader:
        topics, trigger = RecordedTopics(image="/hand/image", mask="/hand/mask"), TriggerConfig(min_interval_s=0.0)
        source = BagObjects(reader, topics, ObjectInputConfig(), ObjectSyncConfig(), trigger, box)
        found = list(source.requests())
    assert [request.stamp_ns for request in found] == stamps()
    assert [request.box for request in found] == [box] * NUM_PICTURES
    assert [request.mask.stamp_ns for request in found if request.mask is not None] == stamps()
