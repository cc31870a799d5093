"""`lift3d evaluate`: measure a model on labelled data with the metrics of the field."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lift3d_ros.cli import evaluate_objects, evaluate_points, evaluate_skeletons
from lift3d_ros.pipelines.backends import BACKENDS

if TYPE_CHECKING:
    from lift3d_ros.cli.detection_run import RunConfig
    from lift3d_ros.evaluation.robustness import RobustnessChoice

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Measure a model on labelled data, and write metrics.json and a report page.

  lift3d evaluate bev_detection --data scenes --out results           3D boxes on labelled scenes
  lift3d evaluate skeleton_lifting --data keypoints --out results     3D skeletons on files with true joints
  lift3d evaluate point_features --train ... --test ... --out results classes of clouds, from frozen features
  lift3d evaluate object_reconstruction --data meshes --out results   meshes from one picture each

'lift3d evaluate TASK --help' explains each task.
"""

BEV_DESCRIPTION = """\
Measure a detector on labelled scenes: replay each one, and score the boxes with nuscenes-devkit.

  lift3d evaluate bev_detection --data scenes --out results                      folders in the layout of 'simulate'
  lift3d evaluate bev_detection --data drive.mcap --out results                  a recording with /ground_truth/boxes
  lift3d evaluate bev_detection --data nuscenes --nuscenes-version v1.0-mini --split mini_val --out results
  lift3d evaluate bev_detection --data scenes --out results --resume --robustness
  lift3d evaluate bev_detection --data drive.mcap --from-results recorded --out results

DIR receives metrics.json (mAP, NDS, per_class, per_range, per_visibility, robustness), report.html, and the detections
of each scene, from which an interrupted run goes on. How the rules of the benchmark are applied: docs/evaluation.md.
Boxes count however low their score, as detected and not as tracked, unless the file of --params says otherwise.
"""

_DEFAULTS = {
    "detector": {"score_threshold": 0.0, "max_boxes": 300},
    "tracking": {"smooths_boxes": False, "report_unseen_s": 0.0},
}
_TABLES = {
    "drop_cameras": ("--drop-cameras", "each camera missing in turn, and half of them"),
    "calibration_error": ("--calibration-error", "mountings wrong by 0.5, 1 and 2 degrees"),
    "time_offset": ("--time-offset", "pictures taken earlier than their stamps say"),
    "picture_noise": ("--picture-noise", "noisy and dark pictures"),
    "depth_noise": ("--depth-noise", "depth scores inside of the network shifted and blurred (runs with torch)"),
}


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = _add(subparsers, "evaluate", "measure a model on labelled data", DESCRIPTION)
    tasks = parser.add_subparsers(title="tasks", metavar="TASK", required=True)
    _add_bev_options(_add(tasks, "bev_detection", "3D boxes on labelled scenes", BEV_DESCRIPTION))
    lifting = _add(tasks, "skeleton_lifting", "3D skeletons on files with true joints", evaluate_skeletons.DESCRIPTION)
    evaluate_skeletons.add_options(lifting)
    points = _add(tasks, "point_features", "features of clouds by their classes", evaluate_points.DESCRIPTION)
    evaluate_points.add_options(points)
    objects = _add(tasks, "object_reconstruction", "meshes from one picture each", evaluate_objects.DESCRIPTION)
    evaluate_objects.add_options(objects)


