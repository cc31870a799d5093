"""`lift3d engine compare`: what backends and precisions do to the results of a model."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from lift3d_ros.cli.engine_options import (
    PRECISIONS,
    add_action,
    add_cameras,
    add_data,
    check_runtime,
)
from lift3d_ros.cli.output_places import check_file_place

if TYPE_CHECKING:
    from lift3d_ros.engines.numerics import Verdict
    from lift3d_ros.engines.protocol import Engine
    from lift3d_ros.engines.recording import Recording
    from lift3d_ros.engines.tensorrt_builder import Precision
    from lift3d_ros.pipelines.engine_subjects import EngineSubject

DESCRIPTION = """\
Compare backends and precisions of a model with PyTorch in float32, on recorded scenes.

  lift3d engine compare lift3d-bev-tiny --precision float32 float16 bfloat16
  lift3d engine compare lift3d-lfm --graph lfm-int8.onnx            a graph of 'lift3d engine quantize'
  lift3d engine compare lift3d-bev-tiny --backend tensorrt --precision float16 --bag drive.mcap
  lift3d engine compare lift3d-lfm --inputs right/lift3d-lfm.npz    inputs that 'selftest --record' wrote

For each output it prints the largest and the mean error, relative to the largest and the mean right value, and what
that means for the task: boxes, skeletons, descriptors, meshes. docs/engines.md explains the figures and their limits.
Without torch, and for an .onnx file, ONNX Runtime in float32 is the reference. With onnxruntime, 16-bit types are
rounded as a GPU does it and computed in float32, since it has no 16-bit layers for CPUs; torch and openvino compute in
what is asked for.

Exit status: 0 all keep the limits, 1 at least one does not, 2 wrong use.
"""

_BACKENDS = ("onnxruntime", "torch", "openvino", "tensorrt", "tensorrt_rtx")
_FIRST_GPU = "cuda:0"


def add_parser(subparsers: Any) -> None:
    """Add the action."""
    parser = add_action(subparsers, "compare", "what a backend or precision costs in results", DESCRIPTION)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="model names, or exported .onnx files")
    parser.add_argument("--backend", default="onnxruntime", help=f"{', '.join(_BACKENDS)} (default %(default)s)")
    parser.add_argument(
        "--precision", nargs="+", choices=PRECISIONS, default=["float32"], help="of layers (default float32)"
    )
    parser.add_argument("--graph", type=Path, metavar="FILE", help="run this graph of the model in place of its own")
    parser.add_argument("--inputs", type=Path, metavar="FILE", help="recorded inputs, in place of scenes")
    add_data(parser, "to compare on")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all figures as JSON")
    parser.add_argument("--device", help="GPU of tensorrt (default cuda:0), or device of torch (default cpu)")
    add_cameras(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare and print; 1 where a limit is not kept."""
    from lift3d_ros.engines.numerics import judge
    from lift3d_ros.errors import ConfigError, EngineError, nearest_name_hint
    from lift3d_ros.pipelines.bev_graph import wants_fixed_sizes
    from lift3d_ros.pipelines.engine_subjects import engine_subjects

    if args.backend not in _BACKENDS:
        raise ConfigError(
            f"--backend '{args.backend}' runs no graphs here{nearest_name_hint(args.backend, _BACKENDS)}; "
            f"expected one of {', '.join(_BACKENDS)}"
        )
    if args.backend == "openvino" and "float16" in args.precision:
        raise ConfigError("--precision float16: openvino computes in float32 or bfloat16 on a CPU; take one of them")
    if args.backend == "torch" and (args.graph is not None or any(model.endswith(".onnx") for model in args.models)):
        raise ConfigError("--backend torch: runs no graphs; give the name of a model, without --graph")
    if args.graph is not None and len(args.models) > 1:
        raise ConfigError("--graph: belongs to one model; give one model")
    if args.out is not None:
        check_file_place("--out", args.out)
    check_runtime(args.backend, args.device or _FIRST_GPU)
    results: list[dict[str, Any]] = []
    for model in args.models:
        subjects = engine_subjects(model, args.cameras, is_fixed=wants_fixed_sizes(args.backend))
        for subject in subjects[: 1 if args.graph else None]:
            recording, facts = reference_of(model, subject, args)
            for precision in args.precision:
                label = _label(model, subject)
                result = {"model": label, "backend": args.backend, "precision": precision, **facts}
                try:
                    with _opened(model, subject, precision, args) as (engine, name):
                        verdict = judge(engine, recording, subject.score, subject.align)
                except EngineError as error:  # the others go on, which may have taken minutes
                    print(f"FAILED {label}: {args.backend} {precision}: {error}", flush=True)
                    results.append({**result, "error": str(error), "is_accepted": False})
                    continue
                print_verdict(f"{label}: {args.backend} {name}", verdict)
                results.append({**result, "precision": name, **verdict.to_json()})
    if args.out is not None:
        from lift3d_ros.bench.report import write_report

        write_report(args.out, ["lift3d", *sys.argv[1:]], "cpu", {"results": results})
    return 0 if all(result["is_accepted"] for result in results) else 1


