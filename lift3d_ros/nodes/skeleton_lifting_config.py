"""Parameters of the skeleton_lifting node; without ROS, so that the documentation can be made from it anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lift3d_ros.config import group, setting
from lift3d_ros.errors import ConfigError
from lift3d_ros.nodes.topic_settings import QosConfig, check_topic_names
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.keypoint_sets import KeypointInputConfig, KeypointSyncConfig
from lift3d_ros.pipelines.network_graph import check_graph_file
from lift3d_ros.pipelines.skeleton_batches import LifterConfig
from lift3d_ros.pipelines.skeleton_graph import find_lfm
from lift3d_ros.pipelines.skeleton_lifting import SkeletonLiftingConfig
from lift3d_ros.pipelines.skeleton_mirror import MirrorConfig
from lift3d_ros.pipelines.skeleton_smoothing import SmoothingConfig

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
class SkeletonLiftingNodeConfig:
    """Everything that can be set on the skeleton_lifting node; all of it is read when the process starts."""

    model: str = setting(
        "lift3d-lfm", "a name of 'lift3d weights list', weights.safetensors of a training, or an exported .onnx file"
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
        if not self.topics.keypoints:
            raise ConfigError("parameter 'topics.keypoints' is empty; name the topic of the keypoints")
        check_topic_names({name: getattr(self.topics, name) for name in ("keypoints", "camera_info", "depth", "boxes")})

    def check_model(self) -> None:
        """Refuse a model that cannot be opened, as far as that is seen at once.

        Raises:
            WeightsError: unknown model, one of another method, missing or damaged weights.
            EngineError: a missing file.
        """
        if not self.model.endswith(".onnx"):
            find_lfm(self.model)
        else:
            check_graph_file(self.model)
