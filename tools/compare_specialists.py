"""Compares the skeleton lifter with lifters that know one set each: a perceptron and a shape basis.

  python tools/compare_specialists.py --data keypoints --out benchmarks/lift3d-lfm_specialists.json

The specialists are made here, from the training split of their set; all are scored on the same views of the
validation split, clean and damaged. They take half an hour, so when only the lifter has changed, --specialists takes
their figures from an earlier file. Figures are errors over that of the flat guess, reflections not allowed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from lift3d_ros.bench.report import write_report
from lift3d_ros.datasets.keypoints import KeypointSet
from lift3d_ros.errors import DatasetError, Lift3dError
from lift3d_ros.evaluation.lifter_comparison import CONDITIONS
from lift3d_ros.evaluation.skeleton_files import FileChoice, SkeletonFile, read_skeleton_files
from lift3d_ros.evaluation.skeleton_lifting import evaluate_skeletons
from lift3d_ros.evaluation.skeleton_views import damaged, views_of
from lift3d_ros.evaluation.skeletons import skeleton_figures
from lift3d_ros.pipelines.skeleton_engine import open_lfm_engine
from lift3d_ros.pipelines.skeleton_lifting import SkeletonLiftingConfig
from lift3d_ros.training.lfm.settings import LfmAugmentationSettings
from lift3d_ros.training.lfm.specialists import PerceptronLifter, ShapeBasis, train_perceptron

SCORED = ("clean", "damaged")


def main() -> int:
    """Train, score and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of point sets")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON file with all figures")
    parser.add_argument(
        "--model", default="lift3d-lfm", help="the lifter: a model name or weights (default %(default)s)"
    )
    parser.add_argument("--frames", type=int, default=200, help="views of each set (default %(default)s; 0: all)")
    parser.add_argument("--steps", type=int, default=1500, help="training of each perceptron (default %(default)s)")
    parser.add_argument("--categories", nargs="+", default=[], metavar="NAME", help="only these sets")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], help="of the perceptrons (default 0 1)")
    parser.add_argument(
        "--specialists", type=Path, metavar="FILE", help="earlier output of the same data, whose specialists are kept"
    )
    args = parser.parse_args()
    try:
        return compare(args)
    except Lift3dError as error:
        print(f"compare_specialists: error: {error}", file=sys.stderr)
        return 2


def compare(args: argparse.Namespace) -> int:
    """Score all lifters on all sets."""
    files, problems = read_skeleton_files(args.data, FileChoice(tuple(args.categories), most=args.frames))
    files = [file for file in files if not file.is_non_commercial and isinstance(file.content, KeypointSet)]
    if not files:
        raise DatasetError(f"{args.data}: no point set to compare on; expected .npz files as docs/skeletons.md says")
    for file in files:
        assert isinstance(file.content, KeypointSet)
        ShapeBasis.of(file.content)  # refuses too few frames, before anything is trained
    config = SkeletonLiftingConfig(model=args.model)
    conditions = [condition for condition in CONDITIONS if condition.name in SCORED]
    general = evaluate_skeletons(open_lfm_engine(config.model, config.engine), config, files, problems, conditions)
    earlier = None if args.specialists is None else _read_earlier(args.specialists, args, files)
    rows: dict[str, dict[str, Any]] = {}
    minutes = 0.0 if earlier is None else float(earlier["training_minutes_of_specialists"])
    for result in tqdm(general.files, desc="specialists", unit="set", disable=None):
        name = result.file.file.removesuffix(".npz")
        began = time.monotonic()
        figures = _specialist_figures(result.file, args) if earlier is None else earlier["rows"][name]
        minutes += (time.monotonic() - began) / 60.0
        lifter = {f"lfm_{condition}": float(result.figures[condition]["ratio_to_flat"]) for condition in SCORED}
        rows[name] = {**figures, "group": result.file.group, **lifter}
    keys = [f"{kind}_{condition}" for kind in ("lfm", "basis", "perceptron") for condition in SCORED]
    medians = {key: float(np.median([row[key] for row in rows.values()])) for key in keys}
    below = {
        f"{kind}_{condition}": sum(row[f"lfm_{condition}"] < row[f"{kind}_{condition}"] for row in rows.values())
        for kind in ("basis", "perceptron")
        for condition in SCORED
    }
    document = {
        "model": general.model.description,
        "views_per_set": args.frames,
        "perceptron_steps": args.steps,
        "seeds": args.seeds,
        "training_minutes_of_specialists": minutes,
        "sets": len(rows),
        "medians": medians,
        "sets_where_the_lifter_is_better": below,
        "rows": {**rows, "median of all sets": {"group": "", **medians}},
    }
    write_report(args.out, ["python", "tools/compare_specialists.py", *sys.argv[1:]], "cpu", document)
    for name, row in document["rows"].items():  # type: ignore[attr-defined]
        print(f"{name:24}" + "  ".join(f"{key} {row[key]:.3f}" for key in keys))
    print(f"the lifter is better in: {below} of {len(rows)} sets")
    print(args.out)
    return 0


def _read_earlier(path: Path, args: argparse.Namespace, files: list[SkeletonFile]) -> dict[str, Any]:
    """Return an earlier output whose specialists are those that these arguments would give."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        asked = {"views_per_set": args.frames, "perceptron_steps": args.steps, "seeds": args.seeds}
        for name, value in asked.items():
            if document[name] != value:
                raise DatasetError(
                    f"{path}: its {name} is {document[name]}, asked for is {value}; leave --specialists out"
                )
        missing = {file.file.removesuffix(".npz") for file in files} - set(document["rows"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: no output of this tool ({error!r}); leave --specialists out") from None
    if missing:
        raise DatasetError(f"{path}: has no specialist of {', '.join(sorted(missing))}; leave --specialists out")
    return document


def _specialist_figures(file: SkeletonFile, args: argparse.Namespace) -> dict[str, Any]:
    """Train the specialists of a set, and score them."""
    row: dict[str, Any] = {}
    for kind, lifters in _specialists(file, args).items():
        for condition in SCORED:
            found = [_ratio(file, lifter, condition) for lifter in lifters]
            row[f"{kind}_{condition}"] = float(np.mean(found))
            row[f"{kind}_{condition}_seeds"] = found
    return row


def _specialists(file: SkeletonFile, args: argparse.Namespace) -> dict[str, list[ShapeBasis | PerceptronLifter]]:
    assert isinstance(file.content, KeypointSet)
    settings = LfmAugmentationSettings()
    perceptrons: list[ShapeBasis | PerceptronLifter] = [
        train_perceptron(file.content, settings, steps=args.steps, seed=seed) for seed in args.seeds
    ]
    return {"basis": [ShapeBasis.of(file.content)], "perceptron": perceptrons}


def _ratio(file: SkeletonFile, lifter: ShapeBasis | PerceptronLifter, condition: str) -> float:
    assert isinstance(file.content, KeypointSet)
    views = views_of(file.content, file.frames)
    if condition == "damaged":
        views = damaged(views, missing=0.3, noise=0.02)
    found = lifter.lift(views.points, views.is_seen)
    return skeleton_figures(found, views.joints, views.is_valid, views.skeleton.edges).ratio_to_flat


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
