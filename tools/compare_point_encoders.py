"""Pre-trains variants of the point encoder alike, and says what 2D guidance is worth.

  python tools/compare_point_encoders.py --train clouds --test clouds --teacher T.safetensors --out runs --seeds 0 1 2
  python tools/compare_point_encoders.py --train clouds --test clouds --out runs --seeds 0 1 2 --score table.json

The first call makes one variant after the other; each leaves its figures in RUNS/results and is not made again, and
a call that was cut off goes on where it stopped. Several calls with other --only or --seeds may run side by side.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.training.i2p_mae.variants import (
    DESCRIPTORS,
    NOT_PRETRAINED,
    PAIRS,
    POINTNET,
    UNTRAINED,
    VARIANTS,
    variant_recipe,
)
from lift3d_ros.training.variants import VariantRuns, agreement, find_variant

RECIPE = Path(__file__).resolve().parents[1] / "config" / "training" / "i2p_mae_comparison.yaml"


def main() -> int:
    """Train or score, and return the exit status."""
    args = parse(sys.argv[1:])
    try:
        if args.score is not None:
            return score(args)
        return make_all(args)
    except Lift3dError as error:
        print(f"compare_point_encoders: error: {error}", file=sys.stderr)
        return 2


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    names = [variant.name for variant in VARIANTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, nargs="+", required=True, metavar="PATH", help="clouds to train on")
    parser.add_argument("--test", type=Path, nargs="+", required=True, metavar="PATH", help="clouds to score")
    parser.add_argument("--teacher", type=Path, metavar="FILE", help="weights of the 2D teacher of all variants")
    parser.add_argument("--out", type=Path, required=True, metavar="RUNS", help="folder of all runs")
    parser.add_argument("--config", type=Path, default=RECIPE, metavar="FILE", help="recipe of all variants")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="VARIANT", help=", ".join(names))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of each variant (default 0 1 2)")
    parser.add_argument("--set", nargs="+", action="extend", default=[], dest="changes", metavar="NAME=VALUE")
    parser.add_argument("--score", type=Path, metavar="FILE", help="write tables of what is there into a JSON file")
    return parser.parse_args(arguments)


def make_all(args: argparse.Namespace) -> int:
    """Make what has no result yet."""
    wanted = [(name, seed) for seed in args.seeds for name in args.only]
    for number, (name, seed) in enumerate(wanted, start=1):
        if finished(args, name, seed) is not None:
            print(f"[{number}/{len(wanted)}] {name}, seed {seed}: kept", flush=True)
            continue
        began = time.monotonic()
        accuracy = make_one(args, name, seed)
        print(
            f"[{number}/{len(wanted)}] {name}, seed {seed}: {accuracy:.3f} ({time.monotonic() - began:.0f} s)",
            flush=True,
        )
    print(f"all {len(wanted)} runs are finished; tables of them: the same command with --score FILE.json")
    return 0


def make_one(args: argparse.Namespace, name: str, seed: int) -> float:
    """Train and score one variant, write its figures, and return the share of right answers on clean clouds."""
    from lift3d_ros.datasets.point_clouds import find_cloud_files, read_clouds
    from lift3d_ros.evaluation.encoder_comparison import CONDITIONS
    from lift3d_ros.evaluation.point_classes import CloudClassifier, evaluate_classifier
    from lift3d_ros.evaluation.point_features import CLEAN, evaluate_points
    from lift3d_ros.training.i2p_mae.pointnet import train_pointnet
    from lift3d_ros.types import ModelIdentity

    training = read_clouds([path for place in args.train for path in find_cloud_files(place, "train")])
    test = read_clouds([path for place in args.test for path in find_cloud_files(place, "held_out")])
    began = time.monotonic()
    if name == POINTNET:
        recipe = recipe_of(args, name, seed)
        network = train_pointnet(training, recipe)
        identity = ModelIdentity(name, "", is_trained=True)
        classifier = CloudClassifier(identity, network.classify, recipe.network.num_points)
        result = evaluate_classifier(classifier, test, CONDITIONS)
        found: dict[str, Any] = {"feature_dims": None}
        minutes = (time.monotonic() - began) / 60.0
    else:
        features = features_of(args, name, seed)
        minutes = (time.monotonic() - began) / 60.0
        result = evaluate_points(features, training, test, CONDITIONS)
        found = {
            "weights_sha256": result.model.weights_sha256,
            "svm_cost": result.cost,
            "feature_dims": result.feature_dims,
            "per_class": result.per_class(),
        }
    found["accuracy"] = {condition.name: result.accuracy(condition.name) for condition in result.conditions}
    VariantRuns(args.out).write(name, seed, {**agreed(args, name, seed), "training_minutes": minutes, **found})
    return float(found["accuracy"][CLEAN])


def features_of(args: argparse.Namespace, name: str, seed: int) -> Any:
    """Return the features of a variant, which is trained where it has to be."""
    from lift3d_ros.evaluation.point_features import descriptor_features, encoder_features
    from lift3d_ros.pipelines.point_network import PointSource, find_points
    from lift3d_ros.training.checkpoint import find_checkpoint
    from lift3d_ros.training.i2p_mae.settings import encoder_only
    from lift3d_ros.training.i2p_mae.train import train

    recipe = recipe_of(args, name, seed)
    if name == DESCRIPTORS:
        return descriptor_features(recipe.network.num_points, seed)
    if name == UNTRAINED:
        return encoder_features(PointSource(UNTRAINED, encoder_only(recipe.network), seed=seed))
    folder = VariantRuns(args.out).run_folder(name, seed)
    has_begun = find_checkpoint(folder / "checkpoints", "last") is not None
    teacher = None if recipe.guidance == "none" else args.teacher
    trained = train(recipe, args.train, [], folder, teacher=teacher, resume=has_begun, is_quiet=True)
    if trained.run.reason != "finished":
        raise KeyboardInterrupt
    return encoder_features(find_points(str(trained.encoder)))


def score(args: argparse.Namespace) -> int:
    """Write tables of all finished runs."""
    from lift3d_ros.bench.report import write_report
    from lift3d_ros.evaluation.encoder_comparison import CONDITIONS, pair_rows, variant_rows

    runs: dict[str, dict[int, dict[str, float]]] = {}
    records: dict[str, Any] = {}
    for name in args.only:
        for seed in args.seeds:
            if (record := finished(args, name, seed)) is not None:
                records[name] = record
                runs.setdefault(name, {})[seed] = records[name]["accuracy"]
    if not runs:
        raise ConfigError(f"{args.out / 'results'}: no finished run with these seeds; make them first, without --score")
    rows = variant_rows(runs, [variant.name for variant in VARIANTS])
    for name, row in rows.items():
        row["description"] = find_variant(name, VARIANTS).description
        row["feature_dims"] = records[name]["feature_dims"]
    first = next((records[name] for name in records if name not in NOT_PRETRAINED), None)
    document = {
        "training": None if first is None else {key: first[key] for key in ("recipe", "steps")},
        "seeds": {name: sorted(found) for name, found in runs.items()},
        "variants": rows,
        "pairs": pair_rows(runs, PAIRS),
        "pairs_by_condition": {condition.name: pair_rows(runs, PAIRS, condition.name) for condition in CONDITIONS},
        "runs": {name: {str(seed): found for seed, found in of.items()} for name, of in runs.items()},
    }
    write_report(args.score, ["python", "tools/compare_point_encoders.py", *sys.argv[1:]], "cpu", document)
    for title in ("variants", "pairs"):
        for name, row in document[title].items():
            print(title, name, json.dumps(row))
    print(f"{args.score}")
    return 0


def recipe_of(args: argparse.Namespace, name: str, seed: int) -> Any:
    """Return the recipe of one run."""
    return variant_recipe(args.config, find_variant(name, VARIANTS), args.changes, seed)


def agreed(args: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """Return what a run must have been made with."""
    recipe = recipe_of(args, name, seed)
    return agreement(recipe.facts, recipe.run)


def finished(args: argparse.Namespace, name: str, seed: int) -> dict[str, Any] | None:
    """Return the record of a finished run."""
    return VariantRuns(args.out).read(name, seed, agreed(args, name, seed))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
