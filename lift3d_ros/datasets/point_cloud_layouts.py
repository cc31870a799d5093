"""Layouts in which others publish clouds: ModelNet40 as HDF5, text and ``.dat``, ScanObjectNN as HDF5.

In all of them y points up. Reading runs nothing that is in a file. Letters: N clouds, P points.
Source: the data sets as published with PointNet++ (ModelNet40, normals resampled), PointNet (HDF5) and ScanObjectNN.
"""

from __future__ import annotations

import importlib
import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import DatasetError

_Y_UP = 1
_MOST_POINTS = 2048
"""So many points of each cloud are kept of files that have more."""

_SCANOBJECT_CLASSES = (
    "bag", "bin", "box", "cabinet", "chair", "desk", "display", "door", "shelf", "table", "bed", "pillow", "sink",
    "sofa", "toilet",
)  # fmt: skip


class RawClouds(NamedTuple):
    """What a file holds, not checked.

    Args:
        points: (N, P, 3).
        labels: (N,).
        class_names: in the order of the labels, empty where nothing tells them.
        up_axis: the coordinate that points up.
    """

    points: NDArray[Any]
    labels: NDArray[Any]
    class_names: tuple[str, ...]
    up_axis: int


def read_hdf5(path: Path) -> RawClouds:
    """Read `data` (N, P, 3) and `label` (N,) or (N, 1) of ModelNet40 or ScanObjectNN.

    Raises:
        DatasetError: h5py is not installed, or the file is damaged or has no such arrays.
    """
    try:
        h5py = importlib.import_module("h5py")
    except ImportError:
        raise DatasetError(f"{path}: reading HDF5 needs h5py, which is not installed; 'pip install h5py'") from None
    try:
        with h5py.File(path, "r") as file:
            if absent := [name for name in ("data", "label") if name not in file]:
                raise DatasetError(
                    f"{path}: has no array '{absent[0]}' but {', '.join(file) or 'none'}; expected the layout of "
                    "ModelNet40 or ScanObjectNN"
                )
            points = np.asarray(file["data"][:, :_MOST_POINTS])
            labels = np.asarray(file["label"][()])
    except DatasetError:
        raise
    except Exception as error:  # damage shows itself in many ways
        raise DatasetError(f"{path}: cannot be read as HDF5 ({' '.join(str(error).split())[:200]})") from None
    names = _SCANOBJECT_CLASSES if "objectdataset" in path.name else _listed_names(path)
    return RawClouds(points, labels[:, 0] if labels.ndim == 2 and labels.size else labels, names, _Y_UP)


def read_text_split(path: Path) -> RawClouds:
    """Read the clouds that a split of ModelNet40 lists, for example ``modelnet40_train.txt``.

    Each line is the name of a shape, ``airplane_0001``, whose points stand in ``airplane/airplane_0001.txt`` beside the
    list, one ``x,y,z,...`` each. Of each cloud the first 2048 points are read.

    Raises:
        DatasetError: the list is empty, or a cloud is missing, damaged or shorter than the others.
    """
    shapes = _lines(path)
    if not shapes:
        raise DatasetError(f"{path}: is empty; expected names of shapes, one a line")
    kinds = [shape.rpartition("_")[0] for shape in shapes]
    names = _listed_names(path) or tuple(sorted(set(kinds)))
    numbers = {name: number for number, name in enumerate(names)}
    clouds = []
    for shape, kind in zip(shapes, kinds, strict=True):
        if kind not in numbers or Path(shape).name != shape:
            raise DatasetError(f"{path}: '{shape[:80]}' is of no known class; expected CLASS_NUMBER, as airplane_0001")
        place = path.parent / kind / f"{shape}.txt"
        try:
            cloud = np.loadtxt(place, np.float32, delimiter=",", usecols=(0, 1, 2), max_rows=_MOST_POINTS, ndmin=2)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{place}: expected lines x,y,z,... ({' '.join(str(error).split())[:200]})") from None
        clouds.append(cloud)
    return RawClouds(_stacked(path, clouds), np.array([numbers[kind] for kind in kinds]), names, _Y_UP)


