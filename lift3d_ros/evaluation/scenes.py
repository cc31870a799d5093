"""Finds the labelled scenes of a data set: nuScenes, folders in our frame layout, recordings with labels."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.class_map import ClassMap
from lift3d_ros.datasets.frames import Scene, read_scene
from lift3d_ros.datasets.label_checks import check_labels
from lift3d_ros.datasets.scene_data import split_scenes
from lift3d_ros.errors import DatasetError, nearest_name_hint
from lift3d_ros.geometry.rig import Rig
from lift3d_ros.pipelines.frame_sets import SyncConfig
from lift3d_ros.replay.folder_frames import SceneFrames
from lift3d_ros.replay.labelled_data import EXPECTED_DATA, chosen_paths, nuscenes_versions, recordings, scene_folders
from lift3d_ros.replay.source import FrameSource
from lift3d_ros.types import Float64Array

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LabelFacts:
    """What is known of the M labels of one frame beyond their boxes, in the same order.

    Args:
        visibility: (M,) share of each object that the pictures show, 0..1, NaN where unknown.
        num_points: (M,) LiDAR points on each object, -1 where unknown.
    """

    visibility: Float64Array
    num_points: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class OpenScene:
    """One scene, ready to be replayed.

    Args:
        label_facts: by the stamp of the labels; stamps of which nothing more is known are left out.
        identity: what tells this scene from another one of the same name.
    """

    name: str
    source: FrameSource
    label_facts: Mapping[int, LabelFacts] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SceneEntry:
    """A scene that was found; `open` reads it."""

    name: str
    open: Callable[[], AbstractContextManager[OpenScene]]


@dataclass(frozen=True)
class DataChoice:
    """Which scenes are taken, and how recordings are read.

    Args:
        scenes: their names; empty for all.
        nuscenes_version: folder of the tables, for example ``v1.0-trainval``; None for other data.
        split: official split of nuScenes; None for all scenes of the version.
        sync, rig, mount_height_m: as for a replay, for recordings.
    """

    scenes: tuple[str, ...] = ()
    nuscenes_version: str | None = None
    split: str | None = None
    sync: SyncConfig = field(default_factory=SyncConfig)
    rig: Rig | None = None
    mount_height_m: float | None = None


def find_scenes(path: Path, choice: DataChoice) -> list[SceneEntry]:
    """Return the scenes at `path`, in the order of their names as people count.

    Raises:
        DatasetError: there are none, or one that was asked for is not among them; says what was expected.
    """
    if not path.exists():
        raise DatasetError(f"--data {path}: does not exist; {EXPECTED_DATA}")
    versions = nuscenes_versions(path)
    if choice.nuscenes_version is not None or versions:
        if choice.nuscenes_version is None and len(versions) > 1:
            raise DatasetError(f"--data {path}: holds {', '.join(versions)}; name one with --nuscenes-version")
        return _nuscenes_scenes(path, choice.nuscenes_version or versions[0], choice)
    if choice.split is not None:
        raise DatasetError(f"--split '{choice.split}': {path} is no nuScenes folder; leave the split out")
    folders, bags = scene_folders(path), recordings(path)
    if not folders and not bags:
        raise DatasetError(f"--data {path}: no labelled scene in it; {EXPECTED_DATA}")
    return [
        _folder_entry(item) if item in folders else _bag_entry(item, choice)
        for item in chosen_paths([*folders, *bags], choice.scenes, path)
    ]


def labelled_scenes(scenes: Sequence[SceneEntry], class_map: ClassMap) -> list[SceneEntry]:
    """Return the scenes that have labels, all of which can be scored; others are left out with a warning.

    Raises:
        DatasetError: a label has a class that is not known, or no usable numbers; or not one scene has labels.
    """
    kept = []
    for entry in scenes:
        with entry.open() as scene:
            for stamp_ns, labels in scene.source.labels.items():
                where = f"scene '{entry.name}', labels at {stamp_ns} ns"
                check_labels(labels.boxes, where)
                class_map.check([labels.boxes.class_names[i] for i in np.unique(labels.boxes.labels)], where)
            if scene.source.labels:
                kept.append(entry)
            else:
                logger.warning("scene '%s' has no labels and does not count", entry.name)
    if not kept:
        raise DatasetError(
            f"none of the {len(scenes)} scenes has labels; expected boxes in meta.json, the topic /ground_truth/boxes, "
            "or a version of nuScenes with annotations"
        )
    return kept


def _folder_entry(path: Path) -> SceneEntry:
    name = path.resolve().name

    @contextlib.contextmanager
    def open_scene() -> Iterator[OpenScene]:
        scene = read_scene(path, keeps_classes=True, may_be_empty=True)
        source = SceneFrames(scene)
        yield OpenScene(name, source, _label_facts(scene), source.identity)

    return SceneEntry(name, open_scene)


def _label_facts(scene: Scene) -> dict[int, LabelFacts]:
    return {
        frame.stamp_ns: LabelFacts(frame.visibility, frame.num_points)
        for frame in scene.frames
        if frame.visibility is not None and frame.num_points is not None
    }


def _bag_entry(path: Path, choice: DataChoice) -> SceneEntry:
    name = path.resolve().name if path.is_dir() else path.stem

    @contextlib.contextmanager
    def open_scene() -> Iterator[OpenScene]:
        from lift3d_ros.bags.discover import discover
        from lift3d_ros.bags.reader import open_bag
        from lift3d_ros.replay.bag_frames import BagFrames

        with open_bag(path) as reader:
            source = BagFrames(reader, discover(reader, choice.rig), choice.sync, choice.rig, choice.mount_height_m)
            recording = {"start_ns": reader.start_ns, "end_ns": reader.end_ns, "messages": reader.message_count}
            yield OpenScene(name, source, identity={"recording": recording, "mount height": choice.mount_height_m})

    return SceneEntry(name, open_scene)


def _nuscenes_scenes(root: Path, version: str, choice: DataChoice) -> list[SceneEntry]:
    from lift3d_ros.datasets.nuscenes import NuScenesFolder, list_nuscenes_scenes

    names = list(list_nuscenes_scenes(root, version))
    if choice.split is not None:
        in_split = split_scenes(choice.split)
        names = [name for name in names if name in in_split]
        if not names:
            raise DatasetError(
                f"--split '{choice.split}': none of its {len(in_split)} scenes is in {root / version}; give the split "
                "that belongs to the version, for example mini_val with v1.0-mini"
            )
    folder = NuScenesFolder(root, version)

    @contextlib.contextmanager
    def open_scene(name: str) -> Iterator[OpenScene]:
        scene = folder.scene(name)
        source = SceneFrames(scene)
        yield OpenScene(name, source, _label_facts(scene), {"version": version, **source.identity})

    for name in choice.scenes:
        if name not in names:
            raise DatasetError(f"--scenes '{name}': not in {root / version}{nearest_name_hint(name, names)}")
    return [SceneEntry(name, partial(open_scene, name)) for name in dict.fromkeys(choice.scenes or names)]
