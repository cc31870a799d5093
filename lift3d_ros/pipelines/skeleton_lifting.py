"""The skeleton lifter: 2D keypoints of any objects in, 3D skeletons in the camera frame out.

`prepare`, which runs the network, is stateless: it may work on the next frame while `infer` places and weighs the
present one. `infer` must be called in stamp order.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
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
    KeypointFrame,
    LifterConfig,
    PreparedBatch,
    PreparedKeypoints,
    instance_label,
    prepare_keypoints,
)
from lift3d_ros.pipelines.skeleton_engine import LfmEngine, open_lfm_engine
from lift3d_ros.pipelines.skeleton_metres import box_centers, find_scales, why_no_scale
from lift3d_ros.pipelines.skeleton_mirror import (
    MirrorConfig,
    MirrorDecision,
    MirrorTracks,
    gravity_log_odds,
    perspective_log_odds,
)
from lift3d_ros.pipelines.skeleton_placement import PlacedShapes, mean_joint, place_parallel, place_perspective
from lift3d_ros.pipelines.skeleton_smoothing import SkeletonSmoother, SmoothingConfig
from lift3d_ros.types import Float64Array, MirrorCue, ModelIdentity, Skeleton3D, Skeletons3D

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
        "lift3d-lfm", "a name of 'lift3d weights list', weights.safetensors of a training, or an exported .onnx file"
    )
    lifter: LifterConfig = group(LifterConfig)
    mirror: MirrorConfig = group(MirrorConfig)
    smoothing: SmoothingConfig = group(SmoothingConfig)
    engine: EngineConfig = group(EngineConfig)


@dataclass(frozen=True, eq=False)
class LiftedShapes:
    """What the network makes of one frame, before anything of earlier frames is asked: outputs of each batch."""

    prepared: PreparedKeypoints
    outputs: tuple[Arrays, ...]
    inference_s: float


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

    def prepare(self, frame: KeypointFrame) -> LiftedShapes:
        """Check and batch the instances, and run the network on them.

        Raises:
            EngineError: the engine failed, or its outputs are not finite.
        """
        prepared = prepare_keypoints(frame, self.config.lifter)
        start = time.perf_counter()
        outputs = tuple(self._run(batch) for batch in prepared.batches)
        return LiftedShapes(prepared, outputs, time.perf_counter() - start)

    def infer(self, shapes: LiftedShapes) -> Skeletons3D:
        """Place the shapes of one frame, weigh their hypotheses and update the tracks; call in stamp order."""
        start = time.perf_counter()
        frame = shapes.prepared.frame
        centers = box_centers(frame, self.config.lifter.min_confidence)
        problems = list(shapes.prepared.problems)
        lifted: dict[int, Skeleton3D] = {}
        for batch, output in zip(shapes.prepared.batches, shapes.outputs, strict=True):
            placed = self._place(batch, output)
            skeletons = self._lift_batch(frame, batch, placed, centers, problems)
            lifted.update(zip(batch.members, skeletons, strict=True))
        self._mirror.drop_older(frame.stamp_ns)
        self._smoother.drop_older(frame.stamp_ns)
        timings_s = {
            "prepare": shapes.prepared.prepare_s,
            "inference": shapes.inference_s,
            "placement": time.perf_counter() - start,
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

    def _lift_batch(
        self,
        frame: KeypointFrame,
        batch: PreparedBatch,
        lifted: _PlacedBatch,
        centers: Mapping[int, Float64Array],
        problems: list[str],
    ) -> list[Skeleton3D]:
        """Weigh the hypotheses of each instance and give it metres."""
        instances = [frame.instances[number] for number in batch.members]
        facts = [frame.skeletons[instance.skeleton] for instance in instances]
        decisions = self._decide(frame, batch, lifted, facts)
        first = np.array([decision.probability for decision in decisions])
        order = np.where((first >= 0.5)[:, None], [0, 1], [1, 0])
        rows = np.arange(len(instances))
        probabilities = np.stack([first, 1.0 - first], axis=1)[rows[:, None], order]
        joints = lifted.placed.joints[rows[:, None], order]
        residuals = lifted.placed.residuals[rows, order[:, 0]]
        scales = find_scales(frame, batch, facts, joints, centers, problems)
        scale_std = np.array([0.0 if scale is None else scale[0].std for scale in scales])
        own_std = np.where(lifted.is_arbitrary[:, None], np.maximum(lifted.std, _ARBITRARY_STD), lifted.std)
        uncertainty = _uncertainty(own_std, joints, batch.is_seen, probabilities[:, 1], scale_std)
        centred, units = _normalised(joints, batch.is_seen)
        skeletons = []
        for row, (instance, scale) in enumerate(zip(instances, scales, strict=True)):
            size = len(instance)
            if scale is None:
                own, factor = centred[row, :, :size], float(units[row])
                if frame.camera is not None:
                    problems.append(f"{instance_label(instance)}: {why_no_scale(instance, facts[row])}")
            else:
                factor = scale[0].factor
                own = joints[row, :, :size] * np.array([each.factor for each in scale])[:, None, None]
            track = facts[row].skeleton.track(instance.track_id)
            if self.config.smoothing.enabled and track is not None:
                extent = float(lifted.placed.size[row]) * factor
                source = "none" if scale is None else scale[0].source
                smooth = self._smoother.update(track, frame.stamp_ns, own, extent, source)
                own = np.stack([smooth, own[1]])
            is_seen = batch.is_seen[row, :size]
            assert instance.confidence is not None
            skeletons.append(
                Skeleton3D(
                    skeleton=facts[row].skeleton,
                    hypotheses=own,
                    probabilities=probabilities[row],
                    is_observed=is_seen,
                    uncertainty=uncertainty[row, :size] * factor,
                    is_metric=scale is not None,
                    mirror_cue=decisions[row].cue,
                    scale_source="none" if scale is None else scale[0].source,
                    scale_std=float("nan") if scale is None else scale[0].std,
                    residual=float(residuals[row]),
                    score=float(instance.confidence @ is_seen) / size,
                    category=instance.category,
                    instance_id=instance.instance_id,
                    track_id=instance.track_id,
                    input_index=batch.members[row],
                )
            )
        return skeletons

    def _decide(
        self, frame: KeypointFrame, batch: PreparedBatch, lifted: _PlacedBatch, facts: Sequence[SkeletonFacts]
    ) -> list[MirrorDecision]:
        """Ask every cue that there is which of both hypotheses is the likelier one."""
        cues: dict[MirrorCue, Float64Array] = {"model": np.where(lifted.is_arbitrary, 0.0, lifted.model_odds)}
        if frame.camera is not None:
            cues["perspective"] = np.where(lifted.is_arbitrary, 0.0, lifted.perspective_odds)
        if frame.up is not None:
            lower, upper = np.zeros_like(batch.is_seen), np.zeros_like(batch.is_seen)
            for row, known in enumerate(facts):
                lower[row, list(known.lower)] = upper[row, list(known.upper)] = True
            joints = lifted.placed.joints
            cues["gravity"] = gravity_log_odds(joints, lower & batch.is_seen, upper & batch.is_seen, frame.up)
        ids = [frame.instances[number].track_id for number in batch.members]
        tracks = [known.skeleton.track(track_id) for known, track_id in zip(facts, ids, strict=True)]
        return self._mirror.decide(cues, lifted.placed.joints, batch.is_seen, tracks, frame.stamp_ns)


def open_skeleton_lifter(config: SkeletonLiftingConfig) -> SkeletonLifter:
    """Load model and engine and return a lifter without tracks.

    Raises:
        WeightsError, EngineError: as :func:`lift3d_ros.pipelines.skeleton_engine.open_lfm_engine`.
    """
    return SkeletonLifter(open_lfm_engine(config.model, config.engine), config)


def _uncertainty(
    own: Float64Array,
    joints: Float64Array,
    is_seen: NDArray[np.bool_],
    alternative: Float64Array,
    scale_std: Float64Array,
) -> Float64Array:
    """Return standard deviations (B, J) along an axis, of the place of joints (B, 2, J, 3) within the skeleton.

    Args:
        own: (B, J) what the network states.
        alternative: (B,) probability that a joint is where the second hypothesis has it.
        scale_std: (B,) relative; a skeleton of the wrong size has its joints at wrong distances from its middle.
    """
    centred = joints - mean_joint(joints, is_seen)[:, :, None]
    between2 = ((centred[:, 0] - centred[:, 1]) ** 2).sum(axis=2)
    reach2 = (centred[:, 0] ** 2).sum(axis=2)
    added2 = (alternative[:, None] * between2 + scale_std[:, None] ** 2 * reach2) / 3.0
    return np.asarray(np.sqrt(own**2 + added2))


def _normalised(joints: Float64Array, is_seen: NDArray[np.bool_]) -> tuple[Float64Array, Float64Array]:
    """Return hypotheses (B, 2, J, 3) with the mean of seen joints at 0 and their largest |x|, |y| 1, and the factors.

    The first hypothesis decides on the factor (B,).
    """
    centred = joints - mean_joint(joints, is_seen)[:, :, None]
    extent = (np.abs(centred[:, 0, :, :2]) * is_seen[:, :, None]).max(axis=(1, 2))
    factor = 1.0 / np.maximum(extent, 1e-9)
    return np.asarray(centred * factor[:, None, None, None]), factor
