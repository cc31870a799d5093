"""`lift3d export`: write a model as an ONNX graph that runs without torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

DESCRIPTION = """\
Export a model as an ONNX graph, compare it with PyTorch and write it.

The graph holds the weights, the model's facts and its declared tensors, so that a machine with only
onnxruntime can run it: give its path as model.

  lift3d export dfa3d --cameras 6 --out bev.onnx
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
    parser.add_argument(
        "--model", default="dfa3d_tiny", help="model name of models/manifest.yaml (default %(default)s)"
    )
    parser.add_argument("--cameras", type=int, default=6, help="camera slots of the graph (default %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.onnx", help="file to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export and say what was written."""
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.pipelines.bev_engine import export_graph
    from lift3d_ros.types import ModelIdentity
    from lift3d_ros.weights.manifest import find_model

    if args.out.suffix != ".onnx":
        raise ConfigError(f"--out '{args.out}': expected a file name that ends in .onnx")
    if not 1 <= args.cameras <= 12:
        raise ConfigError(f"--cameras {args.cameras}: expected 1 to 12")
    entry = find_model(args.model)
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        export_graph(args.model, entry, args.cameras, args.out)
    except OSError as error:
        raise ConfigError(
            f"--out {args.out}: cannot be written ({error}); check permissions and free space, or give another file"
        ) from None
    model = ModelIdentity(args.model, entry.sha256 or "", is_trained=entry.weights is not None)
    size_mb = args.out.stat().st_size / 1e6
    print(f"wrote {args.out} ({size_mb:.1f} MB, {args.cameras} camera slots): {model.description}")
    return 0
