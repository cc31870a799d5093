"""`lift3d bench`: measure operators and models on this machine."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lift3d_ros.pipelines.bev_engine import EngineConfig

DESCRIPTION = """\
Measure time, memory and accuracy, all in one run, and write the figures with a description of the machine.

  lift3d bench dfa3d --out bench.json                               operator, and the model 'tiny' with each backend
  lift3d bench dfa3d --operator-only --threads 1 --out op.json      3D deformable attention against its plain forms
  lift3d bench dfa3d --config tiny dfa3d-small --device cuda --dtype float16 --out gpu.json

The operator is compared with sampling the product volume of features and depth scores, which is its definition, and
with four plain samples of each point. A form that does not fit into memory is not run; its size is computed.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = subparsers.add_parser(
        "bench",
        help="measure operators and models on this machine",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("method", choices=["dfa3d"], help="which method to measure")
    parser.add_argument("--operator-only", action="store_true", help="leave out the whole models")
    parser.add_argument(
        "--config", nargs="+", default=["tiny"], metavar="NAME", help="configurations of the model (default tiny)"
    )
    parser.add_argument(
        "--backend",
        nargs="+",
        choices=["onnxruntime", "torch"],
        metavar="NAME",
        help="backends of the model: onnxruntime, torch (default: those that can use the device and the type)",
    )
    parser.add_argument("--cameras", type=int, default=6, help="cameras of the model (default %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves the number alone (default)")
    parser.add_argument("--device", default="cpu", help="for example cpu or cuda (default %(default)s)")
    parser.add_argument(
        "--dtype",
        choices=["float32", "float16", "bfloat16"],
        default="float32",
        help="type of features, depth scores and weights; locations stay float32 (default %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=7, help="timed calls of each form (default %(default)s)")
    parser.add_argument("--compile", action="store_true", help="also measure torch.compile of the operator")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="file to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print and write."""
    from lift3d_ros.errors import ConfigError, EngineError

    for name, value, lowest, highest in (
        ("threads", args.threads, 0, 256),
        ("rounds", args.rounds, 1, 1000),
        ("cameras", args.cameras, 1, 12),
    ):
        if not lowest <= value <= highest:
            raise ConfigError(f"--{name} {value}: expected {lowest} to {highest}")
    if args.out.suffix != ".json":
        raise ConfigError(f"--out '{args.out}': expected a file name that ends in .json")
    if importlib.util.find_spec("torch") is None:
        raise EngineError("'lift3d bench' needs torch, which is not installed; 'pip install torch'")
    from lift3d_ros.bench.operator import OperatorBench, bench_operator, check_device
    from lift3d_ros.bench.report import table, write_report

    check_device(args.device)
    if not args.operator_only:
        from lift3d_ros.bench.detector import DetectorBench, bench_detector, check_presets

        check_presets(args.config)
    operator_bench = OperatorBench(args.device, args.dtype, args.threads, args.rounds, is_compiled=args.compile)
    figures: dict[str, Any] = {"operator": bench_operator(operator_bench)}
    if not args.operator_only:
        detector_bench = DetectorBench(_engines(args), args.cameras, args.rounds)
        figures["detector"] = [bench_detector(name, detector_bench) for name in args.config]
    print(table(figures))
    write_report(args.out, ["lift3d", *sys.argv[1:]], args.device, figures)
    print(f"wrote {args.out}")
    return 0


def _engines(args: argparse.Namespace) -> tuple[EngineConfig, ...]:
    """Return the engines to compare; on a GPU with and without a recorded graph."""
    from lift3d_ros.pipelines.bev_engine import EngineConfig

    is_plain = args.device == "cpu" and args.dtype == "float32"
    default = ["onnxruntime", "torch"] if is_plain and importlib.util.find_spec("onnxruntime") else ["torch"]
    engines = []
    for backend in args.backend or default:
        if backend == "onnxruntime":
            engines.append(EngineConfig("onnxruntime", threads=args.threads))
            continue
        graphs = (True, False) if args.device.startswith("cuda") else (False,)
        engines += [EngineConfig("torch", args.device, args.dtype, graph, args.threads) for graph in graphs]
    return tuple(engines)
