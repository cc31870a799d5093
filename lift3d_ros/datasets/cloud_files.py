"""Single clouds in the files that sensors and tools write: PCD, PLY, npz, npy and the scans of KITTI and nuScenes.

Only coordinates are read. Letters: N points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.array_files import read_archive, read_array
from lift3d_ros.datasets.lzf import decompress_lzf
from lift3d_ros.datasets.points import read_points
from lift3d_ros.errors import CloudError
from lift3d_ros.types import Float32Array

_AXES = ("x", "y", "z")
_LONGEST_HEADER = 65536


class NamedCloud(NamedTuple):
    """A cloud (N, 3) float32, metres in its own frame, with a name that no other one of its file has."""

    name: str
    points: Float32Array


def read_cloud_file(path: Path) -> list[NamedCloud]:
    """Read the clouds of a file; points that are not finite stay as they are.

    ``.npz`` holds `points` (N, 3), organised (H, W, 3), or with `labels` beside it many clouds (clouds, N, 3); or
    `xyz` (N, 3). ``.npy`` holds (N, 3 or more). ``.pcd`` is ascii, binary or binary_compressed, ``.ply`` ascii or
    binary. ``.bin`` holds float32 x y z intensity as KITTI has it, ``.pcd.bin`` five values as nuScenes has it.

    Raises:
        CloudError: the file is missing, damaged or of another format; names file, found and expected.
    """
    if path.name.endswith(".pcd.bin"):
        return [NamedCloud(path.name.removesuffix(".pcd.bin"), read_points(path)[0])]
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise CloudError(f"{path}: the ending '{path.suffix}' is not known; expected one of {', '.join(_READERS)}")
    try:
        clouds = reader(path)
    except OSError as error:
        raise CloudError(f"{path}: cannot be read ({error.strerror or error}); give an existing cloud") from None
    if isinstance(clouds, list):
        return [NamedCloud(f"{path.stem}_{number}", _floats(points)) for number, points in enumerate(clouds)]
    return [NamedCloud(path.stem, _floats(clouds.reshape(-1, clouds.shape[-1])[:, :3]))]


def _floats(points: NDArray[Any]) -> Float32Array:
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(points, dtype=np.float32)


def _read_npz(path: Path) -> NDArray[Any] | list[NDArray[Any]]:
    """Return one cloud, or many where labels say that they are many."""
    try:
        arrays, names = read_archive(path, "points", "xyz")
    except ValueError as error:
        raise CloudError(f"{path}: cannot be read as .npz ({error})") from None
    if not arrays:
        raise CloudError(f"{path}: has no array 'points' but {', '.join(names) or 'none'}; expected it")
    points = _checked(path, arrays["points"] if "points" in arrays else arrays["xyz"])
    return list(points[..., :3]) if points.ndim == 3 and "labels" in names else points


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        points = read_array(path)
    except ValueError as error:
        raise CloudError(f"{path}: cannot be read as .npy ({error})") from None
    return _checked(path, points)


def _checked(path: Path, points: NDArray[Any]) -> NDArray[Any]:
    if points.ndim not in (2, 3) or points.shape[-1] < 3 or points.dtype.kind not in "fiu":
        raise CloudError(
            f"{path}: points are {points.dtype} of shape {points.shape}; expected numbers of shape (points, 3), or "
            "(rows, columns, 3) of an organised cloud"
        )
    return points


def _read_bin(path: Path) -> NDArray[Any]:
    values = np.fromfile(path, dtype="<f4")
    if values.size % 4:
        raise CloudError(f"{path}: {values.size} float32 values; expected four for each point: x, y, z, intensity")
    return values.reshape(-1, 4)


@dataclass(frozen=True)
class _Layout:
    """How the points of a file lie.

    Args:
        kind: of a point, with the fields x, y, z.
        body: bytes after the header.
        format: as the header calls it.
    """

    count: int
    kind: np.dtype[Any]
    body: bytes
    format: str

    def columns(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return (N, 3) of points with fields."""
        return np.stack([values[axis].astype(np.float64) for axis in _AXES], axis=1)


def _read_pcd(path: Path) -> NDArray[Any]:
    layout = _pcd_layout(path, path.read_bytes())
    if layout.format == "ascii":
        return _columns_of_text(path, layout)
    if layout.format == "binary":
        return layout.columns(_packed(path, layout, layout.body))
    # Compressed files hold all values of the first field, then all of the second, and so on.
    sizes = np.frombuffer(layout.body[:8], "<u4")
    expected = layout.count * layout.kind.itemsize
    if len(sizes) < 2 or int(sizes[1]) != expected or len(layout.body) - 8 < int(sizes[0]):
        raise CloudError(f"{path}: compressed data do not unpack to the {expected} bytes of {layout.count} points")
    try:
        data = decompress_lzf(layout.body[8 : 8 + int(sizes[0])], expected)
    except ValueError as error:
        raise CloudError(f"{path}: compressed data are damaged ({error}); write the file again") from None
    assert layout.kind.names is not None
    assert layout.kind.fields is not None
    columns, start = {}, 0
    for name in layout.kind.names:
        kind = layout.kind.fields[name][0]
        stop = start + layout.count * kind.itemsize
        if name in _AXES:
            columns[name] = np.frombuffer(data[start:stop], kind)
        start = stop
    return np.stack([columns[axis].astype(np.float64) for axis in _AXES], axis=1)


