"""Finds and reads files with true skeletons: point sets, pairs of 2D and 3D with cameras, and H3WB's JSON.

A file that cannot be used is named and left out, so that one damaged file does not cost the others.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.array_files import read_archive
from lift3d_ros.datasets.keypoints import (
    MANIFEST,
    NON_COMMERCIAL_PREFIX,
    KeypointSet,
    ViewRange,
    read_arrays,
    read_keypoint_set,
    read_manifest,
    view_range_of,
)
from lift3d_ros.errors import DatasetError, Lift3dError
from lift3d_ros.evaluation.skeleton_views import FEWEST_JOINTS, LabelledViews, centred, chosen_frames, skeleton_of
from lift3d_ros.geometry.skeleton import load_skeleton, sides_from_names
from lift3d_ros.types import CameraModel, Float64Array, Skeleton

H3WB_SKELETON = "coco_wholebody133"
_LARGEST_JSON_BYTES = 2_000_000_000
_FORMAT = "expected the format of docs/skeletons.md"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileChoice:
    """What is read of the data.

    Args:
        categories: only these files, by name without ending; empty for all.
        split: ``val``, ``train`` or ``all``.
        most: frames of each file, evenly spread; 0 for all.
        view_range: of files whose views no manifest tells.
    """

    categories: tuple[str, ...] = ()
    split: str = "val"
    most: int = 0
    view_range: ViewRange = "upright"


@dataclass(frozen=True, eq=False)
class SkeletonFile:
    """One file with true skeletons.

    Args:
        content: frames to draw views of, or views that were taken, one entry for each camera.
        frames: indices of the chosen frames of a set.
        split: of the chosen frames.
        lacks_split: no frame is of the split that was asked for, so all are chosen; pairs and H3WB have no splits.
        flat_guess_pa: of the manifest, in `unit`; None where it does not say.
    """

    file: str
    group: str
    unit: str
    content: KeypointSet | tuple[LabelledViews, ...]
    frames: NDArray[np.int64]
    split: str = "all"
    flat_guess_pa: float | None = None
    lacks_split: bool = False

    @property
    def is_non_commercial(self) -> bool:
        """Whether its name says that no shipped weights may be trained on it."""
        return self.file.startswith(NON_COMMERCIAL_PREFIX)


def read_skeleton_files(path: Path, choice: FileChoice) -> tuple[list[SkeletonFile], dict[str, str]]:
    """Read a file or all files of a folder, sorted by name.

    Returns:
        The files, and for each one that is left out its name and what is wrong with it.

    Raises:
        DatasetError: there is no file, no file called as asked for, or none can be used.
    """
    paths = _paths(path)
    known = {one.stem for one in paths}
    if absent := sorted(set(choice.categories) - known):
        raise DatasetError(f"{path}: no file of category {', '.join(absent)}; there are {', '.join(sorted(known))}")
    paths = [one for one in paths if not choice.categories or one.stem in choice.categories]
    facts: dict[str, Mapping[str, Any]] = {}
    problems: dict[str, str] = {}
    try:
        facts = read_manifest((path if path.is_dir() else path.parent) / MANIFEST)
    except DatasetError as error:
        problems[MANIFEST] = f"{error}; --view-range tells the views, too"
    files = []
    for one in paths:
        try:
            files.append(_read(one, facts.get(one.stem, {}), choice))
        except Lift3dError as error:
            problems[one.name] = str(error) if one.name in str(error) else f"{one}: {error}"
        except (TypeError, ValueError, IndexError, KeyError, OverflowError, MemoryError, AttributeError) as error:
            problems[one.name] = f"{one}: cannot be used ({' '.join(str(error).split())[:200]}); {_FORMAT}"
    for problem in problems.values():
        logger.warning("%s. It is left out", problem.rstrip("."))
    if not files:
        first = next(text for name, text in problems.items() if name != MANIFEST)
        raise DatasetError(first if len(paths) == 1 else f"{path}: none of its {len(paths)} files can be used. {first}")
    return files, problems


def _paths(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = [one for ending in ("*.npz", "*.json") for one in path.glob(ending) if one.name != MANIFEST]
    if not found:
        what = "a folder without an .npz or .json file" if path.is_dir() else "no such file or folder"
        raise DatasetError(f"--data {path}: {what}; {_FORMAT}, or JSON of H3WB")
    return sorted(found)


def _read(path: Path, facts: Mapping[str, Any], choice: FileChoice) -> SkeletonFile:
    lacks_split = choice.split != "all"  # of the kinds of files that have no splits
    if path.suffix == ".json":
        views = _read_h3wb(path, choice.most)
        return SkeletonFile(path.name, "human", "mm", (views,), np.arange(len(views)), lacks_split=lacks_split)
    if path.suffix != ".npz":
        raise DatasetError(f"{path}: ends in '{path.suffix}'; expected .npz, or .json of H3WB")
    if _is_pairs(path):
        taken = _read_pairs(path, choice.most)
        frames = np.arange(len(taken[0]))
        return SkeletonFile(path.name, "pairs", _unit_of_pairs(path), taken, frames, lacks_split=lacks_split)
    view_range = view_range_of(facts, choice.view_range, path.with_name(MANIFEST), path.stem)
    keypoints = read_keypoint_set(path, view_range=view_range, group=str(facts.get("group", "other")))
    skeleton_of(keypoints)  # refused here, and not when the other files have been measured
    frames, split = chosen_frames(keypoints, choice.split, choice.most)
    if not len(frames):
        others, _ = chosen_frames(keypoints, "all", 0)
        where, remedy = "", ""
        if len(others):  # not scored in their place: they may be what a lifter was trained on
            where, remedy = f" of split {split}", "; --split all scores those of the other split"
        raise DatasetError(
            f"{path}: 'valid' marks fewer than {FEWEST_JOINTS} points in every frame{where}; expected at least one "
            f"frame with that many{remedy}"
        )
    flat = facts.get("flat_guess_pa")
    return SkeletonFile(
        path.name,
        keypoints.group,
        str(facts.get("unit", "")),
        keypoints,
        frames,
        split,
        float(flat) if isinstance(flat, int | float) else None,
        lacks_split=split != choice.split,
    )


def _is_pairs(path: Path) -> bool:
    try:
        return bool(read_archive(path, "keypoints2d").arrays)
    except (OSError, ValueError):
        return False  # what is wrong is said where sets are read


def _unit_of_pairs(path: Path) -> str:
    """Return the unit that the file names, else that of a manifest beside it or one folder up, else nothing."""
    if (own := read_archive(path, "unit").arrays.get("unit")) is not None:
        if own.dtype.kind != "U" or own.size != 1:
            raise DatasetError(f"{path}: 'unit' is {own.dtype} of shape {own.shape}; expected one text, such as 'mm'")
        return str(own.item())
    for folder in path.absolute().parents[:2]:
        try:
            document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue  # that one folder up may belong to something else; one beside the file is named by the caller
        records = document.get("pairs") if isinstance(document, Mapping) else None
        for record in records if isinstance(records, list) else ():
            if isinstance(record, Mapping) and record.get("name") == path.stem:
                return str(record.get("unit", ""))
    return ""


def _read_pairs(path: Path, most: int) -> tuple[LabelledViews, ...]:
    """Read detections in several cameras with the joints that they belong to, one entry for each camera."""
    names = ("keypoints2d", "valid2d", "joints3d", "valid3d", "K", "R", "t", "image_size", "edges", "names")
    content = read_arrays(path, names, ["distortion", "side"])
    distortion = content.get("distortion")
    frames, cameras, joints = content["keypoints2d"].shape[:3]
    for name, shape in (
        ("keypoints2d", (frames, cameras, joints, 2)),
        ("valid2d", (frames, cameras, joints)),
        ("joints3d", (frames, joints, 3)),
        ("valid3d", (frames, joints)),
        ("K", (cameras, 3, 3)),
        ("R", (cameras, 3, 3)),
        ("t", (cameras, 3)),
    ):
        if content[name].shape != shape:
            raise DatasetError(f"{path}: '{name}' has shape {content[name].shape}; expected {shape}; correct the file")
    joint_names = tuple(str(name) for name in content["names"])
    side = content.get("side")
    if side is None:  # a guess: a name may say left without another that says right
        side = sides_from_names(joint_names)
    skeleton = Skeleton(path.stem, joint_names, content["edges"].astype(np.int64), side)
    chosen = np.arange(frames)
    if most and most < frames:
        chosen = np.linspace(0, frames - 1, most).round().astype(np.int64)
    views = []
    for number in range(cameras):
        points = content["keypoints2d"][chosen, number].astype(np.float64)
        is_valid = content["valid3d"][chosen].astype(bool)
        world = np.where(is_valid[..., None], content["joints3d"][chosen].astype(np.float64), 0.0)
        seen = world @ content["R"][number].astype(np.float64).T + content["t"][number].astype(np.float64).reshape(3)
        width, height = (int(value) for value in content["image_size"][number])
        lens = np.zeros(0) if distortion is None or not distortion[number].any() else distortion[number].astype(float)
        intrinsics = content["K"][number].astype(np.float64)
        camera = CameraModel(f"{number}", "", width, height, intrinsics, "plumb_bob" if lens.size else "none", lens)
        is_seen = content["valid2d"][chosen, number].astype(bool) & np.isfinite(points).all(axis=2)
        rows = (is_valid & is_seen).sum(axis=1) >= FEWEST_JOINTS
        views.append(
            LabelledViews(
                skeleton, points[rows], is_seen[rows], centred(seen[rows], is_valid[rows]), is_valid[rows], camera
            )
        )
    views = [one for one in views if len(one)]
    if not views:
        raise DatasetError(f"{path}: no view has {FEWEST_JOINTS} joints in 2D and 3D; correct the file")
    return tuple(views)


def _read_h3wb(path: Path, most: int) -> LabelledViews:
    """Read whole-body annotations: sample -> ``keypoints_2d`` in pixels and ``keypoints_3d`` in millimetres."""
    size = path.stat().st_size
    if size > _LARGEST_JSON_BYTES:
        limit = _LARGEST_JSON_BYTES / 1e6
        raise DatasetError(f"{path}: has {size / 1e6:.0f} MB; expected at most {limit:.0f} MB; split it")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: cannot be read as JSON ({error}); give an intact file") from None
    samples = list(document.values()) if isinstance(document, Mapping) else []
    if not samples or not all(isinstance(sample, Mapping) and "keypoints_3d" in sample for sample in samples):
        raise DatasetError(
            f"{path}: is no JSON of H3WB; expected samples with 'keypoints_2d' and 'keypoints_3d', as in "
            "2Dto3D_train.json"
        )
    if most and most < len(samples):
        samples = [samples[number] for number in np.linspace(0, len(samples) - 1, most).round().astype(int)]
    skeleton = load_skeleton(H3WB_SKELETON).skeleton
    points = _coordinates(path, samples, "keypoints_2d", "xy", len(skeleton))
    joints = _coordinates(path, samples, "keypoints_3d", "xyz", len(skeleton))
    is_seen, is_valid = np.isfinite(points).all(axis=2), np.isfinite(joints).all(axis=2)
    rows = is_valid.sum(axis=1) >= FEWEST_JOINTS
    if not rows.any():
        raise DatasetError(f"{path}: no sample has {FEWEST_JOINTS} joints in 3D; correct the file")
    return LabelledViews(
        skeleton,
        np.nan_to_num(points[rows]),
        is_seen[rows],
        centred(np.nan_to_num(joints[rows]), is_valid[rows]),
        is_valid[rows],
    )


def _coordinates(path: Path, samples: Sequence[Mapping[str, Any]], key: str, axes: str, joints: int) -> Float64Array:
    """Return (N, J, axes); NaN where a joint or a number is missing."""
    values = np.full((len(samples), joints, len(axes)), np.nan)
    for row, sample in enumerate(samples):
        found = sample.get(key)
        if not isinstance(found, Mapping):
            raise DatasetError(f"{path}: sample {row} has no '{key}'; expected joint number -> {', '.join(axes)}")
        for joint, place in found.items():
            if not 0 <= int(joint) < joints:
                raise DatasetError(f"{path}: sample {row} has joint {joint}; expected 0 to {joints - 1}")
            if isinstance(place, Mapping):
                numbers = [place.get(axis) for axis in axes]
                if None not in numbers:
                    values[row, int(joint)] = numbers
    return values
