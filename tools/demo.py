"""The demo: plays recordings through the real bev_detection node and writes one report page with a tab for each.

Without rclpy (no ROS 2, or no CPython 3.11 for its wheels) it replays without the node and says so.

  make demo                          the bundled street, and a real recording where the reference data lie
  make demo DEMO_BAG=/data/drive     the bundled street, and your recording
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import os
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
from lift3d_ros.evaluation.run_report import REPORT_FILE, ReportOptions, RunSummary, summarize_run
from lift3d_ros.launching import node_environment
from lift3d_ros.pipelines.bev_detection import BevDetectionConfig
from lift3d_ros.pipelines.bev_engine import open_bev_engine
from lift3d_ros.pipelines.frame_sets import SyncConfig
from lift3d_ros.replay.bag_frames import LONE_CAMERA_HEIGHT_M, BagFrames
from lift3d_ros.replay.results import DETECTIONS_FILE, SETS_FILE
from lift3d_ros.viz.report import write_tabbed_report
from lift3d_ros.viz.report_content import ReportData

ROOT = Path(__file__).resolve().parents[1]
STREET = ROOT / "demo" / "street"
EXECUTABLES = Path(sys.prefix) / "lib" / "lift3d_ros"
NODE = "/bev_detection"
START_S = 60.0
INTERRUPTED = 130  # exit status after Ctrl-C
HAS_ROS = importlib.util.find_spec("rclpy") is not None and importlib.util.find_spec("lift3d_ros.msg") is not None
SETTINGS = BevDetectionConfig()
STREET_NAME, REAL_NAME = "street", "real"  # the page opens at a tab with report.html#real
TITLES = {STREET_NAME: "Simulated street", REAL_NAME: "Real drive"}
NO_REAL_DRIVE = (
    "No recording of a real drive was at hand.",
    "Give one of your own, rosbag2 (mcap or sqlite3) or ROS 1, with pictures, calibration and transforms:\n"
    "    make demo DEMO_BAG=/data/drive\n"
    "What a recording holds, and what the detector would use of it:\n"
    "    .venv/bin/lift3d bag info /data/drive",
    "Without a car: a scene of nuScenes (nuscenes.org, v1.0-mini, free for non-commercial use after registration) "
    "becomes a recording with\n"
    "    .venv/bin/lift3d bag from-nuscenes /data/nuscenes --scene scene-0103",
)


@dataclass(frozen=True)
class Scene:
    """One recording of the demo: the name of its tab, and where its results go."""

    name: str
    bag: Path
    out: Path


def main() -> int:
    """Run every scene, write the page and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bag", default=os.environ.get("DEMO_BAG", ""), help="real recording to play (or DEMO_BAG)")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "demo", help="results (default out/demo)")
    args = parser.parse_args()
    start_s = time.monotonic()
    page = args.out / REPORT_FILE
    try:
        real = real_drive(args.bag, args.out)
        street = bundled_street(args.out)
        tabs = {scene.name: run(scene) for scene in ([street] if real is None else [street, real])}
        if real is None:
            tabs[REAL_NAME] = ReportData(TITLES[REAL_NAME], (), (), introduction=NO_REAL_DRIVE)
        write_tabbed_report(page, "BEV detection demo", tabs)
    except Lift3dError as error:
        print(f"demo: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return INTERRUPTED
    say(f"done in {time.monotonic() - start_s:.0f} s")
    print(f"report: {page}")
    return 0


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"demo: {text}", flush=True)


def bundled_street(out: Path) -> Scene:
    """Return the bundled street as a recording, written where it is missing or older than its pictures."""
    bag = out / "street_bag"
    if not bag.exists() or _newest(STREET) > _newest(bag):
        say("writing the bundled street as a recording")
        bag_from_frames(STREET, bag, overwrite=True)
    return Scene(STREET_NAME, bag, out / STREET_NAME)


def real_drive(bag: str, out: Path) -> Scene | None:
    """Return the given recording, or without one that of the reference data, or None.

    Raises:
        Lift3dError: the recording cannot be played usefully.
    """
    shared = Path(os.environ.get("LIFT3D_SHARED_DIR", ROOT.parent / "shared"))
    path = Path(bag) if bag else shared / "data" / "bags" / "nc_nuscenes_scene0103_mcap"
    if not bag and not path.exists():
        return None
    with open_bag(path) as reader:
        BagFrames(reader, discover(reader), SyncConfig())  # told now, not after the street has been played
    return Scene(REAL_NAME, path, out / REAL_NAME)


