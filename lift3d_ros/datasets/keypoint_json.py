"""2D keypoints as common detectors write them: COCO annotations, COCO results, MediaPipe and OpenPose, all JSON.

Layouts that are read:

- COCO annotations: ``{"images": [...], "annotations": [...], "categories": [...]}``, keypoints x, y, v with v 0 absent,
  1 hidden, 2 visible;
- COCO results: ``[{"image_id": ..., "keypoints": [x, y, score, ...]}, ...]`` (YOLO pose, MMPose, Detectron2, ViTPose),
  with ``category_name`` or ``category`` where the size of the object is to be known;
- MediaPipe: ``{"pose_landmarks": [[{"x": ..., "y": ..., "visibility": ...}, ...]]}`` or ``hand_landmarks``, also one
  bare list of landmarks; x and y are parts of width and height;
- OpenPose: ``{"people": [{"pose_keypoints_2d": [x, y, score, ...]}]}``.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lift3d_ros.errors import ConfigError, DatasetError, Lift3dError
from lift3d_ros.geometry.skeleton import SkeletonFacts, load_skeleton, sides_from_names, skeleton_names
from lift3d_ros.types import Float64Array, Keypoints2D, Skeleton

_LARGEST_BYTES = 256_000_000
# An annotator's guess of where a hidden joint is.
_HIDDEN_CONFIDENCE = 0.6
_COCO_RESULTS = {17: "coco17", 133: "coco_wholebody133", 26: "halpe26"}
_MEDIAPIPE = {33: "mediapipe33", 21: "hand21"}
_OPENPOSE = {25: "body25"}
_LANDMARK_KEYS = ("pose_landmarks", "hand_landmarks", "multi_hand_landmarks", "landmarks", "landmark")


@dataclass(frozen=True, eq=False)
class PictureKeypoints:
    """The keypoints of one picture; `name` is its file name, or its number where the file does not say.

    Args:
        size: width and height of the picture, px; None where the file does not say.
    """

    name: str
    instances: tuple[Keypoints2D, ...]
    size: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class KeypointFile:
    """All pictures of a file, and the skeletons that their instances name."""

    pictures: tuple[PictureKeypoints, ...]
    skeletons: Mapping[str, SkeletonFacts]


def read_keypoint_file(
    path: Path, skeleton: SkeletonFacts | None = None, image_size: tuple[int, int] | None = None
) -> KeypointFile:
    """Read keypoints of any of the layouts above.

    Args:
        skeleton: of all instances; None takes the one that the file names, or the usual one for its layout and count.
        image_size: width and height, for MediaPipe files that do not hold them.

    Raises:
        DatasetError: the file is missing, damaged or of another layout.
        ConfigError: the skeleton does not fit the number of keypoints, or has to be named.
    """
    document = _load(path)
    reader = _Reader(path, skeleton)
    try:
        if isinstance(document, Mapping) and "annotations" in document:
            pictures = reader.annotations(document)
        elif isinstance(document, Mapping) and "people" in document:
            # OpenPose names the file of NAME.jpg NAME_keypoints.json.
            name = path.stem.removesuffix("_keypoints")
            pictures = [PictureKeypoints(name, reader.openpose(document["people"]))]
        elif isinstance(document, list) and all(isinstance(part, Mapping) and "keypoints" in part for part in document):
            pictures = reader.results(document)
        else:
            pictures = [reader.mediapipe(document, image_size)]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        detail = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
        raise DatasetError(
            f"{path}: {reader.place or 'keypoints'} cannot be read ({detail}); see 'lift3d lift --help' for layouts"
        ) from None
    return KeypointFile(tuple(pictures), reader.skeletons)


class _Reader:
    """Reads one file and collects the skeletons that it meets."""

    def __init__(self, path: Path, skeleton: SkeletonFacts | None) -> None:
        self._path = path
        self._skeleton = skeleton
        self.skeletons: dict[str, SkeletonFacts] = {}
        self.place = ""  # of the entry that is being read, for errors

    def annotations(self, document: Mapping[str, Any]) -> list[PictureKeypoints]:
        categories = {entry["id"]: entry for entry in self._entries(document.get("categories", []), "categories")}
        images = {entry["id"]: entry for entry in self._entries(document.get("images", []), "images")}
        names = {number: str(entry["file_name"]) for number, entry in images.items()}
        instances: dict[Any, list[Keypoints2D]] = {number: [] for number in images}
        for entry in self._entries(document["annotations"], "annotations"):
            if "keypoints" not in entry:
                continue
            values = self._triples(entry["keypoints"])
            category = categories.get(entry.get("category_id"), {})
            facts = self._facts(len(values), _COCO_RESULTS, category)
            confidence = np.select([values[:, 2] >= 2, values[:, 2] >= 1], [1.0, _HIDDEN_CONFIDENCE], 0.0)
            number = int(entry.get("id", sum(map(len, instances.values()))))
            instances.setdefault(entry["image_id"], []).append(
                Keypoints2D(values[:, :2], confidence, None, facts.skeleton.name, str(category.get("name", "")), number)
            )
        return [
            PictureKeypoints(names.get(key, str(key)), tuple(found), _size_of(images.get(key, {})))
            for key, found in instances.items()
        ]

    def results(self, document: list[Mapping[str, Any]]) -> list[PictureKeypoints]:
        instances: dict[Any, list[Keypoints2D]] = {}
        for entry in self._entries(document, "entries"):
            found = instances.setdefault(entry.get("file_name", entry.get("image_id", self._path.stem)), [])
            track_id = -1 if entry.get("track_id") is None else int(entry["track_id"])
            category = str(entry.get("category_name") or entry.get("category") or "")
            found.append(self._scored(entry["keypoints"], _COCO_RESULTS, len(found), track_id, category))
        return [PictureKeypoints(str(key), tuple(found)) for key, found in instances.items()]

    def openpose(self, people: list[Mapping[str, Any]]) -> tuple[Keypoints2D, ...]:
        return tuple(
            self._scored(person["pose_keypoints_2d"], _OPENPOSE, number, -1)
            for number, person in enumerate(self._entries(people, "people"))
        )

    def mediapipe(self, document: Any, image_size: tuple[int, int] | None) -> PictureKeypoints:
        if isinstance(document, Mapping):
            image_size = _size_of(document) or image_size
        found = list(_landmark_lists(document))
        if not found:
            raise DatasetError(
                f"{self._path}: no keypoints found; expected COCO annotations, COCO results, MediaPipe landmarks or "
                "OpenPose people, see 'lift3d lift --help'"
            )
        if image_size is None:
            raise DatasetError(
                f"{self._path}: landmarks are parts of width and height, and the file holds neither; give the picture "
                "with --image, or add 'width' and 'height' to the file"
            )
        instances = []
        for number, landmarks in enumerate(found):
            self.place = f"instance {number}"
            points = np.array([[float(point["x"]), float(point["y"])] for point in landmarks])
            confidence = np.array([_landmark_confidence(point) for point in landmarks])
            # Models of hands and faces leave visibility and presence unset, which the message gives as 0.
            if not confidence.any():
                confidence = np.ones(len(points))
            facts = self._facts(len(points), _MEDIAPIPE, {})
            # (0, 0) is the corner of the picture there, and the centre of the first pixel here.
            pixels = points * np.array(image_size) - 0.5
            instances.append(Keypoints2D(pixels, confidence, None, facts.skeleton.name, "", number))
        return PictureKeypoints(self._path.stem, tuple(instances), image_size)

    def _entries(self, entries: Any, name: str) -> Iterator[Mapping[str, Any]]:
        """Yield the entries of a list and note which one is read.

        Raises:
            DatasetError: it is no list.
        """
        if not isinstance(entries, list):
            raise DatasetError(
                f"{self._path}: '{name}' cannot be read (it is no list); see 'lift3d lift --help' for layouts"
            )
        for number, entry in enumerate(entries):
            self.place = f"{name}[{number}]"
            yield entry
        self.place = ""

    def _scored(
        self, flat: Any, usual: Mapping[int, str], number: int, track_id: int, category: str = ""
    ) -> Keypoints2D:
        values = self._triples(flat)
        facts = self._facts(len(values), usual, {})
        # Detectors write (0, 0) for joints that they did not find.
        is_found = (values[:, :2] != 0.0).any(axis=1)
        return Keypoints2D(
            values[:, :2], values[:, 2], is_found & (values[:, 2] > 0), facts.skeleton.name, category, number, track_id
        )

    def _triples(self, flat: Any) -> Float64Array:
        values = np.array(flat, dtype=np.float64)
        if not values.size or values.size % 3 or (values.ndim > 1 and values.shape[-1] != 3):
            each = f", {values.shape[-1]} for each joint" if values.ndim > 1 else ""
            raise DatasetError(
                f"{self._path}: {self.place or 'an instance'} has {values.size} keypoint values{each}; expected x, y "
                "and score for each joint"
            )
        return values.reshape(-1, 3)

    def _facts(self, count: int, usual: Mapping[int, str], category: Mapping[str, Any]) -> SkeletonFacts:
        """Return the skeleton of an instance: the one asked for, that of the category, or the usual one."""
        facts = self._skeleton
        if facts is None and category.get("keypoints"):
            facts = self._of_category(category)
        if facts is None:
            if count not in usual:
                raise ConfigError(
                    f"{self._path}: instances have {count} keypoints, and the file does not say which; name the "
                    f"skeleton with --skeleton (known: {', '.join(skeleton_names())}, or a .yaml file)"
                )
            facts = self.skeletons.get(usual[count]) or load_skeleton(usual[count])
        if len(facts.skeleton) != count:
            raise ConfigError(
                f"{self._path}: an instance has {count} keypoints, and skeleton '{facts.skeleton.name}' has "
                f"{len(facts.skeleton)} joints; name another skeleton (known: {', '.join(skeleton_names())})"
            )
        self.skeletons.setdefault(facts.skeleton.name, facts)
        return facts

    def _of_category(self, category: Mapping[str, Any]) -> SkeletonFacts:
        """Return the known skeleton with the joints of a COCO category, else one made of the category's own edges."""
        names = tuple(map(str, category["keypoints"]))
        for facts in self.skeletons.values():
            if facts.skeleton.joint_names == names:
                return facts
        for name in skeleton_names():
            facts = load_skeleton(name)
            if facts.skeleton.joint_names == names:
                return facts
        edges = np.array(category.get("skeleton", []), dtype=np.int64).reshape(-1, 2)
        # COCO counts from 1, many exporters from 0.
        if edges.size and edges.min() >= 1:
            edges = edges - 1
        try:
            own = Skeleton(self._free_name(str(category.get("name", "object"))), names, edges, sides_from_names(names))
        except Lift3dError as error:
            raise DatasetError(f"{self._path}: {error}") from None
        return SkeletonFacts(own)

    def _free_name(self, name: str) -> str:
        """Return the name of a category for its skeleton, numbered where another skeleton has it."""
        taken = {*self.skeletons, *skeleton_names()}
        numbered = (f"{name}_{number}" for number in itertools.count(2))
        return next(free for free in itertools.chain([name], numbered) if free not in taken)


