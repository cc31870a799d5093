"""The surround-camera detector: frame set in, 3D boxes out, with BEV memory in between.

`prepare` is stateless and may run in parallel to `infer`; `infer` must be called in stamp order.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.config import group, setting
from lift3d_ros.engines.protocol import Arrays
from lift3d_ros.errors import CalibrationError, EngineError, ImageError
from lift3d_ros.geometry.project import image_from_base
from lift3d_ros.geometry.rig import Polygon
from lift3d_ros.images.preprocess import ImagePreprocessor, InputSpec, PreparedImage
from lift3d_ros.pipelines.bev_engine import BevEngine, EngineConfig, open_bev_engine
from lift3d_ros.pipelines.bev_memory import BevMemory
from lift3d_ros.types import BevDetections, Boxes3D, CameraUse, CameraView, FrameSet, ModelIdentity, UInt8Array


@dataclass(frozen=True)
class DetectorConfig:
    """Which boxes are reported, and how long memory lasts."""

    score_threshold: float = setting(0.3, "boxes with a lower score are not reported", minimum=0.0, maximum=1.0)
    max_boxes: int = setting(100, "at most this many boxes per frame, best first", minimum=1, maximum=1000)
    max_gap_s: float = setting(2.5, "frames farther apart do not share BEV memory", unit="s", minimum=0.0, maximum=60.0)


@dataclass(frozen=True)
class BevDetectionConfig:
    """Everything that decides the result of the BEV detector, apart from the model's own facts."""

    model: str = setting("dfa3d_tiny", "model name of models/manifest.yaml, or the path of an exported .onnx file")
    detector: DetectorConfig = group(DetectorConfig)
    engine: EngineConfig = group(EngineConfig)


@dataclass(frozen=True, eq=False)
class PreparedFrames:
    """Network inputs of one frame set; cameras that could not be decoded are masked and explained."""

    frame_set: FrameSet
    images: UInt8Array
    image_from_base: NDArray[np.float32]
    camera_mask: NDArray[np.float32]
    cameras: tuple[CameraUse, ...]
    problems: tuple[str, ...]
    prepare_s: float


