"""`lift3d replay`: run a task on a recording, without ROS."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lift3d_ros.cli import detection_run
from lift3d_ros.errors import ConfigError

SKELETON_LIFTING = "skeleton_lifting"
POINT_FEATURES = "point_features"
OBJECT_RECONSTRUCTION = "object_reconstruction"

DESCRIPTION = """\
Run a task on a recording (rosbag2 mcap or sqlite3, or ROS 1), with the code that runs in the node. Default: detect 3D
boxes.

Cameras, calibration, transforms and ego motion are found by themselves; 'lift3d bag info BAG' shows what. A rig file
overrides them or gives what the recording lacks. The same recording gives the same detections, byte for byte.

  lift3d replay drive.mcap --out results
  lift3d replay drive.mcap --out results --resume               after an interruption
  lift3d replay drive.bag --rig my_car.yaml --out results       calibration and mounting of my own
  lift3d replay phone.bag --mount-height 1.5 --out results      one camera that looks straight ahead
  lift3d replay drive.mcap --sets sets.jsonl --out results      the frame sets that a node recorded

--params takes the parameter file of the node of the task, as config/bev_detection.yaml, or its groups alone, as
'detector: {score_threshold: 0.2}'. What is of the node alone is left out, and named.

DIR receives detections.jsonl, sets.jsonl, timing.jsonl, pictures/, report.html, and metrics.json where the
recording has labels (/ground_truth/boxes).

  lift3d replay walk.mcap --task skeleton_lifting --out lifted

lifts recorded 2D keypoints (lift3d_ros/Keypoints2DArray, or the detections of yolo_ros) to 3D skeletons. Calibration
is that in the frame of the keypoints; --params is as config/skeleton_lifting.yaml: topics, depth, boxes, gravity_frame,
known lengths. DIR receives skeletons.jsonl, timing.jsonl and pictures/.

  lift3d replay scan.mcap --task point_features --out encoded

encodes recorded point clouds (sensor_msgs/PointCloud2) as a whole, or the objects in them; --params is as
config/point_features.yaml: topics.boxes, output_frame, encoder.classifier. DIR receives features.jsonl,
features/ (npz), timing.jsonl and pictures/.

  lift3d replay table.mcap --task object_reconstruction --out meshes
  lift3d replay table.mcap --task object_reconstruction --box 210,80,390,320 --out meshes

makes meshes of recorded objects (lift3d_ros/BevDetectionArray or vision_msgs/Detection2DArray), or of what lies in the
box. --params is as config/object_reconstruction.yaml. DIR receives objects.jsonl, meshes/,
timing.jsonl and pictures/.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = subparsers.add_parser(
        "replay",
        help="run a task on a recording",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bag", type=Path, metavar="BAG", help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag")
    parser.add_argument("--rig", type=Path, metavar="FILE", help="rig file that overrides or completes the recording")
    parser.add_argument(
        "--mount-height",
        type=float,
        metavar="M",
        help="take cameras without a known mounting to look straight ahead from this height, metres",
    )
    parser.add_argument("--box", metavar="L,T,R,B", help="left, top, right, bottom of the object in every picture, px")
    detection_run.add_options(parser, (*detection_run.TASKS, SKELETON_LIFTING, POINT_FEATURES, OBJECT_RECONSTRUCTION))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay and report."""
    if args.task == OBJECT_RECONSTRUCTION:
        from lift3d_ros.cli.reconstruction_run import run_reconstruction

        return run_reconstruction(args)
    if args.box is not None:
        raise ConfigError("--box: is an option of --task object_reconstruction alone; leave it out")
    if args.task == SKELETON_LIFTING:
        from lift3d_ros.cli.lifting_run import run_lifting

        return run_lifting(args)
    if args.task == POINT_FEATURES:
        from lift3d_ros.cli.encoding_run import run_encoding

        return run_encoding(args)
    from lift3d_ros.bags.discover import discover
    from lift3d_ros.bags.reader import open_bag
    from lift3d_ros.geometry.rig import load_rig
    from lift3d_ros.replay.bag_frames import BagFrames

    detection_run.check_sources(args)
    if args.mount_height is not None and not 0.0 <= args.mount_height <= 20.0:
        raise ConfigError(f"--mount-height {args.mount_height:g}: expected 0 to 20 metres over the ground")
    config = detection_run.config_of(args)
    rig = None if args.rig is None else load_rig(args.rig)
    with open_bag(args.bag) as reader:
        source = BagFrames(reader, discover(reader, rig), config.sync, rig, args.mount_height)
        facts = {
            "recording": {"start_ns": reader.start_ns, "end_ns": reader.end_ns, "messages": reader.message_count},
            "mount height": args.mount_height,
        }
        return detection_run.run_detection(source, config, args, rig, args.bag, facts)
