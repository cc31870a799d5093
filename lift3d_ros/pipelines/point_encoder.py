"""The point encoder: a cloud and optional boxes in, descriptors and tokens with their places out.

`prepare` and `infer` keep nothing from one cloud to the next; `prepare` may run in parallel to `infer`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.config import setting
from lift3d_ros.engines.protocol import Arrays
from lift3d_ros.errors import EngineError, Lift3dError
from lift3d_ros.models.i2p_mae.cloud_groups import batch_groups, group_cloud
from lift3d_ros.models.i2p_mae.config import I2pMaeConfig
from lift3d_ros.pipelines.backends import Backend, engine_notice
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.point_classifier import PointFeatureClassifier, load_classifier
from lift3d_ros.pipelines.point_crops import UnitCloud, cut_crops, finite_points, unit_cloud
from lift3d_ros.pipelines.point_engine import PointEngine, open_point_engine
from lift3d_ros.types import Boxes3D, Float32Array, ModelIdentity, PointCrop, PointFeatures, PointFeatureSet

WHOLE_CLOUD = -1
MOST_THREADS = 256


@dataclass(frozen=True)
class PointEncoderConfig:
    """Everything that decides the features, apart from the model's own facts."""

    model: str = setting(
        "lift3d-points-small",
        "a name of 'lift3d weights list', encoder.safetensors of a training, or an exported .onnx file",
    )
    device: str = setting("cpu", "device of the torch backend, for example cpu or cuda:0")
    num_threads: int = setting(0, "CPU threads of the runtime; 0 lets it choose", minimum=0, maximum=MOST_THREADS)
    backend: Backend = setting(
        "auto",
        "runtime of the network; auto takes onnxruntime, and torch for weights of a training (.safetensors), for "
        "another device than cpu, or where onnxruntime is not installed",
    )
    max_crops: int = setting(
        32, "of more boxes in a cloud, those with the highest scores are encoded", minimum=1, maximum=1000
    )
    classifier: str = setting("", "classifier.safetensors of 'lift3d fit-classifier'; empty for none")


@dataclass(frozen=True, eq=False)
class PointCloudFrame:
    """One cloud and the objects in it.

    Args:
        points: (N, 3) float32 metres; those that are not finite are left out.
        boxes: of objects, in the frame of the cloud; None encodes the cloud as a whole.
        ids: (M,) numbers of the boxes, 0 and above; None counts them.

    Raises:
        Lift3dError: points of another shape, as many ids as there are no boxes, or boxes in another frame.
    """

    points: Float32Array
    frame_id: str = ""
    stamp_ns: int = 0
    boxes: Boxes3D | None = None
    ids: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        points: NDArray[Any] = np.asarray(self.points, dtype=np.float32)
        if points.ndim != 2 or points.shape[1] != 3:
            raise Lift3dError(f"cloud: points must have shape (points, 3), got {points.shape}")
        object.__setattr__(self, "points", points)
        if self.boxes is None:
            return
        if self.boxes.frame_id != self.frame_id:
            raise Lift3dError(
                f"cloud: its frame is '{self.frame_id}' and that of the boxes '{self.boxes.frame_id}'; transform the "
                "boxes first"
            )
        ids: NDArray[Any] = np.arange(len(self.boxes)) if self.ids is None else np.asarray(self.ids)
        if ids.shape != (len(self.boxes),):
            raise Lift3dError(f"cloud: {ids.size} ids for {len(self.boxes)} boxes; give one for each box")
        object.__setattr__(self, "ids", ids.astype(np.int64))

    @property
    def label(self) -> str:
        """Name of the cloud in messages."""
        return f"cloud in '{self.frame_id}'" if self.frame_id else "cloud"


@dataclass(frozen=True, eq=False)
class PreparedClouds:
    """What one cloud gives to the network; boxes without points are left out and named in `problems`.

    Args:
        crops: B crops of finite points.
        units: B reduced and normalised crops.
        inputs: arrays of the network for all crops; empty without crops.
    """

    frame: PointCloudFrame
    crops: tuple[PointCrop, ...]
    units: tuple[UnitCloud, ...]
    inputs: Arrays
    problems: tuple[str, ...]
    prepare_s: float


