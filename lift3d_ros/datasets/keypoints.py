"""Sets of 3D points with a skeleton, one ``.npz`` file for each category; docs/skeletons.md has the format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.array_files import read_archive
from lift3d_ros.errors import DatasetError
from lift3d_ros.types import Float32Array

ViewRange = Literal["upright", "frontal", "so3"]

NON_COMMERCIAL_PREFIX = "nc_"
MANIFEST = "manifest.json"
_LARGEST_JOINTS = 512
_ARRAYS = ("joints", "edges", "names", "side", "valid", "subject", "split")


@dataclass(frozen=True, eq=False)
class KeypointSet:
    """Frames of one category: N frames of J points with E edges.

    Args:
        joints: (N, J, 3), z up, mean of the valid points of a frame is 0, in the unit of the set.
        edges: (E, 2) indices, without self loops.
        side: (J,) +1 left, -1 right, 0 middle or unknown.
        valid: (N, J) bool.
        subject: (N,).
        is_validation: (N,) bool.
        view_range: from where the category is looked at.
        group: kind of the category, for tables.
    """

    name: str
    joints: Float32Array
    edges: NDArray[np.int64]
    joint_names: tuple[str, ...]
    side: NDArray[np.int8]
    valid: NDArray[np.bool_]
    subject: NDArray[np.int32]
    is_validation: NDArray[np.bool_]
    view_range: ViewRange = "upright"
    group: str = "other"

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together."""
        frames, points = self.joints.shape[:2] if self.joints.ndim == 3 else (0, 0)
        expected = {
            "joints": (frames, points, 3),
            "edges": (len(self.edges), 2),
            "names": (points,),
            "side": (points,),
            "valid": (frames, points),
            "subject": (frames,),
            "split": (frames,),
        }
        found: dict[str, Any] = {
            "joints": self.joints.shape,
            "edges": self.edges.shape,
            "names": (len(self.joint_names),),
            "side": self.side.shape,
            "valid": self.valid.shape,
            "subject": self.subject.shape,
            "split": self.is_validation.shape,
        }
        for key, shape in expected.items():
            if found[key] != shape:
                raise DatasetError(f"{self.name}: '{key}' has shape {found[key]}; expected {shape}; correct the file")
        if not frames or not 2 <= points <= _LARGEST_JOINTS:
            raise DatasetError(
                f"{self.name}: {frames} frames of {points} points; expected at least one frame and 2 to "
                f"{_LARGEST_JOINTS} points"
            )
        if len(self.edges) and not 0 <= self.edges.min() <= self.edges.max() < points:
            raise DatasetError(
                f"{self.name}: 'edges' has indices {self.edges.min()} to {self.edges.max()}; expected 0 to {points - 1}"
            )
        if not np.isfinite(self.joints).all():
            raise DatasetError(f"{self.name}: 'joints' holds numbers that are not finite; mark such points not valid")

    @property
    def num_joints(self) -> int:
        """Points of a frame."""
        return self.joints.shape[1]

    @property
    def adjacency(self) -> NDArray[np.bool_]:
        """Edges as a symmetric (J, J) matrix without self loops."""
        matrix = np.zeros((self.num_joints, self.num_joints), bool)
        matrix[self.edges[:, 0], self.edges[:, 1]] = True
        matrix[self.edges[:, 1], self.edges[:, 0]] = True
        return matrix

    def frames(self, *, is_validation: bool) -> NDArray[np.int64]:
        """Return the indices of the frames of one split."""
        return np.flatnonzero(self.is_validation == is_validation)


def read_keypoint_set(path: Path, *, view_range: ViewRange = "upright", group: str = "other") -> KeypointSet:
    """Read one category.

    Raises:
        DatasetError: the file is missing, damaged or not of the documented format.
    """
    content = read_arrays(path, _ARRAYS)
    valid = content["valid"].astype(bool)
    joints = content["joints"].astype(np.float32)
    if joints.ndim == 3 and valid.shape == joints.shape[:2]:
        joints[~valid] = 0.0
    return KeypointSet(
        path.stem,
        joints,
        content["edges"].astype(np.int64),
        tuple(str(name) for name in content["names"]),
        content["side"].astype(np.int8),
        valid,
        content["subject"].astype(np.int32),
        _is_validation(path, content["split"]),
        view_range,
        group,
    )


