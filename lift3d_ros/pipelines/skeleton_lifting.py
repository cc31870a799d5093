"""The skeleton lifter: 2D keypoints of any objects in, 3D skeletons in the camera frame out.

`prepare` is stateless and may run in parallel to `infer`; `infer` must be called in stamp order.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.config import group, setting
from lift3d_ros.engines.protocol import Arrays
from lift3d_ros.errors import EngineError
from lift3d_ros.geometry.skeleton import SkeletonFacts
from lift3d_ros.pipelines.backends import engine_notice
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.skeleton_batches import (
    FARTHEST_PX,
    KeypointFrame,
    LifterConfig,
    PreparedBatch,
    PreparedKeypoints,
    instance_label,
    prepare_keypoints,
)
from lift3d_ros.pipelines.skeleton_engine import LfmEngine, open_lfm_engine
from lift3d_ros.pipelines.skeleton_mirror import MirrorConfig, MirrorTracks, gravity_log_odds, perspective_log_odds
from lift3d_ros.pipelines.skeleton_placement import PlacedShapes, place_parallel, place_perspective
from lift3d_ros.pipelines.skeleton_scale import (
    Scale,
    match_boxes,
    read_depth,
    scale_from_category,
    scale_from_center,
    scale_from_depth,
    scale_from_known_lengths,
)
from lift3d_ros.pipelines.skeleton_smoothing import SkeletonSmoother, SmoothingConfig
from lift3d_ros.types import Float64Array, Keypoints2D, MirrorCue, ModelIdentity, Skeleton3D, Skeletons3D

MEAN_DISTANCE = 1.596
"""Of a point with normal errors of standard deviation 1 along each axis."""
# Errors in depth are about this many times the distance in 2D that no pose of the shape removes; found on skeletons
# that the network was trained on and on others.
_ERROR_PER_RESIDUAL = 3.0
_LARGEST_MISFIT = 10.0
# Of an instance whose turn about a line is not known, in halves of its extent in the picture.
_ARBITRARY_STD = 0.5


@dataclass(frozen=True)
class SkeletonLiftingConfig:
    """Everything that decides the result of the lifter, apart from the model's own facts."""

    model: str = setting(
        "lift3d-lfm", "model name of models/manifest.yaml, weights.safetensors of a training, or exported .onnx file"
    )
    lifter: LifterConfig = group(LifterConfig)
    mirror: MirrorConfig = group(MirrorConfig)
    smoothing: SmoothingConfig = group(SmoothingConfig)
    engine: EngineConfig = group(EngineConfig)


@dataclass(frozen=True, eq=False)
class _PlacedBatch:
    """Shapes in front of the camera: B instances, J joints.

    Args:
        std: (B, J) standard deviation of joints along an axis, in the unit of the placed joints.
        model_odds, perspective_odds: (B,) log odds of the first hypothesis.
        is_arbitrary: (B,) keypoints or shape lie on a line.
    """

    placed: PlacedShapes
    std: Float64Array
    model_odds: Float64Array
    perspective_odds: Float64Array
    is_arbitrary: NDArray[np.bool_]


