"""The demo: replays a surround-camera recording through the real bev_detection node and writes a report page.

Without rclpy (no ROS 2, or no CPython 3.11 for its wheels) it replays without the node and says so.

  make demo                          the bundled street, and a real recording where the reference data lie
  make demo DEMO_BAG=/data/drive     your recording
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lift3d_ros.bags.discover import BagStreams, discover
from lift3d_ros.bags.from_frames import bag_from_frames
from lift3d_ros.bags.reader import open_bag
from lift3d_ros.cli.main import main as lift3d
from lift3d_ros.errors import Lift3dError
from lift3d_ros.evaluation.run_report import ReportOptions, RunSummary, write_run_report
from lift3d_ros.launching import node_environment
from lift3d_ros.pipelines.bev_engine import EngineConfig, open_bev_engine
from lift3d_ros.pipelines.frame_sets import SyncConfig
from lift3d_ros.replay.bag_frames import LONE_CAMERA_HEIGHT_M, BagFrames
from lift3d_ros.replay.results import DETECTIONS_FILE, SETS_FILE

ROOT = Path(__file__).resolve().parents[1]
STREET = ROOT / "demo" / "street"
EXECUTABLES = Path(sys.prefix) / "lib" / "lift3d_ros"
NODE = "/bev_detection"
INTERRUPTED = 130  # exit status after Ctrl-C
HAS_ROS = importlib.util.find_spec("rclpy") is not None and importlib.util.find_spec("lift3d_ros.msg") is not None


@dataclass(frozen=True)
class Scene:
    """One recording of the demo and where its results go."""

    bag: Path
    out: Path


def main() -> int:
    """Run every scene and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bag", default=os.environ.get("DEMO_BAG", ""), help="recording to play (or DEMO_BAG)")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "demo", help="results (default out/demo)")
    args = parser.parse_args()
    start_s = time.monotonic()
    reports = []
    try:
        for scene in scenes(args.bag, args.out):
            say(f"{scene.bag.name}")
            reports.append(run_with_node(scene) if HAS_ROS else run_without_node(scene))
    except Lift3dError as error:
        print(f"demo: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return INTERRUPTED
    say(f"done in {time.monotonic() - start_s:.0f} s")
    for report in reports:
        print(f"report: {report}")
    return 0


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"demo: {text}", flush=True)


def scenes(bag: str, out: Path) -> Iterator[Scene]:
    """Yield the given recording; without one the bundled street and, where the reference data lie, a real drive."""
    if bag:
        yield Scene(Path(bag), out)
        return
    street = out / "street_bag"
    if not street.exists() or _newest(STREET) > _newest(street):
        say("writing the bundled street as a recording")
        bag_from_frames(STREET, street, overwrite=True)
    yield Scene(street, out)
    shared = Path(os.environ.get("LIFT3D_SHARED_DIR", ROOT.parent / "shared"))
    real = shared / "data" / "bags" / "nc_nuscenes_scene0103_mcap"
    if real.exists():
        yield Scene(real, out / "nuscenes")


