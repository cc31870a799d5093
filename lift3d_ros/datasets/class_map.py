"""Classes of the data become classes of the network: by their own names, or by a table.

A table is a YAML file of lines ``class of the data: class of the network``; ``ignore`` leaves the boxes of a class
out::

    van: car
    animal: ignore

Names that the network knows need no line. `other`, which in the frame layout stands for everything else, is ignored
unless a line says otherwise.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.config import read_yaml_mapping
from lift3d_ros.datasets.labelled import LabelledSet
from lift3d_ros.errors import ConfigError, DatasetError, nearest_name_hint
from lift3d_ros.models.dfa3d.config import NUSCENES_CLASSES
from lift3d_ros.types import Boxes3D

IGNORE = "ignore"
_IGNORED_BY_DEFAULT = "other"


class ClassMap:
    """A table of classes; `ignored` counts the boxes that were left out, by their class in the data."""

    def __init__(
        self,
        class_names: Sequence[str] = NUSCENES_CLASSES,
        table: Mapping[str, str] | None = None,
        source: str = "table of classes",
    ) -> None:
        """Map to `class_names`; `table` overrides names, and `source` names it in messages.

        Raises:
            ConfigError: an entry leads to a class that the network does not have.
        """
        self.class_names = tuple(class_names)
        self.ignored: Counter[str] = Counter()
        identity = {name: name for name in self.class_names}
        self._target = {_IGNORED_BY_DEFAULT: IGNORE, **identity, **(table or {})}
        for name, target in self._target.items():
            if target != IGNORE and target not in self.class_names:
                raise ConfigError(
                    f"{source}: '{name}' leads to '{target}', which is no class of the network"
                    f"{nearest_name_hint(target, (*self.class_names, IGNORE))}; expected '{IGNORE}' or one of "
                    f"{', '.join(self.class_names)}"
                )

    def check(self, names: Collection[str], where: str) -> None:
        """Refuse classes that neither the network nor the table knows.

        Args:
            where: file, scene or frame in which they stand, for the message.

        Raises:
            DatasetError: names the class and the nearest known one.
        """
        for name in names:
            if name not in self._target:
                raise DatasetError(
                    f"{where}: class '{name}' is not known{nearest_name_hint(name, self._target)} (known: "
                    f"{', '.join(self._target)}). Map it in a table of classes: '{name}: CLASS' with one of the "
                    f"network, or '{name}: {IGNORE}'"
                )

    def apply(self, labelled: LabelledSet, where: str) -> LabelledSet:
        """Return a set whose boxes have the classes of the network; ignored ones are left out and counted.

        Raises:
            DatasetError: a box has an unknown class.
        """
        boxes, kept = self.map_boxes(labelled.boxes, where)
        return dataclasses.replace(
            labelled,
            boxes=boxes,
            visibility=None if labelled.visibility is None else labelled.visibility[kept],
            num_points=None if labelled.num_points is None else labelled.num_points[kept],
        )

    def map_boxes(self, boxes: Boxes3D, where: str) -> tuple[Boxes3D, NDArray[np.bool_]]:
        """Return the boxes with the classes of the network, and which of the given ones (M,) they are.

        Raises:
            DatasetError: a box has an unknown class.
        """
        names = [boxes.class_names[label] for label in boxes.labels]
        self.check(dict.fromkeys(names), where)
        targets = [self._target[name] for name in names]
        self.ignored.update(name for name, target in zip(names, targets, strict=True) if target == IGNORE)
        kept = np.array([target != IGNORE for target in targets], dtype=bool)
        index_of = {name: i for i, name in enumerate(self.class_names)}
        chosen = boxes.select(kept)
        mapped = Boxes3D(
            boxes.frame_id, self.class_names, chosen.centers, chosen.sizes, chosen.yaws, chosen.velocities,
            chosen.scores, np.array([index_of[t] for t in targets if t != IGNORE], dtype=np.int64), chosen.track_ids,
        )  # fmt: skip
        return mapped, kept


def load_class_map(path: Path, class_names: Sequence[str] = NUSCENES_CLASSES) -> ClassMap:
    """Read a table of classes.

    Raises:
        ConfigError: the file is missing, is no table of names, or leads to an unknown class.
    """
    table = {}
    for name, target in read_yaml_mapping(path).items():
        if not isinstance(target, str):
            raise ConfigError(f"{path}: '{name}' is {target!r}; expected the name of a class or '{IGNORE}'")
        table[name] = target
    return ClassMap(class_names, table, str(path))
