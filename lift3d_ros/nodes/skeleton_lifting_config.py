"""Parameters of the skeleton_lifting node; without ROS, so that the documentation can be made from it anywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lift3d_ros.config import group, setting
from lift3d_ros.errors import ConfigError, EngineError
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.keypoint_sets import KeypointInputConfig, KeypointSyncConfig
from lift3d_ros.pipelines.skeleton_batches import LifterConfig
from lift3d_ros.pipelines.skeleton_graph import find_lfm
from lift3d_ros.pipelines.skeleton_lifting import SkeletonLiftingConfig
from lift3d_ros.pipelines.skeleton_mirror import MirrorConfig
from lift3d_ros.pipelines.skeleton_smoothing import SmoothingConfig

_TOPIC_NAME = re.compile(r"~?/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*")

# output: (type, what it carries)
OUTPUT_TOPICS: Mapping[str, tuple[str, str]] = {
    "skeletons": (
        "lift3d_ros/Skeleton3DArray",
        "joints in metres, or normalised where is_metric is false; uncertainty of each joint; both mirror hypotheses "
        "with probabilities; model, weights hash",
    ),
    "markers": (
        "visualization_msgs/MarkerArray",
        "bones, joints and their uncertainty for RViz; made only while somebody subscribes",
    ),
    "timing": ("lift3d_ros/StageTiming", "milliseconds of each stage, latency, replaced messages"),
}


@dataclass(frozen=True)
class TopicsConfig:
    """The inputs, all of one camera."""

    keypoints: str = setting("keypoints", "2D keypoints")
    keypoints_type: Literal["lift3d_ros", "yolo_ros"] = setting(
        "lift3d_ros", "lift3d_ros/Keypoints2DArray, or yolo_msgs/DetectionArray of a YOLO pose model in yolo_ros"
    )
    camera_info: str = setting("camera_info", "calibration; empty, or while it is silent: results are normalised")
    depth: str = setting("", "depth pictures registered to the pictures of the keypoints, for scale; empty: none")
    boxes: str = setting("", "detected 3D boxes (lift3d_ros/BevDetectionArray), for scale; empty: none")


@dataclass(frozen=True)
class QosConfig:
    """Quality of service of the inputs."""

    reliability: Literal["best_effort", "reliable"] = setting(
        "best_effort", "best_effort matches every publisher; reliable waits for lost packets and adds latency"
    )
    depth: int = setting(1, "messages kept per topic; more than 1 only adds latency", minimum=1, maximum=1000)


@dataclass(frozen=True)
class SkeletonLiftingNodeConfig:
    """Everything that can be set on the skeleton_lifting node; all of it is read when the process starts."""

    model: str = setting(
        "lift3d-lfm", "model name of models/manifest.yaml, weights.safetensors of a training, or exported .onnx file"
    )
    output_frame: str = setting("", "frame of the published metric skeletons; empty takes the optical frame")
    autostart: bool = setting(True, "configure and activate at start; false leaves that to a lifecycle manager")
    topics: TopicsConfig = group(TopicsConfig)
    qos: QosConfig = group(QosConfig)
    input: KeypointInputConfig = group(KeypointInputConfig)
    sync: KeypointSyncConfig = group(KeypointSyncConfig)
    lifter: LifterConfig = group(LifterConfig)
    mirror: MirrorConfig = group(MirrorConfig)
    smoothing: SmoothingConfig = group(SmoothingConfig)
    engine: EngineConfig = group(EngineConfig)

    @property
    def lifting(self) -> SkeletonLiftingConfig:
        """The part that the pipeline takes."""
        return SkeletonLiftingConfig(self.model, self.lifter, self.mirror, self.smoothing, self.engine)

    def check_topics(self) -> None:
        """Refuse names that the middleware would refuse later; raises ConfigError."""
        for name in ("keypoints", "camera_info", "depth", "boxes"):
            topic = getattr(self.topics, name)
            if not topic and name == "keypoints":
                raise ConfigError("parameter 'topics.keypoints' is empty; name the topic of the keypoints")
            if topic and not _TOPIC_NAME.fullmatch(topic):
                raise ConfigError(
                    f"parameter 'topics.{name}': '{topic}' is not a topic name; expected letters, digits, '_' and "
                    "'/', and no digit after a '/'"
                )

    def check_model(self) -> None:
        """Refuse a model that cannot be opened, as far as that is seen at once.

        Raises:
            WeightsError: unknown model, one of another method, missing or damaged weights.
            EngineError: a missing file.
        """
        if not self.model.endswith(".onnx"):
            find_lfm(self.model)
        elif not Path(self.model).is_file():
            raise EngineError(
                f"model '{self.model}': no such file; give the path of an exported graph, or a model name"
            )
