"""`lift3d engine quantize`: layers in INT8, as far as the results allow it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from lift3d_ros.cli.engine_compare import print_verdict
from lift3d_ros.cli.engine_options import add_action, add_cameras, add_data
from lift3d_ros.cli.output_places import check_file_place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lift3d_ros.engines.numerics import Verdict
    from lift3d_ros.engines.quantization import GraphQuantizer, LayerGroup
    from lift3d_ros.engines.recording import Recording
    from lift3d_ros.pipelines.engine_subjects import EngineSubject

DESCRIPTION = """\
Write a graph of a model whose layers are in INT8, by explicit quantisation as TensorRT takes it.

  lift3d engine quantize lift3d-bev-tiny --bag drive.mcap --out bev-int8.onnx
  lift3d engine build bev-int8.onnx --precision float16              INT8, and the rest in 16 bit
  lift3d replay drive.mcap --model bev-int8.onnx --out results       the same layers, with ONNX Runtime on the CPU

Ranges come from the recording, by the preparation of the node. Then each part of the network is quantised alone, and a
table says what that costs. Parts that hurt most stay as they are, until the results keep the limits of docs/engines.md
against float32. Where that takes all parts, nothing is written. Calibrate on clean pictures: the widest value counts.

Exit status: 0 written, 1 the limits cannot be kept, 2 wrong use.
"""

_SENSITIVITY_RUNS = 2


@dataclass(frozen=True)
class GroupSensitivity:
    """What quantising one part of a network costs.

    Args:
        error: largest mean error of any output, relative to its mean value.
    """

    group: LayerGroup
    error: float
    verdict: Verdict


def add_parser(subparsers: Any) -> None:
    """Add the action."""
    parser = add_action(subparsers, "quantize", "write a graph in INT8", DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", help="model name, or exported .onnx file")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="graph to write, .onnx")
    add_data(parser, "to take ranges from")
    parser.add_argument("--groups", type=int, default=16, metavar="N", help="parts to look at (default %(default)s)")
    parser.add_argument("--keep-float", nargs="+", default=[], metavar="PART", help="parts that stay as they are")
    parser.add_argument("--accept-worse", action="store_true", help="quantise all parts, whatever that costs")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table as JSON")
    add_cameras(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Calibrate, look at each part, choose and write."""
    from lift3d_ros.atomic_file import write_atomically
    from lift3d_ros.cli.engine_inputs import record_inputs
    from lift3d_ros.engines.quantization import GraphQuantizer
    from lift3d_ros.errors import ConfigError, nearest_name_hint
    from lift3d_ros.pipelines.engine_subjects import engine_subjects, reference_recording

    if args.out.suffix != ".onnx":
        raise ConfigError(f"--out {args.out}: expected the name of an .onnx file")
    if args.groups < 1:
        raise ConfigError(f"--groups is {args.groups}; expected 1 or more")
    check_file_place("--out", args.out)
    if args.report is not None:
        check_file_place("--report", args.report)
    subject = engine_subjects(args.model, args.cameras, is_fixed=True)[0]
    tape = record_inputs(subject, args.data, args.frames)
    if args.data is None:
        print("note: ranges are taken from the scenes that the result is judged on; give --bag for a robot of your own")
    print(f"taking ranges from {len(tape.runs)} runs", file=sys.stderr)
    feeds = [{**inputs, **states} for inputs, states in zip(tape.runs, tape.states, strict=True)]
    quantizer = GraphQuantizer(subject.graph, feeds, args.groups)
    names = [group.name for group in quantizer.groups]
    for name in args.keep_float:
        if name not in names:
            raise ConfigError(f"--keep-float '{name}': no such part{nearest_name_hint(name, names)}; parts: {names}")
    scenes = subject.recorded() if subject.recorded is not None else tuple(tape.runs)
    recording = reference_recording(args.model, subject, scenes)
    table = look_at_parts(quantizer, subject, recording)
    print_table(table)
    chosen, verdict = choose_parts(
        quantizer, subject, recording, table, frozenset(args.keep_float), is_final=args.accept_worse
    )
    if args.report is not None:
        _write_report(args, table, chosen, verdict)
    if not chosen:
        print(f"{args.model}: no part can be quantised within the limits; nothing was written (see --accept-worse)")
        return 1
    write_atomically(args.out, quantizer.quantize(chosen))
    print_verdict(f"{args.model}: int8", verdict)
    layers, total = (sum(len(group.nodes) for group in groups) for groups in (chosen, quantizer.groups))
    sizes = f"{args.out.stat().st_size / 1e6:.1f} MB, float32 has {subject.graph.stat().st_size / 1e6:.1f} MB"
    print(f"{args.out}: {layers} of {total} layers in int8; {sizes}")
    return 0


