"""`lift3d bench all|compare|table`: every model on this machine, two machines or versions, tables for the documents."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

from lift3d_ros.cli.output_places import check_file_place

_BACKENDS = ("onnxruntime", "torch", "openvino")

ALL_DESCRIPTION = """\
Measure every model that has weights with every backend that is installed, each several times in a process of its own:
start-up time, memory, frames per second, percentiles of the latency, CPU, and missed frames and jitter at input rates.

  lift3d bench all --out robot.json                                        about a minute for each model and backend
  lift3d bench all --models lift3d-lfm --backend onnxruntime --rates 30 --repeats 5 --out lifter.json
  lift3d bench all --start-only --out start.json                           start-up and memory only

Nothing else should run meanwhile. Without torch the graphs must be in the cache already: run each model once where
torch is installed, and take the folder along (LIFT3D_CACHE_DIR).
"""

COMPARE_DESCRIPTION = """\
Compare two files of 'lift3d bench all': medians, ratios, and whether a difference lies within the noise of the repeats.

  lift3d bench compare before.json after.json
  lift3d bench compare before.json after.json --fail-above 1.2             fail for any figure, on an idle machine

A difference is noise where the ranges of the repeats overlap, or where a file has one repeat only. Exit status 1, with
a sentence, where a ratio that holds on a busy machine too became worse beyond noise: CPU time of a frame (x1.3), in
units of a fixed calculation and over that of onnxruntime; latency over that of onnxruntime (x1.5); peak memory (x1.2).
"""

TABLE_DESCRIPTION = """\
Write files of 'lift3d bench all' as Markdown tables.

  lift3d bench table robot.json start.json
"""


def add_parsers(methods: Any) -> None:
    """Add the three verbs to those of `lift3d bench`."""
    _add_all(_add(methods, "all", "every model that has weights", ALL_DESCRIPTION))
    compare = _add(methods, "compare", "two files of 'bench all'", COMPARE_DESCRIPTION)
    compare.add_argument("before", type=Path, metavar="A.json")
    compare.add_argument("after", type=Path, metavar="B.json")
    compare.add_argument(
        "--fail-above",
        type=float,
        metavar="RATIO",
        help="exit status 1 also where any figure is more times worse, beyond noise",
    )
    compare.set_defaults(run=run_compare)
    table = _add(methods, "table", "files of 'bench all' as Markdown", TABLE_DESCRIPTION)
    table.add_argument("files", type=Path, nargs="+", metavar="FILE.json")
    table.set_defaults(run=run_table)


def _add(subparsers: Any, name: str, text: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=text, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return parser


def _add_all(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models", nargs="+", metavar="NAME", help="names in the manifests (default: all with weights)"
    )
    parser.add_argument(
        "--backend",
        nargs="+",
        choices=_BACKENDS,
        metavar="NAME",
        help=f"backends: {', '.join(_BACKENDS)} (default: those that are installed)",
    )
    parser.add_argument(
        "--rates",
        type=float,
        nargs="+",
        default=[10.0, 30.0, 60.0],
        metavar="HZ",
        help="input rates (default 10 30 60)",
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each run (default %(default)g)")
    parser.add_argument("--repeats", type=int, default=3, help="processes for each (default %(default)s)")
    parser.add_argument(
        "--threads", type=int, default=0, help="CPU threads; 0 leaves the number to the runtime (default)"
    )
    parser.add_argument("--device", default="cpu", help="of torch, for example cpu or cuda (default %(default)s)")
    parser.add_argument(
        "--dtype", choices=["float32", "float16", "bfloat16"], default="float32", help="of torch (default %(default)s)"
    )
    parser.add_argument("--start-only", action="store_true", help="measure start-up and memory only")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="file to write")
    parser.set_defaults(run=run_all)


def run_all(args: argparse.Namespace) -> int:
    """Measure, print the tables and write; exit status 1 where nothing could be measured."""
    _check(args)
    from lift3d_ros.bench.all_models import measure_models, models_with_weights
    from lift3d_ros.bench.markdown import markdown
    from lift3d_ros.bench.result_file import BenchSettings, new_results, write_results

    rates = () if args.start_only else tuple(args.rates)
    seconds = 0.0 if args.start_only else args.seconds
    settings = BenchSettings(seconds, rates, args.repeats, args.threads, args.device, args.dtype)
    models = tuple(args.models or models_with_weights())
    results, not_run = measure_models(models, _backends(args), settings)
    document = new_results(["lift3d", *sys.argv[1:]], settings, results, not_run)
    print(markdown([document]))
    write_results(args.out, document)
    print(f"\nwrote {args.out}")
    return 0 if results else 1


def run_compare(args: argparse.Namespace) -> int:
    """Print the comparison; exit status 1 where a figure became worse than allowed."""
    from lift3d_ros.bench.comparison import compare, comparison_text, failures, remarks
    from lift3d_ros.bench.regression import are_comparable, regressions
    from lift3d_ros.bench.result_file import read_results
    from lift3d_ros.errors import ConfigError

    if args.fail_above is not None and not 1 <= args.fail_above <= 1000:
        raise ConfigError(f"--fail-above {args.fail_above:g}: expected 1 to 1000, for example 1.2 for 20 percent worse")
    before, after = read_results(args.before), read_results(args.after)
    differences = compare(before, after)
    print(comparison_text(differences, remarks(before, after)))
    failed = [] if args.fail_above is None else failures(differences, args.fail_above)
    for difference in failed:
        print(f"FAIL {difference.model} {difference.backend} {difference.figure}: x{difference.worse:.3f} worse")
    worse = regressions(before, after)
    for regression in worse:
        print(f"FAIL {regression}")
    if not are_comparable(before, after):
        print("note: machine or power mode differ, so no ratio is judged")
    return 1 if failed or worse else 0


def run_table(args: argparse.Namespace) -> int:
    """Print the tables."""
    from lift3d_ros.bench.markdown import markdown
    from lift3d_ros.bench.result_file import read_results

    print(markdown([read_results(path) for path in args.files]))
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse wrong values, a file that cannot be written and settings without effect, before anything is measured."""
    from lift3d_ros.errors import ConfigError

    ranges = (
        ("rates", args.rates, 0.1, 1000),
        ("seconds", [args.seconds], 0.1, 3600),
        ("repeats", [args.repeats], 1, 100),
        ("threads", [args.threads], 0, 256),
    )
    for name, values, lowest, highest in ranges:
        for value in values:
            if not lowest <= value <= highest:
                raise ConfigError(f"--{name} {value:g}: expected {lowest:g} to {highest:g}")
    if args.out.suffix != ".json":
        raise ConfigError(f"--out '{args.out}': expected a file name that ends in .json")
    if "torch" not in _backends(args) and (args.device, args.dtype) != ("cpu", "float32"):
        raise ConfigError(
            f"--device {args.device} --dtype {args.dtype}: settings of torch, which is not measured; "
            "add --backend torch, or leave them out"
        )
    check_file_place("--out", args.out)


def _backends(args: argparse.Namespace) -> list[str]:
    return list(args.backend or [name for name in _BACKENDS if importlib.util.find_spec(name)])
