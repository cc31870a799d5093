"""Options that the actions of `lift3d engine` share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from lift3d_ros.engines.tensorrt_api import TensorRtBackend
    from lift3d_ros.replay.run import FrameRange

PRECISIONS = ("float32", "float16", "bfloat16")


def add_action(subparsers: Any, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    """Add an action."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=summary, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return parser


def add_runtime(parser: argparse.ArgumentParser, backends: tuple[str, ...]) -> None:
    """Add on what a model runs."""
    parser.add_argument("--backend", choices=backends, default="tensorrt", help="runtime (default %(default)s)")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of layers (default %(default)s)")
    add_device(parser)
    add_cameras(parser)


def check_runtime(backend: str, device: str | None) -> None:
    """Refuse a runtime that is not usable here, before minutes are spent on exporting a graph for it.

    Args:
        device: GPU that it has to find; None where it builds for others.

    Raises:
        EngineError: it is not installed, or there is no such GPU.
    """
    if backend == "openvino":
        from lift3d_ros.engines.openvino_engine import load_openvino

        load_openvino()
    elif backend in ("tensorrt", "tensorrt_rtx"):
        from lift3d_ros.engines.tensorrt_api import load_tensorrt
        from lift3d_ros.engines.tensorrt_builder import open_device

        load_tensorrt(cast("TensorRtBackend", backend))
        if device is not None:
            open_device(device)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the GPU."""
    parser.add_argument("--device", default="cuda:0", help="GPU (default %(default)s)")


def add_cameras(parser: argparse.ArgumentParser) -> None:
    """Add the size of the rig."""
    parser.add_argument(
        "--cameras", type=int, default=6, choices=range(1, 13), metavar="N", help="of the BEV detector (default 6)"
    )


def add_data(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add where inputs come from."""
    parser.add_argument(
        "--bag",
        "--data",
        dest="data",
        type=Path,
        metavar="PATH",
        help=f"recording or scene folder {purpose} (default: the scenes of this package)",
    )
    parser.add_argument("--frames", type=_frames, default="0:16", metavar="A:B", help="of PATH (default %(default)s)")


def _frames(text: str) -> FrameRange:
    from lift3d_ros.replay.run import FrameRange

    return FrameRange.parse(text)
