"""Trains variants of one small recipe on the same data, and says which differences hold.

  python tools/compare_variants.py --data packs/train --val packs/val --out runs --seeds 0 1 --jobs 2
  python tools/compare_variants.py --val packs/val --out runs --score benchmarks/dfa3d_comparison.json

The first call trains; each finished run leaves a few megabytes in RUNS/results and is not made again. A run that its
time limit stopped goes on in the next call. The second one scores RUNS/results, with nuscenes-devkit, on any machine.
Packs are made with 'lift3d train dfa3d --pack DIR --config config/training/comparison.yaml'.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lift3d_ros.datasets.pack import PackReader
from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.training.dfa3d.settings import Dfa3dTraining
from lift3d_ros.training.dfa3d.variants import PAIRS, VARIANTS, variant_recipe
from lift3d_ros.training.variants import find_variant

RECIPE = Path(__file__).resolve().parents[1] / "config" / "training" / "comparison.yaml"
STOPPED = 3  # exit status of a run that its time limit stopped
POLL_S = 1.0
AGREED = ("recipe", "samples", "data", "validation", "init_from")


def main() -> int:
    """Train, or score; 1 where runs are missing or failed."""
    arguments = sys.argv[1:]
    args = parse(arguments)
    try:
        if args.score is not None:
            return score(args)
        if args.run is not None:
            return train_one(args, args.run[0], int(args.run[1]))
        return train_all(args, arguments)
    except Lift3dError as error:
        print(f"compare_variants: error: {error}", file=sys.stderr)
        return 2


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    names = [variant.name for variant in VARIANTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", type=Path, default=[], metavar="PACK", help="packs to train on")
    parser.add_argument("--val", type=Path, required=True, metavar="PACK", help="pack to detect on")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of all runs")
    parser.add_argument("--config", type=Path, default=RECIPE, metavar="FILE", help="recipe of all variants")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="VARIANT", help=", ".join(names))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], help="seeds of each variant (default 0 1)")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side (default 1)")
    parser.add_argument(
        "--limit-minutes", type=float, default=25.0, help="training time after which a run stops (default 25)"
    )
    parser.add_argument("--minutes", type=float, default=0.0, help="the same for the whole call; 0: no limit")
    parser.add_argument("--set", nargs="+", action="extend", default=[], dest="changes", metavar="NAME=VALUE")
    parser.add_argument("--init-from", metavar="FILE", help="weights that all variants start from")
    parser.add_argument("--score", type=Path, metavar="FILE", help="score the results into a JSON file")
    parser.add_argument("--run", nargs=2, metavar=("VARIANT", "SEED"), help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.score is None and not args.data:
        parser.error("--data is missing; name packs to train on")
    return args


def train_all(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Start the runs that are not finished, some side by side, each in a process of its own."""
    from tqdm import tqdm

    wanted = [(name, seed) for seed in args.seeds for name in args.only]
    steps = {(name, seed): recipe_of(args, name, seed).run.max_steps for name, seed in wanted}
    waiting = [(name, seed) for name, seed in wanted if not is_finished(args, name, seed)]
    kept = [key for key in wanted if key not in waiting]
    if kept:
        print(f"kept: {', '.join(f'{name} seed {seed}' for name, seed in kept)}", flush=True)
    end = time.monotonic() + 60.0 * args.minutes if args.minutes else float("inf")
    running: list[Job] = []
    status: dict[tuple[str, int], int] = {}
    bar = tqdm(total=sum(steps[key] for key in waiting), desc="training", unit="step", disable=None, file=sys.stderr)
    try:
        while running or (waiting and time.monotonic() < end):
            while waiting and len(running) < args.jobs and time.monotonic() < end:
                running.append(Job.start(args, arguments, *waiting.pop(0), end - time.monotonic()))
            time.sleep(POLL_S)
            for job in running:
                step = max(job.step, last_step(run_folder(args, job.name, job.seed) / "losses.csv"))
                bar.update(step - job.step)
                job.step = step
            for job in [job for job in running if job.process.poll() is not None]:
                running.remove(job)
                status[job.name, job.seed] = int(job.process.returncode)
                bar.write(job.ending(), file=sys.stderr)
    except KeyboardInterrupt:
        for job in running:
            job.process.send_signal(signal.SIGINT)  # ends it after a step, with a checkpoint
        for job in running:
            job.process.wait()
        raise
    finally:
        bar.close()
    missing = [key for key in wanted if not is_finished(args, *key)]
    print(f"{len(wanted) - len(missing)} of {len(wanted)} runs are finished, in {args.out / 'results'}")
    if missing:
        print("the same command goes on with the others")
        return 1
    print(f"score them:  python tools/compare_variants.py --val {args.val} --out {args.out} --score FILE.json")
    return 0


