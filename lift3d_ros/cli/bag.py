"""`lift3d bag`: look into recordings, and make them from labelled data."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lift3d_ros.cli import bag_objects

if TYPE_CHECKING:
    from lift3d_ros.bags.reader import BagReader
    from lift3d_ros.geometry.rig import Rig

DESCRIPTION = """\
Look into recordings (rosbag2 mcap and sqlite3, ROS 1), take them apart for labelling, and make them from labelled data.
No ROS is needed.

  lift3d bag info BAG                          topics, and what the detector would use
  lift3d bag to-frames BAG --out scene_folder  recording -> folder of pictures and meta.json, to be labelled
  lift3d bag to-objects BAG --out captures     objects as pictures with their cameras, to train the reconstructor on
  lift3d bag from-frames scene_folder          folder of pictures and meta.json -> rosbag2
  lift3d bag from-nuscenes ROOT --list         scenes of a nuScenes folder
  lift3d bag from-nuscenes ROOT --scene scene-0103
"""

INFO_DESCRIPTION = """\
Print the topics of a recording, the streams that the detector would use, and what is missing for it.

A camera needs pictures, a CameraInfo and a transform from the base frame; what a recording lacks comes from
a rig file. A recording that was cut short is read as far as it is whole.

  lift3d bag info drive_2024_05_01
  lift3d bag info drive.bag --rig my_car.yaml

Exit status: 0 at least one camera can be used, 1 none can, 2 the recording cannot be read.
"""

TO_FRAMES_DESCRIPTION = """\
Write the frame sets of a recording as a scene folder: images/<camera>/<index>.jpg, and meta.json with calibration,
mounting, poses of the vehicle, and boxes where the recording has labels. Pictures are copied as they are.

Add 'boxes' to the frames of meta.json to train on the folder; docs/training.md shows how.

  lift3d bag to-frames drive.mcap --out scenes/drive
  lift3d bag to-frames drive.mcap --rig my_car.yaml --every 5 --out scenes/drive
"""

FRAMES_DESCRIPTION = """\
Write a scene folder (meta.json, images/, lidar/) as a rosbag2 recording.

The recording holds pictures and calibration of each camera, /tf_static, /tf, /odom, /ground_truth/boxes
and /points, so that replay, evaluation and 'ros2 bag play' see what a vehicle would have recorded.

  lift3d bag from-frames data/scene_0103 --out scene_0103_bag
  lift3d replay scene_0103_bag --out results
"""

NUSCENES_DESCRIPTION = """\
Write scenes of a nuScenes folder as rosbag2 recordings, one for each scene.

