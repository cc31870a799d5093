"""`lift3d bench`: measure operators and models on this machine."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lift3d_ros.cli import bench_all
from lift3d_ros.cli.output_places import check_file_place

if TYPE_CHECKING:
    from lift3d_ros.pipelines.bev_engine import EngineConfig

DESCRIPTION = """\
Measure models on this machine, all in one run, and write the figures with a description of the machine.

  lift3d bench dfa3d --out bench.json       the BEV detector and its operator: time, memory, accuracy
  lift3d bench lfm --out lifter.json        the skeleton lifter: time over instances and joints
  lift3d bench i2p_mae --out encoder.json   the point encoder: time and memory over the number of objects
  lift3d bench lrm --out lrm.json           the object reconstructor: time of each stage, memory, points of the field
  lift3d bench all --out robot.json         every model that has weights, as a node runs it; then compare, table

'lift3d bench METHOD --help' explains each.
"""

DFA3D_DESCRIPTION = """\
Measure time, memory and accuracy, all in one run, and write the figures with a description of the machine.

  lift3d bench dfa3d --out bench.json                               operator, and the model 'tiny' with each backend
  lift3d bench dfa3d --operator-only --threads 1 --out op.json      3D deformable attention against its plain forms
  lift3d bench dfa3d --config tiny dfa3d-small --device cuda --dtype float16 --out gpu.json

The operator is compared with sampling the product volume of features and depth scores, which is its definition, and
with four plain samples of each point. A form that does not fit into memory is not run; its size is computed.
"""

LFM_DESCRIPTION = """\
Measure the skeleton lifter over the number of instances and joints, and write the times with a description of the
machine: the network alone, and the whole pipeline (checking, undoing the lens, network, placing by perspective).

  lift3d bench lfm --out lifter.json                                       with each backend
  lift3d bench lfm --instances 20 --joints 17 133 --threads 2 --out lifter.json
  lift3d bench lfm --backend torch --device cuda --out gpu.json

Weights are random: they do not change the time.
"""

I2P_MAE_DESCRIPTION = """\
Measure the point encoder over the number of objects in a cloud, and write the times with a description of the machine:
preparing (cutting, farthest points, neighbours), the network, one after the other (pipeline), and both side by side
(overlapped: the next cloud is prepared while one is encoded, as the node does).

  lift3d bench i2p_mae --out encoder.json                                       with each backend
  lift3d bench i2p_mae --crops 10 --points 2048 --threads 2 --out encoder.json
  lift3d bench i2p_mae --backend torch --device cuda --out gpu.json

Weights are random: they do not change the time.
"""

LRM_DESCRIPTION = """\
Measure the object reconstructor: time of each stage and of its two networks, memory, and how many points of the field
it asks for in place of all nodes of a grid, and write the figures with a description of the machine.

  lift3d bench lrm --out lrm.json                                          with each backend
  lift3d bench lrm --config triposr --backend torch --device cuda --dtype float16 --out gpu.json

Weights are random: they do not change the time. The shape is a ring with a ball above it, whatever the network says, as
random weights have no shape; the network is asked all the same.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = _add(subparsers, "bench", "measure operators and models on this machine", DESCRIPTION)
    methods = parser.add_subparsers(title="methods and files", metavar="METHOD", required=True)
    _add_dfa3d_options(_add(methods, "dfa3d", "the BEV detector and its operator", DFA3D_DESCRIPTION))
    _add_lfm_options(_add(methods, "lfm", "the skeleton lifter", LFM_DESCRIPTION))
    _add_i2p_mae_options(_add(methods, "i2p_mae", "the point encoder", I2P_MAE_DESCRIPTION))
    _add_lrm_options(_add(methods, "lrm", "the object reconstructor", LRM_DESCRIPTION))
    bench_all.add_parsers(methods)


def _add(subparsers: Any, name: str, text: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=text, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return parser


def _add_dfa3d_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--operator-only", action="store_true", help="leave out the whole models")
    parser.add_argument(
        "--config", nargs="+", default=["tiny"], metavar="NAME", help="configurations of the model (default tiny)"
    )
    parser.add_argument("--cameras", type=int, default=6, help="cameras of the model (default %(default)s)")
    parser.add_argument("--compile", action="store_true", help="also measure torch.compile of the operator")
    _add_common_options(parser)
    parser.set_defaults(run=run_dfa3d)


def _add_lfm_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        nargs="+",
        default=["lift3d-lfm-medium"],
        metavar="NAME",
        help="configurations (default lift3d-lfm-medium, the shipped one)",
    )
    parser.add_argument(
        "--instances", type=int, nargs="+", default=[1, 5, 20, 100], metavar="N", help="objects in one picture"
    )
    parser.add_argument("--joints", type=int, nargs="+", default=[17, 33, 133], metavar="N", help="of each object")
    _add_common_options(parser)
    parser.set_defaults(run=run_lfm)


def _add_i2p_mae_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        nargs="+",
        default=["lift3d-points-small"],
        metavar="NAME",
        help="configurations (default lift3d-points-small, the shipped one)",
    )
    parser.add_argument("--crops", type=int, nargs="+", default=[1, 10], metavar="N", help="objects in one cloud")
    parser.add_argument("--points", type=int, default=2048, help="of each object (default %(default)s)")
    _add_common_options(parser)
    parser.set_defaults(run=run_i2p_mae)


def _add_lrm_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", nargs="+", default=["lift3d-lrm-tiny"], metavar="NAME", help="configurations (default %(default)s)"
    )
    parser.add_argument("--resolution", type=int, default=256, metavar="N", help="cells along a side (default 256)")
    parser.add_argument("--faces", type=int, default=20000, metavar="N", help="triangles at most (default 20000)")
    _add_common_options(parser)
    parser.set_defaults(run=run_lrm)


