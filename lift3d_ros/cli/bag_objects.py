"""`lift3d bag to-objects`: cut the objects of a recording out as posed pictures, to train the reconstructor on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lift3d_ros.errors import ConfigError

DESCRIPTION = """\
Cut objects out of the pictures of one camera, each with the place of the camera from /tf: OUT/<label_track>/ gets
rgba/*.png and transforms.json, which 'lift3d train lrm' packs and learns from.

What the object is say boxes (of this package, or vision_msgs 2D), with or without a topic of masks; masks alone; or
--box. --object-frame is a frame that does not move against the object: that of a turntable, or 'map' for what lies
still. Without it the 3D box of each picture is the frame, so its errors become errors of the camera. Pictures are
left out in which the object touches the border, or whose time lies outside of the transforms.

  lift3d bag to-objects table.mcap --mask /mask --object-frame turntable --out captures
  lift3d bag to-objects drive.mcap --image /front/image --boxes /detections --label car --object-frame map --out cars
  lift3d train lrm --data captures --pack packs/mine
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("bag", type=Path, metavar="BAG", help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the objects")
    parser.add_argument("--object-frame", default="", metavar="FRAME", help="frame that is fixed to the object")
    parser.add_argument("--image", default="", metavar="TOPIC", help="pictures (default: the only colour topic)")
    parser.add_argument("--camera-info", default="", metavar="TOPIC", help="calibration (default: by the frame)")
    parser.add_argument("--boxes", default="", metavar="TOPIC", help="boxes of objects (default: the only topic)")
    parser.add_argument("--mask", default="", metavar="TOPIC", help="masks of the pictures, mono8")
    parser.add_argument("--box", metavar="L,T,R,B", help="left, top, right, bottom of the object in every picture, px")
    parser.add_argument("--whole-box", action="store_true", help="all of a box is the object, without GrabCut")
    parser.add_argument("--rectified", action="store_true", help="the pictures are rectified: P of CameraInfo holds")
    parser.add_argument("--label", action="append", default=[], metavar="NAME", help="only objects of this class")
    parser.add_argument("--track", type=int, default=-1, metavar="ID", help="only the object with this number")
    parser.add_argument("--min-score", type=float, default=0.3, help="only boxes of this score (default %(default)s)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th picture (default 1)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the captures and say where they are."""
    from tqdm import tqdm

    from lift3d_ros.bags.reader import open_bag
    from lift3d_ros.cli.object_frame import parse_box
    from lift3d_ros.cli.output_places import check_folder_place
    from lift3d_ros.pipelines.object_foreground import BoxCutting
    from lift3d_ros.pipelines.object_sets import ObjectInputConfig, ObjectSyncConfig
    from lift3d_ros.pipelines.object_triggers import TriggerConfig
    from lift3d_ros.replay.bag_objects import BagObjects, RecordedTopics
    from lift3d_ros.replay.object_captures import CaptureSettings, read_all_transforms, write_captures

    check_folder_place("--out", args.out)
    if args.every < 1:
        raise ConfigError(f"--every {args.every}: expected 1 or more")
    if not 0.0 <= args.min_score <= 1.0:
        raise ConfigError(f"--min-score {args.min_score:g}: expected 0 to 1")
    box = None if args.box is None else parse_box(args.box)
    if box is not None and not args.object_frame:
        raise ConfigError("--box: there is no 3D box that could be the frame of the object; give --object-frame FRAME")
    cutting: BoxCutting = "box" if args.whole_box else "grabcut"
    topics = RecordedTopics(args.image, args.camera_info, args.boxes, args.mask)
    trigger = TriggerConfig(tuple(args.label), args.min_score, min_interval_s=0.0)
    settings = CaptureSettings(args.object_frame, args.track, args.every, cutting)
    with open_bag(args.bag) as reader:
        inputs = ObjectInputConfig(cutting, args.rectified)
        source = BagObjects(reader, topics, inputs, ObjectSyncConfig(), trigger, box, has_options=True)
        tree = read_all_transforms(reader)
        with tqdm(desc="cutting out", unit="picture", disable=None, file=sys.stderr) as bar:
            found = write_captures(source.requests(), tree, args.out, settings, lambda request: bar.update())
    for folder, count in found.pictures.items():
        print(f"{folder}: {count} pictures")
    for reason, count in sorted(found.left_out.items()):
        print(f"left out: {count} pictures {reason}")
    print(f"pack them:  lift3d train lrm --data {args.out} --pack PACK")
    return 0
