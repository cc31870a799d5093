"""Tables of robustness: the figures of the same scenes with something wrong."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lift3d_ros.datasets.class_map import ClassMap
from lift3d_ros.errors import EngineError
from lift3d_ros.evaluation.detection import score_detections
from lift3d_ros.evaluation.detection_figures import DetectionMetrics
from lift3d_ros.evaluation.disturbances import (
    Disturbance,
    DisturbedFrames,
    calibration_errors,
    missing_cameras,
    time_offsets,
    worse_pictures,
)
from lift3d_ros.evaluation.scene_results import read_all_results
from lift3d_ros.evaluation.scene_runs import DetectorPool, RunChoice, run_scenes
from lift3d_ros.evaluation.scenes import SceneEntry
from lift3d_ros.geometry.rig import Rig
from lift3d_ros.pipelines.bev_detection import BevDetectionConfig
from lift3d_ros.pipelines.bev_engine import BevEngine, EngineConfig
from lift3d_ros.pipelines.bev_graph import model_config
from lift3d_ros.replay.source import FrameSource
from lift3d_ros.weights.manifest import find_model

if TYPE_CHECKING:
    from lift3d_ros.models.dfa3d.depth_noise import DepthNoise

ROBUSTNESS_FOLDER = "robustness"
DEPTH = "depth scores"


@dataclass(frozen=True)
class RobustnessChoice:
    """Which tables of robustness are made."""

    drops_cameras: bool = False
    has_calibration_errors: bool = False
    has_time_offsets: bool = False
    has_worse_pictures: bool = False
    has_depth_noise: bool = False

    def disturbances(self, cameras: Sequence[str]) -> list[Disturbance]:
        """Return the rows of the tables in which frame sets are disturbed."""
        rows = missing_cameras(cameras) if self.drops_cameras else []
        rows += calibration_errors() if self.has_calibration_errors else []
        rows += time_offsets() if self.has_time_offsets else []
        return rows + (worse_pictures() if self.has_worse_pictures else [])


@dataclass(frozen=True)
class RobustnessRow:
    """Figures under one disturbance, and those without it."""

    table: str
    name: str
    mean_ap: float
    nds: float
    clean_mean_ap: float
    clean_nds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``metrics.json``."""
        return {
            "disturbance": self.name,
            "mAP": self.mean_ap,
            "NDS": self.nds,
            "mAP_change": self.mean_ap - self.clean_mean_ap,
            "NDS_change": self.nds - self.clean_nds,
        }


def measure_robustness(
    clean: DetectionMetrics,
    scenes: Sequence[SceneEntry],
    config: BevDetectionConfig,
    rig: Rig | None,
    out: Path,
    run: RunChoice,
    choice: RobustnessChoice,
    class_map: ClassMap,
) -> tuple[RobustnessRow, ...]:
    """Replay the scenes with each disturbance and return the rows of the tables.

    Args:
        clean: figures of the same scenes without disturbance.
        out: folder of the evaluation; results go to folders in it.
        class_map: from the classes of the labels to those of the benchmark.

    Raises:
        EngineError: depth noise is asked for, and the model does not allow it.
    """
    problem = depth_noise_problem(config.model) if choice.has_depth_noise else None
    if problem is not None:
        raise EngineError(problem)
    pool = DetectorPool(config, rig)
    rows = []
    for disturbance in choice.disturbances(_cameras(scenes)):

        def disturb(source: FrameSource, disturbance: Disturbance = disturbance) -> FrameSource:
            return DisturbedFrames(source, disturbance)

        folder = out / ROBUSTNESS_FOLDER / disturbance.folder
        this_run = dataclasses.replace(
            run, disturb=disturb, facts={**run.facts, "disturbance": f"{disturbance.table}: {disturbance.name}"}
        )
        found = _figures(scenes, pool, folder, this_run, disturbance.name, class_map)
        rows.append(
            RobustnessRow(disturbance.table, disturbance.name, found.mean_ap, found.nds, clean.mean_ap, clean.nds)
        )
    if choice.has_depth_noise:
        rows += _depth_rows(scenes, config, rig, out, run, class_map)
    return tuple(rows)