class PointEncoder:
    """An encoder with its weights, and a classifier where one was given."""

    def __init__(self, point_engine: PointEngine, config: PointEncoderConfig) -> None:
        """Run `point_engine` on clouds.

        Raises:
            WeightsError: the classifier cannot be read, or was fitted to the features of other weights.
        """
        self._engine = point_engine
        self.config = config
        self._state = point_engine.engine.new_state()
        self._classifier: PointFeatureClassifier | None = None
        if config.classifier:
            self._classifier = load_classifier(
                Path(config.classifier), point_engine.identity, point_engine.config.descriptor_dims
            )

    @property
    def identity(self) -> ModelIdentity:
        """Which model and weights are running."""
        return self._engine.identity

    @property
    def notice(self) -> str:
        """What the engine says of itself; empty while all is well."""
        return engine_notice(self._engine.engine)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes that are told apart; empty without a classifier."""
        return () if self._classifier is None else self._classifier.class_names

    @property
    def network(self) -> I2pMaeConfig:
        """Facts of the network: points that a crop is reduced to, groups, sizes."""
        return self._engine.config

    def reset(self) -> None:
        """Do nothing: no cloud has a part in the features of another."""

    def prepare(self, clouds: PointCloudFrame) -> PreparedClouds:
        """Cut, reduce, normalise and group the crops of one cloud; see :mod:`lift3d_ros.pipelines.point_crops`."""
        start = time.perf_counter()
        points = finite_points(clouds.points)
        problems: list[str] = []
        crops: list[PointCrop] = []
        if not len(points):
            found = f"none of its {len(clouds.points)} points is finite" if len(clouds.points) else "it has no points"
            problems.append(f"{clouds.label}: {found}; there are no features")
        elif clouds.boxes is None:
            crops = [PointCrop(points, WHOLE_CLOUD)]
        else:
            crops = self._crops_of_boxes(clouds, points, problems)
        network = self.network
        units = tuple(unit_cloud(crop.points, network.num_points, fills_gaps=network.fills_gaps) for crop in crops)
        groups = [group_cloud(unit.points, self.network.tokens, is_sampled=True) for unit in units]
        inputs = batch_groups(groups) if groups else {}
        return PreparedClouds(clouds, tuple(crops), units, inputs, tuple(problems), time.perf_counter() - start)

    def infer(self, prepared: PreparedClouds) -> PointFeatureSet:
        """Encode all crops of one prepared cloud at once.

        Raises:
            EngineError: the engine failed, or its outputs are not finite.
        """
        start = time.perf_counter()
        features = self._encode(prepared) if prepared.crops else ()
        return PointFeatureSet(
            prepared.frame.frame_id,
            prepared.frame.stamp_ns,
            features,
            self.identity,
            {"prepare": prepared.prepare_s, "inference": time.perf_counter() - start},
            prepared.problems,
        )

    def _crops_of_boxes(self, frame: PointCloudFrame, points: Float32Array, problems: list[str]) -> list[PointCrop]:
        assert frame.boxes is not None
        assert frame.ids is not None
        boxes, ids = frame.boxes, frame.ids
        if len(boxes) > self.config.max_crops:
            best = np.sort(np.argsort(-boxes.scores, kind="stable")[: self.config.max_crops])
            problems.append(
                f"{frame.label}: {len(boxes)} boxes, and max_crops is {self.config.max_crops}; those "
                "with the lowest scores are left out"
            )
            boxes, ids = boxes.select(best), ids[best]
        crops = cut_crops(points, boxes, ids)
        problems += [
            f"box {crop.instance_id}: no point of the cloud lies in it; it has no features"
            for crop in crops
            if not len(crop)
        ]
        return [crop for crop in crops if len(crop)]

    def _encode(self, prepared: PreparedClouds) -> tuple[PointFeatures, ...]:
        outputs = self._engine.engine.run(prepared.inputs, self._state)
        for name, array in outputs.items():
            if not np.isfinite(array).all():
                raise EngineError(
                    f"engine output '{name}' holds values that are not finite: no features for this cloud; check the "
                    "weights with 'lift3d weights verify'"
                )
        descriptors, tokens = outputs["descriptor"], outputs["tokens"]
        centers = prepared.inputs["centers"][:, -tokens.shape[1] :]
        classes = [("", 0.0)] * len(tokens) if self._classifier is None else self._classifier.classify(descriptors)
        return tuple(
            PointFeatures(
                descriptors[row],
                tokens[row],
                centers[row] * unit.radius + unit.center,
                *classes[row],
                instance_id=crop.instance_id,
                num_points=len(crop),
            )
            for row, (crop, unit) in enumerate(zip(prepared.crops, prepared.units, strict=True))
        )


def open_point_encoder(config: PointEncoderConfig) -> PointEncoder:
    """Load model, engine and classifier, and encode a few points once.

    Raises:
        WeightsError, EngineError: as :func:`lift3d_ros.pipelines.point_engine.open_point_engine` and `PointEncoder`.
    """
    engine = EngineConfig(config.backend, config.device, threads=config.num_threads)
    encoder = PointEncoder(open_point_engine(config.model, engine), config)
    # The search for farthest points is compiled at its first use, which takes seconds: here, not at the first cloud.
    encoder.infer(encoder.prepare(PointCloudFrame(np.eye(3, dtype=np.float32))))
    return encoder
