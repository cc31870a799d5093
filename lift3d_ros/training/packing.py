"""Prepares labelled scenes into a pack, several at a time; what is there already is kept."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from lift3d_ros.config import read_yaml_mapping
from lift3d_ros.datasets.class_map import ClassMap, load_class_map
from lift3d_ros.datasets.labelled import LabelledData
from lift3d_ros.datasets.pack import PackFacts, PackReader, create_pack, write_pack
from lift3d_ros.datasets.prepared import PreparedSample, prepare_sample
from lift3d_ros.datasets.simulated import SimulatedData, scene_name
from lift3d_ros.errors import ConfigError, DatasetError, Lift3dError
from lift3d_ros.images.preprocess import InputSpec
from lift3d_ros.replay.labelled_data import LabelledChoice, open_labelled_data
from lift3d_ros.simulation.settings import SCENES_VERSION, load_settings
from lift3d_ros.simulation.worker_pool import worker_pool

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordedSource:
    """Labelled data of any kind that the package reads; `classes` is a table of classes, or None for its own names."""

    path: Path
    classes: Path | None = None
    choice: LabelledChoice = field(default_factory=LabelledChoice)
    scenes_version: ClassVar[int | None] = None

    @property
    def description(self) -> str:
        """Words for the facts of the pack."""
        taken = (self.path.resolve().name, self.choice.nuscenes_version, self.choice.split)
        return ", ".join(name for name in taken if name is not None)

    @property
    def made_with(self) -> str | None:
        """The table of classes, with a digest, for the facts of the pack."""
        return None if self.classes is None else f"classes {_with_digest(self.classes)}"

    def open(self, class_names: Sequence[str], stack: ExitStack) -> LabelledData:
        """Open the data in this process."""
        table = ClassMap(class_names) if self.classes is None else load_class_map(self.classes, class_names)
        return open_labelled_data(self.path, table, self.choice)

    def scenes(self, class_names: Sequence[str]) -> Sequence[str]:
        """Return the names of all scenes."""
        with ExitStack() as stack:
            return tuple(self.open(class_names, stack).scenes)


@dataclass(frozen=True)
class SimulatorSource:
    """Scenes of the simulator, by settings file and seeds; `meshes` is a folder of meshes, or None."""

    settings: Path
    seeds: range
    meshes: Path | None = None
    split: Any = "train"
    scenes_version: ClassVar[int | None] = SCENES_VERSION

    @property
    def description(self) -> str:
        """Words for the facts of the pack."""
        meshes = "" if self.meshes is None else f", meshes {self.meshes.resolve().name} ({self.split})"
        return f"simulator, {self.settings.name}{meshes}"

    @property
    def made_with(self) -> str:
        """The settings, the rig that they name and the list of meshes, with digests, for the facts of the pack."""
        from lift3d_ros.simulation.mesh_library import manifest_digest

        rig = load_settings(self.settings).rig
        made_with = f"settings {_with_digest(self.settings)}"
        if rig:
            made_with += f", rig {_with_digest(Path(rig))}"
        if self.meshes is not None:
            made_with += f", meshes {self.meshes.resolve().name} {manifest_digest(self.meshes)[:12]}"
        return made_with

    def open(self, class_names: Sequence[str], stack: ExitStack) -> LabelledData:
        """Open a simulator in this process."""
        from lift3d_ros.simulation.drive import Simulator
        from lift3d_ros.simulation.mesh_library import UNCERTAIN_LICENCES, MeshLibrary

        # One scene for each process: a software renderer that takes all cores would only get into the way.
        os.environ.setdefault("LP_NUM_THREADS", "1")
        settings = load_settings(self.settings)
        left_out = () if settings.inferred_licences else UNCERTAIN_LICENCES
        library = None
        if self.meshes is not None:
            library = MeshLibrary(self.meshes, self.split, left_out_licences=left_out)
        simulator = stack.enter_context(Simulator(settings, library))
        return SimulatedData(simulator.drive, settings.frames, self.seeds, ClassMap(class_names))

    def scenes(self, class_names: Sequence[str]) -> Sequence[str]:
        """Return the names of all scenes, after a look at settings and seeds."""
        settings = load_settings(self.settings)
        for seed in self.seeds:
            settings.check_seed(seed)
        return tuple(scene_name(seed) for seed in self.seeds)


def _with_digest(path: Path) -> str:
    """Return the name of a YAML file with the start of the SHA-256 of what it says, whatever its comments."""
    said = json.dumps(read_yaml_mapping(path), default=str)
    return f"{path.name} {hashlib.sha256(said.encode()).hexdigest()[:12]}"


Source = RecordedSource | SimulatorSource


def pack_scenes(
    source: Source,
    folder: Path,
    facts: PackFacts,
    *,
    quality: int | None,
    workers: int,
    on_scene: Callable[[int, int], object] = lambda done, total: None,
) -> int:
    """Prepare every scene that the pack does not have yet, and return how many were written.

    Args:
        quality: of the WebP pictures, 1..100; None keeps pixels as they are.
        workers: processes.
        on_scene: called with scenes that are done and scenes in all.

    Raises:
        DatasetError: the folder holds a pack with other facts, there is no scene, or one is wrong, which is named.
        ConfigError: settings or seeds cannot be used.
    """
    if not 1 <= workers <= 256:
        raise ConfigError(f"--workers {workers}: expected 1 to 256")
    scenes = source.scenes(facts.class_names)
    if not scenes:
        raise DatasetError(f"{source.description}: no scene to prepare; expected at least one")
    create_pack(folder, facts)
    done = set(PackReader(folder).scenes)
    missing = [scene for scene in scenes if scene not in done]
    on_scene(len(scenes) - len(missing), len(scenes))
    if workers == 1 or len(missing) < 2:
        with ExitStack() as stack:
            data = source.open(facts.class_names, stack) if missing else None
            for count, scene in enumerate(missing, len(scenes) - len(missing) + 1):
                assert data is not None
                _pack_scene(data, scene, folder, facts, quality)
                on_scene(count, len(scenes))
        return len(missing)
    with worker_pool(workers, _open_in_worker, source, folder, facts, quality) as pool:
        waiting: list[Future[None]] = [pool.submit(_pack_in_worker, scene) for scene in missing]
        try:
            for count, future in enumerate(as_completed(waiting), len(scenes) - len(missing) + 1):
                future.result()
                on_scene(count, len(scenes))
        except BrokenProcessPool:
            raise DatasetError(
                f"{folder}: a process that prepared a scene was ended, perhaps for want of memory; call again with "
                "fewer --workers, what is written is kept"
            ) from None
    return len(missing)


def prepare_scene(data: LabelledData, scene: str, spec: InputSpec, class_names: Sequence[str]) -> list[PreparedSample]:
    """Return all samples of a scene.

    Raises:
        Lift3dError: whatever went wrong, with the name of the scene.
    """
    with naming_scene(scene):
        return [
            prepare_sample(data.load(scene, index), spec, class_names, index=index)
            for index in range(data.num_frames(scene))
        ]


@contextmanager
def naming_scene(scene: str) -> Iterator[None]:
    """Let every error inside of a ``with`` block name the scene, and be one that is shown without traceback."""
    try:
        yield
    except Lift3dError as error:
        if scene in str(error):
            raise
        raise DatasetError(f"scene '{scene}': {error}") from None
    except Exception as error:
        logger.debug("scene '%s'", scene, exc_info=True)
        found = " ".join(f"{type(error).__name__}: {error}".split())
        raise DatasetError(
            f"scene '{scene}': cannot be prepared ({found}); leave it out, or prepare it alone with 'lift3d --verbose "
            "train ... --workers 1' to see where this comes from"
        ) from None


def _pack_scene(data: LabelledData, scene: str, folder: Path, facts: PackFacts, quality: int | None) -> None:
    samples = prepare_scene(data, scene, facts.spec, facts.class_names)
    with naming_scene(scene):
        write_pack(folder, scene, samples, quality)


# What a worker process has opened; `stack` keeps it open until the process ends.
_worker: dict[str, Any] = {}


def _open_in_worker(source: Source, folder: Path, facts: PackFacts, quality: int | None) -> None:
    stack = ExitStack()
    _worker.update(stack=stack, source=source, arguments=(folder, facts, quality))


def _pack_in_worker(scene: str) -> None:
    folder, facts, quality = _worker["arguments"]
    if "data" not in _worker:  # here and not in the initialiser, whose errors only break the pool
        with naming_scene(scene):
            _worker["data"] = _worker["source"].open(facts.class_names, _worker["stack"])
    _pack_scene(_worker["data"], scene, folder, facts, quality)
