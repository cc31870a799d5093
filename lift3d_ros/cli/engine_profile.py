"""`lift3d engine profile`: where the time of a network goes."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lift3d_ros.cli.engine_options import (
    PRECISIONS,
    add_action,
    add_cameras,
    add_device,
    check_runtime,
)
from lift3d_ros.cli.output_places import check_file_place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lift3d_ros.engines.operator_times import OperatorTime, ProfiledEngine
    from lift3d_ros.pipelines.engine_subjects import EngineSubject

DESCRIPTION = """\
Show the slowest operators of a network, and the time of each kind of operator.

  lift3d engine profile lift3d-bev-tiny                               with ONNX Runtime on the CPU
  lift3d engine profile lift3d-bev-tiny --backend torch
  lift3d engine profile lift3d-bev-tiny --backend tensorrt --precision float16 --out profile.json

Backends report what they have: ONNX Runtime and OpenVINO their fused nodes, torch its operators, TensorRT the layers of
the engine. Measuring costs time itself; compare shares, not sums.
"""

_PRECISIONS_OF = {
    "onnxruntime": ("float32",),
    "torch": ("float32",),
    "openvino": ("float32", "bfloat16"),
}


def add_parser(subparsers: Any) -> None:
    """Add the action."""
    parser = add_action(subparsers, "profile", "where the time goes", DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", help="model name, or exported .onnx file")
    parser.add_argument(
        "--backend",
        choices=("onnxruntime", "torch", "openvino", "tensorrt", "tensorrt_rtx"),
        default="onnxruntime",
        help="runtime (default %(default)s)",
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="openvino and tensorrt: of layers")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="measured runs (default %(default)s)")
    parser.add_argument("--top", type=int, default=15, metavar="N", help="rows of the table (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of a CPU (default %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all times as JSON")
    add_device(parser)
    add_cameras(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print and write."""
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.pipelines.bev_graph import wants_fixed_sizes
    from lift3d_ros.pipelines.engine_subjects import engine_subjects

    for name in ("runs", "top"):
        if getattr(args, name) < 1:
            raise ConfigError(f"--{name} is {getattr(args, name)}; expected 1 or more")
    if args.out is not None:
        check_file_place("--out", args.out)
    check_runtime(args.backend, args.device)
    if args.precision not in _PRECISIONS_OF.get(args.backend, PRECISIONS):
        expected = " or ".join(_PRECISIONS_OF[args.backend])
        raise ConfigError(f"--precision {args.precision}: {args.backend} is profiled in {expected}")
    subject = engine_subjects(args.model, args.cameras, is_fixed=wants_fixed_sizes(args.backend))[0]
    inputs = subject.examples[-1]
    times = _open(args, subject).profile([inputs] * args.runs)
    print(f"{args.model} on {args.backend}, milliseconds of one run:")
    _print_table(times, args.top)
    if args.out is not None:
        from lift3d_ros.bench.report import write_report

        figures = {
            "model": args.model,
            "backend": args.backend,
            "runs": args.runs,
            "operators": [dataclasses.asdict(time) for time in times],
        }
        write_report(args.out, ["lift3d", *sys.argv[1:]], "cpu", figures)
    return 0


def _open(args: argparse.Namespace, subject: EngineSubject) -> ProfiledEngine:
    from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine

    if args.backend == "onnxruntime":
        return OnnxRuntimeEngine(subject.graph, args.threads)
    if args.backend == "torch":
        from lift3d_ros.pipelines.engine_subjects import torch_engine

        return cast("ProfiledEngine", torch_engine(args.model, subject, args.threads))
    if args.backend == "openvino":
        from lift3d_ros.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(subject.graph, args.threads, args.precision)
    from lift3d_ros.engines.engine_cache import EngineCache
    from lift3d_ros.engines.tensorrt_builder import EngineRequest, obtain_engine, open_device

    request = EngineRequest(subject.name, subject.graph, args.backend, args.precision, subject.profile)
    return obtain_engine(request, EngineCache(), open_device(args.device))


def _print_table(times: Sequence[OperatorTime], top: int) -> None:
    from lift3d_ros.engines.operator_times import times_by_kind

    total = sum(time.time_ms for time in times) or 1.0

    def row(time: OperatorTime, name: str) -> str:
        return f"{time.time_ms:10.3f} {100 * time.time_ms / total:5.1f} %  {time.calls:6.0f} x  {name}"

    for time in times[:top]:
        print(row(time, f"{time.name} ({time.kind})" if time.kind and time.kind not in time.name else time.name))
    if len(times) > top:
        rest = sum(time.time_ms for time in times[top:])
        print(f"{rest:10.3f} {100 * rest / total:5.1f} %            {len(times) - top} others")
    kinds = [time for time in times_by_kind(times) if time.kind]
    if 1 < len(kinds) < len(times):
        print("by kind:")
        for time in kinds[:top]:
            print(row(time, time.kind))
