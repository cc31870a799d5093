"""Entry point of the `lift3d` command: parses arguments, prints errors without a traceback."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

import lift3d_ros
from lift3d_ros.cli import (
    bag,
    bench,
    detect,
    doctor,
    engine,
    evaluate,
    export,
    features,
    fit_classifier,
    lift,
    reconstruct,
    replay,
    simulate,
    train,
    weights,
)
from lift3d_ros.errors import Lift3dError

DESCRIPTION = """\
Lift 2D into 3D on robots, without a running ROS system.

  lift3d replay BAG --out DIR        detect 3D boxes in a recording
  lift3d detect FOLDER --rig RIG     detect 3D boxes in a folder of pictures
  lift3d lift KEYPOINTS.json         lift 2D keypoints of any object to 3D skeletons
  lift3d reconstruct IMAGE           make a mesh of the object in a picture
  lift3d features CLOUD              describe point clouds and the objects in them
  lift3d fit-classifier --train FILE teach a point encoder own classes
  lift3d evaluate bev_detection      measure a detector on labelled scenes
  lift3d simulate --out DIR          make labelled street scenes
  lift3d bag info BAG                what is in a recording, and what the detector would use
  lift3d train dfa3d --data DIR      train a detector on labelled recordings or the simulator
  lift3d weights import FILE.pth     take over published weights; add own ones, list and verify models
  lift3d export dfa3d --out X.onnx   write a model as a graph that runs without torch
  lift3d engine build MODEL          build a model for the GPU of this machine; check, list and prove engines
  lift3d doctor                      check this machine, or a running robot with --topics

'lift3d VERB --help' explains each verb. Exit status: 0 done, 1 a check found a problem, 2 wrong use or input,
130 interrupted.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = argparse.ArgumentParser(
        prog="lift3d", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"lift3d_ros {lift3d_ros.__version__}")
    parser.add_argument("--verbose", action="store_true", help="also print debug messages")
    subparsers = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in (
        replay, detect, lift, reconstruct, features, fit_classifier, evaluate, simulate, bag, train, weights, export,
        engine, bench, doctor,
    ):  # fmt: skip
        verb.add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    try:
        args = build_parser().parse_args(arguments)
    except Lift3dError as error:
        print(f"lift3d: error: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.INFO, format="%(levelname)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("lift3d_ros").setLevel(logging.DEBUG if args.verbose else logging.INFO)
    try:
        return int(args.run(args))
    except Lift3dError as error:
        print(f"lift3d: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            return 0
        place = error.filename or "a file"
        print(
            f"lift3d: error: {place}: {error.strerror or error}; check that the folder exists, may be written and has "
            "space left, or give another one",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("lift3d: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
