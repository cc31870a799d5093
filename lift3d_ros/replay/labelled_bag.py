"""Labelled frame sets of recordings with `/ground_truth/boxes`, assembled as in a replay."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lift3d_ros.bags.discover import GROUND_TRUTH_TOPIC, discover
from lift3d_ros.bags.reader import open_bag
from lift3d_ros.datasets.class_map import ClassMap
from lift3d_ros.datasets.in_order import InOrder
from lift3d_ros.datasets.label_checks import check_labels
from lift3d_ros.datasets.labelled import LabelledSet
from lift3d_ros.datasets.scene_data import no_boxes, some
from lift3d_ros.errors import DatasetError
from lift3d_ros.geometry.rig import Rig
from lift3d_ros.pipelines.frame_sets import SyncConfig
from lift3d_ros.replay.bag_frames import BagFrames
from lift3d_ros.replay.bag_labels import read_labels
from lift3d_ros.replay.label_times import label_tolerance_s, moved_labels, pair_stamps
from lift3d_ros.types import EgoMotion

logger = logging.getLogger(__name__)


class LabelledBags:
    """Recordings, each one a scene; frames of a scene are best read in order, as going back reads it anew.

    Labels are brought to the reference stamp of the nearest frame set, between which vehicle and objects move on;
    sets without labels near them are left out.

    Args:
        empty_scenes: recordings in which no message of labels is near a frame set or holds boxes; they are left out.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        class_map: ClassMap | None = None,
        *,
        sync: SyncConfig | None = None,
        rig: Rig | None = None,
        mount_height_m: float | None = None,
    ) -> None:
        """Read the labels of the recordings.

        Args:
            sync, rig, mount_height_m: as for a replay.

        Raises:
            DatasetError: a recording has no labels, a label is not usable, or no box is in any of them.
            BagError: a recording cannot be read, or has no usable camera.
        """
        self._class_map = class_map or ClassMap()
        self._sync, self._rig, self._mount_height_m = sync or SyncConfig(), rig, mount_height_m
        self._paths: dict[str, Path] = {}
        self.empty_scenes: tuple[str, ...] = ()
        for path in paths:
            name = path.resolve().name if path.is_dir() else path.stem
            if name in self._paths:
                raise DatasetError(f"{path}: a second recording '{name}'; expected recordings of different names")
            if self._num_boxes(path):
                self._paths[name] = path
            else:
                self.empty_scenes += (name,)
        if not self._paths:
            raise no_boxes(", ".join(map(str, paths[:3])), f"boxes on topic '{GROUND_TRUTH_TOPIC}'")
        if self.empty_scenes:
            logger.warning("%d recordings without labelled boxes are left out: %s", *some(self.empty_scenes))
        self._partners: dict[str, dict[int, int]] = {}
        self._sets = InOrder(self._labelled_sets)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes of the labels: those of the network."""
        return self._class_map.class_names

    @property
    def scenes(self) -> Sequence[str]:
        """Names of the recordings that have labelled boxes."""
        return tuple(self._paths)

    def num_frames(self, scene: str) -> int:
        """Return how many frame sets have labels; reads the whole recording the first time."""
        return len(self._label_of_set(scene))

    def load(self, scene: str, index: int) -> LabelledSet:
        """Return one labelled frame set, with its pictures undecoded; the recording is read up to it.

        Raises:
            DatasetError: the recording has fewer labelled sets.
            BagError: it is damaged on the way.
        """
        try:
            return self._sets.get(scene, index)
        except IndexError as error:
            raise DatasetError(f"{self._paths[scene]}: recording {error}") from None

    def _num_boxes(self, path: Path) -> int:
        with open_bag(path) as reader:
            streams = discover(reader, self._rig)
            if streams.ground_truth_topic is None:
                topics = ", ".join(topic.name for topic in reader.topics) or "none"
                raise DatasetError(
                    f"{path}: no labels; expected a topic '{GROUND_TRUTH_TOPIC}' of lift3d_ros/BevDetectionArray "
                    f"(topics: {topics}). Record it with the pictures, or convert labelled data with 'lift3d bag'"
                )
            labels = read_labels(reader, streams)
        for stamp_ns, entry in labels.items():
            where = f"{path}: topic '{GROUND_TRUTH_TOPIC}' at {stamp_ns} ns"
            check_labels(entry.boxes, where)
            self._class_map.check(entry.boxes.class_names, where)
        return sum(len(entry.boxes) for entry in labels.values())

    @contextmanager
    def _opened(self, scene: str) -> Iterator[BagFrames]:
        with open_bag(self._paths[scene]) as reader:
            yield BagFrames(reader, discover(reader, self._rig), self._sync, self._rig, self._mount_height_m)

    def _label_of_set(self, scene: str) -> dict[int, int]:
        """Return stamp of a frame set -> stamp of its labels, for sets whose labels can be brought to them."""
        if scene not in self._partners:
            with self._opened(scene) as source:
                poses: dict[int, EgoMotion | None] = {item.stamp_ns: item.ego for item in source.frame_sets()}
                pairs = pair_stamps(source.labels, poses, label_tolerance_s(source.labels))
                self._partners[scene] = {
                    stamp_ns: label_ns
                    for label_ns, stamp_ns in pairs.items()
                    if moved_labels(source.labels[label_ns], label_ns, poses[stamp_ns], stamp_ns) is not None
                }
            lost = len(source.labels) - len(self._partners[scene])
            if lost:
                logger.warning(
                    "%s: %d of %d labelled moments are left out: no frame set is near, or the motion of the vehicle "
                    "between both is not known",
                    self._paths[scene],
                    lost,
                    len(source.labels),
                )
        return self._partners[scene]

    def _labelled_sets(self, scene: str) -> Generator[LabelledSet, None, None]:
        label_of_set = self._label_of_set(scene)
        with self._opened(scene) as source:
            for frames in source.frame_sets():
                label_ns = label_of_set.get(frames.stamp_ns)
                if label_ns is None:
                    continue
                boxes = moved_labels(source.labels[label_ns], label_ns, frames.ego, frames.stamp_ns)
                assert boxes is not None
                where = f"{self._paths[scene]}: topic '{GROUND_TRUTH_TOPIC}' at {label_ns} ns"
                yield self._class_map.apply(LabelledSet(scene, frames, boxes), where)
