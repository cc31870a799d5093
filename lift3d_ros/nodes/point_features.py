"""The point_features node: point clouds in, features of them or of the objects in them out."""

from __future__ import annotations

import time

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from lift3d_ros.nodes.base import Job, PipelineNode
from lift3d_ros.nodes.boxes_topic import boxes_message
from lift3d_ros.nodes.cloud_inputs import VISION_BOXES, CloudInputs
from lift3d_ros.nodes.diagnostics import Level, Status
from lift3d_ros.nodes.messages import timing_msg
from lift3d_ros.nodes.point_features_config import PointFeaturesNodeConfig
from lift3d_ros.nodes.point_outputs import PointOutputs
from lift3d_ros.nodes.run import run_node
from lift3d_ros.pipelines.cloud_sets import CloudSet, CloudSetEncoder, PreparedCloudSet
from lift3d_ros.pipelines.point_encoder import open_point_encoder
from lift3d_ros.pipelines.point_settings import check_point_model
from lift3d_ros.types import PointFeatureSet


class PointFeaturesNode(PipelineNode[CloudSet, PreparedCloudSet, PointFeatureSet]):
    """Encodes each cloud, or each object that a box cuts out of it."""

    config: PointFeaturesNodeConfig

    def __init__(self) -> None:
        """Read the parameters."""
        super().__init__("point_features", PointFeaturesNodeConfig)
        self._inputs: CloudInputs | None = None
        self._outputs: PointOutputs | None = None

    def check(self) -> None:
        """Check topics, model and classifier."""
        self.config.check_topics()
        boxes_message(self.config.topics.boxes_type, VISION_BOXES)
        check_point_model(self.config.encoding)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Create the outputs once the configuration is accepted."""
        outcome = super().on_configure(state)
        if outcome == TransitionCallbackReturn.SUCCESS and self._outputs is None:
            self._outputs = PointOutputs(self)
        return outcome

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

    def start_inputs(self) -> None:
        """Subscribe."""
        self._inputs = CloudInputs(self, self.config, self.submit, self.report_problem)

    def stop_inputs(self) -> None:
        """Unsubscribe."""
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
            self.diagnostics.forget("clouds")

    def reset_inputs(self) -> None:
        """Forget what waits."""
        if self._inputs is not None:
            self._inputs.reset()

    def waiting_for(self) -> list[str]:
        """Return what has not arrived yet."""
        return [] if self._inputs is None else self._inputs.waiting_for()

    def report_inputs(self) -> None:
        """Report the health of the inputs."""
        if self._inputs is not None:
            self._inputs.look_for_latched_cloud()
            self.diagnostics.set("clouds", self._inputs.status())

    def publish_result(self, job: Job[CloudSet], prepared: PreparedCloudSet, result: PointFeatureSet) -> None:
        """Publish features, coloured cloud and timings, and report how it went."""
        assert self._outputs is not None
        self._outputs.publish(result)
        total_s = time.monotonic() - job.released_s
        latency_s = (self.get_clock().now().nanoseconds - result.stamp_ns) * 1e-9
        self._outputs.publish_timing(
            timing_msg(result.stamp_ns, result.timings_s, total_s, latency_s, self.mailbox.dropped)
        )
        self._outputs.publish_colored(prepared, result)
        self._report_result(job.item, prepared, result, total_s, latency_s)

    def _report_result(
        self, item: CloudSet, prepared: PreparedCloudSet, result: PointFeatureSet, total_s: float, latency_s: float
    ) -> None:
        for problem in result.problems:
            self.report_problem(problem)
        count, boxes = len(result.features), item.boxes
        wanted = 1 if boxes is None else boxes.count
        sentences = []
        if count < wanted:
            sentences.append(
                "the cloud has no features" if boxes is None else f"{wanted - count} of {wanted} boxes have no features"
            )
        if not result.model.is_trained:
            sentences.append("untrained weights: the features mean nothing")
        labels = [features.label for features in result.features if features.label]
        values = {
            "model": result.model.description,
            "weights": result.model.weights_sha256,
            "backend": result.model.backend,
            "points": str(len(prepared.points)),
            "boxes": "none, the cloud as a whole" if boxes is None else str(wanted),
            "features": str(count),
            "classes": ", ".join(sorted(set(labels))) or "none",
            "total": f"{total_s * 1e3:.1f} ms",
            "latency": f"{latency_s * 1e3:.1f} ms",
            "clouds replaced by newer ones": str(self.mailbox.dropped),
        }
        values |= {f"stage {name}": f"{seconds * 1e3:.1f} ms" for name, seconds in result.timings_s.items()}
        level = Level.WARN if sentences else Level.OK
        self.diagnostics.set("pipeline", Status(level, "; ".join(sentences) or "running", values))


def main() -> int:
    """Run the node."""
    return run_node(PointFeaturesNode)
