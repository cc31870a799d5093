"""The surround-camera detector: frame set in, 3D boxes out, with BEV memory and tracks in between.

`prepare` is stateless and may run in parallel to `infer`; `infer` must be called in stamp order.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.config import group, setting
from lift3d_ros.engines.protocol import Arrays
from lift3d_ros.errors import CalibrationError, EngineError, ImageError
from lift3d_ros.geometry.project import image_from_base
from lift3d_ros.geometry.rig import Rig
from lift3d_ros.images.preprocess import ImagePreprocessor, InputSpec, PreparedImage
from lift3d_ros.models.dfa3d.can_bus import (
    ACCELERATION_AT_REST,
    CAN_BUS_LENGTH,
    absolute_can_bus,
    can_bus_difference,
)
from lift3d_ros.models.dfa3d.visibility import find_visible_pairs, pad_pairs
from lift3d_ros.pipelines.backends import engine_notice
from lift3d_ros.pipelines.bev_engine import BevEngine, EngineConfig, open_bev_engine
from lift3d_ros.pipelines.bev_graph import model_config
from lift3d_ros.pipelines.bev_memory import BevMemory, MemoryUse
from lift3d_ros.pipelines.box_decoding import base_from_model, decode_boxes
from lift3d_ros.pipelines.calibration_check import CalibrationWatch
from lift3d_ros.pipelines.camera_slots import embedding_rows
from lift3d_ros.pipelines.tracking import BoxTracker, TrackingConfig
from lift3d_ros.types import (
    BevDetections,
    Boxes3D,
    CameraUse,
    CameraView,
    EgoMotion,
    Float64Array,
    FrameSet,
    ModelIdentity,
)
from lift3d_ros.weights.manifest import find_model


@dataclass(frozen=True)
class DetectorConfig:
    """Which boxes are reported, and how long memory lasts."""

    score_threshold: float = setting(
        0.3, "boxes with a lower score are not reported, unless they have a track", minimum=0.0, maximum=1.0
    )
    max_boxes: int = setting(100, "at most this many boxes per frame, best first", minimum=1, maximum=1000)
    wraps_yaw: bool = setting(
        True, "published checkpoints: keep the difference of headings within 180 degrees; false gives it as in training"
    )
    max_gap_s: float = setting(
        2.5, "frames farther apart share neither BEV memory nor tracks", unit="s", minimum=0.0, maximum=60.0
    )


@dataclass(frozen=True)
class BevDetectionConfig:
    """Everything that decides the result of the BEV detector, apart from the model's own facts."""

    model: str = setting("lift3d-bev-tiny", "a name of 'lift3d weights list', or the path of an exported .onnx file")
    detector: DetectorConfig = group(DetectorConfig)
    engine: EngineConfig = group(EngineConfig)
    tracking: TrackingConfig = group(TrackingConfig)


@dataclass(frozen=True, eq=False)
class PreparedFrames:
    """What one frame set gives to the network; cameras that could not be decoded are left out and explained."""

    frame_set: FrameSet
    inputs: Arrays
    cameras: tuple[CameraUse, ...]
    problems: tuple[str, ...]
    prepare_s: float


