"""`lift3d evaluate skeleton_lifting`: measure a skeleton lifter on files with true joints."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lift3d_ros.pipelines.backends import BACKENDS

if TYPE_CHECKING:
    from lift3d_ros.evaluation.skeleton_lifting import Condition, SkeletonEvaluation
    from lift3d_ros.pipelines.skeleton_lifting import SkeletonLiftingConfig

DESCRIPTION = """\
Measure a skeleton lifter on files with true joints, with the lifter that the node runs.

  lift3d evaluate skeleton_lifting --data keypoints --out results                 a folder of .npz files
  lift3d evaluate skeleton_lifting --data keypoints --out results --robustness    and every harder condition
  lift3d evaluate skeleton_lifting --data my_animal.npz --weights run/best.safetensors --out results
  lift3d evaluate skeleton_lifting --data 2Dto3D_test_3d.json --frames 2000 --out results     JSON of H3WB

Of a set of points each frame of the split is seen once by a random camera. Files of detections in several calibrated
cameras with 3D are read too. The format of the files: docs/skeletons.md; what the figures mean: docs/lfm.md.

DIR receives metrics.json, one record for each file: pa_mpjpe, ratio_to_flat (over the guess with true x and y and no
depth), both also for the better of the two mirror images (_best), mpjpe, pck, bone_length_error; and report.html. A
file that cannot be used is named and left out.
"""

_SPLITS = ("val", "train", "all")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the task."""
    parser.add_argument("--data", type=Path, required=True, metavar="PATH", help="folder or file, see above")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for metrics and report")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", help="a name of 'lift3d weights list', or an exported .onnx file")
    which.add_argument("--weights", type=Path, metavar="FILE", help="weights.safetensors of a training")
    parser.add_argument("--backend", choices=BACKENDS, help="runtime of the network")
    parser.add_argument(
        "--params",
        type=Path,
        metavar="FILE",
        help="parameter file of the node, or YAML with model, lifter, mirror, engine",
    )
    parser.add_argument(
        "--split",
        choices=_SPLITS,
        default="val",
        help="frames of each set; files without any, as all of pairs and H3WB, are scored whole (default %(default)s)",
    )
    parser.add_argument("--categories", nargs="+", default=[], metavar="NAME", help="only these files")
    parser.add_argument("--frames", type=int, default=0, metavar="N", help="at most N frames of each, evenly spread")
    parser.add_argument(
        "--view-range",
        choices=["upright", "frontal", "so3"],
        default="upright",
        help="cameras of sets that no manifest.json describes (default %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of cameras and damage (default %(default)s)")
    harder = parser.add_argument_group("harder conditions, each another run over all files")
    harder.add_argument("--robustness", action="store_true", help="all of them")
    harder.add_argument("--sides-unknown", action="store_true", help="the lifter is not told left from right")
    harder.add_argument("--damaged", action="store_true", help="joints are missing, the others noisy")
    harder.add_argument("--missing", type=float, metavar="SHARE", help="of --damaged: missing joints (default 0.3)")
    harder.add_argument(
        "--noise", type=float, metavar="SHARE", help="of --damaged: standard deviation over half extent (default 0.02)"
    )
    harder.add_argument("--without-leaves", action="store_true", help="the end joints are taken out of each skeleton")
    harder.add_argument("--rolled", action="store_true", help="each picture is turned by a random angle")
    harder.add_argument("--near", action="store_true", help="seen by a calibrated camera from --distance")
    harder.add_argument("--distance", type=float, metavar="SIZES", help="of --near: in sizes of the object (default 3)")
    parser.add_argument("--overwrite", action="store_true", help="replace the results in DIR")
    parser.add_argument("--no-report", action="store_true", help="do not write the report page")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate, write and print."""
    from lift3d_ros.evaluation.metrics_file import write_metrics
    from lift3d_ros.evaluation.skeleton_files import FileChoice, read_skeleton_files
    from lift3d_ros.evaluation.skeleton_lifting import evaluate_skeletons
    from lift3d_ros.evaluation.skeleton_report import write_skeleton_report
    from lift3d_ros.pipelines.skeleton_engine import open_lfm_engine
    from lift3d_ros.viz.charts import check_charts

    _check(args)
    if not args.no_report:
        check_charts()
    conditions = _conditions(args)
    choice = FileChoice(tuple(args.categories), args.split, args.frames, args.view_range)
    config = _config_of(args)
    files, problems = read_skeleton_files(args.data, choice)
    engine = open_lfm_engine(config.model, config.engine)
    result = evaluate_skeletons(engine, config, files, problems, conditions, args.seed)
    command = ["lift3d", *sys.argv[1:]]
    path = write_metrics(
        args.out,
        result.to_json(),
        command=command,
        configuration={"run": config, "data": args.data.resolve().name, "choice": choice},
        seed=args.seed,
        model=result.model.description,
        weights_sha256=result.model.weights_sha256,
    )
    _print(result)
    print(f"metrics: {path}")
    if not args.no_report:
        title = f"Skeleton lifting on {args.data.resolve().name}"
        facts = {"data": args.data.resolve().name, "split": args.split, "seed": str(args.seed)}
        print(f"report: {write_skeleton_report(result, args.out, title=title, command=command, facts=facts)}")
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be done before anything is computed."""
    from lift3d_ros.errors import ConfigError, Lift3dError
    from lift3d_ros.evaluation.metrics_file import METRICS_FILE
    from lift3d_ros.pipelines.network_source import WEIGHTS_ENDING

    if args.out.exists() and not args.out.is_dir():
        raise ConfigError(f"--out {args.out}: is a file; give a folder")
    if (args.out / METRICS_FILE).exists() and not args.overwrite:
        raise Lift3dError(f"{args.out}: already holds results; replace them with --overwrite, or choose another folder")
    if args.weights is not None and args.weights.suffix != WEIGHTS_ENDING:
        raise ConfigError(f"--weights '{args.weights}': expected a file name that ends in {WEIGHTS_ENDING}")
    for name, value, lowest, highest in (
        ("frames", args.frames, 0, 1_000_000),
        ("seed", args.seed, 0, 2**32),
        ("missing", args.missing, 0.0, 0.9),
        ("noise", args.noise, 0.0, 1.0),
        ("distance", args.distance, 1.5, 1000.0),
    ):
        if value is not None and not lowest <= value <= highest:
            raise ConfigError(f"--{name} {value:g}: expected {lowest:g} to {highest:g}")
    for name, switch, is_on in (
        ("missing", "damaged", args.damaged),
        ("noise", "damaged", args.damaged),
        ("distance", "near", args.near),
    ):
        if getattr(args, name) is not None and not (is_on or args.robustness):
            raise ConfigError(f"--{name} has no effect without --{switch}; add it")


