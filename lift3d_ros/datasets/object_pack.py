"""Views and points of many objects on disk, in arrays that are read in place: nothing is decoded while training.

A folder with ``pack.json`` and one ``.npy`` for each array; see :class:`ObjectPack` for their shapes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lift3d_ros.datasets.object_views import ObjectPoints, ObjectViews
from lift3d_ros.errors import DatasetError

FACTS = "pack.json"
FORMAT = "lift3d object views 1"

Named = tuple[str, ObjectViews]


@dataclass(frozen=True)
class PackSizes:
    """What all objects of a pack have in common; no points where shapes are not known.

    Args:
        fill: share of the picture's side that the object takes.
    """

    side: int
    views: int
    points: int
    focal: float
    fill: float


class ObjectPack:
    """A pack; `pack[number]` gives an object, whose arrays are views into files."""

    def __init__(self, folder: Path) -> None:
        """Open a pack.

        Raises:
            DatasetError: it is no pack, was not finished, or is damaged.
        """
        path = folder / FACTS
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            if facts.pop("format") != FORMAT:
                raise KeyError("format")
            self.names = tuple(map(str, facts.pop("names")))
            self.source = str(facts.pop("source"))
            self.sizes = PackSizes(**facts)
        except FileNotFoundError:
            raise DatasetError(
                f"{path}: not found; make a pack with 'lift3d train lrm --data FOLDER --pack {folder}'"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(f"{path}: is not the description of a pack of objects ({error}); pack again") from None
        self.folder = folder
        self._arrays = {
            name: self._open(name, shape, kind) for name, (shape, kind) in _layout(self.sizes, len(self.names)).items()
        }

    def __len__(self) -> int:
        return len(self.names)

    @property
    def has_points(self) -> bool:
        """Whether the shapes are known."""
        return self.sizes.points > 0

    def __getitem__(self, number: int) -> ObjectViews:
        """Return one object; depths are float16."""
        arrays = {name: array[number] for name, array in self._arrays.items()}
        points = None
        if self.has_points:
            flags = arrays["flags"]
            points = ObjectPoints(
                arrays["positions"], (flags & 1).astype(np.bool_), arrays["colors"], (flags & 2).astype(np.bool_)
            )
        return ObjectViews(
            arrays["rgba"], arrays["poses"], arrays["intrinsics"], arrays["distances"], arrays["depths"], points
        )

    def _open(self, name: str, shape: tuple[int, ...], kind: str) -> Any:
        path = self.folder / f"{name}.npy"
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:  # EOFError of an empty file
            raise DatasetError(f"{path}: cannot be read ({error}); pack again") from None
        if array.shape != shape or array.dtype != np.dtype(kind):
            raise DatasetError(
                f"{path}: {array.dtype} of shape {array.shape}; expected {kind} of shape {shape}; pack again"
            )
        return array


def write_object_pack(
    folder: Path,
    objects: Iterator[Named],
    count: int,
    sizes: PackSizes,
    source: str,
    on_object: Callable[[int], object] = lambda done: None,
) -> None:
    """Write objects as they come; the folder is a pack when all are there.

    Args:
        count: of the objects.
        source: where they come from, in words.
        on_object: called with how many are written.

    Raises:
        DatasetError: the folder holds a pack, or cannot be written.
    """
    if (folder / FACTS).exists():
        raise DatasetError(f"{folder}: holds a pack already; remove it, or name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        open_memmap: Any = np.lib.format.open_memmap  # untyped in numpy 1
        arrays = {
            name: open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.dtype(kind), shape=shape)
            for name, (shape, kind) in _layout(sizes, count).items()
        }
        names = []
        for number, (name, views) in enumerate(objects):
            names.append(name)
            values: dict[str, Any] = {
                "rgba": views.rgba,
                "depths": 0.0 if views.depths is None else views.depths,
                "poses": views.T_object_cameras,
                "intrinsics": views.intrinsics,
                "distances": views.distances,
            }
            if sizes.points:
                assert views.points is not None
                values["positions"], values["colors"] = views.points.positions, views.points.colors
                values["flags"] = views.points.is_inside + 2 * views.points.is_near.astype(np.uint8)
            for key, value in values.items():
                arrays[key][number] = value
            on_object(number + 1)
        for array in arrays.values():
            array.flush()
        facts = {"format": FORMAT, "source": source, "names": names, **sizes.__dict__}
        (folder / FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be written ({error.strerror or error}); choose another folder") from None


def _layout(sizes: PackSizes, count: int) -> dict[str, tuple[tuple[int, ...], str]]:
    views, side, points = (count, sizes.views), (sizes.side, sizes.side), (count, sizes.points)
    layout: dict[str, tuple[tuple[int, ...], str]] = {
        "rgba": ((*views, *side, 4), "uint8"),
        "depths": ((*views, *side), "float16"),
        "poses": ((*views, 4, 4), "float64"),
        "intrinsics": ((*views, 3, 3), "float64"),
        "distances": (views, "float64"),
    }
    if sizes.points:
        layout |= {
            "positions": ((*points, 3), "float16"),
            "colors": ((*points, 3), "uint8"),
            "flags": (points, "uint8"),
        }
    return layout
