"""Replays labelled scenes through the detector, one result folder for each; what is finished is kept."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

import lift3d_ros
from lift3d_ros.errors import Lift3dError
from lift3d_ros.evaluation.scenes import OpenScene, SceneEntry
from lift3d_ros.geometry.rig import Rig
from lift3d_ros.pipelines.bev_detection import BevDetectionConfig, BevDetector, check_cameras
from lift3d_ros.pipelines.bev_engine import BevEngine, open_bev_engine
from lift3d_ros.replay.run import FrameRange, ResultFolder, run_detector
from lift3d_ros.replay.source import FrameSource
from lift3d_ros.types import BevDetections, FrameSet

FINISHED_FILE = "finished.json"


class DetectorPool:
    """Opens a detector without memory for each scene; engines stay open, one for each number of cameras."""

    def __init__(
        self,
        config: BevDetectionConfig,
        rig: Rig | None = None,
        prepare_engine: Callable[[BevEngine], None] = lambda _: None,
    ) -> None:
        """Run the model of `config`; `prepare_engine` is called once with each engine."""
        self.config, self._rig, self._prepare_engine = config, rig, prepare_engine
        self._engines: dict[int, BevEngine] = {}

    def open(self, cameras: Sequence[str]) -> BevDetector:
        """Return a detector for these cameras; raises as :func:`~lift3d_ros.pipelines.bev_engine.open_bev_engine`."""
        check_cameras(self.config.model, cameras, self._rig)
        if len(cameras) not in self._engines:
            engine = open_bev_engine(self.config.model, self.config.engine, len(cameras))
            self._prepare_engine(engine)
            self._engines[len(cameras)] = engine
        return BevDetector(self._engines[len(cameras)], self.config.detector, self._rig, self.config.tracking)


@dataclass(frozen=True)
class RunChoice:
    """What of each scene is run, and whether results that are there are replaced.

    Args:
        facts: what decides the results besides model and scene.
        disturb: what is done to the frames of a scene before the detector sees them.
    """

    frames: FrameRange = field(default_factory=FrameRange)
    is_replacing: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    disturb: Callable[[FrameSource], FrameSource] = lambda source: source


def run_scenes(
    scenes: Sequence[SceneEntry], detectors: DetectorPool, folder: Path, choice: RunChoice, title: str
) -> None:
    """Detect on every frame set of every scene; results go to ``folder/<scene>``, finished ones are kept.

    Raises:
        Lift3dError: a scene cannot be read, none of its sets could be used, or results belong to another run.
    """
    with tqdm(scenes, desc=title, unit="scene", disable=None) as progress:
        for entry in progress:
            progress.set_postfix_str(entry.name)
            with entry.open() as scene:
                _run_scene(scene, detectors, folder / entry.name, choice)


def _run_scene(scene: OpenScene, detectors: DetectorPool, folder: Path, choice: RunChoice) -> None:
    source = choice.disturb(scene.source)
    detector = detectors.open(source.cameras)
    finished = folder / FINISHED_FILE
    if choice.is_replacing:
        finished.unlink(missing_ok=True)
    facts = _facts(scene, source, detectors.config, detector, choice)
    results = ResultFolder(folder, facts, resume=not choice.is_replacing, overwrite=choice.is_replacing)
    if finished.exists():
        return
    expected = max(source.expected_sets - choice.frames.start, 0)
    with tqdm(total=expected, initial=results.consumed, desc=scene.name, unit="set", leave=False, disable=None) as bar:

        def on_result(_: FrameSet, __: BevDetections) -> None:
            bar.update(results.consumed - bar.n)

        run_detector(source.frame_sets(), detector, results, choice.frames, on_result)
    if not results.finished:
        raise Lift3dError(f"scene '{scene.name}': not one frame set could be run; see the warnings above and --frames")
    finished.write_text(json.dumps({"results": results.finished}) + "\n", encoding="utf-8")


def _facts(
    scene: OpenScene, source: FrameSource, config: BevDetectionConfig, detector: BevDetector, choice: RunChoice
) -> Mapping[str, Any]:
    return {
        "version": lift3d_ros.__version__,
        "scene": scene.name,
        "frame sets": source.expected_sets,
        "cameras": list(source.cameras),
        "weights": detector.identity.weights_sha256,
        "backend": detector.identity.backend,
        "settings": dataclasses.asdict(config),
        "frames": [choice.frames.start, choice.frames.stop],
        **scene.identity,
        **choice.facts,
    }
