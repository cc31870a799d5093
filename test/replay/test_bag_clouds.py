"""Clouds of a recording are found with their boxes and frames, and encoded the same way each time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cloud_layouts import LIDAR
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from lift3d_ros.bags.reader import open_bag
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.errors import BagError, Lift3dError
from lift3d_ros.geometry.packed_points import unpack_points
from lift3d_ros.pipelines.cloud_sets import CloudSet, CloudSetEncoder, CloudSyncConfig
from lift3d_ros.replay.bag_clouds import BagClouds, RecordedClouds
from lift3d_ros.replay.point_run import check_unused, run_encoder
from lift3d_ros.replay.run import FrameRange

pytest.importorskip("torch")
from point_clouds import encoder
from scans import BOXES_TOPIC, CLOUD_TOPIC, SIZE, T_BASE_LIDAR, Scan


def sets_of(path: Path, output_frame: str = "", **topics: str) -> tuple[list[CloudSet], dict[str, str]]:
    with open_bag(path) as reader:
        source = BagClouds(reader, RecordedClouds(**topics), CloudSyncConfig(), output_frame)
        return list(source.sets()), source.topics


class WithAnotherLidar(Scan):
    """A second lidar is recorded, too."""

    def more(self) -> Iterable[tuple[int, Callable[[BagWriter], Any]]]:
        t = self.start_ns
        points = np.ones((3, 3), np.float32)
        yield t, lambda w: w.points("/rear/points", points, np.zeros(3, np.uint8), "rear", t, t)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_the_only_clouds_are_found_and_are_whole_without_boxes(tmp_path: Path, storage: str) -> None:
    scan = Scan(frames=3, storage=storage)
    sets, topics = sets_of(scan.write(tmp_path / "scan"))
    assert topics == {"cloud": CLOUD_TOPIC, "boxes": ""}
    assert [item.stamp_ns for item in sets] == [scan.stamp_ns(index) for index in range(3)]
    assert all(item.boxes is None and item.problems == () and item.output_frame == LIDAR for item in sets)
    np.testing.assert_array_equal(unpack_points(sets[1].cloud), scan.points(1))


def test_boxes_meet_the_cloud_of_their_stamp_in_their_frame(tmp_path: Path) -> None:
    scan = Scan(frames=3)
    sets, topics = sets_of(scan.write(tmp_path / "scan"), boxes=BOXES_TOPIC, output_frame="base_link")
    assert topics == {"cloud": CLOUD_TOPIC, "boxes": BOXES_TOPIC}
    assert [item.stamp_ns for item in sets] == [scan.stamp_ns(index) for index in range(3)]
    for index, item in enumerate(sets):
        assert item.boxes is not None
        np.testing.assert_allclose(item.boxes.boxes.centers, scan.boxes(index).centers)
        np.testing.assert_allclose(item.T_encoding_cloud, T_BASE_LIDAR, atol=1e-6)
        assert item.output_frame == "base_link"


def test_of_several_topics_one_is_named(tmp_path: Path) -> None:
    bag = WithAnotherLidar(frames=1).write(tmp_path / "scan")
    with pytest.raises(BagError, match=r"topics of point clouds: /lidar/points, /rear/points; expected one .* Name"):
        sets_of(bag)
    ((item,), _) = sets_of(bag, cloud="/rear/points")
    assert item.cloud.frame_id == "rear"


@pytest.mark.parametrize(
    ("topics", "message"),
    [
        ({"cloud": "/lidar/point"}, r"topics.cloud is '/lidar/point', .* did you mean '/lidar/points'\?"),
        ({"boxes": "/box"}, r"topics.boxes is '/box', which is no topic of type .*BevDetectionArray or vision_msgs"),
    ],
)
def test_a_topic_that_is_not_there_is_named(tmp_path: Path, topics: dict[str, str], message: str) -> None:
    with pytest.raises(BagError, match=message):
        sets_of(Scan(frames=1).write(tmp_path / "scan"), **topics)


def test_a_recording_without_clouds_is_refused(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "empty") as writer:
        writer.transforms({("base_link", LIDAR): T_BASE_LIDAR}, 1, 1, is_static=True)
    with pytest.raises(BagError, match=r"topics of point clouds: none; expected one of type .*PointCloud2. Record one"):
        sets_of(tmp_path / "empty")


VISION_TYPES = ("BoundingBox3D", "ObjectHypothesis", "ObjectHypothesisWithPose", "Detection3D", "Detection3DArray")


def test_boxes_of_vision_msgs_are_read_with_the_definitions_that_the_recording_holds(
    tmp_path: Path, repository: Path
) -> None:
    scan = Scan(frames=1, has_boxes=False)
    with open_bag(scan.write(tmp_path / "scan")) as reader:
        recorded = list(reader.messages())
    store, types = get_typestore(Stores.ROS2_JAZZY), dict[str, Any]()
    for name in VISION_TYPES:
        text = (repository / "test/interfaces/vision_msgs/msg" / f"{name}.msg").read_text()
        types.update(get_types_from_msg(text, f"vision_msgs/msg/{name}"))
    store.register(types)

    def new(kind: str, **fields: Any) -> Any:
        return store.types[kind](**fields)

    def header(frame_id: str) -> Any:
        seconds, nanoseconds = divmod(scan.start_ns, 1_000_000_000)
        stamp = new("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        return new("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    x, y, z = scan.boxes(0).centers[0].tolist()
    pose = new(
        "geometry_msgs/msg/Pose",
        position=new("geometry_msgs/msg/Point", x=x, y=y, z=z),
        orientation=new("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
    )
    size = new("geometry_msgs/msg/Vector3", **dict(zip("xyz", map(float, SIZE), strict=True)))
    box = new("vision_msgs/msg/BoundingBox3D", center=pose, size=size)
    entry = new("vision_msgs/msg/Detection3D", header=header("base_link"), results=[], bbox=box, id="")
    message = new("vision_msgs/msg/Detection3DArray", header=header("base_link"), detections=[entry])
    with Writer(tmp_path / "vision", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {m.topic: writer.add_connection(m.topic, m.type, typestore=store) for m in recorded}
        for item in recorded:
            writer.write(connections[item.topic], item.log_ns, item.raw)
        boxes = writer.add_connection("/boxes", "vision_msgs/msg/Detection3DArray", typestore=store)
        writer.write(boxes, scan.start_ns + 120_000_000, store.serialize_cdr(message, boxes.msgtype))
    ((item,), _) = sets_of(tmp_path / "vision", boxes="/boxes")
    assert item.boxes is not None
    np.testing.assert_allclose(item.boxes.boxes.centers, scan.boxes(0).centers[:1])


def run(sets: Iterable[CloudSet], path: Path, frames: FrameRange | None = None) -> int:
    return run_encoder(sets, CloudSetEncoder(encoder()), path, {"task": "x"}, frames or FrameRange(), lambda *_: None)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "features.jsonl").read_text().splitlines()]


def test_the_same_recording_gives_the_same_bytes(tmp_path: Path) -> None:
    bag = Scan(frames=2).write(tmp_path / "scan")
    for name in ("first", "second"):
        assert run(sets_of(bag, boxes=BOXES_TOPIC)[0], tmp_path / name) == 2
    names = sorted(p.relative_to(tmp_path / "first") for p in (tmp_path / "first").rglob("*") if p.is_file())
    assert len(names) == 5
    for name in names:
        if name.name != "timing.jsonl":
            assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name


def test_a_line_says_what_was_encoded_and_where_its_arrays_are(tmp_path: Path) -> None:
    scan = Scan(frames=2)
    run(sets_of(scan.write(tmp_path / "scan"), boxes=BOXES_TOPIC)[0], tmp_path / "out")
    first, second = lines(tmp_path / "out")
    assert (first["stamp_ns"], first["frame_id"], first["is_trained"]) == (scan.stamp_ns(0), LIDAR, False)
    assert [entry["instance_id"] for entry in first["features"]] == [0, 1]
    assert all(250 < entry["num_points"] <= 300 for entry in first["features"])
    with np.load(tmp_path / "out" / second["arrays"]) as arrays:
        shapes = {name: arrays[name].shape for name in arrays.files}
        assert arrays["instance_ids"].tolist() == [0, 1]
    assert shapes == {
        "descriptors": (2, 108),
        "tokens": (2, 10, 24),
        "token_centers": (2, 10, 3),
        "instance_ids": (2,),
        "labels": (2,),
        "scores": (2,),
    }


def test_a_cloud_that_cannot_be_read_costs_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sets, _ = sets_of(Scan(frames=3).write(tmp_path / "scan"))
    damaged = dataclasses.replace(sets[1].cloud, data=sets[1].cloud.data[:-5])
    sets[1] = dataclasses.replace(sets[1], cloud=damaged)
    assert run(sets, tmp_path / "out") == 2
    assert [line["stamp_ns"] for line in lines(tmp_path / "out")] == [sets[0].stamp_ns, sets[2].stamp_ns]
    assert "left out: topic '/lidar/points': data has" in caplog.text


def test_a_cloud_without_points_gives_a_line_without_arrays(tmp_path: Path) -> None:
    (item,), _ = sets_of(Scan(frames=1).write(tmp_path / "scan"))
    empty = dataclasses.replace(item.cloud, width=0, data=item.cloud.data[:0])
    assert run([dataclasses.replace(item, cloud=empty)], tmp_path / "out") == 1
    (line,) = lines(tmp_path / "out")
    assert (line["features"], line["arrays"]) == ([], None)
    assert "it has no points" in line["problems"][0]


def test_a_range_of_clouds_is_encoded_and_earlier_results_are_replaced(tmp_path: Path) -> None:
    sets, _ = sets_of(Scan(frames=4).write(tmp_path / "scan"))
    run(sets, tmp_path / "out")
    assert run(sets, tmp_path / "out", FrameRange(1, 3)) == 2
    names = sorted(path.name for path in (tmp_path / "out" / "features").iterdir())
    assert names == [f"{item.stamp_ns}.npz" for item in sets[1:3]]


def test_files_of_others_are_not_deleted_and_results_are_replaced_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "own.npz").touch()
    sets, _ = sets_of(Scan(frames=1).write(tmp_path / "scan"))
    check_unused(tmp_path, overwrite=False)
    run(sets, tmp_path)
    assert (tmp_path / "features" / "own.npz").exists()
    check_unused(tmp_path, overwrite=True)
    with pytest.raises(Lift3dError, match=r"already holds results; replace them with --overwrite"):
        check_unused(tmp_path, overwrite=False)
