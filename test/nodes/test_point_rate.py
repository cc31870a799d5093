"""How many clouds of ten objects the point_features node encodes at the rate of a lidar."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from cloud_layouts import LIDAR
from geometry_msgs.msg import Point, Pose, Vector3
from ros_clouds import cloud_msg
from ros_system import NodeProcess, Observer
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from lift3d_ros.msg import BevDetection, BevDetectionArray, PointFeaturesArray, StageTiming

pytest.importorskip("torch")
from point_clouds import ellipsoid
from scans import BOXES_TOPIC, CLOUD_TOPIC, write_untrained_manifest

pytestmark = [pytest.mark.ros, pytest.mark.slow]

OBJECTS, POINTS, RATE_HZ, SECONDS = 10, 2000, 10.0, 10.0
FEATURES, TIMING = "/point_features/features", "/point_features/timing"


def test_ten_objects_of_two_thousand_points_at_ten_hertz(
    tmp_path: Path,
    graph_cache: Path,
    observer: Observer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path))
    model = write_untrained_manifest(tmp_path)
    observer.listen(FEATURES, PointFeaturesArray, depth=1000)
    observer.listen(TIMING, StageTiming, depth=1000)
    places = np.array([[4.0 * (number % 5), 4.0 * (number // 5), 1.0] for number in range(OBJECTS)])
    shapes = [ellipsoid(POINTS, (1.0, 0.3 + 0.06 * number, 0.5), number) for number in range(OBJECTS)]
    cloud = cloud_msg(np.concatenate([shape + place for shape, place in zip(shapes, places, strict=True)]))
    boxes = BevDetectionArray(
        detections=[
            BevDetection(pose=Pose(position=Point(x=x, y=y, z=z)), size=Vector3(x=2.2, y=2.2, z=2.2))
            for x, y, z in places.tolist()
        ]
    )
    parameters = {"model": model, "topics.cloud": CLOUD_TOPIC, "topics.boxes": BOXES_TOPIC}
    with NodeProcess("point_features", parameters=parameters) as node:
        node.wait_for(r"on (onnxruntime|torch); clouds on", timeout_s=240.0)
        publishers = [
            observer.node.create_publisher(kind, topic, 10)
            for kind, topic in ((PointCloud2, CLOUD_TOPIC), (BevDetectionArray, BOXES_TOPIC))
        ]
        observer.wait_until(lambda: all(p.get_subscription_count() for p in publishers), "a node that listens", 30.0)
        time.sleep(1.0)
        began, count = time.monotonic(), round(RATE_HZ * SECONDS)
        for number in range(count):
            time.sleep(max(0.0, began + number / RATE_HZ - time.monotonic()))
            now = time.time_ns()
            header = Header(stamp=Time(sec=now // 10**9, nanosec=now % 10**9), frame_id=LIDAR)
            cloud.header = boxes.header = header
            publishers[0].publish(cloud)
            publishers[1].publish(boxes)
        time.sleep(2.0)
        found = observer.wait_for_messages(FEATURES, 1)
        timing = observer.wait_for_messages(TIMING, 1)
    latencies_ms = sorted(message.latency_ms for message in timing)
    stages = {name: np.median([m.durations_ms[i] for m in timing]) for i, name in enumerate(timing[0].stages)}
    with capsys.disabled():
        middle, late = latencies_ms[len(latencies_ms) // 2], latencies_ms[int(0.95 * len(latencies_ms))]
        told = ", ".join(f"{name} {ms:.1f} ms" for name, ms in stages.items())
        print(f"\n{len(found)} of {count} clouds encoded; latency {middle:.0f} ms, 95 %: {late:.0f} ms; {told}")
    assert all(len(message.features) == OBJECTS for message in found)
    assert len(found) > 0.5 * count
