"""Parameters of the point_features node; without ROS, so that the documentation can be made from it anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lift3d_ros.config import group, setting
from lift3d_ros.errors import ConfigError
from lift3d_ros.nodes.topic_settings import QosConfig, check_topic_names
from lift3d_ros.pipelines.cloud_sets import CloudSyncConfig
from lift3d_ros.pipelines.point_encoder import PointEncoderConfig
from lift3d_ros.pipelines.point_settings import EncoderConfig, RuntimeConfig, point_encoder_config

# output: (type, what it carries)
OUTPUT_TOPICS: Mapping[str, tuple[str, str]] = {
    "features": (
        "lift3d_ros/PointFeaturesArray",
        "for each box, or for the whole cloud: global descriptor, tokens with their places in metres, class where a "
        "classifier is given; model, weights hash",
    ),
    "colored": (
        "sensor_msgs/PointCloud2",
        "the cloud in colours that are alike where the features are alike; made only while somebody subscribes",
    ),
    "timing": ("lift3d_ros/StageTiming", "milliseconds of each stage, latency, replaced clouds"),
}


@dataclass(frozen=True)
class TopicsConfig:
    """The inputs."""

    cloud: str = setting("points", "point clouds (sensor_msgs/PointCloud2)")
    boxes: str = setting("", "3D boxes of the objects to encode; empty: each cloud is encoded as a whole")
    boxes_type: Literal["lift3d_ros", "vision_msgs"] = setting(
        "lift3d_ros", "lift3d_ros/BevDetectionArray, or vision_msgs/Detection3DArray"
    )


@dataclass(frozen=True)
class PointFeaturesNodeConfig:
    """Everything that can be set on the point_features node; all of it is read when the process starts."""

    model: str = setting(
        PointEncoderConfig.model,
        "a name of 'lift3d weights list', encoder.safetensors of a training, or an exported .onnx file",
    )
    output_frame: str = setting(
        "",
        "frame of the results, with z up where possible: without boxes, clouds are encoded in it; empty takes that of "
        "each cloud",
    )
    autostart: bool = setting(True, "configure and activate at start; false leaves that to a lifecycle manager")
    topics: TopicsConfig = group(TopicsConfig)
    qos: QosConfig = group(QosConfig)
    sync: CloudSyncConfig = group(CloudSyncConfig)
    encoder: EncoderConfig = group(EncoderConfig)
    engine: RuntimeConfig = group(RuntimeConfig)

    @property
    def encoding(self) -> PointEncoderConfig:
        """The part that the pipeline takes."""
        return point_encoder_config(self.model, self.encoder, self.engine)

    def check_topics(self) -> None:
        """Refuse names that the middleware would refuse later; raises ConfigError."""
        if not self.topics.cloud:
            raise ConfigError("parameter 'topics.cloud' is empty; name the topic of the point clouds")
        check_topic_names({"cloud": self.topics.cloud, "boxes": self.topics.boxes})
