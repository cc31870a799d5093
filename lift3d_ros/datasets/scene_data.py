"""Labelled frame sets of scene folders in our frame layout, and of nuScenes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lift3d_ros.datasets.class_map import ClassMap
from lift3d_ros.datasets.frames import Scene, SceneFrame, frame_set, read_scene
from lift3d_ros.datasets.label_checks import check_labels
from lift3d_ros.datasets.labelled import LabelledSet
from lift3d_ros.datasets.nuscenes import NuScenesFolder, list_nuscenes_scenes
from lift3d_ros.datasets.points import read_points
from lift3d_ros.errors import DatasetError, nearest_name_hint
from lift3d_ros.geometry.rigid import transform_points

logger = logging.getLogger(__name__)

_MAX_KEPT_SCENES = 64


class SceneFolders:
    """Scene folders, all read and checked when they are opened; scenes carry the names of their folders.

    Args:
        empty_scenes: scenes without labelled frames; they are left out.
        num_empty_frames: labelled frames without any box; they count as street without objects.
    """

    def __init__(self, folders: Sequence[Path], class_map: ClassMap | None = None) -> None:
        """Read the folders.

        Raises:
            DatasetError: a file is missing or damaged, a label is not usable, or nothing at all is labelled.
            CalibrationError: unusable intrinsics or poses.
        """
        self._class_map = class_map or ClassMap()
        self._scenes: dict[str, tuple[Path, Scene, tuple[SceneFrame, ...]]] = {}
        self.empty_scenes: tuple[str, ...] = ()
        self.num_empty_frames = 0
        num_boxes = 0
        for folder in folders:
            scene = read_scene(folder, keeps_classes=True, may_be_empty=True)
            name, frames = folder.resolve().name, tuple(frame for frame in scene.frames if frame.boxes is not None)
            if name in self._scenes:
                raise DatasetError(f"{folder}: a second scene '{name}'; expected folders of different names")
            for frame in frames:
                num_boxes += self._check(frame, f"{folder / 'meta.json'}: scene '{scene.name}', frame {frame.index}")
            if frames:
                self._scenes[name] = (folder, scene, frames)
            else:
                self.empty_scenes += (name,)
        if not num_boxes:
            raise no_boxes(", ".join(map(str, folders[:3])), "a field 'boxes' with at least one box in a frame")
        if self.empty_scenes:
            logger.warning("%d scenes without labelled frames are left out: %s", *some(self.empty_scenes))
        if self.num_empty_frames:
            logger.info("%d labelled frames have no box; they count as streets without objects", self.num_empty_frames)

    def _check(self, frame: SceneFrame, where: str) -> int:
        """Check the labels of a frame, and return their number."""
        assert frame.boxes is not None
        check_labels(frame.boxes, where)
        self._class_map.check([frame.boxes.class_names[i] for i in np.unique(frame.boxes.labels)], where)
        self.num_empty_frames += len(frame.boxes) == 0
        return len(frame.boxes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes of the labels: those of the network."""
        return self._class_map.class_names

    @property
    def scenes(self) -> Sequence[str]:
        """Names of the scenes that have labelled frames."""
        return tuple(self._scenes)

    def num_frames(self, scene: str) -> int:
        """Return how many labelled frames a scene has."""
        return len(self._scenes[scene][2])

    def load(self, scene: str, index: int) -> LabelledSet:
        """Return one labelled frame, with its pictures undecoded; raises DatasetError for a damaged file."""
        folder, content, frames = self._scenes[scene]
        labelled = labelled_set(scene, content, frames[index])
        return self._class_map.apply(labelled, f"{folder / 'meta.json'}: frame {frames[index].index}")


class NuScenesData:
    """Scenes of a nuScenes folder, each one put together when it is first read."""

    def __init__(
        self,
        root: Path,
        version: str,
        split: str | None = None,
        scenes: Sequence[str] = (),
        class_map: ClassMap | None = None,
    ) -> None:
        """Read the tables.

        Args:
            version: folder of the tables in `root`, for example ``v1.0-trainval``.
            split: official split, for example ``train``; None for all scenes of the version.
            scenes: names; all of the split where none are given.

        Raises:
            DatasetError: no such version, split or scene, or nothing in it is labelled.
        """
        self._class_map = class_map or ClassMap()
        found = list(list_nuscenes_scenes(root, version))
        if split is not None:
            in_split = split_scenes(split)
            found = [name for name in found if name in in_split]
            if not found:
                raise DatasetError(
                    f"{root / version}: none of the {len(in_split)} scenes of split '{split}' is in it; give the split "
                    "that belongs to the version, for example mini_train with v1.0-mini"
                )
        for name in scenes:
            if name not in found:
                raise DatasetError(
                    f"{root / version}: scene '{name}' is not in it{nearest_name_hint(name, found)} "
                    f"({len(found)} scenes: {some(found)[1]})"
                )
        self._folder = NuScenesFolder(root, version)
        if not self._folder.has_annotations:
            raise no_boxes(str(root / version), "a version with annotations; that of the test split has none")
        self.scenes: Sequence[str] = tuple(dict.fromkeys(scenes or found))
        self._num_frames = self._folder.num_key_frames
        self._kept: dict[str, Scene] = {}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes of the labels: those of the network."""
        return self._class_map.class_names

    def num_frames(self, scene: str) -> int:
        """Return how many key frames a scene has; all of them are labelled."""
        return self._num_frames[scene]

    def load(self, scene: str, index: int) -> LabelledSet:
        """Return one key frame, with its pictures undecoded; raises DatasetError for a missing or damaged file."""
        if scene not in self._kept:
            if len(self._kept) >= _MAX_KEPT_SCENES:
                del self._kept[next(iter(self._kept))]
            self._kept[scene] = self._folder.scene(scene)
        content = self._kept[scene]
        where = f"{self._folder.root / self._folder.version}: scene '{scene}', key frame {index}"
        labelled = labelled_set(scene, content, content.frames[index])
        check_labels(labelled.boxes, where)
        return self._class_map.apply(labelled, where)


def labelled_set(name: str, scene: Scene, frame: SceneFrame) -> LabelledSet:
    """Return a labelled frame of a scene, with the classes of the data and LiDAR points in the base frame.

    Raises:
        DatasetError: a file is missing or damaged.
    """
    assert frame.boxes is not None
    points = None
    if frame.points_path is not None:
        in_lidar, _ = read_points(frame.points_path)
        points = transform_points(scene.lidar.T_base_lidar, in_lidar).astype(np.float32)
    frames = frame_set(scene, frame)
    return LabelledSet(name, frames, frame.boxes, frame.visibility, frame.num_points, points)


def split_scenes(split: str) -> frozenset[str]:
    """Return the names of the scenes in an official split of nuScenes; needs the devkit.

    Raises:
        DatasetError: no such split, with the nearest name.
    """
    from nuscenes.utils.splits import create_splits_scenes

    splits: Mapping[str, Sequence[str]] = create_splits_scenes()
    if split not in splits:
        raise DatasetError(
            f"nuScenes split '{split}' is not known{nearest_name_hint(split, splits)}; expected one of "
            f"{', '.join(sorted(splits))}"
        )
    return frozenset(splits[split])


def no_boxes(place: str, expected: str) -> DatasetError:
    """Return the error for data in which not a single box is labelled."""
    return DatasetError(f"{place}: not one box is labelled; expected {expected}. Give labelled data")


def some(names: Sequence[str]) -> tuple[int, str]:
    """Return how many names there are, and the first of them as text."""
    return len(names), ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
