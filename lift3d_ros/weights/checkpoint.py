"""Reads the weights of a published checkpoint without running anything that is in it.

Files of safetensors hold nothing that runs. A checkpoint of torch.save (``.pth``, ``.ckpt``) is a pickle. Before torch
reads it, with `weights_only`, its instructions are listed: they may name nothing but tensors, ordered dictionaries and
numpy scalars, and no tensor larger than the file.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickletools
import re
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lift3d_ros.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

# What torch and numpy name to rebuild tensors and scalars; anything else has no place in a file of weights.
_HARMLESS = re.compile(
    r"collections\.OrderedDict|torch\._utils\._rebuild_(tensor_v2|parameter)|torch(\.storage)?\.\w+Storage|torch\.Size"
    r"|_codecs\.encode|numpy\.dtype|numpy\.(core|_core)\.multiarray\.scalar"
)
_NUMPY_NAMES = ("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "_codecs.encode")
_INTEGERS = ("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG")
_MAX_PICKLE_BYTES = 64_000_000
# A tensor that is stored twice is named twice; more than this is no honest file.
_MAX_REPEATS = 4
_LEGACY_PICKLES = 5
_CHUNK = 1 << 22
# Under which names checkpoints hold their weights beside other things; Point-M2AE and I2P-MAE use the second and
# third, OpenLRM the last.
_HOLDERS = ("state_dict", "base_model", "model_state_dict", "weights")
_AGAIN = "get it again from where it was published"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights of a checkpoint under their published names, on the CPU.

    Args:
        ignored: names of what else the file holds.
        settings: what the file says of its network, where it holds that as ``kwargs``.
    """

    tensors: Mapping[str, Tensor]
    ignored: tuple[str, ...]
    settings: Mapping[str, object] = field(default_factory=dict)


def read_checkpoint(path: Path, on_bytes: Callable[[int], object] = lambda count: None) -> Checkpoint:
    """Read the weights of a checkpoint: a state dict, or a dict that holds one, most often as ``state_dict``.

    Weights stay in the file (memory mapped) where its format allows that.

    Args:
        on_bytes: called with each number of bytes that was read.

    Raises:
        WeightsError: the file is missing, cut short, no checkpoint, or holds more than weights.
    """
    try:
        if _is_safetensors(path):
            return _read_safetensors(path, on_bytes)
        is_zip = _check_file(path, on_bytes)
        content = _load(path, is_mapped=is_zip)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error}); give a .pth file") from None
    return _weights_of(content, path)


def shown(text: object) -> str:
    """Return a name out of an untrusted file for people: printable and short."""
    name = str(text)
    if not name.isprintable():
        name = ascii(name)
    return name if len(name) <= 120 else f"{name[:117]}..."


def _is_safetensors(path: Path) -> bool:
    """Return whether a file begins as safetensors do: the length of a JSON header, then the header."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size


def _read_safetensors(path: Path, on_bytes: Callable[[int], object]) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        size = path.stat().st_size
        raise WeightsError(f"{path}: is cut short or damaged ({_reason(error)}; {size} bytes); {_AGAIN}") from None
    if not tensors:
        raise WeightsError(f"{path}: holds no weights; {_AGAIN}")
    on_bytes(path.stat().st_size)
    return Checkpoint(tensors, ())


def _check_file(path: Path, on_bytes: Callable[[int], object]) -> bool:
    """Check everything that can be checked without torch; return whether the file is a zip archive."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "not found"
        raise WeightsError(f"{path}: {what}; give the .pth file of a published checkpoint")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(64)
        if not start:
            raise WeightsError(f"{path}: is empty; {_AGAIN}")
        if start.startswith(b"PK\x03\x04"):
            _check_archive(path, size, on_bytes)
            return True
        if not start.startswith(b"\x80"):
            is_text = all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start)
            found = "text" if is_text else "something else"
            raise WeightsError(
                f"{path}: expected a checkpoint that torch.save wrote, found {found} ({shown(start[:40])}); a download "
                f"may have brought a page or a pointer in place of the file: {_AGAIN}"
            )
        file.seek(0)
        claimed = 0
        for _ in range(_LEGACY_PICKLES):
            claimed += _check_pickle(file, path, size)
        _check_claim(claimed, path, size)
    on_bytes(size)
    return False


