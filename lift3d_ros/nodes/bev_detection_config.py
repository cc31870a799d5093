"""Parameters of the bev_detection node; without ROS, so that the documentation can be made from it anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lift3d_ros.config import group, setting
from lift3d_ros.errors import ConfigError
from lift3d_ros.geometry.rig import Rig, RigCamera, load_rig
from lift3d_ros.nodes.topic_settings import TOPIC_NAME_RULE, is_topic_name
from lift3d_ros.pipelines.bev_detection import BevDetectionConfig, DetectorConfig
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.frame_sets import SyncConfig
from lift3d_ros.pipelines.tracking import TrackingConfig

# output: (type, what it carries)
OUTPUT_TOPICS: Mapping[str, tuple[str, str]] = {
    "detections": (
        "lift3d_ros/BevDetectionArray",
        "boxes with velocity, score, label, track id; cameras used, with ages; model, weights hash, temporal state",
    ),
    "detections_vision": (
        "vision_msgs/Detection3DArray",
        "the same boxes without velocity, for which it has no field; where vision_msgs is installed",
    ),
    "markers": (
        "visualization_msgs/MarkerArray",
        "the same boxes for RViz, from 0.3 m/s on with a line to where they are after 1 s; made only while somebody "
        "subscribes",
    ),
    "bev": ("sensor_msgs/Image", "bird's-eye picture; made only while somebody subscribes"),
    "timing": ("lift3d_ros/StageTiming", "milliseconds of each stage, latency, replaced sets"),
}


@dataclass(frozen=True)
class TopicsConfig:
    """Where the pictures are, for cameras whose rig file names no topics."""

    image: str = setting(
        "{camera}/image",
        "pattern of the picture topics; '/compressed' is added for JPEG and PNG; on a command line with both kinds of "
        "quotes: -p 'topics.image:=\"{camera}/image_raw\"'",
    )
    camera_info: str = setting("{camera}/camera_info", "pattern of the calibration topics; quotes as above")
    is_compressed: bool = setting(False, "subscribe to sensor_msgs/CompressedImage in place of sensor_msgs/Image")


@dataclass(frozen=True)
class QosConfig:
    """Quality of service of the inputs."""

    reliability: Literal["best_effort", "reliable"] = setting(
        "best_effort", "best_effort matches every publisher; reliable waits for lost packets and adds latency"
    )
    depth: int = setting(
        1, "messages kept per topic of pictures and calibration; more than 1 only adds latency", minimum=1, maximum=1000
    )


@dataclass(frozen=True)
class BevDetectionNodeConfig:
    """Everything that can be set on the bev_detection node; all of it is read when the process starts."""

    model: str = setting("lift3d-bev-tiny", "a name of 'lift3d weights list', or the path of an exported .onnx file")
    cameras: tuple[str, ...] = setting((), "camera names, one namespace each; empty takes those of the rig file")
    rig: str = setting("", "rig file with topics, calibration and mounting; what it leaves out comes from the topics")
    base_frame: str = setting("", "frame of the vehicle; empty takes that of the rig file, else base_link")
    world_frame: str = setting(
        "", "frame that does not jump, for ego motion; empty takes that of the rig file, else odom"
    )
    output_frame: str = setting("", "frame of the published boxes; empty takes base_frame")
    ego_motion: Literal["auto", "tf", "odometry", "none"] = setting(
        "auto",
        "where ego motion comes from: transforms, odometry_topic of the rig file (without one the topic 'odom'), or "
        "nowhere (no memory of earlier frames); auto takes odometry where the rig names its topic, else transforms",
    )
    autostart: bool = setting(True, "configure and activate at start; false leaves that to a lifecycle manager")
    record_sets: str = setting("", "file to which every frame set is appended, for 'lift3d replay --sets'")
    topics: TopicsConfig = group(TopicsConfig)
    qos: QosConfig = group(QosConfig)
    sync: SyncConfig = group(SyncConfig)
    detector: DetectorConfig = group(DetectorConfig)
    tracking: TrackingConfig = group(TrackingConfig)
    engine: EngineConfig = group(EngineConfig)

    @property
    def detection(self) -> BevDetectionConfig:
        """The part that the pipeline takes."""
        return BevDetectionConfig(self.model, self.detector, self.engine, self.tracking)

    def check_topics(self, rig: Rig) -> None:
        """Refuse topic patterns and names that the middleware would refuse later.

        Raises:
            ConfigError: a pattern with another placeholder than ``{camera}``, or a name that no topic can have.
        """
        for parameter, pattern in (
            ("topics.image", self.topics.image),
            ("topics.camera_info", self.topics.camera_info),
        ):
            try:
                pattern.format(camera="camera")
            except (LookupError, ValueError):
                raise ConfigError(
                    f"parameter '{parameter}' is '{pattern}'; expected a topic with the placeholder {{camera}}, for "
                    "example {camera}/image"
                ) from None
        named = [("odometry_topic of the rig file", rig.odometry_topic or "odom")]
        for name, camera in rig.cameras.items():
            image, camera_info = self.topics.image, self.topics.camera_info
            named.append((f"camera '{name}'", camera.topic or image.format(camera=name)))
            named.append((f"camera '{name}'", camera.camera_info_topic or camera_info.format(camera=name)))
        for where, topic in named:
            if not is_topic_name(topic):
                raise ConfigError(f"{where}: '{topic}' is not a topic name; expected {TOPIC_NAME_RULE}")

    def load_rig(self) -> Rig:
        """Return the cameras to use: those of the rig file, or plain ones for `cameras`.

        Raises:
            ConfigError: no camera is named anywhere, or `cameras` names one that the rig file lacks.
        """
        rig = load_rig(Path(self.rig)) if self.rig else Rig(cameras={name: RigCamera() for name in self.cameras})
        if not rig.cameras:
            raise ConfigError(
                "parameters 'cameras' and 'rig' are both empty; name the cameras (cameras: [front, left]) or a rig file"
            )
        if unknown := [name for name in self.cameras if name not in rig.cameras]:
            raise ConfigError(
                f"parameter 'cameras' names {', '.join(unknown)}, which {self.rig} does not have; it has "
                f"{', '.join(rig.cameras)}"
            )
        cameras = {name: rig.cameras[name] for name in self.cameras or rig.cameras}
        return dataclasses.replace(rig, base_frame=self.base_frame or rig.base_frame, cameras=cameras)

    def with_rig(self, rig: Rig) -> BevDetectionNodeConfig:
        """Return the settings with what `rig` says about ego motion, where they leave it open."""
        ego_motion = self.ego_motion
        if ego_motion == "auto":
            ego_motion = "tf" if rig.odometry_topic is None else "odometry"
        world_frame = self.world_frame or rig.world_frame or "odom"
        return dataclasses.replace(self, world_frame=world_frame, ego_motion=ego_motion)
