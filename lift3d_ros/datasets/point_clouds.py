"""Sets of labelled point clouds of single objects, read from the formats they are published in.

Files are told apart by their endings: ``.npz`` with arrays `points` (N, P, 3), `labels` (N,) and a ``classes.json``
beside it; the layouts of :mod:`lift3d_ros.datasets.point_cloud_layouts`. Letters: N clouds, P points.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.array_files import read_archive
from lift3d_ros.datasets.point_cloud_layouts import RawClouds, read_hdf5, read_pickled, read_text_split
from lift3d_ros.errors import DatasetError
from lift3d_ros.types import Float32Array

UNKNOWN = -1
"""Label of a cloud without one."""

Split = Literal["train", "held_out"]
_Z_UP = 2
_MOST_CLASSES = 10_000
_SPLIT_WORDS: Mapping[Split, tuple[str, ...]] = {"train": ("train",), "held_out": ("val", "test")}


@dataclass(frozen=True, eq=False)
class CloudSet:
    """Clouds of single objects, each with as many points as the others.

    Args:
        points: (N, P, 3), finite.
        labels: (N,) index of the class, `UNKNOWN` where there is none.
        class_names: in the order of the labels; empty where the files do not tell them.
        up_axis: 0, 1 or 2, the coordinate that points up.
    """

    points: Float32Array
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] = ()
    up_axis: int = _Z_UP

    def __len__(self) -> int:
        return len(self.points)

    @property
    def has_labels(self) -> bool:
        """Whether every cloud has a label."""
        return bool((self.labels != UNKNOWN).all())

    @property
    def num_classes(self) -> int:
        """Classes that are named, or labelled."""
        return max(len(self.class_names), int(self.labels.max(initial=UNKNOWN)) + 1)

    def class_name(self, label: int) -> str:
        """Return the name of a class, its number where it has none."""
        return self.class_names[label] if label < len(self.class_names) else str(label)


def read_clouds(paths: Sequence[Path]) -> CloudSet:
    """Read files of clouds as one set.

    Points that are not finite are replaced by others of their cloud. Where files have different numbers of points, the
    first ones of each cloud are taken, as many as all have.

    Raises:
        DatasetError: no file, or one is missing, damaged, empty, of another format, or has a cloud without any finite
            point; or two files have different classes or different axes up.
    """
    if not paths:
        raise DatasetError("no file of clouds is given; expected .npz, .h5, .dat or .txt files")
    raw = [(path, _read(path)) for path in paths]
    sets = [_checked(path, found) for path, found in raw]
    names = {one.class_names for one in sets if one.class_names}
    axes = {one.up_axis for one in sets}
    if len(names) > 1 or len(axes) > 1:
        what = "different classes" if len(names) > 1 else "different axes that point up"
        raise DatasetError(f"{', '.join(map(str, paths))}: files with {what}; read those of one data set at a time")
    least = min(one.points.shape[1] for one in sets)
    points = np.concatenate([one.points[:, :least] for one in sets])
    labels = np.concatenate([one.labels for one in sets])
    merged = CloudSet(points, labels, next(iter(names), ()), axes.pop())
    if merged.class_names and merged.num_classes > len(merged.class_names):
        raise DatasetError(
            f"{', '.join(map(str, paths))}: a label is {merged.num_classes - 1}, and there are "
            f"{len(merged.class_names)} class names; expected labels from 0 to {len(merged.class_names) - 1}"
        )
    return merged


def find_cloud_files(place: Path, split: Split) -> list[Path]:
    """Return the file itself, or the files of a folder whose names say that they are of a split, sorted.

    ``train`` are those with "train" in their name, ``held_out`` those with "val"; where there is none, with "test".

    Raises:
        DatasetError: the place is missing, has no training file, or has several whose clouds are in part the same.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise DatasetError(f"{place}: not found; give a file of clouds, or a folder of them")
    # Beside the HDF5 files of ModelNet40 lie lists of their names.
    no_clouds = ("shape_names.txt", "_files.txt")
    files = sorted(p for p in place.iterdir() if p.suffix in _READERS and not p.name.endswith(no_clouds))
    for word in _SPLIT_WORDS[split]:
        found = [path for path in files if word in path.name]
        if found:
            break
    else:
        found = []
    if _are_likely_the_same(found):
        names = ", ".join(path.name for path in found)
        raise DatasetError(f"{place}: {names} hold most likely the same clouds in several forms; name the file to read")
    if not found and split == "train":
        raise DatasetError(f"{place}: no file with 'train' in its name and one of the endings {', '.join(_READERS)}")
    return found