class SkeletonLifter:
    """One lifter with the memory of its tracks; serves one camera's sequence of frames at a time."""

    def __init__(self, lfm_engine: LfmEngine, config: SkeletonLiftingConfig) -> None:
        """Run `lfm_engine` on frames of keypoints."""
        self._engine = lfm_engine
        self.config = config
        self._mirror = MirrorTracks(config.mirror)
        self._smoother = SkeletonSmoother(config.smoothing)
        self._state = lfm_engine.engine.new_state()

    @property
    def identity(self) -> ModelIdentity:
        """Which model and weights are running."""
        return self._engine.identity

    @property
    def notice(self) -> str:
        """What the engine says of itself; empty while all is well."""
        return engine_notice(self._engine.engine)

    def reset(self) -> None:
        """Forget all tracks, after a clock jump or at the start of another recording."""
        self._mirror.reset()
        self._smoother.reset()

    def prepare(self, frame: KeypointFrame) -> PreparedKeypoints:
        """Check and batch the instances; see :func:`lift3d_ros.pipelines.skeleton_batches.prepare_keypoints`."""
        return prepare_keypoints(frame, self.config.lifter)

    def infer(self, prepared: PreparedKeypoints) -> Skeletons3D:
        """Lift one prepared frame and update the tracks; call in stamp order.

        Raises:
            EngineError: the engine failed, or its outputs are not finite.
        """
        start = time.perf_counter()
        frame = prepared.frame
        outputs = [self._run(batch) for batch in prepared.batches]
        inferred = time.perf_counter()
        centers = _box_centers(frame, self.config.lifter.min_confidence)
        problems = list(prepared.problems)
        lifted: dict[int, Skeleton3D] = {}
        for batch, output in zip(prepared.batches, outputs, strict=True):
            placed = self._place(batch, output)
            for row, number in enumerate(batch.members):
                lifted[number] = self._lift_one(frame, batch, placed, row, centers.get(number), problems)
        self._mirror.drop_older(frame.stamp_ns)
        self._smoother.drop_older(frame.stamp_ns)
        timings_s = {
            "prepare": prepared.prepare_s,
            "inference": inferred - start,
            "placement": time.perf_counter() - inferred,
        }
        return Skeletons3D(
            frame.stamp_ns,
            frame.frame_id,
            tuple(lifted[number] for number in sorted(lifted)),
            self._engine.identity,
            timings_s,
            tuple(problems),
        )

    def _run(self, batch: PreparedBatch) -> Arrays:
        outputs = self._engine.engine.run(batch.inputs, self._state)
        for name, array in outputs.items():
            if not np.isfinite(array).all():
                raise EngineError(
                    f"engine output '{name}' holds values that are not finite: no skeletons for this frame; check the "
                    "weights with 'lift3d weights verify'"
                )
        return outputs

    def _place(self, batch: PreparedBatch, output: Arrays) -> _PlacedBatch:
        """Stand the shapes of one batch in front of the camera and see how far they can be trusted."""
        shape = output["shape"].astype(np.float64)
        if batch.centered is None:
            placed = place_parallel(shape, batch.normalised.points, batch.is_seen)
        else:
            placed = place_perspective(shape, batch.normalised, batch.is_seen)
            turn = batch.centered.T_optical_view[:, None]
            placed = dataclasses.replace(placed, joints=placed.joints @ np.swapaxes(turn, 2, 3))
        spread = placed.size[:, None] * output["spread"].astype(np.float64)
        error = np.sqrt((spread**2 * batch.is_seen).sum(axis=1) / np.maximum(batch.is_seen.sum(axis=1), 1))
        # A shape that fits the keypoints badly belongs to a skeleton that the network does not know well: then it is
        # less certain of the shape and of its side than it says.
        found = _ERROR_PER_RESIDUAL * placed.residuals.min(axis=1)
        misfit = np.clip(found / np.maximum(error, 1e-6), 1.0, _LARGEST_MISFIT)
        perspective = perspective_log_odds(placed.residuals, misfit * error, self.config.mirror.keypoint_noise)
        return _PlacedBatch(
            placed,
            std=misfit[:, None] * spread / MEAN_DISTANCE,
            model_odds=output["sign_logit"].astype(np.float64) / misfit**2,
            perspective_odds=perspective,
            is_arbitrary=batch.is_line | ~placed.is_determined,
        )

    def _lift_one(
        self,
        frame: KeypointFrame,
        batch: PreparedBatch,
        lifted: _PlacedBatch,
        row: int,
        center: Float64Array | None,
        problems: list[str],
    ) -> Skeleton3D:
        """Weigh the hypotheses of one instance and give it metres."""
        instance = frame.instances[batch.members[row]]
        facts = frame.skeletons[instance.skeleton]
        is_seen = batch.is_seen[row, : len(instance)]
        joints = lifted.placed.joints[row, :, : len(instance)]
        own_std = lifted.std[row, : len(instance)]
        cues: dict[MirrorCue, float] = {}
        if lifted.is_arbitrary[row]:
            own_std = np.maximum(own_std, _ARBITRARY_STD)
        else:
            cues["model"] = float(lifted.model_odds[row])
            if frame.camera is not None:
                cues["perspective"] = float(lifted.perspective_odds[row])
        if frame.up is not None:
            cues["gravity"] = gravity_log_odds(joints, is_seen, facts, frame.up)
        decision = self._mirror.decide(cues, joints, is_seen, instance.track_id, frame.stamp_ns)
        order = [0, 1] if decision.probability >= 0.5 else [1, 0]
        probabilities = np.array([decision.probability, 1.0 - decision.probability])[order]
        joints = joints[order]
        scales = self._scales(frame, instance, facts, joints, is_seen, center, problems)
        scale_std = 0.0 if scales is None else scales[0].std
        uncertainty = _uncertainty(own_std, joints, is_seen, float(probabilities[1]), scale_std)
        if scales is None:
            joints, factor = _normalised(joints, is_seen)
        else:
            factor = scales[0].factor
            joints = joints * np.array([scale.factor for scale in scales])[:, None, None]
        if self.config.smoothing.enabled and instance.track_id >= 0:
            size = float(lifted.placed.size[row]) * factor
            smooth = self._smoother.update(instance.track_id, frame.stamp_ns, joints[0], size, scales is not None)
            joints = np.stack([smooth, joints[1]])
        assert instance.confidence is not None
        return Skeleton3D(
            skeleton=facts.skeleton,
            hypotheses=joints,
            probabilities=probabilities,
            is_observed=is_seen,
            uncertainty=uncertainty * factor,
            is_metric=scales is not None,
            mirror_cue=decision.cue,
            scale_source="none" if scales is None else scales[0].source,
            scale_std=float("nan") if scales is None else scale_std,
            residual=float(lifted.placed.residuals[row, order[0]]),
            score=float((instance.confidence * is_seen).mean()),
            category=instance.category,
            instance_id=instance.instance_id,
            track_id=instance.track_id,
        )

    @staticmethod
    def _scales(
        frame: KeypointFrame,
        instance: Keypoints2D,
        facts: SkeletonFacts,
        joints: Float64Array,
        is_seen: NDArray[np.bool_],
        center: Float64Array | None,
        problems: list[str],
    ) -> list[Scale] | None:
        """Return the scale of each hypothesis (2, J, 3), from the best source there is; None where it is not metric."""
        if frame.camera is None:
            return None
        readings = None if frame.depth is None else read_depth(frame.depth, instance.points, is_seen)
        known = [
            length for length in frame.known_lengths if {length.first, length.second} <= set(facts.skeleton.joint_names)
        ]

        def scale_of(hypothesis: Float64Array) -> Scale | None:
            scale = None if readings is None else scale_from_depth(hypothesis, readings)
            if scale is None and center is not None:
                scale = scale_from_center(hypothesis, center)
            scale = scale or scale_from_known_lengths(hypothesis, is_seen, facts, known)
            return scale or scale_from_category(hypothesis, is_seen, facts, instance.category)

        scales = [scale for scale in map(scale_of, joints) if scale is not None]
        if len(scales) == len(joints):
            return scales
        reason = (
            f"category '{instance.category}' has no size in this skeleton (known: {', '.join(facts.sizes) or 'none'})"
            if facts.size_of(instance.category) is None
            else "no joints of a known length were seen together"
        )
        problems.append(f"{instance_label(instance)}: {reason}; it is normalised, not in metres")
        return None