def run_with_node(scene: Scene) -> Path:
    """Play the recording to the node over DDS, record what it publishes, and return the report page."""
    scene.out.mkdir(parents=True, exist_ok=True)
    for name in (DETECTIONS_FILE, SETS_FILE):  # of an earlier demo; the node appends
        (scene.out / name).unlink(missing_ok=True)
    with open_bag(scene.bag) as reader:
        streams = discover(reader)
        source = BagFrames(reader, streams, SyncConfig())  # refuses at once what cannot be played usefully
        # Exporting the graph takes half a minute once; here it is seen, in the node it would be a silent wait.
        open_bev_engine("dfa3d_tiny", EngineConfig(), len(streams.cameras))
        parameters = {
            "rig": write_rig(streams, scene.out / "rig.yaml"),
            "ego_motion": "none" if streams.world_frame is None else "auto",
            "record_sets": scene.out / SETS_FILE,
            # The player waits for each result, so that a slow machine loses nothing.
            "sync.drop": "false",
            "qos.reliability": "reliable",
        }
        options = [item for name, value in parameters.items() for item in ("-p", f"{name}:={value}")]
        pace = ("--rate", "0", "--wait-for", f"{NODE}/detections")
        say("playing it through the node over DDS")
        with (
            running("detection_recorder", str(scene.out)),
            running("bev_detection", "--ros-args", *options) as node,
            running("bag_player", str(scene.bag), *pace, "--topics", *streams.topics) as player,
        ):
            wait_with_progress(player, node, scene.out / DETECTIONS_FILE)
            if player.poll() != 0 or node.poll() is not None:
                raise Lift3dError(f"{scene.bag}: could not be played through the node; see the lines above")
        command = ["make", "demo", f"DEMO_BAG={scene.bag}"] if os.environ.get("DEMO_BAG") else ["make", "demo"]
        facts = {"input": scene.bag.name, "path": "recording -> DDS -> bev_detection node -> recorder"}
        summary = write_run_report(
            scene.out,
            source,
            ReportOptions(f"BEV detection demo: {source.name}", command, parameters, facts, score_threshold=0.3),
        )
    return describe(summary)


def wait_with_progress(player: subprocess.Popen[bytes], node: subprocess.Popen[bytes], results: Path) -> None:
    """Wait for the player, or for the node to fail, and say every five seconds how far it is."""
    while player.poll() is None and node.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            player.wait(5.0)
            return
        finished = results.read_bytes().count(b"\n") if results.exists() else 0
        say(f"{finished} frame sets so far")


def run_without_node(scene: Scene) -> Path:
    """Replay without ROS and return the report page."""
    say("rclpy or the interfaces are missing, so this replays WITHOUT the node; see 'make setup'")
    status = lift3d(["replay", str(scene.bag), "--out", str(scene.out), "--overwrite"])
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    if status != 0:
        raise Lift3dError(f"{scene.bag}: could not be replayed; see the lines above")
    return scene.out / "report.html"


def write_rig(streams: BagStreams, path: Path) -> Path:
    """Write which topics the node listens to; calibration and mounting come over DDS."""
    lines = [f"base_frame: {streams.base_frame}"]
    lines += [f"world_frame: {streams.world_frame}"] if streams.world_frame else []
    lines += [f"odometry_topic: {streams.odometry_topic}"] if streams.odometry_topic else []
    lines.append("cameras:")
    for name, camera in streams.cameras.items():
        lines += [f"  {name}:", f"    topic: {camera.image_topic}", f"    frame_id: {camera.frame_id}"]
        if camera.info_topic is not None:
            lines.append(f"    camera_info_topic: {camera.info_topic}")
        if len(streams.cameras) == 1 and not streams.has_transforms:  # as replay does
            lines.append(f"    mounting: {{position: [0.0, 0.0, {LONE_CAMERA_HEIGHT_M}], rpy_deg: [0.0, 0.0, 0.0]}}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def describe(summary: RunSummary) -> Path:
    """Print the figures of a run and return its page."""
    assert summary.report is not None
    noun = "set" if summary.num_frames == 1 else "sets"
    figures = "" if summary.metrics is None else f", mAP {summary.metrics.mean_ap:.3f}"
    say(f"{summary.num_frames} frame {noun}, median {summary.median_ms:.0f} ms{figures}; {summary.model}")
    return summary.report


def start(executable: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start an executable of the package on a domain that does not disturb other ROS systems."""
    environment = {
        **os.environ,
        **node_environment(),
        "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
        "ROS_DOMAIN_ID": os.environ.get("ROS_DOMAIN_ID", str(1 + os.getpid() % 100)),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    return subprocess.Popen([str(EXECUTABLES / executable), *arguments], env=environment)


@contextlib.contextmanager
def running(executable: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run an executable until the block ends, then interrupt it as Ctrl-C does."""
    process = start(executable, *arguments)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30.0)
        except subprocess.TimeoutExpired:
            process.kill()


def _newest(folder: Path) -> float:
    return max(path.stat().st_mtime for path in folder.rglob("*"))


if __name__ == "__main__":
    sys.exit(main())
