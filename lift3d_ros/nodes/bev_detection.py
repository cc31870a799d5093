"""The bev_detection node: surround cameras in, 3D boxes out."""

from __future__ import annotations

import time
from pathlib import Path

from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from lift3d_ros.errors import ConfigError, TransformError
from lift3d_ros.geometry.boxes import transform_boxes
from lift3d_ros.nodes.base import Job, PipelineNode
from lift3d_ros.nodes.bev_detection_config import BevDetectionNodeConfig
from lift3d_ros.nodes.bev_outputs import BevOutputs
from lift3d_ros.nodes.camera_inputs import CameraInputs
from lift3d_ros.nodes.diagnostics import Level, Status
from lift3d_ros.nodes.messages import timing_msg
from lift3d_ros.nodes.run import run_node
from lift3d_ros.nodes.set_file import SetFile
from lift3d_ros.pipelines.bev_detection import BevDetector, PreparedFrames, check_cameras, open_bev_detector
from lift3d_ros.pipelines.bev_engine import check_model
from lift3d_ros.types import BevDetections, Boxes3D, FrameSet


class BevDetectionNode(PipelineNode[FrameSet, PreparedFrames, BevDetections]):
    """Detects 3D boxes in synchronised pictures of a rig."""

    config: BevDetectionNodeConfig
    opening_note = (
        "the engine is being opened; a graph for a new number of cameras is exported first, once, in about 20 s (large "
        "models: minutes)"
    )

    def __init__(self) -> None:
        """Read the parameters."""
        super().__init__("bev_detection", BevDetectionNodeConfig)
        self._inputs: CameraInputs | None = None
        self._outputs: BevOutputs | None = None
        self._set_file: SetFile | None = None

    def check(self) -> None:
        """Load the rig, check model and backend, and make the record file."""
        self._rig = self.config.load_rig()
        self.config.check_topics(self._rig)
        check_model(self.config.model, self.config.engine)
        check_cameras(self.config.model, tuple(self._rig.cameras), self._rig)
        self._set_file = SetFile(Path(self.config.record_sets)) if self.config.record_sets else None

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Create the outputs once the configuration is accepted."""
        outcome = super().on_configure(state)
        if outcome == TransitionCallbackReturn.SUCCESS and self._outputs is None:
            self._outputs = BevOutputs(self, self.config.detector.max_gap_s)
        return outcome

    def open_pipeline(self) -> BevDetector:
        """Open the detector for as many cameras as the rig has."""
        detector = open_bev_detector(self.config.detection, tuple(self._rig.cameras), self._rig)
        identity = detector.identity
        self.get_logger().info(
            f"{identity.description} on {identity.backend}; cameras {', '.join(self._rig.cameras)}; "
            f"boxes in '{self.config.output_frame or self._rig.base_frame}'"
        )
        return detector

    def start_inputs(self) -> None:
        """Subscribe."""
        config = self.config.with_rig(self._rig)
        self._inputs = CameraInputs(self, self._rig, config, self.submit, self.report_problem)

    def stop_inputs(self) -> None:
        """Unsubscribe."""
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None

    def reset_inputs(self) -> None:
        """Forget waiting pictures."""
        if self._inputs is not None:
            self._inputs.reset()

    def waiting_for(self) -> list[str]:
        """Return what has not arrived yet."""
        return [] if self._inputs is None else self._inputs.waiting_for()

    def report_inputs(self) -> None:
        """Report the health of the cameras."""
        if self._inputs is not None:
            self._inputs.adapt_to_publishers()
            self.diagnostics.set("cameras", self._inputs.status())

    def publish_result(self, job: Job[FrameSet], prepared: PreparedFrames, result: BevDetections) -> None:
        """Publish boxes and timings, record the set, and report how it went."""
        assert self._outputs is not None
        boxes = self._in_output_frame(result.boxes, result.stamp_ns)
        self._outputs.publish(result, boxes)
        total_s = time.monotonic() - job.released_s
        newest_ns = max(use.stamp_ns for use in result.cameras)
        latency_s = (self.get_clock().now().nanoseconds - newest_ns) * 1e-9
        self._outputs.publish_timing(
            timing_msg(result.stamp_ns, result.timings_s, total_s, latency_s, self.mailbox.dropped)
        )
        self._outputs.publish_views(result, boxes, prepared.frame_set)
        self._report_result(result, total_s, latency_s)
        if self._set_file is not None:
            try:
                self._set_file.add(prepared.frame_set)
            except ConfigError as error:
                self.report_problem(f"a frame set is not recorded: {error}")

    def _in_output_frame(self, boxes: Boxes3D, stamp_ns: int) -> Boxes3D:
        """Return the boxes in `output_frame`, or where they are while its transform is not known."""
        target, inputs = self.config.output_frame, self._inputs
        if not target or target == boxes.frame_id or inputs is None:
            return boxes
        try:
            return transform_boxes(inputs.tree.lookup(target, boxes.frame_id, stamp_ns), boxes, target)
        except TransformError as error:
            self.report_problem(f"boxes stay in '{boxes.frame_id}': {error}")
            return boxes

    def _report_result(self, result: BevDetections, total_s: float, latency_s: float) -> None:
        for problem in result.problems:
            self.report_problem(problem)
        missing = [use.name for use in result.cameras if not use.is_used]
        sentences = [f"without camera {', '.join(missing)}"] if missing else []
        if result.temporal_state == "no_ego_motion":
            sentences.append("no ego motion, so earlier frames are not used and nothing is tracked")
        if not result.model.is_trained:
            sentences.append("untrained weights: the boxes mean nothing")
        values = {
            "model": result.model.description,
            "weights": result.model.weights_sha256,
            "backend": result.model.backend,
            "boxes": str(len(result.boxes)),
            "tracked boxes": str(int((result.boxes.track_ids >= 0).sum())),
            "total": f"{total_s * 1e3:.1f} ms",
            "latency": f"{latency_s * 1e3:.1f} ms",
            "temporal state": result.temporal_state,
            "sets replaced by newer ones": str(self.mailbox.dropped),
        }
        values |= {f"stage {name}": f"{seconds * 1e3:.1f} ms" for name, seconds in result.timings_s.items()}
        level = Level.WARN if sentences else Level.OK
        self.diagnostics.set("pipeline", Status(level, "; ".join(sentences) or "running", values))


def main() -> int:
    """Run the node."""
    return run_node(BevDetectionNode)
