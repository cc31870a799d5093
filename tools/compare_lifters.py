"""Trains variants of the skeleton lifter alike, and says which parts and which data matter.

  python tools/compare_lifters.py --data keypoints --out runs --seeds 0 1
  python tools/compare_lifters.py --data keypoints --out runs --score benchmarks/lfm_comparison.json

The first call trains one variant after the other; each leaves its figures in RUNS/results and is not made again, and
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
from lift3d_ros.training.lfm.variants import (
    ALONE,
    BASE,
    LEFT_OUT,
    PARTS,
    VARIANTS,
    variant_alone,
    variant_recipe,
    variant_without,
)
from lift3d_ros.training.variants import VariantRuns, agreement, find_variant

RECIPE = Path(__file__).resolve().parents[1] / "config" / "training" / "lfm_comparison.yaml"
FRAMES = 100
"""Views of each set that are scored."""


def main() -> int:
    """Train or score, and return the exit status."""
    args = parse(sys.argv[1:])
    try:
        if args.score is not None:
            return score(args)
        return train_all(args)
    except (Lift3dError, OSError) as error:
        print(f"compare_lifters: error: {error}", file=sys.stderr)
        return 2


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    names = [variant.name for variant in VARIANTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of point sets")
    parser.add_argument("--out", type=Path, required=True, metavar="RUNS", help="folder of all runs")
    parser.add_argument("--config", type=Path, default=RECIPE, metavar="FILE", help="recipe of all variants")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="VARIANT", help=", ".join(names))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], help="seeds of each variant (default 0 1)")
    parser.add_argument("--set", nargs="+", action="extend", default=[], dest="changes", metavar="NAME=VALUE")
    parser.add_argument("--score", type=Path, metavar="FILE", help="write tables of what is there into a JSON file")
    return parser.parse_args(arguments)


def train_all(args: argparse.Namespace) -> int:
    """Train what has no result yet."""
    wanted = [(name, seed) for seed in args.seeds for name in args.only]
    for number, (name, seed) in enumerate(wanted, start=1):
        if finished(args, name, seed) is not None:
            print(f"[{number}/{len(wanted)}] {name}, seed {seed}: kept", flush=True)
            continue
        began = time.monotonic()
        median = train_one(args, name, seed)
        print(
            f"[{number}/{len(wanted)}] {name}, seed {seed}: {median:.3f} ({time.monotonic() - began:.0f} s)", flush=True
        )
    print(f"all {len(wanted)} runs are finished; tables of them: the same command with --score FILE.json")
    return 0


def train_one(args: argparse.Namespace, name: str, seed: int) -> float:
    """Train and score one variant, write its figures, and return the median on clean views."""
    from lift3d_ros.evaluation.lifter_comparison import CONDITIONS, LifterScores
    from lift3d_ros.evaluation.skeleton_files import FileChoice, read_skeleton_files
    from lift3d_ros.evaluation.skeleton_lifting import CLEAN, evaluate_skeletons
    from lift3d_ros.pipelines.skeleton_engine import open_lfm_engine
    from lift3d_ros.pipelines.skeleton_lifting import SkeletonLiftingConfig
    from lift3d_ros.training.checkpoint import find_checkpoint
    from lift3d_ros.training.lfm.train import train

    folder = VariantRuns(args.out).run_folder(name, seed)
    recipe = recipe_of(args, name, seed)
    has_begun = find_checkpoint(folder / "checkpoints", "last") is not None
    began = time.monotonic()
    trained = train(recipe, [args.data], [], folder, resume=has_begun, is_quiet=True)
    if trained.run.reason != "finished":
        raise KeyboardInterrupt
    minutes = (time.monotonic() - began) / 60.0
    config = SkeletonLiftingConfig(model=str(trained.weights))
    engine = open_lfm_engine(config.model, config.engine)
    files, problems = read_skeleton_files(args.data, FileChoice(most=FRAMES))
    scores = LifterScores.of(evaluate_skeletons(engine, config, files, problems, CONDITIONS))
    record = {
        **agreed(args, name, seed),
        "training_minutes": minutes,
        "num_parameters": sum(tensor.numel() for tensor in trained.run.averaged.values()),
        "groups": scores.groups,
        "ratios": scores.ratios,
    }
    VariantRuns(args.out).write(name, seed, record)
    return scores.median(CLEAN)


def score(args: argparse.Namespace) -> int:
    """Write tables of all finished runs."""
    from lift3d_ros.bench.report import write_report
    from lift3d_ros.evaluation.lifter_comparison import LifterScores, part_rows, set_rows

    runs: dict[str, dict[int, LifterScores]] = {}
    records: dict[str, Any] = {}
    for name in args.only:
        for seed in args.seeds:
            if (record := finished(args, name, seed)) is not None:
                records[name] = record
                found = LifterScores(records[name]["ratios"], records[name]["groups"])
                runs.setdefault(name, {})[seed] = found
    if BASE not in runs:
        raise ConfigError(f"{args.out / 'results'}: no finished run of '{BASE}' with these seeds; train it first")
    rows = part_rows(runs, BASE, [variant.name for variant in PARTS])
    for name, row in rows.items():
        row["description"] = find_variant(name, VARIANTS).description
        row["num_parameters"] = records[name]["num_parameters"]
    first = records[BASE]
    document = {
        "training": {key: first[key] for key in ("recipe", "steps")},
        "views_per_set": FRAMES,
        "seeds": {name: sorted(found) for name, found in runs.items()},
        "parts": rows,
        "left_out": set_rows(runs, BASE, {variant_without(name).name: name for name in LEFT_OUT}),
        "alone": set_rows(runs, BASE, {variant_alone(name).name: name for name in ALONE}),
        "runs": {name: {str(seed): found.ratios for seed, found in of.items()} for name, of in runs.items()},
    }
    write_report(args.score, ["python", "tools/compare_lifters.py", *sys.argv[1:]], "cpu", document)
    for title in ("parts", "left_out", "alone"):
        for row in document[title].values():
            print(title, json.dumps(row))
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
