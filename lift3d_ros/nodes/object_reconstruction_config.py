"""Parameters of the object_reconstruction node; without ROS, so that the documentation can be made from it anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lift3d_ros.config import group, setting
from lift3d_ros.errors import ConfigError
from lift3d_ros.nodes.topic_settings import QosConfig, check_topic_names
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.object_engine import check_lrm
from lift3d_ros.pipelines.object_matting import check_rembg
from lift3d_ros.pipelines.object_reconstruction import ObjectReconstructionConfig
from lift3d_ros.pipelines.object_requests import ObjectOutputConfig, check_file_pattern
from lift3d_ros.pipelines.object_sets import ObjectInputConfig, ObjectSyncConfig
from lift3d_ros.pipelines.object_surface import SurfaceConfig, check_surface_config
from lift3d_ros.pipelines.object_triggers import TriggerConfig

# output: (type, what it carries)
OUTPUT_TOPICS: Mapping[str, tuple[str, str]] = {
    "points": (
        "sensor_msgs/PointCloud2",
        "vertices in metres with colour, and is_seen (0: guessed); only of meshes whose size is known; latched",
    ),
    "mesh": (
        "shape_msgs/Mesh",
        "the same as triangles, where shape_msgs is installed; it has no header, its frame is that of the points; "
        "latched",
    ),
    "markers": ("visualization_msgs/MarkerArray", "coloured triangles for RViz; made only while somebody subscribes"),
    "timing": ("lift3d_ros/StageTiming", "milliseconds of each stage, latency, objects that gave way"),
}


@dataclass(frozen=True)
class TopicsConfig:
    """The inputs, all of one camera."""

    image: str = setting("image", "pictures; '/compressed' is added for JPEG and PNG")
    is_compressed: bool = setting(False, "subscribe to sensor_msgs/CompressedImage in place of sensor_msgs/Image")
    camera_info: str = setting("camera_info", "calibration; empty, or while it is silent: meshes have no size")
    boxes: str = setting("boxes", "detected objects, which trigger reconstructions; empty: only on request")
    boxes_type: Literal["lift3d_ros", "vision_msgs"] = setting(
        "lift3d_ros", "lift3d_ros/BevDetectionArray (3D boxes), or vision_msgs/Detection2DArray (boxes in the picture)"
    )
    mask: str = setting("", "masks of the pictures, mono8, above 0 where an object is; empty: none")
    depth: str = setting("", "depth pictures registered to the pictures, for size and place; empty: none")


@dataclass(frozen=True)
class QueueConfig:
    """What waits while an object is reconstructed."""

    length: int = setting(
        4,
        "requests that wait at most; of one object only the newest picture waits, and the oldest object of a topic "
        "gives way",
        minimum=1,
        maximum=1000,
    )


@dataclass(frozen=True)
class ObjectReconstructionNodeConfig:
    """Everything that can be set on the object_reconstruction node; all of it is read when the process starts."""

    model: str = setting(
        "lift3d-lrm-tiny",
        "a name of 'lift3d weights list', for example triposr once it is imported; or the path of an exported .onnx "
        "file",
    )
    output_frame: str = setting("", "frame of the published meshes with a size; empty takes the optical frame")
    autostart: bool = setting(True, "configure and activate at start; false leaves that to a lifecycle manager")
    topics: TopicsConfig = group(TopicsConfig)
    qos: QosConfig = group(QosConfig)
    input: ObjectInputConfig = group(ObjectInputConfig)
    sync: ObjectSyncConfig = group(ObjectSyncConfig)
    trigger: TriggerConfig = group(TriggerConfig)
    queue: QueueConfig = group(QueueConfig)
    surface: SurfaceConfig = group(SurfaceConfig)
    output: ObjectOutputConfig = group(ObjectOutputConfig)
    engine: EngineConfig = group(EngineConfig)

    @property
    def reconstruction(self) -> ObjectReconstructionConfig:
        """The part that the pipeline takes."""
        return ObjectReconstructionConfig(self.model, self.output.limited(self.surface), self.engine)

    def check_topics(self) -> None:
        """Refuse names that the middleware would refuse later; raises ConfigError."""
        if self.topics.boxes and not self.topics.image:
            raise ConfigError(
                "parameter 'topics.image' is empty, and 'topics.boxes' is not; name the topic of the pictures that the "
                "boxes belong to, or empty both for requests alone"
            )
        names = ("image", "camera_info", "boxes", "mask", "depth")
        check_topic_names({name: getattr(self.topics, name) for name in names})

    def check_outputs(self) -> None:
        """Refuse a folder that is none, file names that lead out of it, and surfaces that cannot be made.

        Raises:
            ConfigError: names the parameter.
        """
        check_surface_config(self.reconstruction.surface)
        folder = Path(self.output.folder)
        check_file_pattern(folder, self.output.file)
        if self.output.folder and folder.exists() and not folder.is_dir():
            raise ConfigError(f"parameter 'output.folder': {folder} is no folder; name a folder")

    def check_model(self) -> None:
        """Refuse a model that cannot be opened, as far as that is seen at once.

        Raises:
            WeightsError: unknown model, one of another method, missing or damaged weights.
            EngineError: a backend that does not run it.
            Lift3dError: `input.box_cutting` needs a package that is not installed.
        """
        if self.input.box_cutting == "rembg":
            check_rembg()
        check_lrm(self.model, self.engine)