def _is_validation(path: Path, split: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which frames are for validation; a third kind would be taken for training, so it is refused."""
    if split.dtype.kind not in "buif" or not ((split == 0) | (split == 1)).all():
        values = [str(value) for value in np.unique(split)]
        shown = ", ".join(values[:5]) + (f" and {len(values) - 5} other values" if len(values) > 5 else "")
        raise DatasetError(
            f"{path}: 'split' holds {shown}; expected the numbers 0 (training) and 1 (validation); write other frames, "
            "such as those of a test, to a file of their own"
        )
    return np.asarray(split == 1)


def read_arrays(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Return arrays of an .npz file, name -> array; those of `optional` where they are there.

    Raises:
        DatasetError: the file is missing or damaged, or has no array of one of the `names`.
    """
    try:
        arrays, present = read_archive(path, *names, *optional)
    except FileNotFoundError:
        raise DatasetError(f"{path}: file not found; give an .npz file of the documented format") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read as .npz ({error}); copy or make it again") from None
    if absent := [name for name in names if name not in present]:
        raise DatasetError(
            f"{path}: has no array '{absent[0]}' but {', '.join(present) or 'none'}; expected the format of "
            "docs/skeletons.md"
        )
    return dict(arrays)


def read_keypoint_folder(
    folder: Path, *, has_non_commercial: bool = False, categories: Sequence[str] = ()
) -> list[KeypointSet]:
    """Read all categories of a folder, sorted by name; its ``manifest.json``, where there is one, tells the views.

    Args:
        has_non_commercial: also read files whose name starts with ``nc_``, which no shipped weights may see.
        categories: only these; empty for all.

    Raises:
        DatasetError: the folder has no such file, or one is damaged.
    """
    manifest = folder / MANIFEST
    facts = read_manifest(manifest)
    paths = sorted(folder.glob("*.npz"))
    if not has_non_commercial:
        paths = [path for path in paths if not path.name.startswith(NON_COMMERCIAL_PREFIX)]
    absent = sorted(set(categories) - {path.stem for path in paths})
    if not paths or absent:
        what = f"no category {', '.join(absent)}" if absent else "no .npz file of a category"
        raise DatasetError(f"{folder}: {what}; expected a folder of files in the format of docs/skeletons.md")
    chosen = [path for path in paths if not categories or path.stem in categories]
    found = []
    for path in chosen:
        known = facts.get(path.stem, {})
        view_range = view_range_of(known, "upright", manifest, path.stem)
        found.append(read_keypoint_set(path, view_range=view_range, group=str(known.get("group", "other"))))
    return found


def read_manifest(path: Path) -> dict[str, Mapping[str, Any]]:
    """Return what a ``manifest.json`` says of each category, all of it optional; nothing where there is no such file.

    Raises:
        DatasetError: it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        records = json.loads(path.read_text(encoding="utf-8"))["categories"]
        return {str(record["category"]): dict(record) for record in records}
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DatasetError(f"{path}: cannot be read ({what}); correct it or remove it") from None


def view_range_of(facts: Mapping[str, Any], default: ViewRange, manifest: Path, category: str) -> ViewRange:
    """Return from where a category is looked at, of what its manifest says of it.

    Raises:
        DatasetError: no such range.
    """
    for known in get_args(ViewRange):
        if facts.get("view_range", default) == known:
            found: ViewRange = known
            return found
    raise DatasetError(
        f"{manifest}: '{category}' has view_range {facts['view_range']!r}; expected one of "
        f"{', '.join(get_args(ViewRange))}"
    )
