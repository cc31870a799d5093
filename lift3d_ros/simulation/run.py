"""Simulates scenes into a folder, as scene folders or recordings, with several processes where asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cv2

from lift3d_ros.atomic_file import write_atomically
from lift3d_ros.datasets.frames import read_scene
from lift3d_ros.errors import ConfigError, DatasetError
from lift3d_ros.simulation.contact_sheet import contact_sheet, scene_strip
from lift3d_ros.simulation.drive import Simulator, scene_weather
from lift3d_ros.simulation.frame import SimulatedFrame
from lift3d_ros.simulation.mesh_library import UNCERTAIN_LICENCES, MeshLibrary, Split, manifest_digest
from lift3d_ros.simulation.scene_folder import write_scene_folder
from lift3d_ros.simulation.settings import SCENES_VERSION, SimulationSettings
from lift3d_ros.simulation.statistics import SceneStatistics, frame_statistics
from lift3d_ros.simulation.worker_pool import worker_pool
from lift3d_ros.weights.manifest import sha256_of

SHEET_NAME = "contact_sheet.png"
_FACTS_NAME = "simulation.json"
_NOTES_NAME = ".notes"
_SHEET_SCENES = 24


@dataclass(frozen=True)
class RunOptions:
    """What is written where.

    Args:
        meshes: folder of meshes; None for parametric models alone.
    """

    settings: SimulationSettings
    out: Path
    format: Literal["frames", "bag"] = "frames"
    meshes: Path | None = None
    split: Split = "train"

    @property
    def seeds(self) -> range:
        """Seeds of the scenes."""
        return range(self.settings.seed, self.settings.seed + self.settings.scenes)

    def scene_name(self, seed: int) -> str:
        """Return the name of a scene."""
        return f"simulated_{seed:06d}"

    def is_done(self, seed: int) -> bool:
        """Return whether the scene of a seed is written, and still there."""
        return self.target(seed).is_dir() and self.statistics(seed) is not None

    def statistics(self, seed: int) -> SceneStatistics | None:
        """Return the counts that were noted when a scene was whole; None where there are none, or they are damaged."""
        try:
            fields = json.loads(self.note(seed).read_text(encoding="utf-8"))["statistics"]
            return SceneStatistics(**{**fields, "by_class": tuple(fields["by_class"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def note(self, seed: int) -> Path:
        """Return the file that is written when a scene is whole."""
        return self._notes / f"{self.scene_name(seed)}.json"

    def target(self, seed: int) -> Path:
        """Return the folder of a scene or recording."""
        return self.out / self.scene_name(seed)

    @property
    def _notes(self) -> Path:
        return self.out / _NOTES_NAME


def open_library(options: RunOptions) -> MeshLibrary | None:
    """Return the meshes of a run.

    Raises:
        DatasetError: the folder cannot be used.
    """
    if options.meshes is None:
        return None
    left_out = () if options.settings.inferred_licences else UNCERTAIN_LICENCES
    return MeshLibrary(options.meshes, options.split, left_out_licences=left_out)


def simulate(options: RunOptions, workers: int = 1) -> Iterator[int]:
    """Simulate the scenes that are not there yet, and yield the seed of each when it is written.

    Raises:
        ConfigError, CalibrationError: a seed or the rig must not be used, or the folder holds scenes of other settings.
        DatasetError: the mesh folder cannot be used, or a process was ended.
        RenderingError: no OpenGL context can be made.
    """
    for seed in options.seeds:
        options.settings.check_seed(seed)
    with Simulator(options.settings, open_library(options)) as simulator:
        _begin(options)  # after settings, meshes and rig are found to be usable
        todo = [seed for seed in options.seeds if not options.is_done(seed)]
        if workers <= 1 or len(todo) <= 1:
            for seed in todo:
                _write(simulator, options, seed)
                yield seed
            return
    with worker_pool(workers, _start_worker, options) as pool:
        futures = {pool.submit(_work, seed): seed for seed in todo}
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BrokenProcessPool:
            raise DatasetError(
                f"{options.out}: a process that rendered a scene was ended, perhaps for want of memory; call again "
                "with fewer --workers, finished scenes are kept"
            ) from None


def write_sheet(options: RunOptions) -> Path | None:
    """Write the contact sheet of the first scenes that are there; None where there is none."""
    strips = [options.out / _NOTES_NAME / f"{options.scene_name(seed)}.png" for seed in options.seeds]
    pictures = [picture for path in strips[:_SHEET_SCENES] if (picture := cv2.imread(str(path))) is not None]
    if not pictures:
        return None
    path = options.out / SHEET_NAME
    cv2.imwrite(str(path), contact_sheet(pictures))
    return path


def run_statistics(options: RunOptions) -> SceneStatistics | None:
    """Return the counts over all scenes that are there; None where there is none."""
    total: SceneStatistics | None = None
    for seed in options.seeds:
        one = options.statistics(seed)
        if one is not None:
            total = one if total is None else total + one
    return total


_worker: tuple[Simulator, RunOptions] | None = None


def _start_worker(options: RunOptions) -> None:
    global _worker
    cv2.setNumThreads(1)
    _worker = Simulator(options.settings, open_library(options)), options


def _work(seed: int) -> None:
    assert _worker is not None
    _write(*_worker, seed)


def _begin(options: RunOptions) -> None:
    """Make the folder, or check that it was begun with the same settings."""
    path = options.out / _FACTS_NAME
    settings = {name: value for name, value in asdict(options.settings).items() if name not in ("seed", "scenes")}
    facts = {
        "version": SCENES_VERSION,
        "format": options.format,
        "settings": json.loads(json.dumps(settings)),
        "meshes": None if options.meshes is None else options.meshes.resolve().name,
        "text of the mesh manifest": None if options.meshes is None else manifest_digest(options.meshes),
        "split": None if options.meshes is None else options.split,
        "text of the rig file": sha256_of(Path(options.settings.rig)) if options.settings.rig else None,
    }
    notes = options.out / _NOTES_NAME
    if path.is_file() and any(notes.glob("*.json")):
        found = _read_facts(path)
        names = [name for name in facts if name != "settings" and found.get(name) != facts[name]]
        old = found.get("settings") or {}
        # A rig counts by its text, wherever the file lies.
        names += [name for name in facts["settings"] if name != "rig" and old.get(name) != facts["settings"][name]]
        if names:
            raise ConfigError(
                f"{options.out}: holds scenes of other settings (different: {', '.join(names)}); give another folder "
                "with --out, or remove this one"
            )
        return
    notes.mkdir(parents=True, exist_ok=True)
    write_atomically(path, f"{json.dumps(facts, indent=1)}\n".encode())


def _read_facts(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, Mapping):
        raise ConfigError(
            f"{path}: is damaged, so whether the scenes beside it have these settings cannot be told; give another "
            "folder with --out, or remove this one"
        )
    return found


def _write(simulator: Simulator, options: RunOptions, seed: int) -> None:
    settings, name = options.settings, options.scene_name(seed)
    weather = scene_weather(seed, settings)
    description = (
        f"Street rendered by lift3d_ros (seed {seed}, {weather.kind}); no part of it is real. Boxes are exact bounds "
        f"of the meshes, labelled up to {settings.range_m:g} m when at least {settings.min_visible_px} px are seen."
    )
    target = options.target(seed)
    folder = target if options.format == "frames" else options.out / f".{name}.frames"
    statistics: SceneStatistics | None = None
    middle: SimulatedFrame | None = None
    for frame in write_scene_folder(folder, simulator.drive(seed), name, description, settings.quality):
        one = frame_statistics(frame.boxes, frame.visibility)
        statistics = one if statistics is None else statistics + one
        if frame.index <= settings.frames // 2:
            middle = frame
    assert middle is not None
    assert statistics is not None
    if options.format == "bag":
        from lift3d_ros.bags.write_scene import write_scene

        write_scene(read_scene(folder), target, overwrite=True)
        shutil.rmtree(folder)
    strip = scene_strip(middle, f"seed {seed}, {weather.kind}, {statistics.objects / statistics.frames:.0f} objects")
    notes = options.out / _NOTES_NAME
    cv2.imwrite(str(notes / f"{name}.png"), cv2.cvtColor(strip, cv2.COLOR_RGB2BGR))
    facts = {"seed": seed, "weather": weather.kind, "statistics": asdict(statistics)}
    # Last, as this file says that the scene is whole.
    write_atomically(options.note(seed), f"{json.dumps(facts)}\n".encode())


def dark_or_wet(options: RunOptions) -> int:
    """Return how many scenes are at night or in rain."""
    return sum(scene_weather(seed, options.settings).kind in ("night", "rain") for seed in options.seeds)


def seeds_to_do(options: RunOptions) -> Sequence[int]:
    """Return the seeds whose scenes are not written yet."""
    return [seed for seed in options.seeds if not options.is_done(seed)]