def reference_of(model: str, subject: EngineSubject, args: argparse.Namespace) -> tuple[Recording, dict[str, Any]]:
    """Return the right outputs of the inputs that options name, and what they are, as plain data.

    Raises:
        ConfigError: both kinds of inputs were given, or none is there.
    """
    from lift3d_ros.cli.engine_inputs import record_inputs
    from lift3d_ros.engines.recording import read_recording
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.pipelines.engine_subjects import reference_recording

    if args.inputs is not None and args.data is not None:
        raise ConfigError("--inputs and --bag: give one of them")
    if args.inputs is not None:
        inputs = tuple(inputs for inputs, _ in read_recording(args.inputs).runs)
    else:
        inputs = tuple(record_inputs(subject, args.data, args.frames).runs)
    is_torch = not model.endswith(".onnx") and importlib.util.find_spec("torch") is not None
    source = args.inputs or args.data
    return reference_recording(model, subject, inputs), {
        "reference": f"{'torch' if is_torch else 'onnxruntime'} float32",
        "inputs": "scenes of this package" if source is None else source.name,
        "runs": len(inputs),
    }


def print_verdict(what: str, verdict: Verdict) -> None:
    """Print one verdict in several lines."""
    print(f"{'ok    ' if verdict.is_accepted else 'FAILED'} {what}: {verdict.text() or 'nothing is known of its task'}")
    for error in verdict.errors:
        print(f"         {error.output:14} largest error {error.max_error:.1e}, mean error {error.mean_error:.1e}")
    sys.stdout.flush()


def _label(model: str, subject: EngineSubject) -> str:
    """Return the name of a model, with the part that `subject` is where there are two."""
    return f"{Path(model).stem if model.endswith('.onnx') else model}{', field' * subject.name.endswith('.field')}"


@contextlib.contextmanager
def _opened(
    model: str, subject: EngineSubject, precision: str, args: argparse.Namespace
) -> Iterator[tuple[Engine, str]]:
    """Open the graph that is compared; yields it and what its precision is called."""
    from lift3d_ros.engines.engine_cache import EngineCache
    from lift3d_ros.engines.mixed_precision import to_rounded_precision
    from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
    from lift3d_ros.engines.open_graph import GraphRuntime, open_graph
    from lift3d_ros.engines.quantization import QUANTIZATION_FACT
    from lift3d_ros.engines.tensorrt_builder import EngineRequest, obtain_engine, open_device

    if args.backend == "torch":
        from lift3d_ros.pipelines.engine_subjects import torch_engine

        yield torch_engine(model, subject, 1, args.device or "cpu", precision), precision
        return
    graph = args.graph or subject.graph
    name = f"int8, {precision}" if QUANTIZATION_FACT in OnnxRuntimeEngine(graph, 1).facts else precision
    with TemporaryDirectory() as folder:
        if args.backend in ("tensorrt", "tensorrt_rtx"):
            request = EngineRequest(graph.stem, graph, args.backend, cast("Precision", precision), subject.profile)
            yield obtain_engine(request, EngineCache(), open_device(args.device or _FIRST_GPU)), name
            return
        if precision != "float32" and args.backend == "onnxruntime":
            rounded = Path(folder) / graph.name
            rounded.write_bytes(to_rounded_precision(graph, precision)[0])
            graph = rounded
        runtime = GraphRuntime(
            args.backend,
            precision="float32" if args.backend == "onnxruntime" else cast("Precision", precision),
        )
        yield open_graph(graph.stem, graph, runtime, subject.profile), name