def _add(subparsers: Any, name: str, text: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=text, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return parser


def _add_bev_options(parser: argparse.ArgumentParser) -> None:
    from lift3d_ros.replay.run import FrameRange

    parser.add_argument("--data", type=Path, required=True, metavar="PATH", help="labelled scenes, see above")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for metrics, report, detections")
    parser.add_argument("--model", help="a name of 'lift3d weights list', or an exported .onnx file")
    parser.add_argument("--backend", choices=BACKENDS, help="runtime of the network")
    parser.add_argument(
        "--params",
        type=Path,
        metavar="FILE",
        help="parameter file of the node, or YAML with model, sync, detector, tracking, engine",
    )
    parser.add_argument("--scenes", nargs="+", default=[], metavar="NAME", help="only these scenes")
    parser.add_argument(
        "--frames", type=FrameRange.parse, default=FrameRange(), metavar="A:B", help="only frame sets A to B-1 of each"
    )
    parser.add_argument("--nuscenes-version", metavar="V", help="tables of a nuScenes folder; for example v1.0-mini")
    parser.add_argument("--split", metavar="S", help="split of nuScenes; for example mini_val")
    parser.add_argument("--rig", type=Path, metavar="FILE", help="calibration and mounting that override a recording's")
    parser.add_argument(
        "--classes", type=Path, metavar="FILE", help="YAML table 'class of the labels: class of the benchmark'"
    )
    parser.add_argument("--ranges", metavar="A-B,...", help="distances scored apart, m (default 0-20,20-35,35-51.2)")
    parser.add_argument("--from-results", type=Path, metavar="DIR", help="score detections that are there; run nothing")
    robustness = parser.add_argument_group("tables of robustness, each row another run over all scenes")
    robustness.add_argument("--robustness", action="store_true", help="all of them; depth where the model allows it")
    for option, text in _TABLES.values():
        robustness.add_argument(option, action="store_true", help=text)
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    existing.add_argument("--overwrite", action="store_true", help="replace the results in DIR")
    parser.add_argument("--no-report", action="store_true", help="do not write the report page")
    parser.set_defaults(run=run_bev)


def run_bev(args: argparse.Namespace) -> int:
    """Evaluate a detector, write and print."""
    from lift3d_ros.cli import detection_run
    from lift3d_ros.datasets.class_map import ClassMap, load_class_map
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.evaluation import bev_detection as evaluation
    from lift3d_ros.evaluation.detection import class_ranges
    from lift3d_ros.evaluation.evaluation_report import write_evaluation_report
    from lift3d_ros.evaluation.metrics_file import write_metrics
    from lift3d_ros.evaluation.robustness import RobustnessChoice, measure_robustness
    from lift3d_ros.evaluation.scene_runs import RunChoice
    from lift3d_ros.evaluation.scenes import DataChoice, find_scenes, labelled_scenes
    from lift3d_ros.evaluation.slices import DEFAULT_RANGES, parse_ranges
    from lift3d_ros.geometry.rig import load_rig
    from lift3d_ros.pipelines.bev_detection import BevDetectionConfig
    from lift3d_ros.viz.charts import check_charts

    _check_out(args)
    _check_from_results(args)
    class_ranges()  # what is missing is said before hours of computing
    if not args.no_report:
        check_charts()
    config = _config_of(args)
    ranges = DEFAULT_RANGES if args.ranges is None else parse_ranges(args.ranges)
    rig = None if args.rig is None else load_rig(args.rig)
    class_map = ClassMap() if args.classes is None else load_class_map(args.classes)
    tables = _tables_of(args, config)
    choice = DataChoice(tuple(args.scenes), args.nuscenes_version, args.split, config.sync, rig)
    scenes = labelled_scenes(find_scenes(args.data, choice), class_map)
    detection = BevDetectionConfig(config.model, config.detector, config.engine, config.tracking)
    facts = {"rig": None if args.rig is None else detection_run.hash_of(args.rig, "--rig")}
    scene_run = RunChoice(args.frames, args.overwrite, facts)
    if args.from_results is not None:
        if tables != RobustnessChoice():
            raise ConfigError("--from-results runs nothing, so it makes no tables of robustness; leave one of both out")
        folders = evaluation.given_results(scenes, args.from_results)
    else:
        folders = evaluation.replay_scenes(scenes, detection, rig, args.out, scene_run)
    result = evaluation.evaluate_results(scenes, folders, class_map, ranges)
    if tables != RobustnessChoice():
        rows = measure_robustness(result.metrics, scenes, detection, rig, args.out, scene_run, tables, class_map)
        result = dataclasses.replace(result, robustness=rows)
    model = result.model
    path = write_metrics(
        args.out,
        result.to_json(),
        command=["lift3d", *sys.argv[1:]],
        configuration={
            "run": None if args.from_results is not None else config,
            "data": args.data.name,
            "scenes": [entry.name for entry in scenes],
            "frames": [args.frames.start, args.frames.stop],
            "ranges": [part.name for part in ranges],
        },
        seed=None,
        model=model.description,
        weights_sha256=model.weights_sha256,
    )
    metrics = result.metrics
    report = None
    if not args.no_report:
        report = write_evaluation_report(
            result,
            scenes,
            args.out,
            title=f"BEV detection on {args.data.resolve().name}",
            command=["lift3d", *sys.argv[1:]],
            facts={"data": args.data.resolve().name},
        )
    print(f"mAP {metrics.mean_ap:.4f}, NDS {metrics.nds:.4f} on {metrics.num_frames} frames ({model.description})")
    num_unpredicted = sum(scene.matches.num_unpredicted for scene in result.scenes)
    if num_unpredicted:
        print(f"labelled frames without a prediction, which are not scored: {num_unpredicted}")
    print(f"metrics: {path}")
    if report is not None:
        print(f"report: {report}")
    return 0


def _check_out(args: argparse.Namespace) -> None:
    """Refuse an output folder that is a file, or holds results to be kept, before anything is computed."""
    from lift3d_ros.errors import ConfigError, Lift3dError
    from lift3d_ros.evaluation.bev_detection import SCENES_FOLDER
    from lift3d_ros.evaluation.metrics_file import METRICS_FILE

    if args.out.exists() and not args.out.is_dir():
        raise ConfigError(f"--out {args.out}: is a file; give a folder")
    holds_results = (args.out / SCENES_FOLDER).exists() or (args.out / METRICS_FILE).exists()
    if holds_results and not (args.resume or args.overwrite):
        raise Lift3dError(
            f"{args.out}: already holds results; continue them with --resume, replace them with --overwrite, or choose "
            "another folder"
        )


def _check_from_results(args: argparse.Namespace) -> None:
    """Refuse options of a run where none is made: metrics.json would record what the figures do not follow."""
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.replay.run import FrameRange

    given = {
        "--model": args.model is not None,
        "--backend": args.backend is not None,
        "--frames": args.frames != FrameRange(),
    }
    useless = [option for option, is_given in given.items() if is_given]
    if args.from_results is not None and useless:
        raise ConfigError(
            f"--from-results runs nothing, so {', '.join(useless)} would change nothing; leave out the one or the other"
        )


def _config_of(args: argparse.Namespace) -> RunConfig:
    """Return the settings: those of an evaluation, then --params, then options.

    A detector on a vehicle leaves out boxes with low scores; average precision counts them. Boxes are scored as they
    are detected: tracks give them ids, and neither move nor add any.
    """
    from lift3d_ros.cli.detection_run import RunConfig
    from lift3d_ros.cli.run_settings import read_run_settings
    from lift3d_ros.config import from_mapping

    given = {} if args.params is None else read_run_settings(args.params, RunConfig, "bev_detection")
    for name, values in _DEFAULTS.items():
        if isinstance(given.get(name, {}), dict):
            given[name] = {**values, **given.get(name, {})}
    engine = given.get("engine", {})
    if args.model is not None:
        given["model"] = args.model
    if args.backend is not None and isinstance(engine, dict):
        given["engine"] = {**engine, "backend": args.backend}
    return from_mapping(RunConfig, given, "--params" if args.params is None else str(args.params))


def _tables_of(args: argparse.Namespace, config: RunConfig) -> RobustnessChoice:
    """Return the tables that are asked for; a depth table that is asked for by name has to be possible."""
    from lift3d_ros.errors import EngineError
    from lift3d_ros.evaluation.robustness import RobustnessChoice, depth_noise_problem

    problem = depth_noise_problem(config.model) if args.depth_noise or args.robustness else None
    if problem is not None and args.depth_noise:
        raise EngineError(f"--depth-noise: {problem}")
    if problem is not None:
        logger.warning("no table of depth noise: %s", problem)
    return RobustnessChoice(
        drops_cameras=args.drop_cameras or args.robustness,
        has_calibration_errors=args.calibration_error or args.robustness,
        has_time_offsets=args.time_offset or args.robustness,
        has_worse_pictures=args.picture_noise or args.robustness,
        has_depth_noise=(args.depth_noise or args.robustness) and problem is None,
    )
