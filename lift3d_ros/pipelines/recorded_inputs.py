"""What the shipped recordings give to networks: the same scenes for every backend and precision.

The files hold what a pipeline gets (pictures with calibration and motion, keypoints, clouds, cut-out objects), so that
they serve every network of a method, whatever its input size. `tools/record_engine_inputs.py` writes them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lift3d_ros.array_files import read_archive
from lift3d_ros.engines.device_tensor import host_array, take_all
from lift3d_ros.engines.protocol import Arrays, Engine, EngineState, Inputs, Tensors
from lift3d_ros.errors import EngineError
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.models.i2p_mae.cloud_groups import batch_groups, group_cloud
from lift3d_ros.models.i2p_mae.config import I2pMaeConfig
from lift3d_ros.models.lrm.cameras import view_numbers
from lift3d_ros.models.lrm.config import LrmConfig
from lift3d_ros.pipelines.bev_detection import BevDetector, DetectorConfig
from lift3d_ros.pipelines.bev_engine import BevEngine
from lift3d_ros.pipelines.object_foreground import cut_object
from lift3d_ros.resources import find_resource
from lift3d_ros.types import CameraImage, CameraModel, CameraView, EgoMotion, FrameSet, ModelIdentity

FOLDER = "config/recorded_inputs"

_CLOUDS_PER_RUN = 8
_MAX_PERIOD_S = 60.0


class InputTape:
    """An engine that keeps what it is given, and the states before each run, and runs another one."""

    def __init__(self, engine: Engine) -> None:
        """Run `engine`."""
        self.name = engine.name
        self.signature = engine.signature
        self.runs: list[Arrays] = []
        self.states: list[Arrays] = []
        self._engine = engine
        self.new_state = engine.new_state

    def run(self, inputs: Inputs, state: EngineState) -> Arrays:
        """Run once; see :meth:`lift3d_ros.engines.protocol.Engine.run`."""
        self._keep(inputs, state)
        return self._engine.run(inputs, state)

    def run_on_device(self, inputs: Inputs, state: EngineState) -> Tensors:
        """Run once; see :meth:`lift3d_ros.engines.protocol.Engine.run_on_device`."""
        self._keep(inputs, state)
        return self._engine.run_on_device(inputs, state)

    def _keep(self, inputs: Inputs, state: EngineState) -> None:
        self.runs.append({name: np.array(host_array(name, value)) for name, value in take_all(inputs).items()})
        self.states.append(state.snapshot())


def street_inputs(engine: Engine, config: Dfa3dConfig) -> tuple[Arrays, ...]:
    """Return what the detector gives to its network at three moments of a simulated drive, with history from the first.

    Args:
        engine: with the signature of the network; the drive is run on it. Cameras beyond its slots are left out.

    Raises:
        EngineError: the file cannot be read.
    """
    tape = InputTape(engine)
    bev = BevEngine(tape, config, ModelIdentity("recorded inputs", "", is_trained=True))
    detector = BevDetector(bev, DetectorConfig(max_gap_s=_MAX_PERIOD_S))
    for frame_set in read_street(find_resource(f"{FOLDER}/street.npz")):
        names = list(frame_set.views)[: bev.num_cameras]
        views = {name: frame_set.views[name] for name in names}
        detector.infer(detector.prepare(dataclasses.replace(frame_set, views=views, cameras=tuple(names))))
    return tuple(tape.runs)


def skeleton_inputs() -> tuple[Arrays, ...]:
    """Return what the lifter gives to its network for views of animals and machines.

    Raises:
        EngineError: the file cannot be read.
    """
    runs: dict[int, Arrays] = {}
    for key, array in _read(find_resource(f"{FOLDER}/skeletons.npz")).items():
        number, name = key.split("/")
        runs.setdefault(int(number), {})[name] = array
    return tuple(runs[number] for number in sorted(runs))


def cloud_inputs(config: I2pMaeConfig) -> tuple[Arrays, ...]:
    """Return the groups of clouds of everyday things, as the encoder forms them.

    Raises:
        EngineError: the file cannot be read.
    """
    clouds = _read(find_resource(f"{FOLDER}/clouds.npz"))["points"].astype(np.float32)[:, : config.num_points]
    groups = [group_cloud(cloud, config.tokens) for cloud in clouds]
    return tuple(
        batch_groups(groups[first : first + _CLOUDS_PER_RUN]) for first in range(0, len(groups), _CLOUDS_PER_RUN)
    )


def object_inputs(config: LrmConfig) -> tuple[Arrays, ...]:
    """Return pictures of rendered objects, cut out and framed as the reconstructor does it.

    Raises:
        EngineError: the file cannot be read.
    """
    cameras = view_numbers(config.view).astype(np.float32)[None]
    runs = []
    for name, encoded in _read(find_resource(f"{FOLDER}/objects.npz")).items():
        bgra = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
        view = cut_object(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGBA), config.image, name=name)
        runs.append({"images": view.image[None], "cameras": cameras})
    return tuple(runs)


def write_street(path: Path, frame_sets: Sequence[FrameSet]) -> None:
    """Write frame sets of compressed pictures to one file."""
    arrays: dict[str, Any] = {}
    for number, frame_set in enumerate(frame_sets):
        assert frame_set.ego is not None
        arrays[f"{number}/stamp_ns"] = np.array(frame_set.stamp_ns)
        arrays[f"{number}/T_world_base"] = frame_set.ego.T_world_base
        for name, view in frame_set.views.items():
            place = f"{number}/{name}"
            arrays[f"{place}/jpeg"] = view.image.data
            arrays[f"{place}/size"] = np.array([view.model.width, view.model.height])
            arrays[f"{place}/intrinsics"] = view.model.intrinsics
            arrays[f"{place}/T_base_cam"] = view.T_base_cam
            arrays[f"{place}/T_reference_capture"] = view.T_reference_capture
            arrays[f"{place}/captured_ns"] = np.array(view.image.stamp_ns)
    np.savez(path, **arrays)


def read_street(path: Path) -> list[FrameSet]:
    """Read what :func:`write_street` wrote; cameras are free of distortion.

    Raises:
        EngineError: the file is missing, damaged or something else.
    """
    frames: dict[int, dict[str, Any]] = {}
    for key, array in _read(path).items():
        number, name = key.split("/", 1)
        frames.setdefault(int(number), {})[name] = array
    return [_frame_set(frames[number], path) for number in sorted(frames)]


def _frame_set(arrays: dict[str, Any], path: Path) -> FrameSet:
    try:
        stamp_ns = int(arrays["stamp_ns"])
        views = {}
        for name in [key.split("/")[0] for key in arrays if key.endswith("/jpeg")]:
            width, height = arrays[f"{name}/size"].tolist()
            model = CameraModel(name, name, width, height, arrays[f"{name}/intrinsics"])
            image = CameraImage(
                name, int(arrays[f"{name}/captured_ns"]), name, "jpeg", arrays[f"{name}/jpeg"], source=str(path)
            )
            views[name] = CameraView(image, model, arrays[f"{name}/T_base_cam"], arrays[f"{name}/T_reference_capture"])
        return FrameSet(stamp_ns, views, ego=EgoMotion(stamp_ns, arrays["T_world_base"]))
    except KeyError as error:
        raise EngineError(f"{path}: holds no {error}; install the package again") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(read_archive(path).arrays)
    except (OSError, ValueError) as error:
        raise EngineError(
            f"{path}: cannot be read ({' '.join(str(error).split())[:200]}); install the package again"
        ) from None