def _conditions(args: argparse.Namespace) -> tuple[Condition, ...]:
    """Return the clean condition and those that are asked for."""
    from lift3d_ros.evaluation.skeleton_lifting import CLEAN, Condition

    missing = 0.3 if args.missing is None else args.missing
    noise = 0.02 if args.noise is None else args.noise
    distance = 3.0 if args.distance is None else args.distance
    damage = f"{missing:.0%} of joints missing, {noise:.0%} noise"
    asked = (
        (args.sides_unknown, Condition("sides_unknown", "sides unknown", uses_sides=False)),
        (args.damaged, Condition("damaged", damage, missing=missing, noise=noise)),
        (args.without_leaves, Condition("without_leaves", "without end joints", has_leaves=False)),
        (args.rolled, Condition("rolled", "picture turned by any angle", is_rolled=True)),
        (args.near, Condition("near", f"camera {distance:g} sizes away, calibrated", distance=distance)),
    )
    return (Condition(CLEAN, "clean"), *(condition for is_on, condition in asked if is_on or args.robustness))


def _config_of(args: argparse.Namespace) -> SkeletonLiftingConfig:
    import dataclasses

    from lift3d_ros.cli.task_run import settings_of
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.pipelines.skeleton_lifting import SkeletonLiftingConfig

    config = settings_of(SkeletonLiftingConfig, args, "skeleton_lifting")
    if config.smoothing.enabled:
        raise ConfigError(
            f"{args.params}: 'smoothing.enabled' is true, and single views have no times; leave it out, or smooth a "
            "recording with 'lift3d replay --task skeleton_lifting'"
        )
    return config if args.weights is None else dataclasses.replace(config, model=str(args.weights))


def _print(result: SkeletonEvaluation) -> None:
    """Print the ratio of each file and the medians."""
    width = max(len(one.file.file) for one in result.files)
    names = [condition.name for condition in result.conditions]
    print(f"{'ratio to flat guess (better mirror image)':{width}}  " + "  ".join(f"{name:>14}" for name in names))
    for one in result.files:
        cells = [_cell(one.figures.get(name), "ratio_to_flat") for name in names]
        print(f"{one.file.file:{width}}  " + "  ".join(cells))
    summary = result.summary()
    for group in dict.fromkeys(group for rows in summary.values() for group in rows):
        cells = [_cell(summary[name].get(group), "median_ratio_to_flat") for name in names]
        print(f"{'median, ' + group:{width}}  " + "  ".join(cells))
    print(f"model: {result.model.description}")
    if result.problems:
        print(f"left out: {', '.join(result.problems)}; metrics.json says why")


def _cell(figures: object, key: str) -> str:
    if not isinstance(figures, dict):
        return f"{'-':>14}"
    return f"{figures[key]:.3f} ({figures[f'{key}_best']:.3f})".rjust(14)
