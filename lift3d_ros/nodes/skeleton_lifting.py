"""The skeleton_lifting node: 2D keypoints of one camera in, 3D skeletons out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NoReturn

from lift3d_ros.nodes.base import PipelineNode
from lift3d_ros.nodes.jobs import Job
from lift3d_ros.nodes.keypoint_inputs import KeypointInputs, keypoint_message
from lift3d_ros.nodes.results import ResultTiming, running_status
from lift3d_ros.nodes.run import run_process
from lift3d_ros.nodes.skeleton_lifting_config import SkeletonLiftingNodeConfig
from lift3d_ros.nodes.skeleton_outputs import SkeletonOutputs, in_frame
from lift3d_ros.pipelines.keypoint_sets import KeypointSet, KeypointSetLifter
from lift3d_ros.pipelines.skeleton_lifting import LiftedShapes, open_skeleton_lifter
from lift3d_ros.types import Skeletons3D


class SkeletonLiftingNode(PipelineNode[KeypointSet, LiftedShapes, Skeletons3D]):
    """Lifts the keypoints of each message to 3D."""

    config: SkeletonLiftingNodeConfig
    inputs_part = "keypoints"
    _outputs: SkeletonOutputs

    def __init__(self) -> None:
        """Read the parameters."""
        super().__init__("skeleton_lifting", SkeletonLiftingNodeConfig)

    def check(self) -> None:
        """Check topics, skeletons, known lengths and model."""
        self.config.check_topics()
        keypoint_message(self.config.topics.keypoints_type)
        self.config.input.book(self.config.lifter.max_joints)
        self.config.input.yolo_facts()
        self.config.input.lengths()
        self.config.check_model()

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

    def open_inputs(self) -> KeypointInputs:
        """Subscribe."""
        return KeypointInputs(self, self.config, self.submit, self.report_problem)

    def open_outputs(self) -> None:
        """Create the publishers."""
        self._outputs = SkeletonOutputs(self)

    def publish_result(self, job: Job[KeypointSet], prepared: LiftedShapes, result: Skeletons3D) -> None:
        """Publish skeletons and timings, and report how it went."""
        placed = self._in_output_frame(result)
        self._outputs.publish(placed)
        timing = self.publish_timing(job, result.stamp_ns, result.timings_s)
        self._outputs.publish_markers(placed, result.frame_id)
        self._report_result(result, job.item.keypoints.num_instances, timing)

    def _in_output_frame(self, result: Skeletons3D) -> Skeletons3D:
        """Return the metric skeletons in `output_frame`, or where they are while its transform is not known."""
        if not any(skeleton.is_metric for skeleton in result.skeletons):
            return result
        T = self.T_output(result.frame_id, result.stamp_ns, who_stays="skeletons stay")
        return result if T is None else in_frame(result, T, self.config.output_frame)

    def _report_result(self, result: Skeletons3D, num_instances: int, timing: ResultTiming) -> None:
        for problem in result.problems:
            self.report_problem(problem)
        count, metric = len(result.skeletons), sum(skeleton.is_metric for skeleton in result.skeletons)
        remarks = [f"{num_instances - count} of {num_instances} instances not lifted"] if count < num_instances else []
        if metric < count:
            remarks.append(f"{count - metric} of {count} skeletons are normalised, not in metres")
        values = {
            "skeletons": str(count),
            "scale from": _counted(skeleton.scale_source for skeleton in result.skeletons),
            "mirror image decided by": _counted(skeleton.mirror_cue for skeleton in result.skeletons),
            "messages replaced by newer ones": str(self.mailbox.dropped),
        }
        self.diagnostics.set("pipeline", running_status(result.model, timing, remarks, values, things="skeletons"))


def _counted(names: Iterable[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(Counter(names).items())) or "none"


def main() -> NoReturn:
    """Run the node."""
    run_process([SkeletonLiftingNode])