def _add_common_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backend",
        nargs="+",
        choices=["onnxruntime", "torch"],
        metavar="NAME",
        help="backends of the model: onnxruntime, torch (default: those that can use the device and the type)",
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves the number alone (default)")
    parser.add_argument("--device", default="cpu", help="for example cpu or cuda (default %(default)s)")
    parser.add_argument(
        "--dtype",
        choices=["float32", "float16", "bfloat16"],
        default="float32",
        help="type of features and weights; coordinates stay float32 (default %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=7, help="timed calls of each form (default %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="file to write")


def run_lfm(args: argparse.Namespace) -> int:
    """Measure the lifter, print and write."""
    _check(args, (("instances", args.instances, 1, 10_000), ("joints", args.joints, 4, 2048)))
    from lift3d_ros.bench.lifter import LifterBench, bench_lifter
    from lift3d_ros.bench.operator import check_device
    from lift3d_ros.bench.report import table, write_report
    from lift3d_ros.pipelines.skeleton_graph import untrained_lfm

    check_device(args.device)
    for name in args.config:
        untrained_lfm(name)  # an unknown one is named before anything is measured
    bench = LifterBench(_engines(args, has_graphs=False), tuple(args.instances), tuple(args.joints), args.rounds)
    figures = {"lifter": [bench_lifter(name, bench) for name in args.config]}
    print(table(figures))
    write_report(args.out, ["lift3d", *sys.argv[1:]], args.device, figures)
    print(f"wrote {args.out}")
    return 0


def run_i2p_mae(args: argparse.Namespace) -> int:
    """Measure the encoder, print and write."""
    _check(args, (("crops", args.crops, 1, 1000), ("points", [args.points], 1, 1_000_000)))
    from lift3d_ros.bench.encoder import EncoderBench, bench_encoder
    from lift3d_ros.bench.operator import check_device
    from lift3d_ros.bench.report import table, write_report
    from lift3d_ros.pipelines.point_network import untrained_points

    check_device(args.device)
    for name in args.config:
        untrained_points(name)  # an unknown one is named before anything is measured
    bench = EncoderBench(_engines(args, has_graphs=False), tuple(args.crops), args.points, args.rounds)
    figures = {"encoder": [bench_encoder(name, bench) for name in args.config]}
    print(table(figures))
    write_report(args.out, ["lift3d", *sys.argv[1:]], args.device, figures)
    print(f"wrote {args.out}")
    return 0


def run_lrm(args: argparse.Namespace) -> int:
    """Measure the reconstructor, print and write."""
    _check(args, (("resolution", [args.resolution], 4, 1024), ("faces", [args.faces], 0, 10_000_000)))
    from lift3d_ros.bench.operator import check_device
    from lift3d_ros.bench.reconstructor import ReconstructorBench, bench_reconstructor
    from lift3d_ros.bench.report import table, write_report
    from lift3d_ros.pipelines.object_engine import untrained_lrm
    from lift3d_ros.pipelines.object_surface import SurfaceConfig, check_surface_config

    check_device(args.device)
    surface = SurfaceConfig(resolution=args.resolution, max_faces=args.faces)
    check_surface_config(surface)
    for name in args.config:
        untrained_lrm(name)  # an unknown one is named before anything is measured
    bench = ReconstructorBench(_engines(args, has_graphs=False), surface, args.rounds)
    figures = {"reconstructor": [bench_reconstructor(name, bench) for name in args.config]}
    print(table(figures))
    write_report(args.out, ["lift3d", *sys.argv[1:]], args.device, figures)
    print(f"wrote {args.out}")
    return 0


def _check(args: argparse.Namespace, ranges: Sequence[tuple[str, Sequence[int], int, int]]) -> None:
    """Refuse wrong values, a file that cannot be written and a machine without torch, before anything is measured."""
    from lift3d_ros.errors import ConfigError, EngineError

    common = (("threads", [args.threads], 0, 256), ("rounds", [args.rounds], 1, 1000))
    for name, values, lowest, highest in (*common, *ranges):
        for value in values:
            if not lowest <= value <= highest:
                raise ConfigError(f"--{name} {value}: expected {lowest} to {highest}")
    if args.out.suffix != ".json":
        raise ConfigError(f"--out '{args.out}': expected a file name that ends in .json")
    check_file_place("--out", args.out)
    if importlib.util.find_spec("torch") is None:
        raise EngineError("'lift3d bench' needs torch, which is not installed; 'pip install torch'")


def run_dfa3d(args: argparse.Namespace) -> int:
    """Measure the detector and its operator, print and write."""
    _check(args, (("cameras", [args.cameras], 1, 12),))
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


def _engines(args: argparse.Namespace, *, has_graphs: bool = True) -> tuple[EngineConfig, ...]:
    """Return the engines to compare; on a GPU with and without a recorded graph, where the model has one."""
    from lift3d_ros.pipelines.bev_engine import EngineConfig

    is_plain = args.device == "cpu" and args.dtype == "float32"
    default = ["onnxruntime", "torch"] if is_plain and importlib.util.find_spec("onnxruntime") else ["torch"]
    engines = []
    for backend in args.backend or default:
        if backend == "onnxruntime":
            engines.append(EngineConfig("onnxruntime", threads=args.threads))
            continue
        graphs = (True, False) if has_graphs and args.device.startswith("cuda") else (False,)
        of_torch = EngineConfig("torch", args.device, args.dtype, threads=args.threads)
        engines += [dataclasses.replace(of_torch, cuda_graph=graph) for graph in graphs]
    return tuple(engines)
