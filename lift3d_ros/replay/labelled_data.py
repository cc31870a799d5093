"""Opens labelled data of any kind that the package knows, by what lies at a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lift3d_ros.datasets.class_map import ClassMap
from lift3d_ros.datasets.labelled import LabelledData, WithOwnVehicle
from lift3d_ros.datasets.scene_data import NuScenesData, SceneFolders, some
from lift3d_ros.errors import DatasetError, nearest_name_hint
from lift3d_ros.geometry.rig import Rig
from lift3d_ros.natural_order import natural_order

_BAG_FILES = (".mcap", ".db3", ".bag")
EXPECTED_DATA = (
    "expected a scene folder (meta.json and images/) or a folder of such folders, a recording with "
    "/ground_truth/boxes or a folder of recordings, or a nuScenes folder (v1.0-... beside samples/)"
)


@dataclass(frozen=True)
class LabelledChoice:
    """Which of the data at a path are taken, and what is known of the vehicle.

    Args:
        nuscenes_version: folder of the tables; needed where there are several.
        split: official split of nuScenes; None for all scenes of the version.
        rig: its masks of the own vehicle hold for data of any kind; the rest is as for a replay, for recordings.
        scenes: their names; all where none are given.
    """

    nuscenes_version: str | None = None
    split: str | None = None
    rig: Rig | None = None
    scenes: tuple[str, ...] = ()


def open_labelled_data(
    path: Path, class_map: ClassMap | None = None, choice: LabelledChoice | None = None
) -> LabelledData:
    """Recognise what lies at `path`, check it, and return its labelled frame sets.

    Args:
        class_map: from the classes of the data to those of the network; None for the nuScenes classes by name.

    Raises:
        DatasetError: nothing that is known, with what was expected; or the data are incomplete or wrong.
        BagError, CalibrationError: a recording or a calibration cannot be used.
    """
    choice = choice or LabelledChoice()
    data = _open(path, class_map, choice)
    return data if choice.rig is None else WithOwnVehicle(data, choice.rig)


def nuscenes_versions(path: Path) -> list[str]:
    """Return the folders of nuScenes tables at a path."""
    return sorted(item.name for item in path.glob("v1.0-*") if item.is_dir()) if path.is_dir() else []


def _open(path: Path, class_map: ClassMap | None, choice: LabelledChoice) -> LabelledData:
    if not path.exists():
        raise DatasetError(f"{path}: does not exist; {EXPECTED_DATA}")
    versions = nuscenes_versions(path)
    version, split, scenes = choice.nuscenes_version, choice.split, choice.scenes
    if versions or version is not None:
        if version is None and len(versions) > 1:
            raise DatasetError(
                f"{path}: holds the nuScenes versions {', '.join(versions)}; name one with --nuscenes-version"
            )
        return NuScenesData(path, version or versions[0], split, scenes, class_map)
    if split is not None:
        raise DatasetError(f"{path}: split '{split}' is asked for, but this is no nuScenes folder; leave the split out")
    folders, bags = scene_folders(path), recordings(path)
    if folders and bags:
        raise DatasetError(
            f"{path}: holds scene folders ({some([item.name for item in folders])[1]}) and recordings "
            f"({some([item.name for item in bags])[1]}); give the one or the other, each in a folder of its own"
        )
    if folders:
        return SceneFolders(chosen_paths(folders, scenes, path), class_map)
    if bags:
        # Reading recordings takes packages that a machine which only trains may lack.
        from lift3d_ros.replay.labelled_bag import LabelledBags

        chosen = chosen_paths(bags, scenes, path)
        return LabelledBags(chosen, class_map, rig=choice.rig)
    found = ", ".join(sorted(item.name for item in path.iterdir())[:8]) if path.is_dir() else f"a file {path.suffix}"
    raise DatasetError(f"{path}: no labelled data (found: {found or 'nothing'}); {EXPECTED_DATA}")


def scene_folders(path: Path) -> list[Path]:
    """Return the scene folders at a path: itself, or those in it, in the order of their names as people count."""
    if (path / "meta.json").is_file():
        return [path]
    return [item for item in _items(path) if (item / "meta.json").is_file()]


def recordings(path: Path) -> list[Path]:
    """Return the recordings at a path: itself, or those in it, in the order of their names as people count."""
    return [path] if _is_bag(path) else [item for item in _items(path) if _is_bag(item)]


def _items(path: Path) -> list[Path]:
    return sorted(path.iterdir(), key=lambda item: natural_order(item.name)) if path.is_dir() else []


def _is_bag(path: Path) -> bool:
    """A folder of several files is a recording where it says so; otherwise each file is one."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file()
    return path.suffix in _BAG_FILES and path.is_file()


def chosen_paths(found: Sequence[Path], names: Sequence[str], path: Path) -> list[Path]:
    """Return the paths of the named scenes, each once; all where none are named.

    Raises:
        DatasetError: a scene is not there, or two have its name.
    """
    by_name: dict[str, list[Path]] = {}
    for item in found:
        by_name.setdefault(item.resolve().name if item.is_dir() else item.stem, []).append(item)
    chosen = list(dict.fromkeys(names or by_name))
    for name in chosen:
        if name not in by_name:
            raise DatasetError(
                f"{path}: scene '{name}' is not in it{nearest_name_hint(name, by_name)} "
                f"({len(by_name)} scenes: {some(list(by_name))[1]})"
            )
        if len(by_name[name]) > 1:
            raise DatasetError(
                f"{path}: {' and '.join(item.name for item in by_name[name])} are both the scene '{name}'; expected "
                "names that differ without their endings. Rename or remove one"
            )
    return [by_name[name][0] for name in chosen]