def look_at_parts(
    quantizer: GraphQuantizer, subject: EngineSubject, recording: Recording
) -> tuple[GroupSensitivity, ...]:
    """Quantise one part after the other, on the first runs of a recording; the most sensitive part comes first."""
    from lift3d_ros.engines.recording import Recording

    first = Recording(recording.graph_sha256, recording.runs[:_SENSITIVITY_RUNS])
    found = []
    for group in tqdm(quantizer.groups, "looking at parts", unit="part", disable=None):
        verdict = verdict_on(quantizer, (group,), subject, first)
        found.append(GroupSensitivity(group, max(error.mean_error for error in verdict.errors), verdict))
    return tuple(sorted(found, key=lambda one: -one.error))


def choose_parts(
    quantizer: GraphQuantizer,
    subject: EngineSubject,
    recording: Recording,
    table: Sequence[GroupSensitivity],
    kept: frozenset[str],
    *,
    is_final: bool,
) -> tuple[tuple[LayerGroup, ...], Verdict]:
    """Return the parts that may be in INT8 together, in the order of the graph, and the verdict on them.

    The most sensitive ones are left out, as few as it takes, found by halving.

    Args:
        kept: names of parts that stay as they are.
        is_final: take all others whatever that costs.
    """
    candidates = [one.group for one in table if one.group.name not in kept]

    def attempt(left_out: int) -> tuple[tuple[LayerGroup, ...], Verdict]:
        allowed = candidates[left_out:]
        chosen = tuple(group for group in quantizer.groups if group in allowed)
        verdict = verdict_on(quantizer, chosen, subject, recording)
        print(f"{len(chosen)} parts in int8: {verdict.text()}", file=sys.stderr)
        return chosen, verdict

    best = attempt(0)
    if best[1].is_accepted or is_final:
        return best
    too_few, enough = 0, len(candidates)
    best = (), best[1]
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        found = attempt(middle)
        if found[1].is_accepted:
            best, enough = found, middle
        else:
            too_few = middle
    return best


def verdict_on(
    quantizer: GraphQuantizer, groups: Sequence[LayerGroup], subject: EngineSubject, recording: Recording
) -> Verdict:
    """Return what float32 and the graph with these parts in INT8 differ by, run by ONNX Runtime."""
    from lift3d_ros.engines.numerics import judge
    from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine

    with TemporaryDirectory() as folder:
        path = Path(folder) / subject.graph.name
        path.write_bytes(quantizer.quantize(groups))
        return judge(OnnxRuntimeEngine(path, 1), recording, subject.score, subject.align)


def print_table(table: Sequence[GroupSensitivity]) -> None:
    """Print what each part costs alone."""
    width = max(len(one.group.name) for one in table)
    print(f"{'part alone in int8':{width}} {'layers':>6} {'error':>8}  scores")
    for one in table:
        scores = "; ".join(f"{score.metric} {score.value:.4g}" for score in one.verdict.scores)
        print(f"{one.group.name:{width}} {len(one.group.nodes):6} {one.error:8.1e}  {scores}")


def _write_report(
    args: argparse.Namespace, table: Sequence[GroupSensitivity], chosen: Sequence[LayerGroup], verdict: Verdict
) -> None:
    from lift3d_ros.bench.report import write_report

    names = {group.name for group in chosen}
    parts = [
        {
            "part": one.group.name,
            "layers": len(one.group.nodes),
            "is_int8": one.group.name in names,
            "error": one.error,
            "scores": one.verdict.to_json()["scores"],
        }
        for one in table
    ]
    figures = {"model": args.model, "parts": parts, "verdict": verdict.to_json()}
    write_report(args.report, ["lift3d", *sys.argv[1:]], "cpu", figures)
