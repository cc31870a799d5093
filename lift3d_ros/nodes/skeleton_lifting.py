"""The skeleton_lifting node: 2D keypoints of one camera in, 3D skeletons out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from lift3d_ros.errors import TransformError
from lift3d_ros.nodes.base import Job, PipelineNode
from lift3d_ros.nodes.diagnostics import Level, Status
from lift3d_ros.nodes.keypoint_inputs import KeypointInputs, keypoint_message
from lift3d_ros.nodes.messages import timing_msg
from lift3d_ros.nodes.run import run_node
from lift3d_ros.nodes.skeleton_lifting_config import SkeletonLiftingNodeConfig
from lift3d_ros.nodes.skeleton_outputs import SkeletonOutputs, in_frame
from lift3d_ros.pipelines.keypoint_sets import KeypointSet, KeypointSetLifter
from lift3d_ros.pipelines.skeleton_batches import PreparedKeypoints
from lift3d_ros.pipelines.skeleton_lifting import open_skeleton_lifter
from lift3d_ros.types import Skeletons3D


class SkeletonLiftingNode(PipelineNode[KeypointSet, PreparedKeypoints, Skeletons3D]):
    """Lifts the keypoints of each message to 3D."""

    config: SkeletonLiftingNodeConfig

    def __init__(self) -> None:
        """Read the parameters."""
        super().__init__("skeleton_lifting", SkeletonLiftingNodeConfig)
        self._inputs: KeypointInputs | None = None
        self._outputs: SkeletonOutputs | None = None

    def check(self) -> None:
        """Check topics, skeletons, known lengths and model."""
        self.config.check_topics()
        keypoint_message(self.config.topics.keypoints_type)
        self.config.input.book(self.config.lifter.max_joints)
        self.config.input.yolo_facts()
        self.config.input.lengths()
        self.config.check_model()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Create the outputs once the configuration is accepted."""
        outcome = super().on_configure(state)
        if outcome == TransitionCallbackReturn.SUCCESS and self._outputs is None:
            self._outputs = SkeletonOutputs(self)
        return outcome

    def open_pipeline(self) -> KeypointSetLifter:
        """Open the lifter."""
        lifter = KeypointSetLifter(open_skeleton_lifter(self.config.lifting))
        identity = lifter.identity
        topic = self.resolve_topic_name(self.config.topics.keypoints)
        frame = f"'{self.config.output_frame}'" if self.config.output_frame else "the frame of the camera"
        self.get_logger().info(
            f"{identity.description} on {identity.backend}; keypoints on {topic}; skeletons in {frame}"
        )
        return lifter

    def start_inputs(self) -> None:
        """Subscribe."""
        self._inputs = KeypointInputs(self, self.config, self.submit, self.report_problem)

    def stop_inputs(self) -> None:
        """Unsubscribe."""
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
            self.diagnostics.forget("keypoints")

    def reset_inputs(self) -> None:
        """Forget what is held."""
        if self._inputs is not None:
            self._inputs.reset()

    def waiting_for(self) -> list[str]:
        """Return what has not arrived yet."""
        return [] if self._inputs is None else self._inputs.waiting_for()

    def report_inputs(self) -> None:
        """Report the health of the inputs."""
        if self._inputs is not None:
            self._inputs.look_for_latched_calibration()
            self.diagnostics.set("keypoints", self._inputs.status())

    def publish_result(self, job: Job[KeypointSet], prepared: PreparedKeypoints, result: Skeletons3D) -> None:
        """Publish skeletons and timings, and report how it went."""
        assert self._outputs is not None
        placed = self._in_output_frame(result)
        self._outputs.publish(placed)
        total_s = time.monotonic() - job.released_s
        latency_s = (self.get_clock().now().nanoseconds - result.stamp_ns) * 1e-9
        self._outputs.publish_timing(
            timing_msg(result.stamp_ns, result.timings_s, total_s, latency_s, self.mailbox.dropped)
        )
        self._outputs.publish_markers(placed, result.frame_id)
        self._report_result(result, job.item.keypoints.num_instances, total_s, latency_s)

    def _in_output_frame(self, result: Skeletons3D) -> Skeletons3D:
        """Return the metric skeletons in `output_frame`, or where they are while its transform is not known."""
        target, inputs = self.config.output_frame, self._inputs
        if not target or target == result.frame_id or inputs is None or not any(s.is_metric for s in result.skeletons):
            return result
        try:
            T = inputs.tree.lookup(target, result.frame_id, result.stamp_ns)
        except TransformError as error:
            self.report_problem(f"skeletons stay in '{result.frame_id}': {error}")
            return result
        return in_frame(result, T, target)

    def _report_result(self, result: Skeletons3D, num_instances: int, total_s: float, latency_s: float) -> None:
        for problem in result.problems:
            self.report_problem(problem)
        count, metric = len(result.skeletons), sum(skeleton.is_metric for skeleton in result.skeletons)
        sentences = (
            [f"{num_instances - count} of {num_instances} instances not lifted"] if count < num_instances else []
        )
        if metric < count:
            sentences.append(f"{count - metric} of {count} skeletons are normalised, not in metres")
        if not result.model.is_trained:
            sentences.append("untrained weights: the skeletons mean nothing")
        values = {
            "model": result.model.description,
            "weights": result.model.weights_sha256,
            "backend": result.model.backend,
            "skeletons": str(count),
            "scale from": _counted(skeleton.scale_source for skeleton in result.skeletons),
            "mirror image decided by": _counted(skeleton.mirror_cue for skeleton in result.skeletons),
            "total": f"{total_s * 1e3:.1f} ms",
            "latency": f"{latency_s * 1e3:.1f} ms",
            "messages replaced by newer ones": str(self.mailbox.dropped),
        }
        values |= {f"stage {name}": f"{seconds * 1e3:.1f} ms" for name, seconds in result.timings_s.items()}
        level = Level.WARN if sentences else Level.OK
        self.diagnostics.set("pipeline", Status(level, "; ".join(sentences) or "running", values))


def _counted(names: Iterable[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(Counter(names).items())) or "none"


def main() -> int:
    """Run the node."""
    return run_node(SkeletonLiftingNode)
