"""Runs all four nodes on one recording, and counts what they publish and what they cost.

Without --bag it makes the recording: a street of the simulator with six cameras, LiDAR points, transforms, and 2D
keypoints of a walking person in the place of each pedestrian that the front camera sees. The nodes are started with the
parameters, remappings and environment of perception.launch.py, which itself needs the launch packages of a ROS 2
distribution.

  .venv/bin/python tools/run_all_nodes.py --rate 0.25
  .venv/bin/python tools/run_all_nodes.py --rate 0.25 --one-process
  .venv/bin/python tools/run_all_nodes.py --bag my_drive --camera front --cloud /points --rate 1
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rclpy
import yaml
from all_nodes_recording import simulated_bag
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

import lift3d_ros
from demo import EXECUTABLES, write_rig
from lift3d_ros.bags.discover import discover
from lift3d_ros.bags.reader import open_bag
from lift3d_ros.bench.machine import describe_machine
from lift3d_ros.bench.process_cost import ProcessCost, machine_cpu_s
from lift3d_ros.errors import Lift3dError
from lift3d_ros.launching import (
    PERCEPTION_NODES,
    NodeWiring,
    node_environment,
    one_process_arguments,
    perception_wiring,
)
from lift3d_ros.msg import BevDetectionArray, PointFeaturesArray, Skeleton3DArray, StageTiming
from lift3d_ros.pipelines.cloud_sets import CloudSyncConfig
from lift3d_ros.pipelines.frame_sets import SyncConfig

FORMAT = "lift3d all nodes 1"
PLAYER = "bag_player"
TOGETHER = "perception"
RESULTS: dict[str, tuple[str, Any]] = {
    "bev_detection": ("detections", BevDetectionArray),
    "skeleton_lifting": ("skeletons", Skeleton3DArray),
    "point_features": ("features", PointFeaturesArray),
    "object_reconstruction": ("points", PointCloud2),
}
READY_S, SAMPLE_S, SILENCE_S = 300.0, 0.5, 15.0
LONGEST_DEADLINE_S = 10.0
OWN_DOMAIN = "101"  # the tests take 1 to 100
READY = r" on (onnxruntime|torch|tensorrt\w*);"


def main() -> int:
    """Run, write the figures and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bag", type=Path, help="recording (default: one that is simulated)")
    parser.add_argument("--frames", type=int, default=16, help="frames of the simulated one (default %(default)s)")
    parser.add_argument("--camera", default="front", help="camera of keypoints and objects (default %(default)s)")
    parser.add_argument("--cloud", default="/points", help="topic of the point cloud (default %(default)s)")
    parser.add_argument("--rate", type=float, default=0.25, help="speed of playing (default %(default)s)")
    parser.add_argument("--nodes", default=",".join(PERCEPTION_NODES), help="nodes to start (default: all)")
    parser.add_argument("--one-process", action="store_true", help="all nodes in one process (default: one each)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each network (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/all_nodes"), help="recording, logs (default %(default)s)")
    parser.add_argument("--json", type=Path, help="file for the figures (default: OUT/all_nodes.json)")
    args = parser.parse_args()
    if not args.rate > 0:
        parser.error(f"--rate {args.rate:g}: expected more than 0")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        figures = run(args.bag or simulated_bag(args.out, args.frames, args.camera), args)
    except (Lift3dError, OSError) as error:
        print(f"run_all_nodes: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    path = args.json or args.out / "all_nodes.json"
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for name, node in (figures["nodes"] | {key: figures[key] for key in (TOGETHER,) if key in figures}).items():
        told = ", ".join(f"{key} {value}" for key, value in node.items() if value is not None)
        print(f"{name}: {told}")
    print(f"wrote {path}")
    nodes = figures["nodes"].values()
    processes = [figures[TOGETHER]] if args.one_process else nodes
    is_complete = all(node["messages"] for node in nodes) and all(one["exit_status"] == 0 for one in processes)
    return 0 if is_complete else 1


def run(bag: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Run the nodes, play the recording and return the figures."""
    use_own_domain()
    parameters = node_parameters(bag, args)
    wiring = perception_wiring(args.nodes, camera=args.camera, cloud=args.cloud)
    files = {name: args.out / f"{name}.yaml" for name in wiring}
    for name, file in files.items():
        file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters[name]}}), encoding="utf-8")
    commands = {name: node_command(name, files[name], wired) for name, wired in wiring.items()}
    if args.one_process:
        own, ros = one_process_arguments(wiring, {name: str(file) for name, file in files.items()}, {})
        commands = {TOGETHER: [str(EXECUTABLES / TOGETHER), *own, "--ros-args", *ros]}
    player = [str(EXECUTABLES / PLAYER), str(bag), "--rate", str(args.rate)]
    with listening(list(wiring)) as heard, running(commands, args.out) as processes:
        for name in wiring:
            processes[TOGETHER if args.one_process else name].wait_for(rf"{name}\]: .*{READY}", READY_S)
            print(f"{name} is ready", flush=True)
        costs = {name: ProcessCost(process.process.pid) for name, process in processes.items()}
        heard.gaps_s.clear()  # those while the models were opened
        start_s, busy_s, own_s = time.monotonic(), machine_cpu_s(), time.process_time()
        with running({PLAYER: player}, args.out) as players:
            playing = players[PLAYER]
            costs[PLAYER] = ProcessCost(playing.process.pid)
            watch(lambda: playing.process.poll() is not None, processes, costs)
        if playing.process.returncode != 0:
            raise Lift3dError(f"{bag} could not be played; see {playing.log}")
        played_s = time.monotonic() - start_s
        watch(lambda: time.monotonic() - heard.last_s > SILENCE_S, processes, costs)
        wall_s = max(played_s, heard.last_s - start_s)
        known_s = sum(cost.cpu_s for cost in costs.values()) + time.process_time() - own_s
        others = (machine_cpu_s() - busy_s - known_s) / (time.monotonic() - start_s)
    with open_bag(bag) as reader:
        played = {topic.name: topic.count for topic in reader.topics if not topic.name.startswith("/ground_truth")}
    started, together = "the node executables", {}
    if args.one_process:
        started = f"one process, the executable {TOGETHER}"
        exit_status = processes[TOGETHER].process.returncode
        together = {TOGETHER: {**cost_figures(costs[TOGETHER], wall_s), "exit_status": exit_status}}
    return {
        "format": FORMAT,
        "command": shlex.join(["tools/run_all_nodes.py", *sys.argv[1:]]),
        "package_version": lift3d_ros.__version__,
        "machine": describe_machine("cpu"),
        "started_by": f"{started}, wired as by perception.launch.py",
        "rate": args.rate,
        "threads": args.threads,
        "played_s": round(played_s, 1),
        "until_last_result_s": round(wall_s, 1),
        "played_messages": played,
        "nodes": {name: node_figures(name, heard, processes.get(name), costs.get(name), wall_s) for name in wiring},
        **together,
        PLAYER: cost_figures(costs[PLAYER], played_s),
        "cores_of_other_processes": round(max(others, 0.0), 2),
        "sum_of_peak_pss_mb": round(sum(cost.peak_pss_bytes for cost in costs.values()) / 1e6, 1),
    }


def watch(is_done: Callable[[], bool], nodes: Mapping[str, Running], costs: Mapping[str, ProcessCost]) -> None:
    """Sample the processes until something is true.

    Raises:
        Lift3dError: a node ended.
    """
    while not is_done():
        for cost in costs.values():
            cost.sample()
        for name, node in nodes.items():
            if node.process.poll() is not None:
                raise Lift3dError(f"{name} ended with status {node.process.returncode}; its output is in {node.log}")
        time.sleep(SAMPLE_S)


# The nodes.


def use_own_domain() -> None:
    """Keep this process and those that it starts away from other ROS systems, and give them the variables of nodes.

    SIGTERM becomes an interrupt, so that what was started ends, too.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.setdefault("ROS_DOMAIN_ID", OWN_DOMAIN)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.update(node_environment())


def node_parameters(bag: Path, args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return what the recording asks of each node beside the wiring of the launch file."""
    with open_bag(bag) as reader:
        streams = discover(reader)
    if args.camera not in streams.cameras:
        raise Lift3dError(f"--camera {args.camera}: not in {bag}; expected one of {', '.join(streams.cameras)}")
    topic = streams.cameras[args.camera].image_topic
    common = {"engine.threads": args.threads}
    # Played slowly, the pictures of a set arrive farther apart, by the clock of the nodes.
    slowness = max(1.0, 1.0 / args.rate)
    return {
        "bev_detection": {
            "rig": str(write_rig(streams, args.out / "rig.yaml")),
            "sync.deadline_s": min(SyncConfig.deadline_s * slowness, LONGEST_DEADLINE_S),
            **common,
        },
        "skeleton_lifting": common,
        "point_features": {
            "sync.deadline_s": min(CloudSyncConfig.deadline_s * slowness, LONGEST_DEADLINE_S),
            **common,
        },
        "object_reconstruction": {
            "topics.image": topic.removesuffix("/compressed"),
            "topics.is_compressed": topic.endswith("/compressed"),
            "output.folder": str(args.out / "meshes"),
            **common,
        },
    }


def node_command(name: str, file: Path, wired: NodeWiring) -> list[str]:
    """Return the command line that the launch file makes of a node."""
    command = [str(EXECUTABLES / name), "--ros-args", "-r", f"__node:={name}", "--params-file", str(file)]
    for source, target in wired.remappings:
        command += ["-r", f"{source}:={target}"]
    for parameter, value in wired.parameters.items():
        command += ["-p", f"{parameter}:={value}"]
    return command


@dataclass
class Running:
    """A process and the file that receives its output."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_for(self, pattern: str, timeout_s: float) -> None:
        """Wait for a line of the log."""
        end_s = time.monotonic() + timeout_s
        while not re.search(pattern, self.log.read_text(errors="replace")):
            if self.process.poll() is not None or time.monotonic() > end_s:
                raise Lift3dError(f"{self.log.stem} does not get ready; its output is in {self.log}")
            time.sleep(0.1)


@contextlib.contextmanager
def running(commands: Mapping[str, list[str]], out: Path) -> Iterator[dict[str, Running]]:
    """Run the commands until the block ends; they are interrupted, and what does not end is killed."""
    environment = {**os.environ, "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}"}
    started: dict[str, Running] = {}
    try:
        for name, command in commands.items():
            log = out / f"{name}.log"
            with log.open("wb") as output:
                process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
            started[name] = Running(process, log)
        yield started
    finally:
        for one in started.values():
            one.process.send_signal(signal.SIGINT)
        for one in started.values():
            try:
                one.process.wait(30.0)
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()


# What they publish, and what they cost.


@dataclass
class Heard:
    """What `node` heard of each task node: results, latencies, inputs that gave way; `last_s` is steady time.

    Diagnostics come once a second, from the thread of the callbacks: a gap between them tells that it had to wait.
    """

    node: Node
    messages: Counter[str] = field(default_factory=Counter)
    latencies_ms: dict[str, list[float]] = field(default_factory=dict)
    stages_ms: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    replaced: Counter[str] = field(default_factory=Counter)
    gaps_s: dict[str, list[float]] = field(default_factory=dict)
    last_s: float = field(default_factory=time.monotonic)
    _reported_s: dict[str, float] = field(default_factory=dict)

    def take_diagnostics(self, message: DiagnosticArray) -> None:
        """Keep how long a node was silent; one message is of one node."""
        name, now_s = message.status[0].hardware_id if message.status else "", time.monotonic()
        if name in self._reported_s:
            self.gaps_s.setdefault(name, []).append(now_s - self._reported_s[name])
        self._reported_s[name] = now_s

    def count(self, name: str) -> None:
        """Count a result."""
        self.messages[name] += 1
        self.last_s = time.monotonic()

    def take_timing(self, name: str, message: StageTiming) -> None:
        """Keep what a node tells of a result."""
        self.latencies_ms.setdefault(name, []).append(message.total_ms)
        stages = self.stages_ms.setdefault(name, {})
        for stage, duration_ms in zip(message.stages, message.durations_ms, strict=True):
            stages.setdefault(stage, []).append(duration_ms)
        self.replaced[name] = message.dropped_sets
        self.last_s = time.monotonic()


@contextlib.contextmanager
def listening(names: list[str]) -> Iterator[Heard]:
    """Count the results of nodes while the block runs."""
    rclpy.init(args=[])
    node = rclpy.create_node("listener")
    heard = Heard(node)
    node.create_subscription(DiagnosticArray, "/diagnostics", heard.take_diagnostics, 100)
    for name in names:
        topic, kind = RESULTS[name]
        node.create_subscription(kind, f"/{name}/{topic}", lambda _, name=name: heard.count(name), 100, raw=True)
        node.create_subscription(
            StageTiming, f"/{name}/timing", lambda message, name=name: heard.take_timing(name, message), 100
        )

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            executor = SingleThreadedExecutor()
            executor.add_node(node)
            executor.spin()

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        rclpy.try_shutdown()
        thread.join(5.0)


def node_figures(
    name: str, heard: Heard, process: Running | None, cost: ProcessCost | None, wall_s: float
) -> dict[str, Any]:
    """Return the figures of one node; what its process cost where it has one of its own."""
    latencies = heard.latencies_ms.get(name)
    count = heard.messages[name]
    figures = {
        "topic": f"/{name}/{RESULTS[name][0]}",
        "messages": count,
        "inputs_replaced_by_newer_ones": heard.replaced[name],
        "median_ms_from_input_to_result": round(statistics.median(latencies), 1) if latencies else None,
        "longest_s_between_diagnostics": round(max(heard.gaps_s.get(name, [0.0])), 2),
        "median_ms_of_stages": {
            stage: round(statistics.median(durations), 1) for stage, durations in heard.stages_ms.get(name, {}).items()
        },
    }
    if process is None or cost is None:
        return figures
    return {
        **figures,
        **cost_figures(cost, wall_s),
        "cpu_s_per_message": round(cost.cpu_s / count, 3) if count else None,
        "exit_status": process.process.returncode,
    }


def cost_figures(cost: ProcessCost, wall_s: float) -> dict[str, float]:
    """Return memory and processor time of a process; `cpu_share` is 1 for a whole core."""
    return {
        "peak_pss_mb": round(cost.peak_pss_bytes / 1e6, 1),
        "peak_uss_mb": round(cost.peak_uss_bytes / 1e6, 1),
        "cpu_s": round(cost.cpu_s, 2),
        "cpu_share": round(cost.cpu_s / wall_s, 3),
    }


if __name__ == "__main__":
    sys.exit(main())
