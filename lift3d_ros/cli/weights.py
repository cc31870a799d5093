"""`lift3d weights`: import published checkpoints, list and verify models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lift3d_ros.cli.output_places import check_file_place
from lift3d_ros.weights.published import PUBLISHED_LICENCES

DESCRIPTION = """\
Import published checkpoints, add and average own weights, and list and verify the models of this machine.

  lift3d weights import bevformer_tiny_epoch_24.pth --as bevformer-tiny
  lift3d weights add run/weights.safetensors --as lift3d-bev-tiny --name my-detector
  lift3d weights average run1/weights.safetensors run2/weights.safetensors --out mean.safetensors
  lift3d weights list                          models, their licences, and where they are
  lift3d weights verify                        hashes, and tensors against the networks
"""

IMPORT_DESCRIPTION = """\
Import a published checkpoint (.pth, .ckpt, .safetensors) as a model.

The file is read without running anything in it. Every weight has to have its place in the network, with its shape;
otherwise what is missing, unexpected or of another shape is named and nothing is written. Weights are stored as
safetensors in the folder of models: --models-dir, else LIFT3D_MODELS_DIR, else one in your data folder.

  lift3d weights import bevformer_tiny_epoch_24.pth --as bevformer-tiny
  lift3d weights import base_dfa3d.pth --as dfa3d-base --name base --overwrite
  lift3d replay BAG --model base --out results

Most published weights are licensed for non-commercial use; --licence replaces the licence noted for other ones.
"""

ADD_DESCRIPTION = """\
Add weights that 'lift3d train' wrote as a model, so that nodes, replay and evaluate find it by its name.

  lift3d weights add run/weights.safetensors --as lift3d-bev-tiny --name my-detector
  lift3d replay BAG --model my-detector --out results

The file must fit the network of the configuration exactly, also in the settings that it tells of, such as classes. It
is copied into the folder of models.
"""

AVERAGE_DESCRIPTION = """\
Write the mean of weights that 'lift3d train' wrote, such as those before and after a run with --init-from.

  lift3d weights average start.safetensors run/weights.safetensors --out mean.safetensors
  lift3d weights average start.safetensors run/weights.safetensors --parts 0.3 0.7 --out mean.safetensors
  lift3d weights add mean.safetensors --as lift3d-bev-tiny --name my-detector

Weights that share a start are often better in the middle than each by itself; measure it with 'lift3d evaluate'.
"""

LIST_DESCRIPTION = """\
List the models that can be named by --model: those of the package and those that were imported.

  lift3d weights list
"""

VERIFY_DESCRIPTION = """\
Verify weights: the hash of the file, and its tensors against the network (needs torch and safetensors).

  lift3d weights verify
  lift3d weights verify bevformer-tiny

Exit status: 0 all are right, 1 at least one is not, 2 there is no such model.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = _add(subparsers, "weights", "import, list and verify trained weights", DESCRIPTION)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    importing = _add(actions, "import", "import a published checkpoint", IMPORT_DESCRIPTION)
    importing.add_argument("checkpoint", type=Path, metavar="CKPT", help="published .pth, .ckpt or .safetensors file")
    importing.add_argument(
        "--as", dest="preset", required=True, choices=list(PUBLISHED_LICENCES), help="configuration it was trained for"
    )
    importing.add_argument("--name", help="name of the model (default: that of the configuration)")
    importing.add_argument("--licence", metavar="TEXT", help="licence of the weights (default: that of the published)")
    importing.add_argument("--models-dir", type=Path, metavar="DIR", help="folder of models to write to")
    importing.add_argument("--overwrite", action="store_true", help="replace an imported model of the same name")
    importing.set_defaults(run=run_import)

    adding = _add(actions, "add", "add weights of a training", ADD_DESCRIPTION)
    adding.add_argument("weights", type=Path, metavar="FILE", help=".safetensors file that 'lift3d train' wrote")
    adding.add_argument("--as", dest="preset", required=True, metavar="NAME", help="configuration it was trained for")
    adding.add_argument("--name", required=True, help="name of the model")
    adding.add_argument(
        "--licence", metavar="TEXT", default="own weights", help="licence to note (default: own weights)"
    )
    adding.add_argument("--models-dir", type=Path, metavar="DIR", help="folder of models to write to")
    adding.add_argument("--overwrite", action="store_true", help="replace a model of the same name")
    adding.set_defaults(run=run_add)

    averaging = _add(actions, "average", "write the mean of weights", AVERAGE_DESCRIPTION)
    averaging.add_argument("weights", nargs="+", type=Path, metavar="FILE", help=".safetensors files of one network")
    averaging.add_argument(
        "--parts",
        nargs="+",
        type=float,
        default=[],
        metavar="PART",
        help="how much each file counts, scaled to a sum of 1 (default: all alike)",
    )
    averaging.add_argument("--out", type=Path, required=True, metavar="FILE.safetensors", help="file to write")
    averaging.set_defaults(run=run_average)

    listing = _add(actions, "list", "list models", LIST_DESCRIPTION)
    listing.set_defaults(run=run_list)

    verifying = _add(actions, "verify", "verify weights", VERIFY_DESCRIPTION)
    verifying.add_argument("names", nargs="*", metavar="NAME", help="models to verify (default: all)")
    verifying.set_defaults(run=run_verify)


