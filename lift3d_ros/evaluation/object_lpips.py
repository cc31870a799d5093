"""Finds and reads the weights of LPIPS: those of AlexNet, and those that LPIPS learned on top. Torch is loaded late."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lift3d_ros.errors import WeightsError
from lift3d_ros.types import UInt8Array
from lift3d_ros.weights.checkpoint import read_checkpoint

Lpips = Callable[[UInt8Array, UInt8Array], float]

SMALLEST_SIDE = 31
"""Pictures have at least so many px along each side: AlexNet shrinks them to one."""

_BACKBONE = "alexnet-owt-7be5be79.pth"
_PACKAGE, _LINEAR = "lpips", "weights/v0.1/alex.pth"
_GIVE = "give both files with --lpips ALEXNET LINEAR, see docs/lrm.md"


class LpipsFiles(NamedTuple):
    """Weights of LPIPS.

    Args:
        backbone: AlexNet of torchvision.
        linear: weights of the channels that LPIPS learned.
    """

    backbone: Path
    linear: Path


def find_lpips_files() -> tuple[LpipsFiles | None, str]:
    """Return the files where torch and the Python package lpips keep theirs, or None and what is missing.

    Nothing is downloaded, and the package is not loaded.
    """
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torch"
    backbone = Path(home) / "hub/checkpoints" / _BACKBONE
    if not backbone.is_file():
        return None, f"{_BACKBONE} of torchvision is not in {backbone.parent}; {_GIVE}"
    spec = importlib.util.find_spec(_PACKAGE)
    folders = [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations or ()]
    for folder in folders:
        if (folder / _LINEAR).is_file():
            return LpipsFiles(backbone, folder / _LINEAR), ""
    return None, f"the Python package {_PACKAGE}, which has the learned weights, is not installed; {_GIVE}"


def lpips_or_reason(files: LpipsFiles | None, side: int) -> tuple[Lpips | None, str]:
    """Return what compares pictures of `side` px, or None and why there is nothing.

    Args:
        files: None looks where torch and the package lpips keep theirs.

    Raises:
        WeightsError: a file is missing, damaged or of something else.
    """
    if side < SMALLEST_SIDE:
        return None, f"views have {side} px, and it compares pictures of {SMALLEST_SIDE} px or more"
    problem = ""
    if files is None:
        files, problem = find_lpips_files()
    return (None, problem) if files is None else (open_lpips(files), "")


def open_lpips(files: LpipsFiles) -> Lpips:
    """Return what compares two RGB pictures (H, W, 3).

    Raises:
        WeightsError: a file is missing, damaged or of something else.
    """
    from lift3d_ros.models.lrm import lpips

    backbone = _fitting(files.backbone, lpips.backbone_shapes(), "AlexNet of torchvision")
    linear = _fitting(files.linear, lpips.LINEAR_SHAPES, "the weights that LPIPS 0.1 learned for AlexNet")
    return lpips.Lpips(backbone, linear)


def _fitting(path: Path, expected: Mapping[str, tuple[int, ...]], what: str) -> dict[str, Any]:
    state = read_checkpoint(path).tensors
    for name, shape in expected.items():
        found = "no such weight" if name not in state else f"one of shape {tuple(state[name].shape)}"
        if name not in state or tuple(state[name].shape) != shape:
            raise WeightsError(f"{path}: is not {what}: expected '{name}' of shape {shape}, found {found}")
    return {name: state[name] for name in expected}
