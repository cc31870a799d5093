"""Measures how many clouds of several objects the point_features node encodes at the rate of a LiDAR.

  .venv/bin/python tools/measure_point_rate.py --json benchmarks/point_rate.json

What other processes take of the machine meanwhile is measured, too: on a busy machine the rate says little, but the
processor time of a cloud still holds.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Vector3
from node_processes import READY, READY_S, running, use_own_domain
from node_results import Heard, listening
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

import lift3d_ros
from demo import EXECUTABLES
from lift3d_ros.bench.machine import describe_machine
from lift3d_ros.bench.process_cost import ProcessCost, machine_cpu_s
from lift3d_ros.errors import Lift3dError
from lift3d_ros.msg import BevDetection, BevDetectionArray
from lift3d_ros.nodes.cloud_messages import colored_cloud_msg
from lift3d_ros.pipelines.point_encoder import PointCloudFrame, PointEncoderConfig, open_point_encoder
from lift3d_ros.types import Boxes3D, Float32Array, Float64Array

FORMAT = "lift3d point rate 1"
NODE, CLOUD, BOXES = "point_features", "points", "boxes"
LIDAR, SIDE_M, SPACE_M = "lidar", 2.2, 4.0
PIPELINE_RUNS = 9
DISCOVERY_S, SETTLE_S, LAST_RESULTS_S = 30.0, 1.0, 3.0


def main() -> int:
    """Measure, write the figures and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=10, help="objects in a cloud (default %(default)s)")
    parser.add_argument("--points", type=int, default=2000, help="points on each object (default %(default)s)")
    parser.add_argument("--rate", type=float, default=10.0, help="clouds in a second (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the measurement (default %(default)s)")
    parser.add_argument("--model", default="lift3d-points-small", help="model of the node (default %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="threads of the network; 0: the runtime's choice")
    parser.add_argument("--out", type=Path, default=Path("out/point_rate"), help="log (default %(default)s)")
    parser.add_argument("--json", type=Path, help="file for the figures (default: OUT/point_rate.json)")
    args = parser.parse_args()
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        figures = measure(args)
    except (Lift3dError, OSError) as error:
        print(f"measure_point_rate: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    path = args.json or args.out / "point_rate.json"
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({name: figures[name] for name in ("observed", "pipeline_cpu_ms")}, indent=2))
    print(f"wrote {path}")
    return 0


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run the node, send clouds and boxes, and return the figures."""
    use_own_domain()
    parameters = {
        "model": args.model,
        "engine.threads": args.threads,
        "topics.cloud": "points",
        "topics.boxes": "boxes",
    }
    command = [str(EXECUTABLES / NODE), "--ros-args"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    with listening([NODE]) as heard, running({NODE: command}, args.out) as nodes:
        nodes[NODE].wait_for(READY, READY_S)
        sender = Sender(heard.node, args.objects, args.points)
        sender.wait_for_listener()
        cost, began_s, busy_s = ProcessCost(nodes[NODE].process.pid), time.monotonic(), machine_cpu_s()
        own_s = time.process_time()
        count = round(args.rate * args.seconds)
        for number in range(count):
            time.sleep(max(0.0, began_s + number / args.rate - time.monotonic()))
            sender.send()
        time.sleep(LAST_RESULTS_S)
        cost.sample()
        elapsed_s = time.monotonic() - began_s
        others_s = machine_cpu_s() - busy_s - cost.cpu_s - (time.process_time() - own_s)
    return {
        "format": FORMAT,
        "command": shlex.join(["tools/measure_point_rate.py", *sys.argv[1:]]),
        "package_version": lift3d_ros.__version__,
        "machine": describe_machine("cpu"),
        "settings": {
            name: getattr(args, name) for name in ("objects", "points", "rate", "seconds", "model", "threads")
        },
        "observed": observed(heard, count, args.seconds, cost, others_s / elapsed_s),
        "pipeline_cpu_ms": pipeline_cpu_ms(args),
    }


def observed(heard: Heard, count: int, seconds: float, cost: ProcessCost, others: float) -> dict[str, Any]:
    """Return what was measured; `cores_of_other_processes` is 1 for a whole core."""
    encoded, latencies = heard.messages[NODE], heard.latencies_ms.get(NODE, [])
    stages = heard.stages_ms.get(NODE, {})
    return {
        "clouds_sent": count,
        "clouds_encoded": encoded,
        "clouds_missed": count - encoded,
        "rate_hz": round(encoded / seconds, 2),
        "median_latency_ms": round(statistics.median(latencies), 1) if latencies else None,
        "latency_95_ms": round(float(np.percentile(latencies, 95)), 1) if latencies else None,
        "median_stage_ms": {name: round(statistics.median(values), 1) for name, values in stages.items()},
        "cpu_ms_per_cloud": round(1000.0 * cost.cpu_s / encoded, 1) if encoded else None,
        "peak_pss_mb": round(cost.peak_pss_bytes / 1e6, 1),
        "cores_of_other_processes": round(max(others, 0.0), 2),
    }


def pipeline_cpu_ms(args: argparse.Namespace) -> dict[str, float]:
    """Return the processor time that the encoder takes for one cloud, on one thread and without ROS."""
    points, places = objects_in_rows(args.objects, args.points)
    boxes = Boxes3D(
        LIDAR, ("",), places, np.full(places.shape, SIDE_M), np.zeros(len(places)), np.zeros((len(places), 2)),
        np.ones(len(places)), np.zeros(len(places), np.int64),
    )  # fmt: skip
    encoder = open_point_encoder(PointEncoderConfig(model=args.model, num_threads=1))
    frame = PointCloudFrame(points, LIDAR, boxes=boxes)
    taken: dict[str, list[float]] = {"prepare": [], "inference": []}
    for _ in range(PIPELINE_RUNS):
        start_s = time.thread_time()
        prepared = encoder.prepare(frame)
        taken["prepare"].append(time.thread_time() - start_s)
        encoder.infer(prepared)
        taken["inference"].append(time.thread_time() - start_s - taken["prepare"][-1])
    return {name: round(1000.0 * statistics.median(seconds), 1) for name, seconds in taken.items()}


class Sender:
    """Publishes the same objects again and again, with new stamps."""

    def __init__(self, node: Node, objects: int, points: int) -> None:
        """Make the cloud and a box for each of its objects."""
        cloud, places = objects_in_rows(objects, points)
        self._cloud = colored_cloud_msg(cloud, np.zeros((len(cloud), 3), np.uint8), 0, LIDAR)
        size = Vector3(x=SIDE_M, y=SIDE_M, z=SIDE_M)
        self._boxes = BevDetectionArray(
            detections=[
                BevDetection(pose=Pose(position=Point(x=x, y=y, z=z)), size=size) for x, y, z in places.tolist()
            ]
        )
        topics = ((PointCloud2, CLOUD), (BevDetectionArray, BOXES))
        self._publishers = [node.create_publisher(kind, topic, 10) for kind, topic in topics]

    def wait_for_listener(self) -> None:
        """Wait until the node listens to both topics."""
        end_s = time.monotonic() + DISCOVERY_S
        while not all(publisher.get_subscription_count() for publisher in self._publishers):
            if time.monotonic() > end_s:
                raise Lift3dError(f"{NODE} does not listen to its topics within {DISCOVERY_S:g} s")
            time.sleep(0.05)
        time.sleep(SETTLE_S)

    def send(self) -> None:
        """Publish cloud and boxes with the present time."""
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        header = Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=LIDAR)
        self._cloud.header = self._boxes.header = header
        for publisher, message in zip(self._publishers, (self._cloud, self._boxes), strict=True):
            publisher.publish(message)


def objects_in_rows(objects: int, points: int) -> tuple[Float32Array, Float64Array]:
    """Return the points of ellipsoids, five in a row, and their centres (objects, 3)."""
    places = np.array([[SPACE_M * (number % 5), SPACE_M * (number // 5), 1.0] for number in range(objects)])
    shapes = []
    for number, place in enumerate(places):
        directions = np.random.default_rng(number).standard_normal((points, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        shapes.append(directions * [1.0, 0.3 + 0.6 * number / objects, 0.5] + place)
    return np.concatenate(shapes).astype(np.float32), places


if __name__ == "__main__":
    sys.exit(main())