@dataclass
class Job:
    """A run in a process of its own, in a session of its own so that Ctrl-C reaches it once."""

    name: str
    seed: int
    process: subprocess.Popen[bytes]
    log: Path
    began: float = field(default_factory=time.monotonic)
    step: int = 0

    @classmethod
    def start(cls, args: argparse.Namespace, arguments: Sequence[str], name: str, seed: int, left_s: float) -> Job:
        """Start one run with its share of the processor."""
        folder = run_folder(args, name, seed)
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "log.txt"
        threads = str(max(1, len(os.sched_getaffinity(0)) // args.jobs))
        command = [sys.executable, str(Path(__file__).resolve()), *arguments, "--run", name, str(seed)]
        command += ["--limit-minutes", str(min(args.limit_minutes, left_s / 60.0))]
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
        with log.open("ab") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )
        return cls(name, seed, process, log)

    def ending(self) -> str:
        """Say how it ended."""
        code = self.process.returncode
        words = {0: "finished", STOPPED: "stopped by its time limit, goes on with the next call"}
        how = words.get(code, f"failed with status {code}, see {self.log}")
        return f"{self.name} seed {self.seed}: {how} ({time.monotonic() - self.began:.0f} s)"


def train_one(args: argparse.Namespace, name: str, seed: int) -> int:
    """Train one variant with one seed, and write what it finds."""
    import torch

    from lift3d_ros.bench.machine import describe_machine
    from lift3d_ros.evaluation.detection_files import write_detections
    from lift3d_ros.training.checkpoint import find_checkpoint, read_checkpoint
    from lift3d_ros.training.dfa3d.module import Dfa3dModule
    from lift3d_ros.training.dfa3d.network import build_trained_detector, detector_weights
    from lift3d_ros.training.dfa3d.sequences import detect_sequences
    from lift3d_ros.training.dfa3d.train import open_frames, train

    recipe = recipe_of(args, name, seed, (f"run.slice_minutes={args.limit_minutes}",))
    folder = run_folder(args, name, seed)
    begun = folder / "run.json"
    if begun.is_file():
        check_agreement(begun, agreement(args, name, seed))
    else:
        begun.write_text(json.dumps(agreement(args, name, seed), indent=1) + "\n", encoding="utf-8")
    has_begun = find_checkpoint(folder / "checkpoints", "last") is not None
    result = train(recipe, args.data, [], folder, init_from=args.init_from, resume=has_begun)
    if result.run.reason != "finished":
        return STOPPED
    device = torch.device("cuda" if recipe.run.device != "cpu" and torch.cuda.is_available() else "cpu")
    network = build_trained_detector(recipe.network, seed)
    network.load_state_dict(dict(result.run.averaged))
    module = Dfa3dModule(network, recipe).to(device)
    frames = open_frames([args.val], recipe, device, None, grows=False, is_quiet=True)
    scenes: dict[str, Any] = {}
    for found in detect_sequences(module, frames):
        scenes.setdefault(found.scene, {})[found.stamp_ns] = found.boxes
    detections, record = result_files(args, name, seed)
    write_detections(detections, scenes)
    last = find_checkpoint(folder / "checkpoints", "last")
    assert last is not None
    facts = {
        **agreement(args, name, seed),
        "training_minutes": read_checkpoint(last).elapsed_s / 60.0,
        "num_parameters": sum(tensor.numel() for tensor in detector_weights(dict(network.named_parameters())).values()),
        "machine": describe_machine(str(device)),
        "threads": int(os.environ.get("OMP_NUM_THREADS", "0")),
    }
    record.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")  # last: it makes the run a finished one
    return 0


def score(args: argparse.Namespace) -> int:
    """Score every finished run, and write figures and tables."""
    from tqdm import tqdm

    from lift3d_ros.bench.report import write_report
    from lift3d_ros.evaluation.comparison import compare, comparison_tables, pack_labels, score_run, summarise
    from lift3d_ros.evaluation.detection_files import read_detections

    keys = [(name, seed) for name in args.only for seed in args.seeds if result_files(args, name, seed)[1].is_file()]
    if not keys:
        raise ConfigError(f"{args.out / 'results'}: no finished run of these variants and seeds; train them first")
    labels: Any = None
    scores: dict[str, dict[int, Any]] = {}
    records: dict[tuple[str, int], Any] = {}
    for name, seed in tqdm(keys, desc="scoring", unit="run", disable=None, file=sys.stderr):
        detections, record = result_files(args, name, seed)
        records[name, seed] = json.loads(record.read_text(encoding="utf-8"))
        found = read_detections(detections)
        if labels is None:
            labels = pack_labels(args.val, next(iter(next(iter(found.values())).values())).frame_id)
        scores.setdefault(name, {})[seed] = score_run(found, labels, str(detections))
    check_equal_training(records)
    runs = summarise(scores)
    for name, entry in runs.items():
        of_variant = [record for (found_name, _), record in records.items() if found_name == name]
        entry |= {
            "description": find_variant(name, VARIANTS).description,
            "changes": list(find_variant(name, VARIANTS).changes),
        }
        entry["num_parameters"] = of_variant[0]["num_parameters"]
        entry["training_minutes"] = sum(record["training_minutes"] for record in of_variant) / len(of_variant)
    first = next(iter(records.values()))
    document = {
        "training": {name: first[name] for name in ("command", "recipe", "data", "validation", "samples", "machine")},
        "validation_frames": sum(len(frames) for frames in labels.values()),
        "validation_scenes": len(labels),
        "runs": runs,
        "differences": compare(scores, PAIRS),
    }
    write_report(args.score, ["python", "tools/compare_variants.py", *sys.argv[1:]], "cpu", document)
    print(comparison_tables(document))
    print(f"{args.score}")
    return 0


def recipe_of(args: argparse.Namespace, name: str, seed: int, more: Sequence[str] = ()) -> Dfa3dTraining:
    """Return the recipe of one run."""
    return variant_recipe(args.config, find_variant(name, VARIANTS), (*args.changes, *more), seed)


def agreement(args: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """Return what makes a run this one: recipe, length, data and start; and the command, which may differ."""
    recipe = recipe_of(args, name, seed)
    return {
        "variant": name,
        "seed": seed,
        "command": shlex.join(["python", "tools/compare_variants.py", *without_run(sys.argv[1:])]),
        "recipe": recipe.facts,
        "samples": recipe.run.max_steps * recipe.run.batch_size * recipe.run.accumulation,
        "data": [f"{path.name}, {len(PackReader(path).scenes)} scenes" for path in args.data],
        "validation": f"{args.val.name}, {len(PackReader(args.val).scenes)} scenes",
        "init_from": None if args.init_from is None else Path(args.init_from).name,
    }


def without_run(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of the call that started this run."""
    found = list(arguments)
    return found[: found.index("--run")] if "--run" in found else found


def is_finished(args: argparse.Namespace, name: str, seed: int) -> bool:
    """Return whether a run left its result.

    Raises:
        ConfigError: the result is one of another recipe or other data.
    """
    detections, record = result_files(args, name, seed)
    if not record.is_file() or not detections.is_file():
        return False
    check_agreement(record, agreement(args, name, seed))
    return True


def check_agreement(path: Path, wanted: dict[str, Any]) -> None:
    """Refuse to go on with a run of another recipe, length, data or start."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    for key in AGREED:
        if stored[key] != wanted[key]:
            found = stored[key] if key != "recipe" else differing(stored[key], wanted[key])
            raise ConfigError(
                f"{path}: was made with another '{key}' ({found}); expected that of this call. Name another --out"
            )


def differing(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Say which settings differ."""
    names = [name for name in (one.keys() | other.keys()) if one.get(name) != other.get(name)]
    return ", ".join(f"{name} {one.get(name)}" for name in sorted(names)[:5])


def check_equal_training(records: dict[tuple[str, int], Any]) -> None:
    """Refuse to compare runs on different data or of different length."""
    (first, reference), *others = records.items()
    for key, record in others:
        for name in AGREED[1:]:
            if record[name] != reference[name]:
                raise ConfigError(
                    f"{key[0]} seed {key[1]} has {name} {record[name]}, {first[0]} seed {first[1]} has "
                    f"{reference[name]}; expected the same for all. Train one of them again"
                )


def run_folder(args: argparse.Namespace, name: str, seed: int) -> Path:
    """Return where a run has checkpoints and log."""
    folder: Path = args.out / "runs" / f"{name}-{seed}"
    return folder


def result_files(args: argparse.Namespace, name: str, seed: int) -> tuple[Path, Path]:
    """Return the files of a finished run: what it detected, and how it was made."""
    stem = args.out / "results" / f"{name}-{seed}"
    return stem.with_suffix(".safetensors"), stem.with_suffix(".json")


def last_step(path: Path) -> int:
    """Return the last step in a file of losses, 0 without any."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            steps = [row[0] for row in csv.reader(file)]
        return int(steps[-1]) if len(steps) > 1 else 0
    except (OSError, ValueError, IndexError):
        return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
