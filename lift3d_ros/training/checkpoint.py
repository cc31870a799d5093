"""Checkpoints of a run: written whole or not at all, in one file or in small pieces; reading them runs nothing."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.errors import ConfigError, WeightsError

FORMAT = 1
PIECE_BYTES = 15_000_000
_LARGEST_BYTES = 16 << 30


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that a run needs to go on.

    Args:
        facts: flat configuration of the run, name -> plain value.
        step: updates of the weights so far.
        elapsed_s: training time so far, over all slices.
        network, averaged: state of the trained and of the averaged weights.
        num_averaged: updates of the averaged weights.
        optimizer: its state.
        best_score: of the best validation so far, None before the first.
    """

    method: str
    facts: Mapping[str, Any]
    step: int
    elapsed_s: float
    network: Mapping[str, Any]
    averaged: Mapping[str, Any]
    num_averaged: int
    optimizer: Mapping[str, Any]
    best_score: float | None = None


def write_checkpoint(folder: Path, name: str, checkpoint: Checkpoint, *, is_split: bool = False) -> Path:
    """Write ``NAME.ckpt``, or ``NAME.json`` with pieces beside it; a former one stays until the new one is whole.

    Returns:
        The file to go on from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **vars(checkpoint)}, buffer)
    data = buffer.getbuffer()
    if not is_split:
        path = folder / f"{name}.ckpt"
        write_atomically(path, data)
        _remove_pieces(folder, name, keep=frozenset())
        (folder / f"{name}.json").unlink(missing_ok=True)
        return path
    pieces = []
    for number, start in enumerate(range(0, len(data), PIECE_BYTES)):
        piece = folder / f"{name}-{checkpoint.step:08d}.{number:03d}.part"
        write_atomically(piece, data[start : start + PIECE_BYTES])
        pieces.append(piece.name)
    path = folder / f"{name}.json"
    index = {"format": FORMAT, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pieces": pieces}
    write_atomically(path, json.dumps(index, indent=1).encode())
    _remove_pieces(folder, name, keep=frozenset(pieces))
    (folder / f"{name}.ckpt").unlink(missing_ok=True)
    return path


def find_checkpoint(folder: Path, name: str) -> Path | None:
    """Return the newest form of a checkpoint in `folder`, None where there is none."""
    found = [path for path in (folder / f"{name}.ckpt", folder / f"{name}.json") if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime_ns) if found else None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read what :func:`write_checkpoint` wrote.

    Raises:
        WeightsError: it is missing, damaged or of another format.
    """
    try:
        data = _joined(path) if path.suffix == ".json" else path.read_bytes()
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"{path}: cannot be read as a checkpoint of 'lift3d train' ({' '.join(str(error).split())[:200]}); "
            "go on from another one, or start a new run in another folder"
        ) from None
    expected = {"format", *Checkpoint.__dataclass_fields__}
    if not isinstance(content, dict) or content.get("format") != FORMAT or set(content) != expected:
        raise WeightsError(
            f"{path}: is no checkpoint of format {FORMAT} of 'lift3d train'; expected the file of a run of this "
            "release; start a new run in another folder"
        )
    del content["format"]
    return Checkpoint(**content)


def check_facts(path: Path, checkpoint: Checkpoint, method: str, facts: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another configuration.

    Raises:
        ConfigError: names each field that differs.
    """
    if checkpoint.method != method:
        raise ConfigError(f"{path}: belongs to a run of '{checkpoint.method}', this one trains '{method}'")
    names = sorted({*facts, *checkpoint.facts})
    differing = [
        f"{name}: {checkpoint.facts.get(name, 'absent')!r} there, {facts.get(name, 'absent')!r} here"
        for name in names
        if checkpoint.facts.get(name, "absent") != facts.get(name, "absent")
    ]
    if differing:
        shown = "; ".join(differing[:8]) + (f"; and {len(differing) - 8} more" if len(differing) > 8 else "")
        raise ConfigError(
            f"{path}: belongs to a run with another configuration ({shown}). Go on with the same one, or start a new "
            "run in another folder with --init-from"
        )


def _joined(path: Path) -> bytes:
    index = json.loads(path.read_text(encoding="utf-8"))
    size, names = int(index["bytes"]), list(index["pieces"])
    if not 0 < size <= _LARGEST_BYTES or len(names) != -(-size // PIECE_BYTES):
        raise ValueError(f"{len(names)} pieces for {size} bytes")
    data = bytearray()
    for name in names:
        data += (path.parent / Path(str(name)).name).read_bytes()
    if len(data) != size or hashlib.sha256(data).hexdigest() != index["sha256"]:
        raise ValueError("the pieces do not join to what was written; one of them is damaged or of another step")
    return bytes(data)


def _remove_pieces(folder: Path, name: str, keep: frozenset[str]) -> None:
    for piece in folder.glob(f"{name}-*.part"):
        if piece.name not in keep:
            piece.unlink(missing_ok=True)
