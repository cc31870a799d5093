"""`lift3d export`: write a model as an ONNX graph that runs without torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lift3d_ros.cli.output_places import check_file_place
from lift3d_ros.models.dfa3d.config import PRESETS
from lift3d_ros.models.i2p_mae.config import PRESETS as I2P_MAE_PRESETS
from lift3d_ros.models.lfm.config import PRESETS as LFM_PRESETS
from lift3d_ros.models.lrm.config import PRESETS as LRM_PRESETS

_CONFIGS = [name for name in PRESETS if "gtdepth" not in name]

DESCRIPTION = """\
Export a model as an ONNX graph, compare it with PyTorch and write it.

  lift3d export dfa3d --config tiny --cameras 6 --out bev.onnx      the BEV detector
  lift3d export lfm --model lift3d-lfm --out lifter.onnx            the skeleton lifter
  lift3d export i2p_mae --out points.onnx                           the point encoder
  lift3d export lrm --model lift3d-lrm-tiny --out lrm.onnx          the object reconstructor: lrm.onnx, lrm.field.onnx

The graph holds the weights, the model's facts and its declared tensors, so that a machine with only
onnxruntime can run it: give its path as model. 'lift3d export METHOD --help' explains each method.
"""

DFA3D_DESCRIPTION = """\
Export a BEV detector as an ONNX graph, compare it with PyTorch and write it.

Cells and cameras that see them are inputs of the graph, so calibration may change and cameras may fail without a new
export. ONNX Runtime takes any number of pairs of a cell and a camera. TensorRT wants fixed sizes: --fixed leaves room
for any usual rig, --rig for that rig and a quarter more, which costs less time. Grids of more than 10 000 cells always
have fixed sizes.

  lift3d export dfa3d --config tiny --cameras 6 --out bev.onnx                     for ONNX Runtime
  lift3d export dfa3d --model my_model --rig my_car.yaml --out bev.onnx            for TensorRT on this car
  lift3d replay BAG --model bev.onnx --out results
"""

LFM_DESCRIPTION = """\
Export a skeleton lifter as an ONNX graph, compare it with PyTorch at several sizes and write it.

Instances and joints may be any number in each run, so one graph serves every skeleton. It gives what the network
gives, shapes in a frame of their own; 'lift3d lift', the node and replay place them in front of the camera.

  lift3d export lfm --model lift3d-lfm --out lifter.onnx
  lift3d export lfm --weights run/best.safetensors --out lifter.onnx
  lift3d lift KEYPOINTS.json --model lifter.onnx --out lifted
"""

I2P_MAE_DESCRIPTION = """\
Export a point encoder as an ONNX graph, compare it with PyTorch at several sizes and write it.

Farthest points and neighbours are found outside of the graph, by the pipeline. Objects may be any number in each run;
their groups have the sizes of the model. It gives descriptors and tokens.

  lift3d export i2p_mae --out points.onnx
  lift3d export i2p_mae --weights run/encoder.safetensors --out points.onnx
  lift3d features scan.pcd --model points.onnx --out features
"""

LRM_DESCRIPTION = """\
Export an object reconstructor as two ONNX graphs, compare them with PyTorch and write them: from picture to planes, and
the field, which reads density and colour of any number of points from planes. They belong together.

  lift3d export lrm --model triposr --out triposr.onnx              writes triposr.onnx and triposr.field.onnx
  lift3d reconstruct IMAGE --box L,T,R,B --model triposr.onnx --out mesh.glb

A graph cannot render views of the field, and work on the planes cannot be stopped in between.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = _add(subparsers, "export", "write a model as an ONNX graph", DESCRIPTION)
    methods = parser.add_subparsers(title="methods", metavar="METHOD", required=True)

    dfa3d = _add(methods, "dfa3d", "the BEV detector", DFA3D_DESCRIPTION)
    which = dfa3d.add_mutually_exclusive_group()
    which.add_argument("--model", default="lift3d-bev-tiny", help="model name of a manifest (default %(default)s)")
    which.add_argument("--config", choices=_CONFIGS, help="a configuration with random weights, to measure it")
    size = dfa3d.add_mutually_exclusive_group()
    size.add_argument("--cameras", type=int, default=6, help="camera slots of the graph (default %(default)s)")
    size.add_argument("--rig", type=Path, metavar="RIG.yaml", help="rig file: its cameras decide slots and room")
    dfa3d.add_argument("--fixed", action="store_true", help="fixed sizes, as TensorRT wants them; --rig implies it")
    _add_out(dfa3d)
    dfa3d.set_defaults(run=run_dfa3d)

    lfm = _add(methods, "lfm", "the skeleton lifter", LFM_DESCRIPTION)
    which = lfm.add_mutually_exclusive_group()
    which.add_argument("--model", default="lift3d-lfm", help="model name of a manifest (default %(default)s)")
    which.add_argument("--weights", type=Path, metavar="FILE", help="weights.safetensors of a training")
    which.add_argument("--config", choices=LFM_PRESETS, help="a configuration with random weights, to measure it")
    _add_out(lfm)
    lfm.set_defaults(run=run_lfm)

    points = _add(methods, "i2p_mae", "the point encoder", I2P_MAE_DESCRIPTION)
    which = points.add_mutually_exclusive_group()
    which.add_argument("--model", default="lift3d-points-small", help="model name of a manifest (default %(default)s)")
    which.add_argument("--weights", type=Path, metavar="FILE", help="weights.safetensors of a training")
    which.add_argument(
        "--config", choices=I2P_MAE_PRESETS, metavar="NAME", help="a configuration with random weights, to measure it"
    )
    _add_out(points)
    points.set_defaults(run=run_i2p_mae)

    lrm = _add(methods, "lrm", "the object reconstructor", LRM_DESCRIPTION)
    which = lrm.add_mutually_exclusive_group()
    which.add_argument("--model", default="lift3d-lrm-tiny", help="model name of a manifest (default %(default)s)")
    which.add_argument("--config", choices=LRM_PRESETS, help="a configuration with random weights, to measure it")
    _add_out(lrm)
    lrm.set_defaults(run=run_lrm)


