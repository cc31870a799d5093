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
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from all_nodes_recording import simulated_bag
from node_processes import READY, READY_S, node_command, running, use_own_domain, watch
from node_results import cost_figures, listening, node_figures

import lift3d_ros
from demo import EXECUTABLES, write_rig
from lift3d_ros.bags.discover import discover
from lift3d_ros.bags.reader import open_bag
from lift3d_ros.bench.machine import describe_machine
from lift3d_ros.bench.process_cost import ProcessCost, machine_cpu_s
from lift3d_ros.cli.output_places import check_file_place, check_folder_place
from lift3d_ros.errors import Lift3dError
from lift3d_ros.launching import PERCEPTION_NODES, one_process_arguments, perception_wiring
from lift3d_ros.pipelines.cloud_sets import CloudSyncConfig
from lift3d_ros.pipelines.frame_sets import SyncConfig

FORMAT = "lift3d all nodes 1"
PLAYER = "bag_player"
TOGETHER = "perception"
SILENCE_S = 15.0
LONGEST_DEADLINE_S = 10.0


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
    if not 0 < args.rate < float("inf"):
        parser.error(f"--rate {args.rate:g}: expected more than 0")
    if args.frames < 1:
        parser.error(f"--frames {args.frames}: expected 1 or more")
    if args.threads < 0:
        parser.error(f"--threads {args.threads}: expected 0 or more; 0: the runtime's choice")
    path = args.json or args.out / "all_nodes.json"
    try:
        check_folder_place("--out", args.out)
        check_file_place("--json", path)
        args.out.mkdir(parents=True, exist_ok=True)
        figures = run(args.bag or simulated_bag(args.out, args.frames, args.camera), args)
    except (Lift3dError, OSError) as error:
        print(f"run_all_nodes: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
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


if __name__ == "__main__":
    sys.exit(main())
