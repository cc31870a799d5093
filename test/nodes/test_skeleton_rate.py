"""The skeleton_lifting node keeps up with a crowd: twenty people at the rate of a camera, with the shipped weights."""

from __future__ import annotations

import time
from array import array

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from known_shapes import CAMERA, PERSON
from ros_system import NodeProcess, Observer
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from walk import INFO_TOPIC, KEYPOINTS_TOPIC, OPTICAL

from lift3d_ros.msg import Keypoints2D, Keypoints2DArray, Skeleton3DArray, StageTiming

pytestmark = [pytest.mark.ros, pytest.mark.slow]

PEOPLE, RATE_HZ, SECONDS = 20, 30.0, 10.0
SKELETONS, TIMING = "/skeleton_lifting/skeletons", "/skeleton_lifting/timing"


def crowd(number: int) -> list[Keypoints2D]:
    people = []
    for person in range(PEOPLE):
        joints = PERSON + np.array([0.01 * number + (person % 5 - 2) * 0.8, 0.2, 4.0 + person // 5])
        pixels = 900.0 * joints[:, :2] / joints[:, 2:] + [640.0, 360.0]
        points = array("f", pixels.reshape(-1).tolist())
        scores = array("f", [0.9] * len(joints))
        people.append(
            Keypoints2D(
                skeleton="coco17", category="person", points=points, scores=scores, instance_id=person, track_id=person
            )
        )
    return people


def test_twenty_people_at_thirty_hertz(observer: Observer, capsys: pytest.CaptureFixture[str]) -> None:
    observer.listen(SKELETONS, Skeleton3DArray, depth=1000)
    observer.listen(TIMING, StageTiming, depth=1000)
    k = CAMERA.intrinsics.reshape(-1)
    info = CameraInfo(header=Header(frame_id=OPTICAL), width=1280, height=720, k=k, distortion_model="plumb_bob")
    parameters = {"topics.keypoints": KEYPOINTS_TOPIC, "topics.camera_info": INFO_TOPIC}
    messages = [crowd(number) for number in range(round(RATE_HZ * SECONDS))]
    with NodeProcess("skeleton_lifting", parameters=parameters) as node:
        node.wait_for(r"lift3d-lfm on (onnxruntime|torch)", timeout_s=180.0)
        calibration = observer.node.create_publisher(CameraInfo, INFO_TOPIC, 10)
        source = observer.node.create_publisher(Keypoints2DArray, KEYPOINTS_TOPIC, 10)
        observer.wait_for_listener(source, "keypoints")
        calibration.publish(info)
        time.sleep(1.0)
        began = time.monotonic()
        for number, people in enumerate(messages):
            time.sleep(max(0.0, began + number / RATE_HZ - time.monotonic()))
            now = time.time_ns()
            stamp = Time(sec=now // 1_000_000_000, nanosec=now % 1_000_000_000)
            header = Header(stamp=stamp, frame_id=OPTICAL)
            source.publish(Keypoints2DArray(header=header, width=1280, height=720, instances=people))
        time.sleep(1.0)
        found = observer.wait_for_messages(SKELETONS, 1)
        timing = observer.wait_for_messages(TIMING, 1)
    latencies_ms = sorted(message.latency_ms for message in timing)
    with capsys.disabled():
        middle, late = latencies_ms[len(latencies_ms) // 2], latencies_ms[int(0.95 * len(latencies_ms))]
        print(f"\n{len(found)} of {len(messages)} messages lifted; latency {middle:.0f} ms, 95 %: {late:.0f} ms")
    assert all(len(message.skeletons) == PEOPLE for message in found)
    assert len(found) >= 0.98 * len(messages)