def _check_archive(path: Path, size: int, on_bytes: Callable[[int], object]) -> None:
    """Check members, checksums and instructions of a zip archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total > size or any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise WeightsError(
                    f"{path}: its parts are compressed or claim {total} bytes in a file of {size}; torch.save stores "
                    f"them as they are: {_AGAIN}"
                )
            pickles = [member for member in members if member.filename.lower().endswith(".pkl")]
            if len(pickles) != 1 or not pickles[0].filename.endswith("/data.pkl"):
                raise WeightsError(
                    f"{path}: is a zip archive, but not a checkpoint that torch.save wrote (it holds "
                    f"{len(pickles)} .pkl files, expected one, data.pkl); give the .pth file with the weights"
                )
            if pickles[0].file_size > _MAX_PICKLE_BYTES:
                raise WeightsError(
                    f"{path}: its data.pkl has {pickles[0].file_size} bytes, expected at most {_MAX_PICKLE_BYTES}; "
                    "give a file that holds weights only"
                )
            for member in members:  # torch leaves checksums of mapped files alone
                with archive.open(member) as stream:
                    while piece := stream.read(_CHUNK):
                        on_bytes(len(piece))
            claimed = _check_pickle(io.BytesIO(archive.read(pickles[0])), path, size)
            _check_claim(claimed, path, size)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise WeightsError(f"{path}: is cut short or damaged ({_reason(error)}; {size} bytes); {_AGAIN}") from None


def _check_pickle(stream: BinaryIO, path: Path, size: int) -> int:
    """Check the names in one pickle without running it, and return how many numbers its tensors are said to have."""
    foreign: dict[str, None] = {}
    claimed = 0
    last: deque[tuple[str, Any]] = deque(maxlen=6)
    try:
        for opcode, argument, position in pickletools.genops(stream):
            if (position or 0) > _MAX_PICKLE_BYTES:
                raise WeightsError(
                    f"{path}: its index has more than {_MAX_PICKLE_BYTES} bytes; give a file that holds weights only"
                )
            if opcode.name in ("GLOBAL", "INST"):
                name = str(argument).replace(" ", ".")
                if not _HARMLESS.fullmatch(name):
                    foreign[name] = None
            elif opcode.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
                foreign[f"{opcode.name}, which torch.save does not write"] = None
            elif opcode.name == "BINPERSID":
                numbers = [number for kind, number in last if kind in _INTEGERS]
                claimed += max(0, numbers[-1]) if numbers else 0
            last.append((opcode.name, argument))
    except WeightsError:
        raise
    except Exception as error:  # damage shows itself in many ways, none of them of interest
        raise WeightsError(f"{path}: is cut short or damaged ({_reason(error)}; {size} bytes); {_AGAIN}") from None
    if foreign:
        names = ", ".join(f"'{shown(name)}'" for name in list(foreign)[:5])
        more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
        raise WeightsError(
            f"{path}: names Python objects that a file of weights has no need for: {names}{more}. Nothing of it was "
            "run. Where you trust the file, save its state dict alone with torch.save and import that"
        )
    return claimed


def _check_claim(claimed: int, path: Path, size: int) -> None:
    if claimed > _MAX_REPEATS * size:
        raise WeightsError(
            f"{path}: its tensors claim {claimed} numbers, the file has {size} bytes; it is cut short or damaged: "
            f"{_AGAIN}"
        )


def _reason(error: Exception) -> str:
    return shown(str(error).strip().partition("\n")[0] or type(error).__name__)


def _load(path: Path, *, is_mapped: bool) -> object:
    import torch

    try:
        with _inert_numpy_scalars():
            return torch.load(os.fspath(path), map_location="cpu", weights_only=True, mmap=is_mapped)
    except OSError:
        raise
    except Exception as error:  # damage shows itself in many ways; the first line says what torch met
        raise WeightsError(f"{path}: torch cannot read the weights ({_reason(error)}); {_AGAIN}") from None


@contextlib.contextmanager
def _inert_numpy_scalars() -> Iterator[None]:
    """Let numpy scalars, which some trainers store beside the weights, be read as empty objects of ours."""
    from torch.serialization import add_safe_globals, clear_safe_globals, get_safe_globals

    before = get_safe_globals()
    add_safe_globals([_stand_in(name) for name in _NUMPY_NAMES])
    try:
        yield
    finally:
        clear_safe_globals()
        add_safe_globals(before)


def _stand_in(name: str) -> type:
    """Return a class that goes by `name` of numpy and keeps nothing."""
    module, _, own_name = name.rpartition(".")
    methods = {"__init__": lambda self, *arguments: None, "__setstate__": lambda self, state: None}
    return type(own_name, (), {"__module__": module, **methods})


def _weights_of(content: object, path: Path) -> Checkpoint:
    from torch import Tensor, strided

    ignored: tuple[str, ...] = ()
    settings: Mapping[str, object] = {}
    outer = content if isinstance(content, dict) else {}
    holder = next((name for name in _HOLDERS if isinstance(outer.get(name), dict)), None)
    if holder is not None:
        ignored = tuple(shown(key) for key in outer if key != holder)
        settings = outer["kwargs"] if isinstance(outer.get("kwargs"), dict) else {}
        content = outer[holder]
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        keys = [shown(key) for key in list(content)[:8]] if isinstance(content, dict) else []
        found = f"a dictionary of {', '.join(keys) or 'nothing'}" if isinstance(content, dict) else type(content)
        raise WeightsError(
            f"{path}: expected a state dict (names of weights and tensors), or a dictionary that holds one as "
            f"{' or '.join(map(repr, _HOLDERS))}; found {found}. Save the state dict alone with torch.save and import "
            "that"
        )
    tensors = {}
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor) or value.layout != strided or value.is_quantized:
            kind = type(value).__name__
            raise WeightsError(f"{path}: '{shown(key)}' is {kind}, expected a plain tensor; give an original file")
        tensors[key] = value.detach()
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    return Checkpoint(tensors, ignored, settings)