ROOT is the folder that holds samples/, sweeps/, maps/ and the tables (v1.0-mini/ or another --version).
Needs the nuscenes-devkit: pip install nuscenes-devkit.

  lift3d bag from-nuscenes /data/nuscenes --list
  lift3d bag from-nuscenes /data/nuscenes --scene scene-0103 --out scene-0103_bag
  lift3d bag from-nuscenes /data/nuscenes --scene all --out bags --sweeps
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = _add(subparsers, "bag", "look into recordings, and make them from labelled data", DESCRIPTION)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    info = _add(actions, "info", "what is in a recording, and what the detector would use", INFO_DESCRIPTION)
    info.add_argument("bag", type=Path, metavar="BAG", help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag")
    info.add_argument("--rig", type=Path, metavar="FILE", help="rig file with what the recording lacks")
    info.set_defaults(run=run_info)

    folder = _add(actions, "to-frames", "write a recording as a scene folder, to be labelled", TO_FRAMES_DESCRIPTION)
    folder.add_argument("bag", type=Path, metavar="BAG", help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag")
    folder.add_argument("--out", type=Path, required=True, metavar="DIR", help="scene folder to write")
    folder.add_argument("--rig", type=Path, metavar="FILE", help="rig file that overrides or completes the recording")
    folder.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th frame set (default 1)")
    folder.add_argument("--overwrite", action="store_true", help="replace a scene folder that exists already")
    folder.set_defaults(run=run_to_frames)

    objects = _add(actions, "to-objects", "cut objects out as pictures with their cameras", bag_objects.DESCRIPTION)
    bag_objects.add_options(objects)

    frames = _add(actions, "from-frames", "write a scene folder as a recording", FRAMES_DESCRIPTION)
    frames.add_argument("folder", type=Path, metavar="DIR", help="folder with meta.json and images/")
    _add_output(frames, "recording to write (default: name of DIR and storage, here)")
    frames.set_defaults(run=run_from_frames)

    nuscenes = _add(actions, "from-nuscenes", "write nuScenes scenes as recordings", NUSCENES_DESCRIPTION)
    nuscenes.add_argument("root", type=Path, metavar="ROOT", help="folder with samples/ and the tables")
    what = nuscenes.add_mutually_exclusive_group(required=True)
    what.add_argument("--scene", metavar="NAME", help="name of a scene, or 'all'")
    what.add_argument("--list", action="store_true", help="print the scenes and stop")
    nuscenes.add_argument("--version", default="v1.0-mini", help="folder of the tables (default %(default)s)")
    nuscenes.add_argument(
        "--sweeps", action="store_true", help="also the pictures between key frames: 12 Hz in place of 2 Hz"
    )
    _add_output(
        nuscenes, "recording to write (default: name of the scene and storage, here); with 'all' the folder for them"
    )
    nuscenes.set_defaults(run=run_from_nuscenes)


def run_info(args: argparse.Namespace) -> int:
    """Print what is in a recording; 1 where the detector can use nothing of it."""
    from lift3d_ros.bags.reader import BagReader
    from lift3d_ros.geometry.rig import load_rig

    rig = None if args.rig is None else load_rig(args.rig)
    with BagReader(args.bag) as reader:
        _print_topics(reader)
        return _print_streams(reader, rig)


def run_to_frames(args: argparse.Namespace) -> int:
    """Write the scene folder and say where it is."""
    from lift3d_ros.bags.discover import discover
    from lift3d_ros.bags.reader import open_bag
    from lift3d_ros.errors import ConfigError, DatasetError
    from lift3d_ros.geometry.rig import load_rig
    from lift3d_ros.pipelines.frame_sets import SyncConfig
    from lift3d_ros.replay.bag_frames import BagFrames
    from lift3d_ros.replay.scene_folder import write_scene_folder

    if args.every < 1:
        raise ConfigError(f"--every {args.every}: expected 1 or more")
    meta = args.out / "meta.json"
    if meta.exists() and not args.overwrite:
        raise DatasetError(
            f"{meta}: exists already, maybe with labels; give another --out, or --overwrite to replace it"
        )
    rig = None if args.rig is None else load_rig(args.rig)
    with open_bag(args.bag) as reader:
        source = BagFrames(reader, discover(reader, rig), SyncConfig(), rig)
        count = write_scene_folder(source, args.out, every=args.every)
    print(f"wrote {args.out} ({count} frames)")
    return 0


def run_from_frames(args: argparse.Namespace) -> int:
    """Write the recording and say where it is."""
    from lift3d_ros.bags.from_frames import bag_from_frames

    out = args.out or Path(f"{args.folder.resolve().name}_{args.storage}")
    count = bag_from_frames(args.folder, out, storage=args.storage, overwrite=args.overwrite)
    print(f"wrote {out} ({count} messages)")
    return 0


def run_from_nuscenes(args: argparse.Namespace) -> int:
    """Write one recording or one for each scene, and say where they are."""
    from lift3d_ros.bags.write_scene import write_scene
    from lift3d_ros.datasets.nuscenes import NuScenesFolder, list_nuscenes_scenes

    scenes = list_nuscenes_scenes(args.root, args.version)
    if args.list:
        for name, description in scenes.items():
            print(f"{name}  {description}")
        return 0
    folder = NuScenesFolder(args.root, args.version)
    for name in scenes if args.scene == "all" else [args.scene]:
        out = Path(f"{name}_{args.storage}")
        if args.scene == "all":
            out = (args.out or Path()) / out
            if out.exists() and not args.overwrite:
                print(f"kept {out}, which exists already (--overwrite writes it again)")
                continue
        elif args.out is not None:
            out = args.out
        scene = folder.scene(name, sweeps=args.sweeps)
        count = write_scene(scene, out, storage=args.storage, overwrite=args.overwrite)
        print(f"wrote {out} ({count} messages)", flush=True)
    return 0


def _add(subparsers: Any, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return parser


def _add_output(parser: argparse.ArgumentParser, help_out: str) -> None:
    parser.add_argument("--out", type=Path, metavar="BAG", help=help_out)
    parser.add_argument("--storage", choices=["mcap", "sqlite3"], default="mcap", help="file format (default mcap)")
    parser.add_argument("--overwrite", action="store_true", help="replace a recording that exists already")


def _print_topics(reader: BagReader) -> None:
    seconds = (reader.end_ns - reader.start_ns) * 1e-9
    start = datetime.datetime.fromtimestamp(reader.start_ns * 1e-9, tz=datetime.timezone.utc)
    since = f", from {start:%Y-%m-%d %H:%M:%S} UTC" if reader.message_count else ""
    kind = "ROS 1" if reader.is_ros1 else "ROS 2"
    print(f"{reader.path}: {kind}, {reader.message_count} messages, {seconds:.1f} s{since}\n")
    rows = [("topic", "type", "count", "Hz")]
    for topic in reader.topics:
        rate = f"{(topic.count - 1) / seconds:.1f}" if topic.count > 1 and seconds > 0 else "-"
        rows.append((topic.name, topic.type, str(topic.count), rate))
    _print_table(rows)


def _print_table(rows: Sequence[tuple[str, str, str, str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for name, kind, count, rate in rows:
        print(f"  {name:{widths[0]}}  {kind:{widths[1]}}  {count:>{widths[2]}}  {rate:>{widths[3]}}")


def _print_streams(reader: BagReader, rig: Rig | None) -> int:
    from lift3d_ros.bags.check import check_streams
    from lift3d_ros.bags.discover import discover
    from lift3d_ros.errors import BagError

    try:
        streams = discover(reader, rig)
    except BagError as error:
        if rig is not None:
            raise
        print(f"\nThe detector can use nothing of it: {str(error).partition(' Topics of the recording')[0]}")
        return 1
    print(f"\nWhat the detector would use:\n{streams.describe()}")
    check = check_streams(reader, streams, rig)
    lines = [*check.notes]
    for name, camera in check.cameras.items():
        lines += [f"camera '{name}': {sentence}" for sentence in (*camera.problems, *camera.notes)]
    if lines:
        print("\nWarnings:\n" + "\n".join(f"  {line}" for line in lines))
    return 1 if all(camera.problems for camera in check.cameras.values()) else 0
