"""The point_features node: point clouds in, features of them or of the objects in them out."""

from __future__ import annotations

from typing import NoReturn

from lift3d_ros.nodes.base import PipelineNode
from lift3d_ros.nodes.boxes_topic import boxes_message
from lift3d_ros.nodes.cloud_inputs import VISION_BOXES, CloudInputs
from lift3d_ros.nodes.jobs import Job
from lift3d_ros.nodes.point_features_config import PointFeaturesNodeConfig
from lift3d_ros.nodes.point_outputs import PointOutputs
from lift3d_ros.nodes.results import ResultTiming, running_status
from lift3d_ros.nodes.run import run_process
from lift3d_ros.pipelines.cloud_sets import CloudSet, CloudSetEncoder, PreparedCloudSet
from lift3d_ros.pipelines.point_encoder import open_point_encoder
from lift3d_ros.pipelines.point_settings import check_point_model
from lift3d_ros.types import PointFeatureSet


class PointFeaturesNode(PipelineNode[CloudSet, PreparedCloudSet, PointFeatureSet]):
    """Encodes each cloud, or each object that a box cuts out of it."""

    config: PointFeaturesNodeConfig
    inputs_part = "clouds"
    _outputs: PointOutputs

    def __init__(self) -> None:
        """Read the parameters."""
        super().__init__("point_features", PointFeaturesNodeConfig)

    def check(self) -> None:
        """Check topics, model and classifier."""
        self.config.check_topics()
        boxes_message(self.config.topics.boxes_type, VISION_BOXES)
        check_point_model(self.config.encoding)

    def open_pipeline(self) -> CloudSetEncoder:
        """Open the encoder."""
        encoder = open_point_encoder(self.config.encoding)
        pipeline = CloudSetEncoder(encoder)
        pipeline.warm_up()
        topics, identity = self.config.topics, encoder.identity
        objects = f"boxes on {self.resolve_topic_name(topics.boxes)}" if topics.boxes else "encoded as a whole"
        frame = f"'{self.config.output_frame}'" if self.config.output_frame else "the frame of the cloud"
        classes = f"; classes {', '.join(encoder.class_names)}" if encoder.class_names else ""
        self.get_logger().info(
            f"{identity.description} on {identity.backend}; clouds on {self.resolve_topic_name(topics.cloud)}, "
            f"{objects}; features in {frame}{classes}"
        )
        return pipeline

    def open_inputs(self) -> CloudInputs:
        """Subscribe."""
        return CloudInputs(self, self.config, self.submit, self.report_problem)

    def open_outputs(self) -> None:
        """Create the publishers."""
        self._outputs = PointOutputs(self)

    def publish_result(self, job: Job[CloudSet], prepared: PreparedCloudSet, result: PointFeatureSet) -> None:
        """Publish features, coloured cloud and timings, and report how it went."""
        self._outputs.publish(result)
        timing = self.publish_timing(job, result.stamp_ns, result.timings_s)
        self._outputs.publish_colored(prepared, result)
        self._report_result(job.item, prepared, result, timing)

    def _report_result(
        self, item: CloudSet, prepared: PreparedCloudSet, result: PointFeatureSet, timing: ResultTiming
    ) -> None:
        for problem in result.problems:
            self.report_problem(problem)
        count, boxes = len(result.features), item.boxes
        wanted = 1 if boxes is None else boxes.count
        remarks = []
        if count < wanted:
            remarks.append(
                "the cloud has no features" if boxes is None else f"{wanted - count} of {wanted} boxes have no features"
            )
        labels = [features.label for features in result.features if features.label]
        values = {
            "points": str(len(prepared.points)),
            "boxes": "none, the cloud as a whole" if boxes is None else str(wanted),
            "features": str(count),
            "classes": ", ".join(sorted(set(labels))) or "none",
            "clouds replaced by newer ones": str(self.mailbox.dropped),
        }
        self.diagnostics.set("pipeline", running_status(result.model, timing, remarks, values, things="features"))


def main() -> NoReturn:
    """Run the node."""
    run_process([PointFeaturesNode])
