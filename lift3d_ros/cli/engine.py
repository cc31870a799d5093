"""`lift3d engine`: build TensorRT engines ahead of a launch, look after them, and prove them on the machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tqdm import tqdm

from lift3d_ros.cli import engine_cache, engine_compare, engine_profile, engine_quantize
from lift3d_ros.cli.engine_options import add_action, add_cameras, add_runtime, check_runtime

if TYPE_CHECKING:
    from lift3d_ros.engines.build_progress import BuildProgress
    from lift3d_ros.engines.recording import Recording
    from lift3d_ros.engines.tensorrt_builder import Precision
    from lift3d_ros.pipelines.engine_subjects import EngineSubject

DESCRIPTION = """\
Build TensorRT engines ahead of a launch, look after them, and prove them on this machine.

  lift3d engine check                                      which models TensorRT can take, without having it
  lift3d engine build lift3d-bev-tiny --precision float16  build for the GPU of this machine
  lift3d engine selftest --precision float16               are the outputs right here? one line for each model
  lift3d engine compare lift3d-lfm --precision float16     what does that cost in skeletons, boxes, meshes?
  lift3d engine quantize lift3d-lfm --out lfm-int8.onnx    layers in int8, as far as the results allow it
  lift3d engine profile lift3d-bev-tiny                    where the time goes
  lift3d engine list                                       graphs and engines that the cache holds
  lift3d engine prune                                      delete those that nothing would use any more

An engine fits one version of TensorRT and one kind of GPU. Nodes with 'engine: {backend: tensorrt}' find what was
built here, and build what is missing. docs/engines.md explains backends, precisions and the cache.
"""

BUILD_DESCRIPTION = """\
Build engines for the GPU of this machine, or with --targets ahead of time for RTX GPUs that are not here.

  lift3d engine build lift3d-bev-tiny lift3d-lfm --precision float16
  lift3d engine build detector.onnx --backend tensorrt --workspace-mb 512
  lift3d engine build lift3d-lfm --backend tensorrt_rtx --targets SM86 SM89 SM120

Precision float16 runs convolutions and linear layers in 16 bit and leaves coordinates in float32. Engines that are
there already and load are not built again, unless --rebuild is given.

An engine for the GPU of this machine is compared with float32 on recorded scenes, and refused where boxes, skeletons,
descriptors or meshes suffer more than docs/engines.md allows. --accept-worse takes it all the same, and nodes then do.
"""

SELFTEST_DESCRIPTION = """\
Run models on this machine and compare their outputs with right ones; one verdict for each model.

  lift3d engine selftest --precision float16            against ONNX Runtime in float32, on this machine
  lift3d engine selftest --record DIR                   write inputs and right outputs, on a machine that you trust
  lift3d engine selftest --recordings DIR               against those, on the robot