def run_average(args: argparse.Namespace) -> int:
    """Average weights and say where the mean is."""
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.weights.averaging import average_weights

    if args.out.suffix != ".safetensors":
        raise ConfigError(f"--out {args.out}: expected a file name that ends in .safetensors")
    check_file_place("--out", args.out)
    count = average_weights(args.weights, args.out, args.parts)
    print(f"mean of {len(args.weights)} files, {count} tensors: {args.out}")
    return 0


_USE = {
    "dfa3d": "lift3d replay BAG --model {} --out results",
    "lfm": "lift3d lift KEYPOINTS.json --model {} --out lifted",
}


def _print_use(method: str, name: str, folder: Path) -> None:
    """Say what to do next with a model; nothing for methods that have no command yet."""
    if method in _USE:
        print(f"use it: {_place(folder)}{_USE[method].format(name)}")


def run_import(args: argparse.Namespace) -> int:
    """Import and say what was written and how to use it."""
    from lift3d_ros.weights.importing import import_checkpoint
    from lift3d_ros.weights.manifest import models_dir

    folder = args.models_dir or models_dir()
    with _Progress(args.checkpoint.name) as progress:
        model = import_checkpoint(
            args.checkpoint,
            args.preset,
            args.name or args.preset,
            args.licence or PUBLISHED_LICENCES[args.preset],
            folder,
            overwrite=args.overwrite,
            on_progress=progress.update,
        )
    print(f"imported {args.checkpoint} as model '{model.name}' ({args.preset})")
    print(f"  weights: {model.path} ({model.num_tensors} tensors, {model.num_values / 1e6:.1f} million values)")
    print(f"  SHA-256: {model.entry.sha256}")
    print(f"  licence: {model.entry.licence}")
    if model.surplus:
        print(f"  left out, without a part in the output: {_some(model.surplus)}")
    if model.ignored:
        print(f"  left out, beside the weights: {_some(model.ignored)}")
    if model.also_fits:
        print(f"  note: the weights fit {' and '.join(model.also_fits)} too; --as has to name what they are")
    _print_use(model.entry.method, model.name, folder)
    return 0


def run_add(args: argparse.Namespace) -> int:
    """Add weights and say how to use them."""
    from lift3d_ros.weights.adding import add_weights
    from lift3d_ros.weights.manifest import models_dir

    folder = args.models_dir or models_dir()
    entry, path = add_weights(args.weights, args.preset, args.name, args.licence, folder, overwrite=args.overwrite)
    print(f"added {args.weights} as model '{args.name}' ({args.preset})")
    print(f"  weights: {path}")
    print(f"  SHA-256: {entry.sha256}")
    _print_use(entry.method, args.name, folder)
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Print a table of models."""
    from lift3d_ros.errors import Lift3dError
    from lift3d_ros.weights.manifest import known_models, weights_path

    rows = [("name", "method", "preset", "trained", "size", "licence", "where")]
    problems = []
    for model in known_models():
        entry = model.entry
        trained, size, where = "no", "-", str(model.manifest)
        if entry.weights is not None:
            trained = "yes"
            try:
                path = weights_path(model.name, entry)
                assert path is not None
                size, where = f"{path.stat().st_size / 1e6:.1f} MB", str(path)
            except Lift3dError as error:
                size = "missing"
                problems.append(str(error))
        if model.problem:
            problems.append(model.problem)
        rows.append((model.name, entry.method, entry.preset, trained, size, entry.licence, where))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    for problem in problems:
        print(f"warning: {problem}")
    return 0


def run_verify(args: argparse.Namespace) -> int:
    """Verify models and return 1 where one fails."""
    from lift3d_ros.weights.manifest import find_model, known_models
    from lift3d_ros.weights.verify import verify_model

    models = known_models()
    for name in args.names:
        if name not in {model.name for model in models}:
            find_model(name)  # says what is known
    failed = False
    for model in models:
        if args.names and model.name not in args.names:
            continue
        with _Progress(model.name) as progress:
            result = verify_model(model, progress.update)
        failed = failed or not result.is_ok
        print(f"{'ok    ' if result.is_ok else 'FAILED'} {result.name}: {result.text}")
    return 1 if failed else 0


def _place(folder: Path) -> str:
    """Return how to name a folder that is not the usual one."""
    from lift3d_ros.weights.manifest import models_dir

    return "" if folder.resolve() == models_dir().resolve() else f"LIFT3D_MODELS_DIR={folder.resolve()} "


class _Progress:
    """One progress bar at a time, a new one for each stage of the work; none where nobody is watching."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._stage = ""
        self._bar: Any = None

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, stage: str, count: int, total: int) -> None:
        if stage != self._stage:
            self.__exit__()
            self._stage = stage
            self._bar = tqdm(
                total=total or None,
                desc=f"{stage} {self._subject}",
                unit="B",
                unit_scale=True,
                leave=False,
                disable=None,
                file=sys.stderr,
            )
        self._bar.update(count)


def _some(names: Sequence[str]) -> str:
    from lift3d_ros.weights.checkpoint import shown

    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(shown(name) for name in names[:4]) + more


def _add(subparsers: Any, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return parser