def _size_of(picture: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return width and height, px, that a file tells of a picture."""
    for first, second in (("width", "height"), ("image_width", "image_height")):
        if picture.get(first) and picture.get(second):
            width, height = int(picture[first]), int(picture[second])
            if min(width, height) < 1:
                raise ValueError(f"{first} and {second} are {width} and {height}; expected pixels")
            return width, height
    return None


def _landmark_lists(document: Any) -> list[list[Mapping[str, Any]]]:
    """Return the lists of landmarks in a document, whatever they are wrapped in."""
    if isinstance(document, list):
        if document and all(isinstance(part, Mapping) and {"x", "y"} <= part.keys() for part in document):
            return [document]
        return [found for part in document for found in _landmark_lists(part)]
    if isinstance(document, Mapping):
        return [found for key in _LANDMARK_KEYS if key in document for found in _landmark_lists(document[key])]
    return []


def _landmark_confidence(point: Mapping[str, Any]) -> float:
    return next((float(point[key]) for key in ("visibility", "presence") if point.get(key) is not None), 1.0)


def _load(path: Path) -> Any:
    try:
        size = path.stat().st_size
        if size > _LARGEST_BYTES:
            raise DatasetError(
                f"{path}: has {size / 1e6:.0f} MB; expected at most {_LARGEST_BYTES / 1e6:.0f} MB; split the file"
            )
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); give an existing JSON file") from None
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: is not valid JSON ({error}); give the keypoints as JSON") from None