class BevDetector:
    """One detector with its BEV memory and tracks; serves one sequence of frames at a time."""

    def __init__(
        self,
        bev_engine: BevEngine,
        config: DetectorConfig,
        rig: Rig | None = None,
        tracking: TrackingConfig | None = None,
    ) -> None:
        """Run `bev_engine` on frame sets; without `tracking` boxes are reported as they are found, with ids of -1.

        Args:
            rig: masks of the own vehicle and embeddings of its cameras.
        """
        self._bev_engine = bev_engine
        self.config = config
        facts = bev_engine.model_config
        self._preprocessor = ImagePreprocessor(InputSpec(facts.image_width, facts.image_height))
        self._T_base_model = base_from_model(facts)
        self._rig = rig or Rig()
        self._calibration = CalibrationWatch()
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="prepare")
        self._memory = BevMemory(bev_engine.engine.new_state, config.max_gap_s, facts.history_s)
        self._tracker = BoxTracker(tracking) if tracking is not None and tracking.enabled else None

    @property
    def identity(self) -> ModelIdentity:
        """Which model and weights are running."""
        return self._bev_engine.identity

    @property
    def notice(self) -> str:
        """What the engine says of itself; empty while all is well."""
        return engine_notice(self._bev_engine.engine)

    def reset(self) -> None:
        """Forget BEV memory and tracks, after a clock jump or at the start of another recording."""
        self._memory.reset()
        if self._tracker is not None:
            self._tracker.reset()

    def snapshot(self) -> Arrays:
        """Copy BEV memory and tracks, so that a run can be resumed after this frame."""
        tracks = {} if self._tracker is None else self._tracker.snapshot()
        return {**self._memory.snapshot(), **tracks}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Set BEV memory and tracks from a snapshot."""
        self._memory.restore(arrays)
        if self._tracker is not None:
            self._tracker.restore(arrays)

    def prepare(self, frame_set: FrameSet) -> PreparedFrames:
        """Decode, rectify and resize every camera in parallel.

        Raises:
            EngineError: more cameras than the engine has slots.
            ImageError: not one picture of the set could be decoded.
        """
        start = time.perf_counter()
        facts, slots = self._bev_engine.model_config, self._bev_engine.num_cameras
        if len(frame_set.views) > slots:
            raise EngineError(
                f"the frame set has {len(frame_set.views)} cameras, the engine was opened for {slots}; "
                "open it with the number of cameras of the rig"
            )
        images = np.zeros((slots, 3, facts.image_height, facts.image_width), dtype=np.uint8)
        projections = np.tile(np.eye(4, dtype=np.float32), (slots, 1, 1))
        is_used = np.zeros(slots, dtype=bool)
        cameras: dict[str, CameraUse] = {}
        problems = [*frame_set.problems, *self._calibration.look_at(frame_set)]
        views = frame_set.views.items()
        prepared = self._pool.map(lambda item: self._prepare_camera(item[0], item[1]), views)
        for slot, ((name, view), result) in enumerate(zip(views, prepared, strict=True)):
            if isinstance(result, str):
                problems.append(result)
                continue
            images[slot] = result.pixels
            intrinsics = facts.scaling_matrix @ result.intrinsics
            projections[slot] = image_from_base(intrinsics, view.T_cam_reference) @ self._T_base_model
            is_used[slot] = True
            stamp_ns = view.image.stamp_ns
            cameras[name] = CameraUse(name, True, stamp_ns, (frame_set.stamp_ns - view.capture_ns) * 1e-9)
        if not cameras:
            raise ImageError("no picture of this set can be used: " + "; ".join(problems))
        inputs: Arrays = {"images": images, "image_from_model": projections}
        inputs |= self._pair_inputs(projections, is_used)
        if facts.camera_names:
            inputs["camera_rows"] = self._camera_rows(frame_set, slots)
        uses = tuple(cameras.get(name, CameraUse(name, is_used=False)) for name in frame_set.cameras)
        return PreparedFrames(frame_set, inputs, uses, tuple(problems), time.perf_counter() - start)

    def _prepare_camera(self, name: str, view: CameraView) -> PreparedImage | str:
        """Return the prepared picture, or the sentence that says why this camera is left out."""
        camera = self._rig.cameras.get(name)
        try:
            return self._preprocessor.to_array(view.image, view.model, camera.own_vehicle if camera else ())
        except (ImageError, CalibrationError) as error:
            return str(error)
        except Exception as error:  # one camera must not cost the others, whatever is wrong with it
            return f"camera '{name}': cannot be prepared ({type(error).__name__}: {error}); check its calibration"

    def _pair_inputs(self, projections: NDArray[np.float32], is_used: NDArray[np.bool_]) -> Arrays:
        """Return which cells the usable cameras see, padded to what the engine was made for."""
        pairs = find_visible_pairs(projections, self._bev_engine.model_config, is_used)
        if self._bev_engine.capacity is not None:
            pairs = pad_pairs(pairs, self._bev_engine.capacity)
        return {"pair_camera": pairs.camera, "pair_cell": pairs.cell, "pairs_of_cell": pairs.pairs_of_cell}

    def _camera_rows(self, frame_set: FrameSet, slots: int) -> NDArray[np.int64]:
        row_of = embedding_rows(frame_set.cameras, self._bev_engine.model_config, _named_embeddings(self._rig))
        rows = np.zeros(slots, dtype=np.int64)
        rows[: len(frame_set.views)] = [row_of[name] for name in frame_set.views]
        return rows

    def infer(self, prepared: PreparedFrames) -> BevDetections:
        """Run the network on one prepared set and update BEV memory and tracks; call in stamp order.

        Raises:
            EngineError: the engine failed, or its outputs are not finite; memory and tracks then start afresh.
        """
        start = time.perf_counter()
        frame_set = prepared.frame_set
        memory = self._memory.compare(frame_set)
        motion = {
            "ego": self._ego_input(memory),
            "history_valid": np.array([memory.is_used], dtype=np.float32),
        }
        if self._bev_engine.model_config.reads_history_age:
            motion["history_age"] = np.array([memory.age_s], dtype=np.float32)
        try:
            state = self._memory.take(frame_set)
            outputs = self._bev_engine.engine.run({**prepared.inputs, **motion}, state)
            _refuse_non_finite(outputs)
        except Exception:
            self.reset()  # the state may be of this frame, of an earlier one or of neither
            raise
        self._memory.remember(frame_set, state)
        inferred = time.perf_counter()
        boxes = decode_boxes(outputs, self._bev_engine.model_config, frame_set.base_frame)
        decoded = time.perf_counter()
        timings_s = {"prepare": prepared.prepare_s, "inference": inferred - start, "decoding": decoded - inferred}
        if self._tracker is not None:
            boxes = self._tracker.update(boxes, frame_set.stamp_ns, frame_set.ego, is_continued=memory.is_used)
            timings_s["tracking"] = time.perf_counter() - decoded
        return BevDetections(
            stamp_ns=frame_set.stamp_ns,
            boxes=self._reported(boxes),
            cameras=prepared.cameras,
            model=self._bev_engine.identity,
            temporal_state=memory.temporal_state,
            timings_s=timings_s,
            problems=prepared.problems,
        )

    def _reported(self, boxes: Boxes3D) -> Boxes3D:
        """Return the boxes with enough score or with a track, best first."""
        assert boxes.track_ids is not None
        boxes = boxes.select((boxes.scores >= self.config.score_threshold) | (boxes.track_ids >= 0))
        return boxes.select(np.argsort(-boxes.scores, kind="stable")[: self.config.max_boxes])

    def _ego_input(self, memory: MemoryUse) -> NDArray[np.float32]:
        """Return the motion since the frame of the memory in the form that the network takes."""
        facts = self._bev_engine.model_config
        if facts.ego_input == "can_bus":
            current = self._can_bus(memory.current)
            last = self._can_bus(memory.last) if memory.is_used else None
            return can_bus_difference(current, last, wraps_yaw=self.config.wraps_yaw)[None].astype(np.float32)
        T_model_base = np.linalg.inv(self._T_base_model)
        return (T_model_base @ memory.T_history_current @ self._T_base_model)[None].astype(np.float32)

    def _can_bus(self, ego: EgoMotion | None) -> Float64Array:
        if ego is None:
            return np.zeros(CAN_BUS_LENGTH)
        repeats_scalar = self._bev_engine.model_config.repeats_quaternion_scalar
        return absolute_can_bus(ego, ACCELERATION_AT_REST, repeats_quaternion_scalar=repeats_scalar)


def open_bev_detector(config: BevDetectionConfig, cameras: Sequence[str], rig: Rig | None = None) -> BevDetector:
    """Load model and engine for these cameras and return a detector without memory.

    Raises:
        ConfigError: the weights have learned camera embeddings, and a camera has none of their names.
        WeightsError, EngineError: as :func:`lift3d_ros.pipelines.bev_engine.open_bev_engine`.
    """
    check_cameras(config.model, cameras, rig)
    engine = open_bev_engine(config.model, config.engine, len(cameras))
    embedding_rows(cameras, engine.model_config, _named_embeddings(rig))
    return BevDetector(engine, config.detector, rig, config.tracking)


def check_cameras(model: str, cameras: Sequence[str], rig: Rig | None) -> None:
    """Refuse camera names that a named model does not know, before it is loaded; a graph is asked once it is open."""
    if not model.endswith(".onnx"):
        embedding_rows(cameras, model_config(model, find_model(model)), _named_embeddings(rig))


def _named_embeddings(rig: Rig | None) -> dict[str, str]:
    cameras = {} if rig is None else rig.cameras
    return {name: camera.embedding for name, camera in cameras.items() if camera.embedding}


def _refuse_non_finite(outputs: Arrays) -> None:
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise EngineError(
                f"engine output '{name}' holds values that are not finite: no boxes for this frame, and the BEV memory "
                "starts afresh; check the weights with 'lift3d weights verify'"
            )