def run_dfa3d(args: argparse.Namespace) -> int:
    """Export a detector and say what was written."""
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.geometry.rig import load_rig
    from lift3d_ros.pipelines.bev_graph import export_graph, model_config, room_for_pairs, untrained_entry
    from lift3d_ros.pipelines.rig_capacity import rig_capacity
    from lift3d_ros.weights.manifest import find_model

    _check_out(args.out)
    name = args.config or args.model
    entry = untrained_entry(args.config) if args.config else find_model(args.model)
    rig = None if args.rig is None else load_rig(args.rig)
    cameras = args.cameras if rig is None else len(rig.cameras)
    if not 1 <= cameras <= 12:
        raise ConfigError(f"{'--rig' if args.rig else '--cameras'}: {cameras} cameras; expected 1 to 12")
    facts = model_config(name, entry)
    capacity = room_for_pairs(facts, cameras, is_fixed=args.fixed) if rig is None else rig_capacity(rig, facts)
    try:
        model = export_graph(name, entry, cameras, args.out, capacity)
    except OSError as error:
        raise _cannot_write(args.out, error) from None
    room = "any number of pairs" if capacity is None else f"room for {capacity.pairs} pairs"
    print(f"wrote {args.out} ({_megabytes(args.out)} MB, {cameras} camera slots, {room}): {model.description}")
    return 0


def run_lfm(args: argparse.Namespace) -> int:
    """Export a lifter and say what was written."""
    from lift3d_ros.pipelines.skeleton_graph import export_lfm_graph, find_lfm, untrained_lfm

    _check_out(args.out)
    _check_weights(args.weights)
    source = untrained_lfm(args.config) if args.config else find_lfm(str(args.weights or args.model))
    try:
        model = export_lfm_graph(source, args.out)
    except OSError as error:
        raise _cannot_write(args.out, error) from None
    print(f"wrote {args.out} ({_megabytes(args.out)} MB, any number of instances and joints): {model.description}")
    return 0


def run_i2p_mae(args: argparse.Namespace) -> int:
    """Export an encoder and say what was written."""
    from lift3d_ros.pipelines.point_graph import export_point_graph
    from lift3d_ros.pipelines.point_network import find_points, untrained_points

    _check_out(args.out)
    _check_weights(args.weights)
    source = untrained_points(args.config) if args.config else find_points(str(args.weights or args.model))
    try:
        model = export_point_graph(source, args.out)
    except OSError as error:
        raise _cannot_write(args.out, error) from None
    print(f"wrote {args.out} ({_megabytes(args.out)} MB, any number of objects): {model.description}")
    return 0


def run_lrm(args: argparse.Namespace) -> int:
    """Export a reconstructor and say what was written."""
    from lift3d_ros.pipelines.object_engine import (
        field_signature,
        find_lrm,
        load_lrm_network,
        planes_signature,
        untrained_lrm,
    )
    from lift3d_ros.pipelines.object_graph import export_lrm_graphs, field_path

    _check_out(args.out)
    source = untrained_lrm(args.config) if args.config else find_lrm(args.model)
    network, identity = load_lrm_network(source)
    signatures = planes_signature(source.config), field_signature(source.config)
    try:
        export_lrm_graphs(network, identity, *signatures, args.out)
    except OSError as error:
        raise _cannot_write(args.out, error) from None
    field = field_path(args.out)
    print(f"wrote {args.out} ({_megabytes(args.out)} MB) and {field} ({_megabytes(field)} MB): {identity.description}")
    return 0


def _add(subparsers: Any, name: str, text: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=text, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return parser


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.onnx", help="file to write")


def _check_out(out: Path) -> None:
    from lift3d_ros.errors import ConfigError

    if out.suffix != ".onnx":
        raise ConfigError(f"--out '{out}': expected a file name that ends in .onnx")
    check_file_place("--out", out)


def _check_weights(weights: Path | None) -> None:
    from lift3d_ros.errors import WeightsError
    from lift3d_ros.pipelines.network_source import WEIGHTS_ENDING

    if weights is not None and weights.suffix != WEIGHTS_ENDING:
        raise WeightsError(f"--weights '{weights}': expected a file name that ends in {WEIGHTS_ENDING}")


def _cannot_write(out: Path, error: OSError) -> Exception:
    from lift3d_ros.errors import ConfigError

    return ConfigError(
        f"--out {out}: cannot be written ({error}); check permissions and free space, or give another file"
    )


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f}"
