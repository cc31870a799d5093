"""Recordings of every kind give what was recorded."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lift3d_ros.bags.messages import camera_model_from_msg, image_from_msg, stamp_ns, transforms_from_msg
from lift3d_ros.bags.reader import open_bag
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.errors import BagError

WriteBag = Callable[..., Path]
SCENE_BAGS = ("nc_nuscenes_scene0103.bag", "nc_nuscenes_scene0103_mcap", "nc_nuscenes_scene0103_sqlite3")
BAGS = (*SCENE_BAGS, "nc_dgp_scene02_mcap", "raspicam_fiducials.bag")


@pytest.mark.parametrize("name", BAGS)
def test_shared_recordings_hold_what_is_expected(shared_dir: Path, name: str) -> None:
    folder = shared_dir / "data" / "bags"
    expected = json.loads((folder / "expected.json").read_text())[name]
    with open_bag(folder / name) as reader:
        assert reader.problems == ()
        assert reader.is_ros1 == name.endswith(".bag")
        assert reader.message_count == expected["messages"]
        assert reader.end_ns - reader.start_ns == expected["duration_ns"]
        found = {topic.name: {"type": topic.type, "count": topic.count} for topic in reader.topics}
        assert found == {topic: {"type": e["type"], "count": e["count"]} for topic, e in expected["topics"].items()}
        headers: dict[str, list[Any]] = {}
        for message in reader.messages():
            if hasattr(message.message, "header"):
                headers.setdefault(message.topic, []).append(message.message)
    for topic, facts in expected["topics"].items():
        if "first_header_stamp_ns" not in facts:
            continue
        messages = headers[topic]
        assert stamp_ns(messages[0].header) == facts["first_header_stamp_ns"]
        assert stamp_ns(messages[-1].header) == facts["last_header_stamp_ns"]
        assert messages[0].header.frame_id == facts["frame_id"]
        if "K" in facts:
            model = camera_model_from_msg(messages[0], "camera", topic)
            assert (model.width, model.height) == (facts["width"], facts["height"])
            assert model.intrinsics.reshape(-1).tolist() == pytest.approx(facts["K"], rel=1e-8)
        if "format" in facts:
            assert messages[0].format == facts["format"]
            assert image_from_msg(messages[0], "camera", topic).encoding == "jpeg"


def test_the_same_scene_is_the_same_from_every_kind_of_recording(shared_dir: Path) -> None:
    contents = []
    for name in SCENE_BAGS:
        content: dict[tuple[str, int], Any] = {}
        with open_bag(shared_dir / "data" / "bags" / name) as reader:
            for message in reader.messages():
                if message.type.endswith("CompressedImage"):
                    image = image_from_msg(message.message, "camera", message.topic)
                    content[message.topic, message.log_ns] = (image.stamp_ns, image.frame_id, image.data.tobytes())
                elif message.type.endswith("CameraInfo"):
                    model = camera_model_from_msg(message.message, "camera", message.topic)
                    content[message.topic, message.log_ns] = (model.frame_id, model.intrinsics.tolist(), model.width)
                elif message.type.endswith("TFMessage"):
                    content[message.topic, message.log_ns] = [
                        (t.parent, t.child, t.stamp_ns, t.T_parent_child.tolist())
                        for t in transforms_from_msg(message.message, message.topic)
                    ]
        contents.append(content)
    assert len(contents[0]) == 24 + 24 + 39 + 1
    assert contents[0] == contents[1] == contents[2]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_storage_file_alone_is_a_recording(write_bag: WriteBag, storage: str) -> None:
    folder = write_bag(storage=storage)
    (file,) = (item for item in folder.iterdir() if item.name != "metadata.yaml")
    with open_bag(folder) as whole, open_bag(file) as alone:
        assert alone.topics == whole.topics
        assert [m.raw for m in alone.messages()] == [m.raw for m in whole.messages()]
        assert (alone.start_ns, alone.end_ns) == (whole.start_ns, whole.end_ns)


def test_messages_come_in_the_order_of_recording_and_only_those_asked_for(write_bag: WriteBag) -> None:
    with open_bag(write_bag()) as reader:
        times = [message.log_ns for message in reader.messages()]
        assert times == sorted(times)
        assert {message.topic for message in reader.messages(["/tf", "/front/camera_info"])} == {
            "/tf",
            "/front/camera_info",
        }


def test_first_messages_are_the_first_of_each_topic(write_bag: WriteBag) -> None:
    with open_bag(write_bag()) as reader:
        first = reader.first_messages(["/tf", "/front/camera_info"])
        assert {topic: message.log_ns - reader.start_ns for topic, message in first.items()} == {
            "/tf": 0,
            "/front/camera_info": 0,
        }


def test_an_absent_topic_is_answered_with_the_nearest(write_bag: WriteBag) -> None:
    with (
        open_bag(write_bag()) as reader,
        pytest.raises(
            BagError, match=r"'/front/camera_inf' is not in the recording; did you mean '/front/camera_info'"
        ),
    ):
        list(reader.messages(["/front/camera_inf"]))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_unknown_types_are_ignored_until_they_are_read(write_bag: WriteBag, storage: str) -> None:
    def add_unknown(writer: BagWriter) -> None:
        for topic, definition in (("/broken", "= = ="), ("/custom", "uint8 value\n")):
            connection = writer._writer.add_connection(
                topic, f"other_msgs/msg/{topic[1:].title()}", msgdef=definition, rihs01="RIHS01_" + "0" * 64
            )
            writer._writer.write(connection, 1_600_000_000_000_000_000, b"\x00\x01\x00\x00\x07")

    with open_bag(write_bag(storage=storage, extra=add_unknown)) as reader:
        assert reader.problems == ()
        assert next(reader.messages(["/front/camera_info"])).message.width == 32
        assert next(reader.messages(["/custom"])).message.value == 7
        broken = next(reader.messages(["/broken"]))
        with pytest.raises(BagError, match=r"topic '/broken'.*other_msgs/msg/Broken"):
            _ = broken.message


def test_older_recordings_without_definitions_are_read_with_the_known_types(write_bag: WriteBag) -> None:
    folder = write_bag(storage="sqlite3", extra=lambda writer: writer.image("/x/compressed", _tiny(), 1))
    with sqlite3.connect(next(folder.glob("*.db3"))) as database:
        database.execute("DROP TABLE message_definitions")
        database.execute("UPDATE schema SET schema_version = 3")
        database.execute("UPDATE topics SET type = 'other_msgs/msg/Custom' WHERE name = '/x/compressed'")
    database.close()
    (folder / "metadata.yaml").unlink()
    with open_bag(folder) as reader:
        assert next(reader.messages(["/front/camera_info"])).message.width == 32
        with pytest.raises(
            BagError, match=r"'/x/compressed' has type other_msgs/msg/Custom, which is recorded without"
        ):
            _ = next(reader.messages(["/x/compressed"])).message


def _tiny() -> Any:
    from lift3d_ros.types import CameraImage

    return CameraImage("x", 1, "x", "jpeg", np.zeros(4, np.uint8))


def test_a_message_that_does_not_fit_its_type_names_topic_and_type(write_bag: WriteBag) -> None:
    def add_short(writer: BagWriter) -> None:
        writer._writer.write(
            writer._connections["/front/camera_info"], 1_700_000_000_000_000_000, b"\x00\x01\x00\x00\x01"
        )

    with open_bag(write_bag(extra=add_short)) as reader:
        *_, last = reader.messages(["/front/camera_info"])
        with pytest.raises(BagError, match=r"topic '/front/camera_info' does not decode as sensor_msgs/msg/CameraInfo"):
            _ = last.message


def test_a_recording_without_messages_is_empty_not_broken(write_bag: WriteBag) -> None:
    folder = write_bag(count=0, mounted=False)
    with open_bag(folder) as reader:
        assert (reader.message_count, reader.start_ns, reader.end_ns) == (0, 0, 0)
        assert list(reader.messages()) == []


@pytest.mark.parametrize("compression", [None, "bz2", "lz4"])
def test_ros1_bags_of_every_compression_are_read(write_ros1_bag: Callable[..., Path], compression: str | None) -> None:
    with open_bag(write_ros1_bag(compression)) as reader:
        assert reader.is_ros1
        message = next(reader.messages(["/front/camera_info"])).message
        model = camera_model_from_msg(message, "front", "/front/camera_info")
        assert model.frame_id == "front_optical"
        assert model.intrinsics[1, 1] == 31.0
        assert model.distortion_model == "plumb_bob"
        assert len(list(reader.messages(["/front/image_raw/compressed"]))) == 8