def _are_likely_the_same(files: Sequence[Path]) -> bool:
    """Return whether files are forms of each other, not parts: formats, ModelNet10 and 40, variants of ScanObjectNN."""
    are_variants = all("objectdataset" in path.name or path.suffix in (".txt", ".dat") for path in files)
    return len({path.suffix for path in files}) > 1 or (len(files) > 1 and are_variants)


def _read(path: Path) -> RawClouds:
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise DatasetError(f"{path}: the ending '{path.suffix}' is not known; expected one of {', '.join(_READERS)}")
    if not path.is_file():
        raise DatasetError(f"{path}: file not found; give a file of clouds")
    return reader(path)


def _checked(path: Path, raw: RawClouds) -> CloudSet:
    """Return a set of what a file holds, without points that are not finite."""
    points, labels = np.asarray(raw.points), np.asarray(raw.labels)
    if points.ndim != 3 or points.shape[2] != 3 or points.dtype.kind not in "fiu":
        raise DatasetError(
            f"{path}: 'points' are {points.dtype} of shape {points.shape}; expected numbers of shape (clouds, points, "
            "3), the coordinates x, y, z"
        )
    if not points.shape[0] or not points.shape[1]:
        raise DatasetError(f"{path}: holds {points.shape[0]} clouds of {points.shape[1]} points; expected some")
    if labels.shape != points.shape[:1] or labels.dtype.kind not in "iu":
        raise DatasetError(
            f"{path}: 'labels' are {labels.dtype} of shape {labels.shape}; expected whole numbers, {len(points)} of "
            "them, one for each cloud"
        )
    if labels.min() < UNKNOWN or labels.max() >= _MOST_CLASSES:
        wrong = labels.min() if labels.min() < UNKNOWN else labels.max()
        raise DatasetError(
            f"{path}: a label is {wrong}; expected classes counted from 0, fewer than {_MOST_CLASSES}, or {UNKNOWN} "
            "for an unknown class"
        )
    labels = labels.astype(np.int64)
    return CloudSet(_finite(path, points.astype(np.float32)), labels, raw.class_names, raw.up_axis)


def _finite(path: Path, points: Float32Array) -> Float32Array:
    is_finite = np.isfinite(points).all(axis=2)
    for row in np.flatnonzero(~is_finite.all(axis=1)):
        usable = np.flatnonzero(is_finite[row])
        if not len(usable):
            raise DatasetError(f"{path}: cloud {row} has no finite point; take it out of the file")
        broken = np.flatnonzero(~is_finite[row])
        points[row, broken] = points[row, np.resize(usable, len(broken))]
    return points


def _read_npz(path: Path) -> RawClouds:
    try:
        arrays, names = read_archive(path, "points", "labels")
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read as .npz ({error})") from None
    if "points" not in arrays:
        raise DatasetError(f"{path}: has no array 'points' but {', '.join(names) or 'none'}; expected it")
    points = arrays["points"]
    labels = arrays.get("labels", np.full(len(points) if points.ndim else 0, UNKNOWN))
    return RawClouds(points, labels, _class_names(path.with_name("classes.json")), _Z_UP)


def _class_names(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["classes"]
        if not isinstance(names, list):
            raise TypeError(f"'classes' is {type(names).__name__}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: expected a list of names as 'classes' ({error}); correct or remove it") from None
    return tuple(map(str, names))


_READERS: Mapping[str, Callable[[Path], RawClouds]] = {
    ".npz": _read_npz,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".dat": read_pickled,
    ".txt": read_text_split,
}
