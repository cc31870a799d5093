"""`lift3d evaluate point_features`: measure the features of a point encoder on labelled clouds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lift3d_ros.pipelines.backends import BACKENDS

if TYPE_CHECKING:
    from lift3d_ros.datasets.point_clouds import CloudSet
    from lift3d_ros.evaluation.point_features import Condition, FeatureSet, PointEvaluation

DESCRIPTION = """\
Measure frozen features of a point encoder: a linear SVM on those of the training files, scored on the test files. Or
measure a classifier that was trained with its encoder ('lift3d train i2p_mae --stage finetune').

  lift3d evaluate point_features --train train_0.npz train_1.npz --test val.npz --model my-encoder --out results
  lift3d evaluate point_features --train clouds --test clouds --weights run/encoder.safetensors --out results
  lift3d evaluate point_features --train clouds --test clouds --descriptors --out classic --robustness
  lift3d evaluate point_features --test clouds --classifier classes/weights.safetensors --out results

Files: .npz with points (N, P, 3) and labels (N,), and classes.json beside it; ModelNet40 as .h5, .dat or as list
(modelnet40_train.txt); ScanObjectNN as .h5. Of a folder those are taken whose names say train, or val, or test.

DIR receives metrics.json: accuracy, per_class, confusion (rows are true classes), and the accuracy under each harder
condition. The cost of the SVM is chosen by cross-validation on the training files alone.
"""

_POOLINGS = ("max", "mean_plus_max", "all_scales")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the task."""
    parser.add_argument("--train", type=Path, nargs="+", default=[], metavar="PATH", help="training files, folders")
    parser.add_argument("--test", type=Path, nargs="+", required=True, metavar="PATH", help="test files, folders")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the metrics")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", metavar="NAME", help="a name of 'lift3d weights list', or an exported .onnx file")
    which.add_argument("--weights", type=Path, metavar="FILE", help="weights of a training")
    which.add_argument("--untrained", metavar="PRESET", help="random weights of --seed")
    which.add_argument("--descriptors", action="store_true", help="classic descriptors in place of an encoder")
    which.add_argument("--classifier", type=Path, metavar="FILE", help="weights of a fine-tuning, in place of the SVM")
    parser.add_argument("--pooling", choices=_POOLINGS, help="of the tokens (default: of the model)")
    parser.add_argument("--cost", type=float, metavar="C", help="of the SVM (default: chosen on the training files)")
    parser.add_argument("--as-stored", action="store_true", help="do not bring clouds to the unit sphere")
    parser.add_argument("--device", default="cpu", help="where the encoder runs (default %(default)s)")
    parser.add_argument(
        "--backend", choices=BACKENDS, help="runtime of the encoder (default torch; onnxruntime for an .onnx file)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of changes and random weights (default %(default)s)")
    parser.add_argument("--few-shot", action="store_true", help="also 10 and 20 labelled clouds of 5 and 10 classes")
    harder = parser.add_argument_group("harder conditions of the test clouds, one at a time")
    harder.add_argument("--robustness", action="store_true", help="all of them: 256 points, noise 0.02")
    harder.add_argument("--rotated", action="store_true", help="turned about the up axis by a random angle")
    harder.add_argument("--points", type=int, metavar="N", help="only N points of each are known")
    harder.add_argument("--noise", type=float, metavar="S", help="noise of standard deviation S, radii of the cloud")
    harder.add_argument("--occluded", action="store_true", help="the 30 %% of points on one side are missing")
    parser.add_argument("--overwrite", action="store_true", help="replace the results in DIR")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate, write and print."""
    from lift3d_ros.evaluation.metrics_file import write_metrics

    _check(args)
    args.out.mkdir(parents=True, exist_ok=True)
    result = _measured_svm(args) if args.classifier is None else _measured_classifier(args)
    path = write_metrics(
        args.out,
        result.to_json(),
        command=["lift3d", *sys.argv[1:]],
        configuration={
            "train": [place.resolve().name for place in args.train],
            "test": [place.resolve().name for place in args.test],
            "pooling": args.pooling,
            "cost": args.cost,
            "normalises": not args.as_stored,
        },
        seed=args.seed,
        model=result.model.description,
        weights_sha256=result.model.weights_sha256 or None,
    )
    _print(result)
    if args.few_shot and not result.few_shot:
        print("few labelled clouds: not measured; expected training clouds of 5 classes or more, 10 or more of each")
    print(f"metrics: {path}")
    return 0


def _measured_svm(args: argparse.Namespace) -> PointEvaluation:
    from lift3d_ros.datasets.point_clouds import find_cloud_files, read_clouds
    from lift3d_ros.evaluation.linear_probe import check_scikit_learn
    from lift3d_ros.evaluation.point_features import evaluate_points

    check_scikit_learn()
    features = _features(args)
    _check_fewer_points(args, features.num_points)
    return evaluate_points(
        features,
        read_clouds([path for place in args.train for path in find_cloud_files(place, "train")]),
        _test_clouds(args),
        _conditions(args),
        cost=args.cost,
        normalises=not args.as_stored,
        has_few_shot=args.few_shot,
        seed=args.seed,
    )


def _measured_classifier(args: argparse.Namespace) -> PointEvaluation:
    from lift3d_ros.evaluation.point_classes import evaluate_classifier, trained_classifier

    classifier = trained_classifier(args.classifier, device=args.device)
    _check_fewer_points(args, classifier.num_points)
    return evaluate_classifier(
        classifier, _test_clouds(args), _conditions(args), normalises=not args.as_stored, seed=args.seed
    )


def _test_clouds(args: argparse.Namespace) -> CloudSet:
    from lift3d_ros.datasets.point_clouds import find_cloud_files, read_clouds
    from lift3d_ros.errors import DatasetError

    found = {place: find_cloud_files(place, "held_out") for place in args.test}
    for place, files in found.items():
        if not files:
            raise DatasetError(f"--test {place}: no file of clouds with 'val' or 'test' in its name; name the file")
    return read_clouds([path for files in found.values() for path in files])


def _check_fewer_points(args: argparse.Namespace, known: int) -> None:
    """Refuse a condition that changes nothing: the first points are all that is taken of a clean cloud, too."""
    from lift3d_ros.errors import ConfigError

    if args.points is not None and args.points >= known:
        raise ConfigError(
            f"--points {args.points}: {known} of each clean cloud are used; expected fewer, for a harder condition"
        )


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be done before anything is computed."""
    from lift3d_ros.errors import ConfigError, Lift3dError
    from lift3d_ros.evaluation.metrics_file import METRICS_FILE
    from lift3d_ros.pipelines.network_source import WEIGHTS_ENDING

    if args.out.exists() and not args.out.is_dir():
        raise ConfigError(f"--out {args.out}: is a file; give a folder")
    if (args.out / METRICS_FILE).exists() and not args.overwrite:
        raise Lift3dError(f"{args.out}: already holds results; replace them with --overwrite, or choose another folder")
    for name, path in (("weights", args.weights), ("classifier", args.classifier)):
        if path is not None and path.suffix != WEIGHTS_ENDING:
            raise ConfigError(f"--{name} '{path}': expected a file name that ends in {WEIGHTS_ENDING}")
    if args.classifier is None and not args.train:
        raise ConfigError("--train is missing; the SVM is fitted to the features of training files")
    for name in ("train", "pooling", "cost", "few_shot"):
        if args.classifier is not None and getattr(args, name):
            raise ConfigError(
                f"--{name.replace('_', '-')} has no effect with --classifier, which has learned; leave one of them out"
            )
    if args.pooling is not None and (args.descriptors or _is_graph(args)):
        what = "--descriptors" if args.descriptors else "an exported graph"
        raise ConfigError(f"--pooling has no effect with {what}; leave one of them out")
    if args.backend is not None and (args.descriptors or args.classifier is not None):
        raise ConfigError("--backend has no effect with --descriptors and --classifier; leave one of them out")
    for name, value, lowest, highest in (
        ("cost", args.cost, 1e-9, 1e9),
        ("seed", args.seed, 0, 2**32 - 1),
        ("points", args.points, 1, 1_000_000),
        ("noise", args.noise, 1e-9, 10.0),
    ):
        if value is not None and not lowest <= value <= highest:
            raise ConfigError(f"--{name} {_plain(value)}: expected {_plain(lowest)} to {_plain(highest)}")