class BevDetector:
    """One detector with its BEV memory; serves one sequence of frames at a time."""

    def __init__(
        self,
        bev_engine: BevEngine,
        config: DetectorConfig,
        own_vehicle: Mapping[str, tuple[Polygon, ...]] | None = None,
    ) -> None:
        """Run `bev_engine` on frame sets.

        Args:
            own_vehicle: camera name -> polygons of the own vehicle in px of the full picture, see the rig file.
        """
        self._bev_engine = bev_engine
        self.config = config
        facts = bev_engine.model_config
        self._preprocessor = ImagePreprocessor(InputSpec(facts.image_width, facts.image_height))
        self._own_vehicle = dict(own_vehicle or {})
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="prepare")
        self._memory = BevMemory(config.max_gap_s)
        self._state = bev_engine.engine.new_state()

    @property
    def identity(self) -> ModelIdentity:
        """Which model and weights are running."""
        return self._bev_engine.identity

    def reset(self) -> None:
        """Forget the BEV memory, after a clock jump or at the start of another recording."""
        self._memory.reset()
        self._state.reset()

    def snapshot(self) -> Arrays:
        """Copy the BEV memory, so that a run can be resumed after this frame."""
        return {**self._state.snapshot(), **self._memory.snapshot()}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Set the BEV memory from a snapshot."""
        self._state.restore(arrays)
        self._memory.restore(arrays)

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
        mask = np.zeros(slots, dtype=np.float32)
        cameras: dict[str, CameraUse] = {}
        problems = list(frame_set.problems)
        views = frame_set.views.items()
        prepared = self._pool.map(lambda item: self._prepare_camera(item[0], item[1]), views)
        for slot, ((name, view), result) in enumerate(zip(views, prepared, strict=True)):
            if isinstance(result, str):
                problems.append(result)
                continue
            images[slot] = result.pixels
            projections[slot] = image_from_base(result.intrinsics, view.T_cam_reference)
            mask[slot] = 1.0
            stamp_ns = view.image.stamp_ns
            cameras[name] = CameraUse(name, True, stamp_ns, (frame_set.stamp_ns - view.capture_ns) * 1e-9)
        if not cameras:
            raise ImageError("no picture of this set can be used: " + "; ".join(problems))
        uses = tuple(cameras.get(name, CameraUse(name, is_used=False)) for name in frame_set.cameras)
        elapsed = time.perf_counter() - start
        return PreparedFrames(frame_set, images, projections, mask, uses, tuple(problems), elapsed)

    def _prepare_camera(self, name: str, view: CameraView) -> PreparedImage | str:
        """Return the prepared picture, or the sentence that says why this camera is left out."""
        try:
            return self._preprocessor.to_array(view.image, view.model, self._own_vehicle.get(name, ()))
        except (ImageError, CalibrationError) as error:
            return str(error)
        except Exception as error:  # one camera must not cost the others, whatever is wrong with it
            return f"camera '{name}': cannot be prepared ({type(error).__name__}: {error}); check its calibration"

    def infer(self, prepared: PreparedFrames) -> BevDetections:
        """Run the network on one prepared set and update the BEV memory; call in stamp order."""
        start = time.perf_counter()
        frame_set = prepared.frame_set
        memory = self._memory.advance(frame_set)
        outputs = self._bev_engine.engine.run(
            {
                "images": prepared.images,
                "image_from_base": prepared.image_from_base,
                "camera_mask": prepared.camera_mask,
                "T_history_current": memory.T_history_current.astype(np.float32),
                "history_valid": np.array(memory.is_used, dtype=np.float32),
            },
            self._state,
        )
        inferred = time.perf_counter()
        boxes = decode_boxes(outputs, self._bev_engine.model_config.class_names, frame_set.base_frame, self.config)
        return BevDetections(
            stamp_ns=frame_set.stamp_ns,
            boxes=boxes,
            cameras=prepared.cameras,
            model=self._bev_engine.identity,
            temporal_state=memory.temporal_state,
            timings_s={
                "prepare": prepared.prepare_s,
                "inference": inferred - start,
                "decoding": time.perf_counter() - inferred,
            },
            problems=prepared.problems,
        )


def open_bev_detector(
    config: BevDetectionConfig, num_cameras: int, own_vehicle: Mapping[str, tuple[Polygon, ...]] | None = None
) -> BevDetector:
    """Load model and engine for a rig of `num_cameras` cameras and return a detector without memory."""
    return BevDetector(open_bev_engine(config.model, config.engine, num_cameras), config.detector, own_vehicle)


def decode_boxes(
    outputs: Mapping[str, NDArray[Any]], class_names: tuple[str, ...], base_frame: str, config: DetectorConfig
) -> Boxes3D:
    """Turn network outputs into boxes: best class scores over all queries, without suppression.

    Args:
        outputs: ``class_logits`` (Q, classes) and ``box_codes`` (Q, 10): cx, cy, log width, log length, cz,
            log height, sin yaw, cos yaw, vx, vy; metres in the base frame (fact sheet DFA3D, section 16).
    """
    logits = outputs["class_logits"].astype(np.float64)
    scores = 1.0 / (1.0 + np.exp(-logits))
    order = np.argsort(-scores.reshape(-1), kind="stable")[: config.max_boxes]
    query, label = np.divmod(order, len(class_names))
    code = outputs["box_codes"].astype(np.float64)[query]
    boxes = Boxes3D(
        frame_id=base_frame,
        class_names=class_names,
        centers=code[:, [0, 1, 4]],
        sizes=np.exp(np.clip(code[:, [3, 2, 5]], -5.0, 5.0)),
        yaws=np.arctan2(code[:, 6], code[:, 7]),
        velocities=code[:, 8:10],
        scores=scores.reshape(-1)[order],
        labels=label,
    )
    return boxes.select(boxes.scores >= config.score_threshold)