def open_skeleton_lifter(config: SkeletonLiftingConfig) -> SkeletonLifter:
    """Load model and engine and return a lifter without tracks.

    Raises:
        WeightsError, EngineError: as :func:`lift3d_ros.pipelines.skeleton_engine.open_lfm_engine`.
    """
    return SkeletonLifter(open_lfm_engine(config.model, config.engine), config)


def _box_centers(frame: KeypointFrame, min_confidence: float) -> dict[int, Float64Array]:
    """Return the centres of detected boxes by instance, in the optical frame."""
    if frame.boxes is None or frame.camera is None:
        return {}
    seen = {}
    for number, instance in enumerate(frame.instances):
        # Detectors put joints that they do not see anywhere, with a low confidence: their boxes would be others'.
        is_seen = instance.seen(min_confidence) & (np.abs(instance.points) <= FARTHEST_PX).all(axis=1)
        if is_seen.any():
            seen[number] = instance.points[is_seen]
    extents = np.array([[*points.min(axis=0), *points.max(axis=0)] for points in seen.values()]).reshape(-1, 4)
    centers = match_boxes(frame.boxes, frame.T_cam_boxes, frame.camera, extents)
    return {number: center for number, center in zip(seen, centers, strict=True) if center is not None}


def _uncertainty(
    own: Float64Array, joints: Float64Array, is_seen: NDArray[np.bool_], alternative: float, scale_std: float
) -> Float64Array:
    """Return standard deviations (J,) along an axis, of the place of joints (2, J, 3) within the skeleton.

    Args:
        own: what the network states.
        alternative: probability that a joint is where the second hypothesis has it.
        scale_std: relative; a skeleton of the wrong size has its joints at wrong distances from its middle.
    """
    weights = is_seen / max(is_seen.sum(), 1)
    centred = joints - (weights @ joints)[:, None]
    between2 = ((centred[0] - centred[1]) ** 2).sum(axis=1)
    reach2 = (centred[0] ** 2).sum(axis=1)
    return np.asarray(np.sqrt(own**2 + (alternative * between2 + scale_std**2 * reach2) / 3.0))


def _normalised(joints: Float64Array, is_seen: NDArray[np.bool_]) -> tuple[Float64Array, float]:
    """Return hypotheses (2, J, 3) with the mean of seen joints at 0 and their largest |x|, |y| 1, and the factor."""
    weights = is_seen / max(is_seen.sum(), 1)
    centred = joints - (weights @ joints)[:, None]
    factor = 1.0 / max(float(np.abs(centred[0][is_seen][:, :2]).max(initial=0.0)), 1e-9)
    return np.asarray(centred * factor), factor