def _plain(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _conditions(args: argparse.Namespace) -> tuple[Condition, ...]:
    from lift3d_ros.evaluation.point_features import Condition

    points, noise, hidden = args.points or 256, args.noise or 0.02, 0.3
    asked = (
        (args.rotated, Condition("rotated", "turned about the up axis", is_turned=True)),
        (args.points, Condition(f"points_{points}", f"{points} points", points=points)),
        (args.noise, Condition("noise", f"noise of {noise:g} radii", noise=noise)),
        (args.occluded, Condition("occluded", f"{hidden:.0%} of the points missing on one side", hidden=hidden)),
    )
    return tuple(condition for is_on, condition in asked if is_on or args.robustness)


def _features(args: argparse.Namespace) -> FeatureSet:
    import dataclasses

    from lift3d_ros.evaluation.point_features import descriptor_features, encoder_features, engine_features
    from lift3d_ros.pipelines.bev_engine import EngineConfig
    from lift3d_ros.pipelines.point_engine import open_point_engine, open_point_source
    from lift3d_ros.pipelines.point_network import find_points, untrained_points

    if args.descriptors:
        return descriptor_features()
    engine = EngineConfig(args.backend or "auto", args.device)
    if _is_graph(args):
        return engine_features(open_point_engine(args.model, engine))
    if args.untrained is not None:
        source = untrained_points(args.untrained, args.seed)
    else:
        source = find_points(args.model if args.weights is None else str(args.weights))
    if args.pooling is not None:
        source = dataclasses.replace(source, config=dataclasses.replace(source.config, pooling=args.pooling))
    if args.backend is not None:
        return engine_features(open_point_source(source, engine))
    return encoder_features(source, device=args.device)


def _is_graph(args: argparse.Namespace) -> bool:
    return args.model is not None and args.model.endswith(".onnx")


def _print(result: PointEvaluation) -> None:
    count = len(result.labels)
    for condition in result.conditions:
        accuracy = result.accuracy(condition.name)
        print(f"{condition.title:42} {accuracy:6.1%}  ({round(accuracy * count)} of {count} clouds)")
    if result.cross_validation is not None:
        print(f"{'training clouds, cross-validated':42} {result.cross_validation:6.1%}")
    for found in result.few_shot.values():
        title = f"{found.shots} clouds of each of {found.ways} classes"
        print(f"{title:42} {found.mean:6.1%}  (standard deviation over {found.draws} draws {found.deviation:.1%})")
    worst = sorted(result.per_class().items(), key=lambda row: row[1]["accuracy"])[:3]
    print("least known classes: " + ", ".join(f"{name} {row['accuracy']:.0%}" for name, row in worst))
    svm = "" if result.cost is None else f"; cost of the SVM {result.cost:g}, {result.feature_dims} features"
    print(f"model: {result.model.description}{svm}")
