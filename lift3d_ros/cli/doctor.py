"""`lift3d doctor`: check this machine, a recording or a running system, with a remedy for what is wrong."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lift3d_ros.doctor.report import Report

DESCRIPTION = """\
Check this machine, a recording or a running system. Each line of the report is OK, WARN or FAIL and says what to do.

  lift3d doctor                                this machine: a report to paste into an issue
  lift3d doctor --jetson                       with power mode, clocks, swap, libraries, and room for each model
  lift3d doctor --bag BAG --out DIR            a recording; writes calibration pictures of its cameras
  lift3d doctor --topics --out DIR             every camera of the running system
  lift3d doctor --topics --params bev.yaml     the cameras of a parameter file of the node

In a calibration picture the drawn grid must lie on the road and the drawn horizon on the horizon.

Exit status: 0 all is OK or only warnings, 1 something failed, 2 wrong use.
"""

_LONGEST_S = 600.0


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="check this machine, a recording or a running system",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subject = parser.add_mutually_exclusive_group()
    subject.add_argument("--bag", type=Path, metavar="BAG", help="check a recording (rosbag2 or ROS 1)")
    subject.add_argument("--jetson", action="store_true", help="also check what decides speed and memory on a Jetson")
    subject.add_argument("--topics", action="store_true", help="check the running system; needs ROS 2")
    parser.add_argument("--rig", type=Path, metavar="FILE", help="rig file with cameras, calibration, mounting")
    parser.add_argument("--params", type=Path, metavar="FILE", help="with --topics: parameter file of the node")
    parser.add_argument("--cameras", metavar="A,B", help="with --topics: names of cameras, with topics as the node has")
    parser.add_argument("--seconds", type=float, metavar="S", help="with --topics: how long to listen (default 5)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for calibration pictures, a PNG per camera")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the report as data")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report and return 1 where something failed."""
    _check_use(args)
    if args.bag is not None:
        report = _check_bag(args)
    elif args.topics:
        report = _check_topics(args)
    elif args.jetson:
        report = _check_jetson()
    else:
        report = _check_machine()
    print(report.text())
    if args.json is not None:
        report.write_json(args.json)
    return report.exit_status


def _check_use(args: argparse.Namespace) -> None:
    from lift3d_ros.errors import ConfigError

    needs = {"params": "--topics", "cameras": "--topics", "seconds": "--topics"}
    needs |= {"rig": "--bag or --topics", "out": "--bag or --topics"} if args.bag is None else {}
    for option, subject in needs.items():
        if getattr(args, option) is not None and not args.topics:
            raise ConfigError(f"--{option} is given without {subject}; add it, or leave --{option} out")
    if args.bag is not None and args.out is None:
        raise ConfigError("--bag needs --out DIR, the folder for the calibration pictures")
    if args.seconds is not None and not 0 < args.seconds <= _LONGEST_S:
        raise ConfigError(f"--seconds {args.seconds:g}: expected more than 0 and at most {_LONGEST_S:g}")


def _check_machine() -> Report:
    from lift3d_ros.doctor.machine import check_machine

    return check_machine(os.environ)


def _check_jetson() -> Report:
    from lift3d_ros.doctor.jetson import check_jetson

    return check_jetson(os.environ)


def _check_bag(args: argparse.Namespace) -> Report:
    from lift3d_ros.doctor.recording import check_recording
    from lift3d_ros.geometry.rig import load_rig

    return check_recording(args.bag, None if args.rig is None else load_rig(args.rig), args.out)


def _check_topics(args: argparse.Namespace) -> Report:
    from lift3d_ros.doctor.environment import check_environment
    from lift3d_ros.doctor.probes import probe_ros
    from lift3d_ros.doctor.running_system import judge_system
    from lift3d_ros.doctor.shared_memory import segment_bytes
    from lift3d_ros.errors import ConfigError, Lift3dError

    cameras = tuple(name.strip() for name in (args.cameras or "").split(",") if name.strip())
    if args.cameras is not None and not cameras:
        raise ConfigError("--cameras is empty; expected names separated by commas: --cameras front,left")
    # First in another process: with a wrong middleware rclpy ends the process that imports it.
    ros = probe_ros()
    for check in check_environment(os.environ, ros).checks:
        if check.level == "FAIL":
            raise Lift3dError(f"--topics needs ROS 2 in working order; {check.name}: {check.text}; {check.remedy}")
    try:
        # By name, because types of ROS packages cannot be checked where ROS is not installed.
        topic_check = importlib.import_module("lift3d_ros.nodes.topic_check")
    except ImportError as error:
        raise Lift3dError(
            f"--topics needs ROS 2, which this Python {platform.python_version()} cannot import ({error}); "
            "source the setup file of the ROS 2 workspace and use its Python"
        ) from None
    question = topic_check.Question(args.rig, args.params, cameras, 5.0 if args.seconds is None else args.seconds)
    return judge_system(topic_check.observe(question), args.out, segment_bytes(os.environ))
