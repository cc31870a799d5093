"""What all tasks of `lift3d replay` share: options of other tasks, settings from a file and options, facts of a run."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import lift3d_ros
from lift3d_ros.cli.run_settings import read_run_settings
from lift3d_ros.config import from_mapping
from lift3d_ros.errors import ConfigError
from lift3d_ros.replay.run import FrameRange
from lift3d_ros.types import ModelIdentity

_Config = TypeVar("_Config")

OF_DETECTION = ("rig", "mount_height", "score_threshold", "sets", "resume")
"""Options that only the detector has."""


def check_options(args: argparse.Namespace, of_other_tasks: Iterable[str]) -> None:
    """Refuse options of other tasks, and a file in place of a folder of results.

    Raises:
        ConfigError: there is one; names it.
    """
    for name in of_other_tasks:
        if getattr(args, name) not in (None, False):
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{option}: is not an option of --task {args.task}; leave it out")
    if args.out.exists() and not args.out.is_dir():
        raise ConfigError(f"--out {args.out}: is a file; give a folder")


def settings_of(kind: type[_Config], args: argparse.Namespace, node: str) -> _Config:
    """Return the settings of a run, of --params, --model and --backend; `kind` has the fields `model` and `engine`.

    Args:
        node: whose parameter file may be the file of --params.

    Raises:
        ConfigError: the file does not fit.
    """
    config: Any = kind()
    if args.params is not None:
        config = from_mapping(kind, read_run_settings(args.params, kind, node), str(args.params))
    changes: dict[str, Any] = {}
    if args.model is not None:
        changes["model"] = args.model
    if args.backend is not None:
        changes["engine"] = dataclasses.replace(config.engine, backend=args.backend)
    result: _Config = dataclasses.replace(config, **changes)
    return result


def say_model(identity: ModelIdentity) -> None:
    """Print which model runs, and on what, beside the progress bar."""
    print(f"model {identity.description} on {identity.backend}", file=sys.stderr)


def expected_results(sets: int, frames: FrameRange) -> int:
    """Return about how many of so many sets lie in the range."""
    expected = max(sets - frames.start, 0)
    return expected if frames.stop is None else min(expected, frames.stop - frames.start)


def remove_files(folder: Path, pattern: str) -> None:
    """Remove what an earlier run left in a folder: files of a glob pattern."""
    for path in folder.glob(pattern):
        path.unlink()


def facts_of(args: argparse.Namespace, config: Any, topics: Any, identity: ModelIdentity) -> dict[str, Any]:
    """Return everything that decides the results, as plain data."""
    return {
        "version": lift3d_ros.__version__,
        "task": args.task,
        "input": args.bag.name,
        "topics": topics,
        "weights": identity.weights_sha256,
        "backend": identity.backend,
        "settings": dataclasses.asdict(config),
        "first frame": args.frames.start,
    }
