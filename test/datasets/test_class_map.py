"""Classes of the data meet those of the network by name or by a table, and never in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.datasets.class_map import ClassMap, load_class_map
from lift3d_ros.datasets.labelled import LabelledSet
from lift3d_ros.errors import ConfigError, DatasetError
from lift3d_ros.models.dfa3d.config import NUSCENES_CLASSES
from lift3d_ros.types import Boxes3D, CameraImage, CameraModel, CameraView, FrameSet


def labelled(*names: str) -> LabelledSet:
    known = tuple(sorted(set(names)))
    count = len(names)
    model = CameraModel("front", "f", 4, 4, np.diag([4.0, 4.0, 1.0]))
    view = CameraView(CameraImage("front", 0, "f", "rgb8", np.zeros(48, np.uint8), 4, 4, 12), model, np.eye(4))
    centers = np.arange(3.0 * count).reshape(count, 3)
    boxes = Boxes3D(
        "base_link", known, centers, np.ones((count, 3)), np.zeros(count), np.zeros((count, 2)), np.ones(count),
        np.array([known.index(name) for name in names]), np.arange(count),
    )  # fmt: skip
    visibility, points = np.linspace(0, 1, count), np.arange(count)
    return LabelledSet("s", FrameSet(0, {"front": view}), boxes, visibility, points)


def names_of(found: LabelledSet) -> list[str]:
    return [found.boxes.class_names[label] for label in found.boxes.labels]


def test_nuscenes_classes_keep_their_names_and_other_is_ignored_and_counted() -> None:
    class_map = ClassMap()
    found = class_map.apply(labelled("bus", "other", "car", "other"), "here")
    assert found.boxes.class_names == NUSCENES_CLASSES
    assert names_of(found) == ["bus", "car"]
    assert found.boxes.centers[:, 0].tolist() == [0.0, 6.0]
    assert found.visibility is not None
    assert found.visibility.tolist() == pytest.approx([0.0, 2 / 3])
    assert found.num_points is not None
    assert found.num_points.tolist() == [0, 2]
    assert class_map.ignored == {"other": 2}


def test_a_table_maps_and_ignores(tmp_path: Path) -> None:
    path = tmp_path / "classes.yaml"
    path.write_text("van: car\nanimal: ignore\nother: truck\npedestrian: ignore\n")
    class_map = load_class_map(path, ("car", "truck", "pedestrian"))
    found = class_map.apply(labelled("van", "animal", "other", "pedestrian", "car"), "here")
    assert names_of(found) == ["car", "truck", "car"]
    assert class_map.ignored == {"animal": 1, "pedestrian": 1}


def test_an_unknown_class_is_refused_with_the_nearest_known_one_and_the_remedy() -> None:
    with pytest.raises(
        DatasetError, match=r"scene a: class 'pedestrain' is not known; did you mean 'pedestrian'\?.*ignore"
    ):
        ClassMap().apply(labelled("car", "pedestrain"), "scene a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("van: carr\n", r"classes.yaml: 'van' leads to 'carr'.*did you mean 'car'\?.*'ignore' or one of"),
        ("van: [car]\n", r"classes.yaml: 'van' is \['car'\]; expected the name of a class"),
        ("- van\n", r"classes.yaml: expected 'name: value' lines"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "classes.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_class_map(path)