def depth_noise_problem(model: str) -> str | None:
    """Return the sentence that says why the depth of a model cannot be disturbed, None where it can.

    Raises:
        WeightsError: no such model.
    """
    if model.endswith(".onnx"):
        return (
            f"depth noise changes depth inside of the network, which the graph '{model}' does not allow; give the name "
            "of a model of 'lift3d weights list', which then runs with torch"
        )
    source = model_config(model, find_model(model)).depth.source
    if source not in ("light", "aspp"):
        return f"depth noise needs a model that predicts depth, and the depth of '{model}' is '{source}'"
    if importlib.util.find_spec("torch") is None:
        return "depth noise needs torch, which is not installed; 'pip install torch'"
    return None


def _depth_rows(
    scenes: Sequence[SceneEntry],
    config: BevDetectionConfig,
    rig: Rig | None,
    out: Path,
    run: RunChoice,
    class_map: ClassMap,
) -> list[RobustnessRow]:
    """Return the table of worse depth scores, all rows with torch, the first one as predicted."""
    from lift3d_ros.models.dfa3d.depth_noise import DepthNoise

    given = config.engine
    engine = EngineConfig("torch", given.device, given.precision, cuda_graph=False, threads=given.threads)
    config = dataclasses.replace(config, engine=engine)
    noises = [
        DepthNoise(),
        *(DepthNoise(shift_m=shift) for shift in (1.0, 2.0, 4.0)),
        *(DepthNoise(blur_m=blur) for blur in (2.0, 5.0)),
        DepthNoise(is_uniform=True),
    ]
    rows: list[RobustnessRow] = []
    for noise in noises:
        pool = DetectorPool(config, rig, _depth_disturber(noise))
        name = "".join(letter if letter.isalnum() else "_" for letter in f"{DEPTH} {noise.name}")
        this_run = dataclasses.replace(run, facts={**run.facts, "disturbance": f"{DEPTH}: {noise.name}"})
        found = _figures(scenes, pool, out / ROBUSTNESS_FOLDER / name, this_run, noise.name, class_map)
        clean = (rows[0].mean_ap, rows[0].nds) if rows else (found.mean_ap, found.nds)
        rows.append(RobustnessRow(DEPTH, noise.name, found.mean_ap, found.nds, *clean))
    return rows


def _depth_disturber(noise: DepthNoise) -> Callable[[BevEngine], None]:
    from lift3d_ros.engines.torch_engine import TorchEngine
    from lift3d_ros.models.dfa3d.depth_noise import DepthNoise, disturb_depth

    def disturb(opened: BevEngine) -> None:
        assert isinstance(opened.engine, TorchEngine)
        if noise != DepthNoise():
            disturb_depth(opened.engine.module, noise)

    return disturb


def _figures(
    scenes: Sequence[SceneEntry],
    pool: DetectorPool,
    folder: Path,
    run: RunChoice,
    title: str,
    class_map: ClassMap,
) -> DetectionMetrics:
    run_scenes(scenes, pool, folder, run, title)
    found = read_all_results(scenes, {entry.name: folder / entry.name for entry in scenes}, class_map)
    return score_detections([scene.matches for scene in found])[0]


def _cameras(scenes: Sequence[SceneEntry]) -> tuple[str, ...]:
    """Return the cameras of all scenes as they stand around the vehicle, so that every second one is not a half of it.

    A camera that stands elsewhere in another scene keeps the place where it was met first.
    """
    headings: dict[str, float] = {}
    for entry in scenes:
        with entry.open() as scene:
            if headings.keys() >= set(scene.source.cameras):
                continue
            for frame_set in scene.source.frame_sets():
                for name, view in frame_set.views.items():
                    headings.setdefault(name, float(np.arctan2(view.T_base_cam[1, 2], view.T_base_cam[0, 2])))
                if not frame_set.missing:
                    break
    return tuple(sorted(headings, key=lambda name: (headings[name], name)))
