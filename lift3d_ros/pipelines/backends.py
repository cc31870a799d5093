"""The runtimes of networks: their names, which settings, options and launch arguments share. Imports nothing else."""

from __future__ import annotations

from typing import Literal, get_args

# A new runtime is named here, and opened in `engines/open_graph.py`.
Backend = Literal["auto", "onnxruntime", "torch", "openvino", "tensorrt", "tensorrt_rtx"]
BACKENDS: tuple[str, ...] = get_args(Backend)

# What `auto` takes: the first one that is installed.
AUTOMATIC_BACKENDS = ("onnxruntime", "torch")


def engine_notice(engine: object) -> str:
    """Return what an engine says of its own state, for example that a fallback serves; empty while all is well."""
    # Only engines that switch between backends have something to say.
    return str(getattr(engine, "notice", ""))
