"""`lift3d export`: write a model as an ONNX graph that runs without torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lift3d_ros.models.dfa3d.config import PRESETS

_CONFIGS = [name for name in PRESETS if "gtdepth" not in name]

DESCRIPTION = """\
Export a model as an ONNX graph, compare it with PyTorch and write it.

Cells and cameras that see them are inputs of the graph, with room fixed at export: with --rig for that rig and a
quarter more, otherwise for any usual rig. Calibration may change and cameras may fail without a new export.

The graph holds the weights, the model's facts and its declared tensors, so that a machine with only
onnxruntime can run it: give its path as model.

  lift3d export dfa3d --config tiny --cameras 6 --out bev.onnx
  lift3d export dfa3d --model my_model --rig my_car.yaml --out bev.onnx
  lift3d replay BAG --model bev.onnx --out results
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = subparsers.add_parser(
        "export",
        help="write a model as an ONNX graph",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("method", choices=["dfa3d"], help="which method to export")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", default="dfa3d_tiny", help="model name of a manifest (default %(default)s)")
    which.add_argument("--config", choices=_CONFIGS, help="a configuration with random weights, to measure it")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--cameras", type=int, default=6, help="camera slots of the graph (default %(default)s)")
    size.add_argument("--rig", type=Path, metavar="RIG.yaml", help="rig file: its cameras decide slots and room")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.onnx", help="file to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export and say what was written."""
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.geometry.rig import load_rig
    from lift3d_ros.pipelines.bev_graph import export_graph, model_config, untrained_entry
    from lift3d_ros.pipelines.rig_capacity import rig_capacity
    from lift3d_ros.weights.manifest import find_model

    if args.out.suffix != ".onnx":
        raise ConfigError(f"--out '{args.out}': expected a file name that ends in .onnx")
    name = args.config or args.model
    entry = untrained_entry(args.config) if args.config else find_model(args.model)
    cameras, capacity = args.cameras, None
    if args.rig is not None:
        rig = load_rig(args.rig)
        cameras, capacity = len(rig.cameras), rig_capacity(rig, model_config(name, entry))
    if not 1 <= cameras <= 12:
        raise ConfigError(f"{'--rig' if args.rig else '--cameras'}: {cameras} cameras; expected 1 to 12")
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        model = export_graph(name, entry, cameras, args.out, capacity)
    except OSError as error:
        raise ConfigError(
            f"--out {args.out}: cannot be written ({error}); check permissions and free space, or give another file"
        ) from None
    size_mb = args.out.stat().st_size / 1e6
    print(f"wrote {args.out} ({size_mb:.1f} MB, {cameras} camera slots): {model.description}")
    return 0