def run(scene: Scene) -> ReportData:
    """Play one recording, print its figures and return its tab."""
    say(f"{TITLES[scene.name]}: {scene.bag.name}")
    scene.out.mkdir(parents=True, exist_ok=True)
    with open_bag(scene.bag) as reader:
        streams = discover(reader)
        source = BagFrames(reader, streams, SyncConfig())
        parameters, path = play_through_node(scene, streams) if HAS_ROS else replay(scene)
        options = ReportOptions(
            title=TITLES[scene.name],
            command=["make", "demo", *([f"DEMO_BAG={scene.bag}"] if os.environ.get("DEMO_BAG") else [])],
            configuration=parameters,
            facts={"input": scene.bag.name, "path": path},
            score_threshold=SETTINGS.detector.score_threshold,
        )
        summary = summarize_run(scene.out, source, options)
    describe(summary)
    assert summary.page is not None
    return dataclasses.replace(summary.page, introduction=introduction(scene, summary))


def introduction(scene: Scene, summary: RunSummary) -> tuple[str, ...]:
    """Return what to know before looking at a tab."""
    threshold = f"{SETTINGS.detector.score_threshold:g}"
    if scene.name == STREET_NAME:
        return (
            "A drive through a street that this project rendered, two frame sets in a second. The figures compare the "
            f"boxes that the detector reports in its default settings (scores from {threshold} on, and lower ones that "
            "continue a track) with the labels. 'lift3d evaluate' counts doubtful boxes, too.",
        )
    trained = (
        "The weights saw simulated streets only, not one real picture: boxes on real pictures are not to be relied on."
    )
    compared = (
        "No labels are compared here: look at the pictures and judge for yourself."
        if summary.metrics is None
        else "The figures compare the boxes with the labels of the recording."
    )
    return (f"{trained} {compared}" if summary.is_trained else compared,)


def play_through_node(scene: Scene, streams: BagStreams) -> tuple[dict[str, object], str]:
    """Play the recording to the node over DDS and record what it publishes; return its parameters and the path."""
    for name in (DETECTIONS_FILE, SETS_FILE):  # of an earlier demo; the node appends
        (scene.out / name).unlink(missing_ok=True)
    # Exporting the graph takes half a minute once; here it is seen, in the node it would be a silent wait.
    open_bev_engine(SETTINGS.model, SETTINGS.engine, len(streams.cameras))
    parameters: dict[str, object] = {
        "model": SETTINGS.model,
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
    results = scene.out / DETECTIONS_FILE
    with (
        running("detection_recorder", str(scene.out)) as recorder,
        running("bev_detection", "--ros-args", *options) as node,
    ):
        wait_for_recorder(recorder, node, results)
        with running("bag_player", str(scene.bag), *pace, "--topics", *streams.topics) as player:
            wait_with_progress(player, node, results)
            if player.poll() != 0 or node.poll() is not None:
                raise Lift3dError(f"{scene.bag}: could not be played through the node; see the lines above")
    return parameters, "recording -> DDS -> bev_detection node -> recorder"


def replay(scene: Scene) -> tuple[dict[str, object], str]:
    """Replay without ROS; return what was set and the path."""
    say("rclpy or the interfaces are missing, so this replays WITHOUT the node; see 'make setup'")
    options = ["--out", str(scene.out), "--overwrite", "--no-report", "--no-pictures", "--model", SETTINGS.model]
    status = lift3d(["replay", str(scene.bag), *options])
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    if status != 0:
        raise Lift3dError(f"{scene.bag}: could not be replayed; see the lines above")
    return {"model": SETTINGS.model}, "recording -> lift3d replay"


def wait_for_recorder(recorder: subprocess.Popen[bytes], node: subprocess.Popen[bytes], results: Path) -> None:
    """Wait until the recorder has found the node, which it tells by its file: it then misses no result."""
    end_s = time.monotonic() + START_S
    while not results.exists():
        if recorder.poll() is not None or node.poll() is not None or time.monotonic() > end_s:
            raise Lift3dError(f"{results}: recorder or node did not start; see the lines above")
        time.sleep(0.05)


def wait_with_progress(player: subprocess.Popen[bytes], node: subprocess.Popen[bytes], results: Path) -> None:
    """Wait for the player, or for the node to fail, and say every five seconds how far it is."""
    while player.poll() is None and node.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            player.wait(5.0)
            return
        finished = results.read_bytes().count(b"\n") if results.exists() else 0
        say(f"{finished} frame sets so far")


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


def describe(summary: RunSummary) -> None:
    """Print the figures of a run."""
    noun = "set" if summary.num_frames == 1 else "sets"
    figures = "" if summary.metrics is None else f", mAP {summary.metrics.mean_ap:.3f}"
    say(f"{summary.num_frames} frame {noun}, median {summary.median_ms:.0f} ms{figures}; {summary.model}")


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
    """Run an executable until the block ends; SIGTERM ends it quietly even while it is starting."""
    process = start(executable, *arguments)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30.0)
        except subprocess.TimeoutExpired:
            process.kill()


def _newest(folder: Path) -> float:
    return max(path.stat().st_mtime for path in folder.rglob("*"))


if __name__ == "__main__":
    sys.exit(main())