The error is the largest RMS error over RMS value of any output; at most 0.001 in float32, 0.02 in float16 and 0.1 in
bfloat16. Exit status: 0 all are right, 1 at least one is not, 2 wrong use.
"""

_BOUNDS = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = add_action(subparsers, "engine", "build and prove TensorRT engines", DESCRIPTION)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    building = add_action(actions, "build", "build engines", BUILD_DESCRIPTION)
    building.add_argument("models", nargs="+", metavar="MODEL", help="model names, or exported .onnx files")
    add_runtime(building, ("tensorrt", "tensorrt_rtx"))
    building.add_argument("--targets", nargs="+", default=[], metavar="SM", help="tensorrt_rtx: build for these GPUs")
    building.add_argument("--workspace-mb", type=int, metavar="MB", help="limit of scratch memory (default: no limit)")
    building.add_argument(
        "--dla-core", type=int, choices=(0, 1), help="tensorrt: give this accelerator of a Jetson the layers it takes"
    )
    building.add_argument("--rebuild", action="store_true", help="build also what is there")
    building.add_argument(
        "--accept-worse", action="store_true", help="take an engine whose results are worse than the limits allow"
    )
    building.set_defaults(run=run_build)

    engine_cache.add_parsers(actions)

    checking = add_action(
        actions,
        "check",
        "compare graphs with the operators that TensorRT takes",
        "Compare the operators of exported graphs with those that TensorRT 10.3 and TensorRT-RTX take. Needs neither.",
    )
    checking.add_argument(
        "models", nargs="*", metavar="MODEL", help="model names, or .onnx files (default: all models)"
    )
    add_cameras(checking)
    checking.set_defaults(run=run_check)

    engine_compare.add_parser(actions)
    engine_quantize.add_parser(actions)
    engine_profile.add_parser(actions)

    testing = add_action(actions, "selftest", "prove models on this machine", SELFTEST_DESCRIPTION)
    testing.add_argument("models", nargs="*", metavar="MODEL", help="model names, or .onnx files (default: all models)")
    add_runtime(testing, ("tensorrt", "tensorrt_rtx", "onnxruntime"))
    where = testing.add_mutually_exclusive_group()
    where.add_argument("--record", type=Path, metavar="DIR", help="write inputs and outputs of ONNX Runtime, and end")
    where.add_argument("--recordings", type=Path, metavar="DIR", help="compare with what --record wrote")
    testing.set_defaults(run=run_selftest)


def run_build(args: argparse.Namespace) -> int:
    """Build engines and say what was written."""
    from lift3d_ros.engines.cache_contents import engine_text
    from lift3d_ros.engines.engine_cache import EngineCache
    from lift3d_ros.engines.engine_verdict import VERDICT_FACT
    from lift3d_ros.engines.numerics import Verdict
    from lift3d_ros.engines.tensorrt_builder import EngineRequest, build_ahead, obtain_engine, open_device
    from lift3d_ros.errors import ConfigError

    if args.workspace_mb is not None and args.workspace_mb < 1:
        raise ConfigError(f"--workspace-mb is {args.workspace_mb}; expected 1 or more")
    targets = tuple(args.targets)
    check_runtime(args.backend, None if targets else args.device)
    cache = EngineCache()
    memory = None if targets else open_device(args.device)
    for label, subject in _graphs(args.models, args.cameras):
        request = EngineRequest(
            subject.name,
            subject.graph,
            args.backend,
            _precision_of(subject, args),
            subject.profile,
            targets,
            args.workspace_mb,
            args.dla_core,
            subject.judge(),
            "always" if args.accept_worse else "no",
        )
        with _Bar(label) as bar:
            if memory is None:
                build_ahead(request, cache, bar.update)
            else:
                obtain_engine(request, cache, memory, bar.update, is_rebuilt=args.rebuild)
        newest = next(record for record in cache.records() if record.key["model"] == subject.name)
        print(f"{label}: {engine_text(newest)}")
        if VERDICT_FACT in newest.facts:
            print(f"  against float32: {Verdict.from_json(newest.facts[VERDICT_FACT]).text()}")
    return 0


def _graphs(models: Iterable[str], num_cameras: int) -> Iterator[tuple[str, EngineSubject]]:
    """Yield the graphs of all models with names for a person."""
    from lift3d_ros.pipelines.engine_subjects import engine_subjects

    for model in models:
        for subject in engine_subjects(model, num_cameras, is_fixed=True):
            yield f"{model}, field" if _is_field(subject) else model, subject


def _precision_of(subject: EngineSubject, args: argparse.Namespace) -> Precision:
    """Return the precision in which nodes open a graph: coordinates and densities of a field need float32."""
    return "float32" if _is_field(subject) else cast("Precision", args.precision)


def _is_field(subject: EngineSubject) -> bool:
    return subject.graph.stem.endswith(".field")


def run_check(args: argparse.Namespace) -> int:
    """Compare graphs with the lists of operators; 1 where one would not be taken."""
    from lift3d_ros.engines.tensorrt_operators import check_operators
    from lift3d_ros.pipelines.engine_subjects import graph_models

    failed = False
    for label, subject in _graphs(args.models or graph_models(), args.cameras):
        report = check_operators(subject.graph)
        failed = failed or bool(report.problems)
        nodes = sum(report.operators.values())
        print(
            f"{'FAILED' if report.problems else 'ok    '} {label}: {nodes} nodes of {len(report.operators)} operators"
        )
        for problem in report.problems:
            print(f"         {problem}")
        if report.undated:
            print(f"         in later lists, not dated for 10.3: {', '.join(report.undated)}")
    return 1 if failed else 0


def run_selftest(args: argparse.Namespace) -> int:
    """Compare models with right outputs; 1 where one deviates or fails."""
    from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
    from lift3d_ros.engines.recording import record, write_recording
    from lift3d_ros.errors import EngineError
    from lift3d_ros.pipelines.engine_subjects import graph_models
    from lift3d_ros.weights.manifest import sha256_of

    failed = False
    if args.record is None:
        check_runtime(args.backend, args.device)
    for label, subject in _graphs(args.models or graph_models(), args.cameras):
        name = f"{Path(label.removesuffix(', field')).stem}{'.field' if _is_field(subject) else ''}.npz"
        if args.record is not None:
            reference = OnnxRuntimeEngine(subject.graph, 1)
            write_recording(record(reference, sha256_of(subject.graph), subject.examples), args.record / name)
            print(f"recorded {label}: {args.record / name}")
            continue
        try:
            text = _verdict(subject, None if args.recordings is None else args.recordings / name, args)
        except EngineError as error:
            failed, text = True, f"FAILED {label}: {error}"
        else:
            failed, text = failed or not text.startswith("ok"), text.replace(subject.name, label)
        print(text, flush=True)
    return 1 if failed else 0


def _verdict(subject: EngineSubject, recording: Path | None, args: argparse.Namespace) -> str:
    from lift3d_ros.engines.engine_cache import EngineCache
    from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
    from lift3d_ros.engines.protocol import Engine
    from lift3d_ros.engines.recording import compare
    from lift3d_ros.engines.tensorrt_builder import EngineRequest, obtain_engine, open_device

    expected = _expected(subject, recording)
    engine: Engine
    if args.backend == "onnxruntime":
        engine, where, precision = OnnxRuntimeEngine(subject.graph, 1), "the CPU", "float32"
    else:
        memory, precision = open_device(args.device), _precision_of(subject, args)
        request = EngineRequest(subject.name, subject.graph, args.backend, precision, subject.profile)
        with _Bar(subject.name) as bar:
            engine = obtain_engine(request, EngineCache(), memory, bar.update)
        where = memory.gpu.name
    found = compare(engine, expected, subject.align)
    bound = _BOUNDS[precision]
    verdict = "ok    " if found.error <= bound else "FAILED"
    return (
        f"{verdict} {subject.name}: {engine.name} in {precision} on {where}: error {found.error:.1e} of "
        f"'{found.output}', at most {bound:g}; {1e3 * found.seconds:.1f} ms a run"
    )


def _expected(subject: EngineSubject, path: Path | None) -> Recording:
    """Return right outputs: recorded ones, or those of ONNX Runtime in float32 on this machine."""
    from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
    from lift3d_ros.engines.recording import read_recording, record
    from lift3d_ros.errors import EngineError
    from lift3d_ros.weights.manifest import sha256_of

    if path is None:
        return record(OnnxRuntimeEngine(subject.graph, 1), "", subject.examples)
    recording = read_recording(path)
    if recording.graph_sha256 != sha256_of(subject.graph):
        raise EngineError(
            f"{path}: was recorded of another graph than {subject.graph.name}; give the exported .onnx file of that "
            "machine as model, or record again"
        )
    return recording


class _Bar:
    """A progress bar of one build with the time that is left; none where nobody is watching."""

    def __init__(self, model: str) -> None:
        self._bar: Any = tqdm(
            total=100,
            desc=f"building {model}",
            unit="%",
            bar_format="{desc}: {percentage:3.0f} %|{bar}| {elapsed}{postfix}",
            leave=False,
            disable=None,
            file=sys.stderr,
        )

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, progress: BuildProgress) -> None:
        if progress.remaining_s is not None:
            self._bar.set_postfix_str(f"about {progress.remaining_s:.0f} s left", refresh=False)
        self._bar.update(100 * progress.done - self._bar.n)
