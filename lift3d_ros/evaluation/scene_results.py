"""Brings the results of a scene together with its labels, as they are to be scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lift3d_ros.datasets.class_map import ClassMap
from lift3d_ros.errors import Lift3dError
from lift3d_ros.evaluation.labels import RunLabels
from lift3d_ros.evaluation.matching import FrameMatches, match_frames
from lift3d_ros.evaluation.scenes import OpenScene, SceneEntry
from lift3d_ros.replay.results import DETECTIONS_FILE, SETS_FILE, TIMING_FILE, read_detections
from lift3d_ros.replay.sets import RecordedSet, read_sets
from lift3d_ros.types import BevDetections, EgoMotion, FrameSet


@dataclass(frozen=True, eq=False)
class SceneResults:
    """The results of one scene, and those frames of it that are scored, with the labels that count."""

    name: str
    results: tuple[BevDetections, ...]
    matches: FrameMatches


def result_folder(root: Path, name: str, *, is_only_scene: bool) -> Path:
    """Return where under `root` the results of a scene lie.

    Args:
        is_only_scene: then they may lie in `root` itself, as a node or `lift3d replay` leaves them.

    Raises:
        Lift3dError: nowhere; names the places.
    """
    places = [root / name, root / "scenes" / name, *([root] if is_only_scene else [])]
    for place in places:
        if (place / DETECTIONS_FILE).is_file():
            return place
    raise Lift3dError(
        f"{root}: no results of scene '{name}'; expected {' or '.join(str(p / DETECTIONS_FILE) for p in places)}, as "
        "'lift3d evaluate', 'lift3d replay' and detection_recorder write it"
    )


def read_scene_results(scene: OpenScene, folder: Path, class_map: ClassMap) -> SceneResults:
    """Read the results of a scene and pair them with its labels.

    Labels that no LiDAR point lies on are left out, as the nuScenes benchmark does, where the data count points.

    Args:
        class_map: from the classes of the labels to those of the benchmark.

    Raises:
        Lift3dError: results cannot be read, or do not belong to the scene.
    """
    results = tuple(read_detections(folder / DETECTIONS_FILE, folder / TIMING_FILE))
    labels = RunLabels(scene.source.labels, _poses(scene, folder, results))
    try:
        matches = match_frames(results, labels.boxes, labels.tolerance_s, labels.moved)
    except Lift3dError as error:
        raise Lift3dError(f"scene '{scene.name}': {error}") from None
    return SceneResults(scene.name, results, _counting_labels(matches, scene, class_map))


def read_all_results(
    scenes: Sequence[SceneEntry], folders: Mapping[str, Path], class_map: ClassMap
) -> list[SceneResults]:
    """Read the results of every scene; `folders` says where they lie, by its name. Raises as for a single one."""
    found = []
    for entry in scenes:
        with entry.open() as scene:
            found.append(read_scene_results(scene, folders[entry.name], class_map))
    return found


def recorded_sets(folder: Path) -> list[RecordedSet] | None:
    """Return the input of each result; None where it was not recorded."""
    return list(read_sets(folder / SETS_FILE)) if (folder / SETS_FILE).is_file() else None


def frame_sets_of(scene: OpenScene, folder: Path, stamps: frozenset[int]) -> Iterator[FrameSet]:
    """Yield the frame sets, with pictures, from which the results with these stamps were made."""
    recorded = recorded_sets(folder)
    if recorded is None:
        yield from (item for item in scene.source.frame_sets() if item.stamp_ns in stamps)
    else:
        yield from scene.source.recorded_frame_sets([item for item in recorded if item.stamp_ns in stamps])


def _poses(scene: OpenScene, folder: Path, results: tuple[BevDetections, ...]) -> dict[int, EgoMotion | None]:
    """Return where the vehicle was at each result."""
    recorded = recorded_sets(folder)
    if recorded is not None:
        return {item.stamp_ns: item.ego for item in recorded}
    if {result.stamp_ns for result in results} <= set(scene.source.labels):
        return {}  # labels at the stamps of the results need not be moved
    return {item.stamp_ns: item.ego for item in scene.source.frame_sets()}


def _counting_labels(matches: FrameMatches, scene: OpenScene, class_map: ClassMap) -> FrameMatches:
    """Map the classes of the labels, leave out those without LiDAR points, and add the visibility of the others."""
    frames, num_without_points, are_counted = [], 0, False
    for frame in matches.frames:
        where = f"scene '{scene.name}', labels at {frame.stamp_ns} ns"
        labels, is_kept = class_map.map_boxes(frame.ground_truth, where)
        frame = dataclasses.replace(frame, ground_truth=labels)
        known = scene.label_facts.get(frame.stamp_ns)
        if known is not None:
            num_points, visibility = known.num_points[is_kept], known.visibility[is_kept]
            has_points = num_points != 0  # -1: not known
            are_counted |= bool((num_points >= 0).any())
            num_without_points += int((~has_points).sum())
            frame = dataclasses.replace(
                frame, ground_truth=labels.select(has_points), visibility=visibility[has_points]
            )
        frames.append(frame)
    return dataclasses.replace(
        matches, frames=tuple(frames), num_without_points=num_without_points if are_counted else None
    )
