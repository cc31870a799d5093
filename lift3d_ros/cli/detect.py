"""`lift3d detect`: find 3D boxes in a folder of pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lift3d_ros.cli import detection_run

DESCRIPTION = """\
Detect 3D boxes in a folder of pictures.

The folder holds one sub-folder for each camera of the rig file; pictures of one moment have the same file name.
Names of 13 or more digits are stamps in nanoseconds, others are sorted as people count: 2 before 10. For a rig of one
camera the pictures may lie in the folder itself. A scene folder with meta.json needs no rig file.

  lift3d detect pictures --rig my_car.yaml --out results
  lift3d detect scene_folder --out results

DIR receives what 'lift3d replay' writes; sets.jsonl names the picture files of each result (same line number).
A rig file to start from: config/rigs/nuscenes_like.yaml. Without ego motion each moment is detected by itself.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = subparsers.add_parser(
        "detect",
        help="run the detector on a folder of pictures",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of pictures, or scene folder")
    parser.add_argument("--rig", type=Path, metavar="FILE", help="cameras with calibration and mounting")
    parser.add_argument(
        "--period", type=float, default=0.5, metavar="S", help="time between pictures without stamps (default 0.5 s)"
    )
    detection_run.add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Detect and report."""
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.evaluation.run_report import PICTURES_FOLDER
    from lift3d_ros.geometry.rig import load_rig
    from lift3d_ros.replay.folder_frames import FolderFrames, SceneFrames

    detection_run.check_sources(args)
    if not 0.001 <= args.period <= 3600.0:
        raise ConfigError(f"--period {args.period:g}: expected 0.001 to 3600 s between pictures")
    if args.folder.resolve().is_relative_to((args.out / PICTURES_FOLDER).resolve()):
        raise ConfigError(
            f"--out {args.out}: drawn pictures go to '{PICTURES_FOLDER}' in it, which is the input; give another folder"
        )
    config = detection_run.config_of(args)
    source: FolderFrames | SceneFrames
    if args.rig is not None:
        rig = load_rig(args.rig)
        source = FolderFrames(args.folder, rig, args.period)
    elif (args.folder / "meta.json").is_file():
        rig, source = None, SceneFrames(args.folder)
    else:
        raise ConfigError(
            f"{args.folder}: has no meta.json, so the cameras are not known; give a rig file with --rig "
            "(to start from: config/rigs/nuscenes_like.yaml)"
        )
    facts = {"period": args.period, **source.identity}
    return detection_run.run_detection(source, config, args, rig, args.folder, facts)