def _pcd_layout(path: Path, data: bytes) -> _Layout:
    header: dict[str, list[str]] = {}
    place = 0
    while "DATA" not in header:
        stop = data.find(b"\n", place, _LONGEST_HEADER)
        if stop < 0:
            raise CloudError(f"{path}: no PCD file: its header has no DATA line")
        words = data[place:stop].decode("ascii", "replace").split()
        place = stop + 1
        if words and not words[0].startswith("#"):
            header[words[0]] = words[1:]
    try:
        fields, kinds = header["FIELDS"], header["TYPE"]
        sizes = [int(size) for size in header["SIZE"]]
        counts = [int(count) for count in header.get("COUNT", ["1"] * len(fields))]
        points = (
            int(header["POINTS"][0])
            if "POINTS" in header
            else math.prod(int(header[name][0]) for name in ("WIDTH", "HEIGHT"))
        )
        codes = {"F": "f", "I": "i", "U": "u"}
        # Padding is called '_', often several times.
        names = [name if name in _AXES else f"{name}:{number}" for number, name in enumerate(fields)]
        kind = np.dtype(
            [
                (name, f"<{codes[letter]}{size}", (count,) if count != 1 else ())
                for name, letter, size, count in zip(names, kinds, sizes, counts, strict=True)
            ]
        )
        form = header["DATA"][0]
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise CloudError(f"{path}: the PCD header cannot be read ({type(error).__name__}: {_line(error)})") from None
    if form not in ("ascii", "binary", "binary_compressed"):
        raise CloudError(f"{path}: DATA is '{form}'; expected ascii, binary or binary_compressed")
    return _with_axes(path, _Layout(points, kind, data[place:], form))


_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_PLY_FORMATS = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}


def _read_ply(path: Path) -> NDArray[Any]:
    layout = _ply_layout(path, path.read_bytes())
    if layout.format == "ascii":
        return _columns_of_text(path, layout)
    return layout.columns(_packed(path, layout, layout.body))


def _ply_layout(path: Path, data: bytes) -> _Layout:
    stop = data.find(b"end_header", 0, _LONGEST_HEADER)
    end = data.find(b"\n", stop) if stop >= 0 else -1
    if not data.startswith(b"ply") or end < 0:
        raise CloudError(f"{path}: no PLY file: it does not begin with 'ply' and a header")
    form, element, count = "", "", -1
    properties: list[tuple[str, str]] = []
    try:
        for words in (line.split() for line in data[:stop].decode("ascii", "replace").splitlines()):
            match words:
                case ["format", name, *_]:
                    form = name
                    if form not in _PLY_FORMATS:
                        raise ValueError(f"its format is '{form}'")
                case ["element", name, number]:
                    if not element and name != "vertex":
                        raise ValueError(f"its first element is '{name}'")
                    element = name
                    count = int(number) if name == "vertex" else count
                case ["property", "list", *_] if element == "vertex":
                    raise ValueError("its vertices have lists")
                case ["property", kind, name] if element == "vertex":
                    if not form:
                        raise ValueError("it names no format")
                    if kind not in _PLY_TYPES:
                        raise ValueError(f"'{name}' is of the unknown type '{kind}'")
                    properties.append((name, _PLY_FORMATS[form] + _PLY_TYPES[kind]))
        layout = _Layout(count, np.dtype(properties), data[end + 1 :], form)
    except (ValueError, TypeError) as error:
        raise CloudError(
            f"{path}: the PLY header cannot be read ({_line(error)}); expected vertices with plain properties first"
        ) from None
    if count < 0:
        raise CloudError(f"{path}: the PLY header names no vertices; expected a cloud")
    return _with_axes(path, layout)


def _with_axes(path: Path, layout: _Layout) -> _Layout:
    names = layout.kind.names or ()
    if missing := [axis for axis in _AXES if axis not in names]:
        known = ", ".join(name.partition(":")[0] for name in names) or "none"
        raise CloudError(f"{path}: has no field '{missing[0]}' but {known}; expected x, y and z")
    if layout.count < 0 or any(layout.kind[axis].shape for axis in _AXES):
        raise CloudError(f"{path}: expected a number of points, and one value each of x, y and z")
    return layout


def _packed(path: Path, layout: _Layout, data: bytes) -> NDArray[Any]:
    expected = layout.count * layout.kind.itemsize
    if len(data) < expected:
        raise CloudError(
            f"{path}: has {len(data)} bytes of data; expected {expected} for {layout.count} points. The file was cut "
            "short; write it again"
        )
    return np.frombuffer(data[:expected], layout.kind)


def _columns_of_text(path: Path, layout: _Layout) -> NDArray[Any]:
    assert layout.kind.names is not None
    widths = [math.prod(layout.kind[name].shape) for name in layout.kind.names]
    starts = dict(zip(layout.kind.names, np.cumsum([0, *widths[:-1]]).tolist(), strict=True))
    lines = layout.body.split(b"\n", layout.count)[: layout.count]
    try:
        values = np.array(b" ".join(lines).split(), dtype=np.float64)
    except ValueError as error:
        raise CloudError(f"{path}: a value is no number ({_line(error)})") from None
    if values.size != layout.count * sum(widths):
        raise CloudError(
            f"{path}: holds {values.size} values; expected {layout.count * sum(widths)}, {sum(widths)} for each of "
            f"{layout.count} points"
        )
    return values.reshape(layout.count, sum(widths))[:, [starts[axis] for axis in _AXES]]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


_READERS: Mapping[str, Callable[[Path], NDArray[Any] | list[NDArray[Any]]]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".pcd": _read_pcd,
    ".ply": _read_ply,
    ".bin": _read_bin,
}