def read_pickled(path: Path) -> RawClouds:
    """Read a ``.dat`` of ModelNet40: a pickled list of clouds (P, 3 or more) and a list of labels.

    Nothing but lists, numbers and plain numeric arrays is read; of each cloud the first 2048 points are kept.

    Raises:
        DatasetError: the file is damaged, or holds anything else.
    """
    try:
        with path.open("rb") as file:
            content = _PlainArrays(file).load()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # damage shows itself in many ways
        raise DatasetError(f"{path}: no list of clouds ({' '.join(str(error).split())[:200]})") from None
    is_pair = isinstance(content, list | tuple) and len(content) == 2 and all(isinstance(p, list) for p in content)
    if not is_pair or len(content[0]) != len(content[1]) or not content[0]:
        raise DatasetError(f"{path}: expected a list of clouds and a list of as many labels")
    clouds, labels = ([_array(item, path) for item in part] for part in content)
    if any(cloud.ndim != 2 or cloud.shape[1] < 3 for cloud in clouds) or any(label.size != 1 for label in labels):
        raise DatasetError(f"{path}: expected clouds of shape (points, 3 or more) and one label for each")
    points = _stacked(path, [cloud[:, :3] for cloud in clouds])
    return RawClouds(points, np.array([label.reshape(-1)[0] for label in labels]), _listed_names(path), _Y_UP)


def _stacked(path: Path, clouds: Sequence[NDArray[Any]]) -> NDArray[Any]:
    sizes = {len(cloud) for cloud in clouds}
    if len(sizes) > 1:
        raise DatasetError(f"{path}: clouds of {min(sizes)} to {max(sizes)} points; expected as many in each")
    return np.stack(clouds)


def _listed_names(path: Path) -> tuple[str, ...]:
    """Return the class names that stand beside a file of ModelNet40."""
    own = f"{path.name.partition('_')[0]}_shape_names.txt"  # ModelNet10 lies beside ModelNet40
    for name in (own, "shape_names.txt", "modelnet40_shape_names.txt", "modelnet10_shape_names.txt"):
        if path.with_name(name).is_file():
            return tuple(_lines(path.with_name(name)))
    return ()


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as text ({error})") from None


# Stand-ins for what numpy names in a pickle; they hold numbers and run nothing.


class _Kind:
    """A plain numeric type."""

    def __init__(self, code: str, *_: object) -> None:
        if not isinstance(code, str) or code not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
            raise ValueError(f"arrays of {str(code)[:20]!r} are not read")
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


class _Array:
    """An array as bytes, of which the first rows are kept."""

    values: NDArray[Any]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, data = state
        self.values = _values(data, kind, shape, "F" if is_fortran else "C")


def _values(data: bytes, kind: _Kind, shape: tuple[int, ...], order: str) -> NDArray[Any]:
    if len(data) != math.prod(shape) * kind.dtype.itemsize:
        raise ValueError(f"{len(data)} bytes for an array of shape {shape}")
    values = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if order == "F" else "C")
    return np.array(values[:_MOST_POINTS] if values.ndim else values)


def _from_buffer(data: bytes, kind: _Kind, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.values = _values(data, kind, shape, order)
    return array


def _scalar(kind: _Kind, data: bytes) -> _Array:
    return _from_buffer(data, kind, (), "C")


def _latin1(text: str, _: str) -> bytes:
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Kind,
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): _latin1,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", lambda *_: _Array()),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}


class _PlainArrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise ValueError(f"it names {module[:60]}.{name[:60]}, which clouds have no need for; nothing was run")
        return _STAND_INS[module, name]


def _array(item: object, path: Path) -> NDArray[Any]:
    if isinstance(item, _Array):
        return item.values
    if isinstance(item, int):
        return np.array(item)
    raise DatasetError(f"{path}: holds {type(item).__name__} where an array of numbers is expected")
