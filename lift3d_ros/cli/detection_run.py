"""What `replay` and `detect` share: options, running the detector with a progress bar, and the report."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

import lift3d_ros
from lift3d_ros.cli.task_run import expected_results, say_model, settings_of
from lift3d_ros.config import from_mapping, group, setting
from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.evaluation.run_report import ReportOptions, remove_run_report, write_run_report
from lift3d_ros.geometry.rig import Rig
from lift3d_ros.pipelines.backends import BACKENDS
from lift3d_ros.pipelines.bev_detection import BevDetectionConfig, DetectorConfig, open_bev_detector
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.frame_sets import SyncConfig
from lift3d_ros.pipelines.tracking import TrackingConfig
from lift3d_ros.replay.results import DETECTIONS_FILE
from lift3d_ros.replay.run import FrameRange, ResultFolder, check_unused, run_detector
from lift3d_ros.replay.sets import read_sets
from lift3d_ros.replay.source import FrameSource
from lift3d_ros.types import BevDetections, FrameSet, ModelIdentity

TASKS = ("bev_detection",)


@dataclass(frozen=True)
class RunConfig:
    """Settings of a run; a file for --params holds any of them."""

    model: str = setting("lift3d-bev-tiny", "a name of 'lift3d weights list', or the path of an exported .onnx file")
    sync: SyncConfig = group(SyncConfig)
    detector: DetectorConfig = group(DetectorConfig)
    tracking: TrackingConfig = group(TrackingConfig)
    engine: EngineConfig = group(EngineConfig)


def add_options(parser: argparse.ArgumentParser, tasks: tuple[str, ...] = TASKS) -> None:
    """Add the options that both verbs have; `tasks` are those that the verb can run, the default one first."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for results, pictures, report")
    parser.add_argument("--task", choices=tasks, default=tasks[0], help="what to run (default %(default)s)")
    parser.add_argument("--model", help="a name of 'lift3d weights list', or an exported .onnx file")
    parser.add_argument("--backend", choices=BACKENDS, help="runtime of the network")
    parser.add_argument("--score-threshold", type=float, metavar="S", help="report boxes with at least this score")
    parser.add_argument(
        "--params",
        type=Path,
        metavar="FILE",
        help="parameter file of the node, or YAML with model, sync, detector, tracking, engine",
    )
    parser.add_argument(
        "--frames", type=FrameRange.parse, default=FrameRange(), metavar="A:B", help="only frame sets A to B-1"
    )
    parser.add_argument("--sets", type=Path, metavar="FILE", help="run exactly the frame sets that a node recorded")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    existing.add_argument("--overwrite", action="store_true", help="replace the results in DIR")
    parser.add_argument("--no-pictures", action="store_true", help="do not draw the boxes into pictures")
    parser.add_argument("--no-report", action="store_true", help="do not write the report page")


def config_of(args: argparse.Namespace) -> RunConfig:
    """Return the settings: defaults, then --params, then options."""
    config = settings_of(RunConfig, args, args.task)
    if args.score_threshold is None:
        return config
    values = {**dataclasses.asdict(config.detector), "score_threshold": args.score_threshold}
    return dataclasses.replace(config, detector=from_mapping(DetectorConfig, values, "--score-threshold"))


def run_detection(
    source: FrameSource,
    config: RunConfig,
    args: argparse.Namespace,
    rig: Rig | None,
    source_path: Path,
    source_facts: Mapping[str, Any],
) -> int:
    """Detect on every frame set of `source`, report, and print where the results are.

    Args:
        source_facts: what tells this input from another one of the same name, and decides its frame sets.
    """
    detection = BevDetectionConfig(config.model, config.detector, config.engine, config.tracking)
    detector = open_bev_detector(detection, source.cameras, rig)
    facts = {**_facts(config, args, source, source_path, detector.identity), **source_facts}
    is_replacing = args.overwrite and (args.out / DETECTIONS_FILE).exists()
    folder = ResultFolder(args.out, facts, resume=args.resume, overwrite=args.overwrite)
    if is_replacing:
        remove_run_report(args.out)
    say_model(detector.identity)
    sets = source.frame_sets() if args.sets is None else source.recorded_frame_sets(read_sets(args.sets))
    total = expected_results(source.expected_sets, args.frames)
    with tqdm(total=total, initial=folder.consumed, desc="detecting", unit="set", disable=None) as progress:

        def on_result(_: FrameSet, result: BevDetections) -> None:
            progress.update(folder.consumed - progress.n)
            progress.set_postfix(boxes=len(result.boxes))

        run_detector(sets, detector, folder, args.frames, on_result)
    if not folder.finished:
        raise Lift3dError(f"{source_path}: no frame set was run; see the warnings above and --frames")
    options = ReportOptions(
        title=f"BEV detection: {source.name}",
        command=["lift3d", *sys.argv[1:]],
        configuration=config,
        facts={"input": source_path.name},
        score_threshold=config.detector.score_threshold,
        has_pictures=not args.no_pictures,
        has_page=not args.no_report,
    )
    summary = write_run_report(args.out, source, options)
    noun = "frame set" if summary.num_frames == 1 else "frame sets"
    print(f"{summary.num_frames} {noun}, median {summary.median_ms:.0f} ms; results in {args.out}")
    if summary.metrics is not None:
        print(f"mAP {summary.metrics.mean_ap:.4f}, NDS {summary.metrics.nds:.4f} ({detector.identity.description})")
    if summary.report is not None:
        print(f"report: {summary.report}")
    return 0


def check_sources(args: argparse.Namespace) -> None:
    """Refuse an output folder that is a file, or holds results to be kept, before anything is computed."""
    if args.out.exists() and not args.out.is_dir():
        raise ConfigError(f"--out {args.out}: is a file; give a folder")
    check_unused(args.out, resume=args.resume, overwrite=args.overwrite)


def _facts(
    config: RunConfig, args: argparse.Namespace, source: FrameSource, source_path: Path, model: ModelIdentity
) -> Mapping[str, Any]:
    """Return everything that decides the results, for resuming.

    Raises:
        ConfigError: a file that was named cannot be read.
    """
    files = {"rig": getattr(args, "rig", None), "sets": args.sets}
    return {
        "version": lift3d_ros.__version__,
        "task": args.task,
        "input": source_path.name,
        "frame sets": source.expected_sets,
        "cameras": list(source.cameras),
        "weights": model.weights_sha256,
        "backend": model.backend,
        "settings": dataclasses.asdict(config),
        "first frame": args.frames.start,
        **{name: None if path is None else hash_of(path, f"--{name}") for name, path in files.items()},
    }


def hash_of(path: Path, option: str) -> str:
    """Return the SHA-256 of a file that `option` names; raises ConfigError where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{option} {path}: cannot be read ({error.strerror}); give an existing file") from None
