"""The bev_detection node: surround cameras in, 3D boxes out."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from lift3d_ros.errors import ConfigError
from lift3d_ros.geometry.boxes import transform_boxes
from lift3d_ros.nodes.base import PipelineNode
from lift3d_ros.nodes.bev_detection_config import BevDetectionNodeConfig
from lift3d_ros.nodes.bev_outputs import BevOutputs
from lift3d_ros.nodes.camera_inputs import CameraInputs
from lift3d_ros.nodes.jobs import Job
from lift3d_ros.nodes.results import ResultTiming, running_status
from lift3d_ros.nodes.run import run_process
from lift3d_ros.nodes.set_file import SetFile
from lift3d_ros.pipelines.bev_detection import BevDetector, PreparedFrames, check_cameras, open_bev_detector
from lift3d_ros.pipelines.bev_engine import check_model
from lift3d_ros.types import BevDetections, Boxes3D, FrameSet


class BevDetectionNode(PipelineNode[FrameSet, PreparedFrames, BevDetections]):
    """Detects 3D boxes in synchronised pictures of a rig."""

    config: BevDetectionNodeConfig
    inputs_part = "cameras"
    _outputs: BevOutputs
    opening_note = (
        "the engine is being opened; a graph for a new number of cameras is exported first, once, in about 20 s (large "
        "models: minutes)"
    )

    def __init__(self) -> None:
        """Read the parameters."""
        super().__init__("bev_detection", BevDetectionNodeConfig)
        self._set_file: SetFile | None = None

    def check(self) -> None:
        """Load the rig, check model and backend, and make the record file."""
        self._rig = self.config.load_rig()
        self.config.check_topics(self._rig)
        check_model(self.config.model, self.config.engine)
        check_cameras(self.config.model, tuple(self._rig.cameras), self._rig)
        self._set_file = SetFile(Path(self.config.record_sets)) if self.config.record_sets else None

    def open_pipeline(self) -> BevDetector:
        """Open the detector for as many cameras as the rig has."""
        detector = open_bev_detector(self.config.detection, tuple(self._rig.cameras), self._rig)
        identity = detector.identity
        self.get_logger().info(
            f"{identity.description} on {identity.backend}; cameras {', '.join(self._rig.cameras)}; "
            f"boxes in '{self.config.output_frame or self._rig.base_frame}'"
        )
        return detector

    def open_inputs(self) -> CameraInputs:
        """Subscribe."""
        config = self.config.with_rig(self._rig)
        return CameraInputs(self, self._rig, config, self.submit, self.report_problem)

    def open_outputs(self) -> None:
        """Create the publishers."""
        self._outputs = BevOutputs(self, self.config.detector.max_gap_s)

    def publish_result(self, job: Job[FrameSet], prepared: PreparedFrames, result: BevDetections) -> None:
        """Publish boxes and timings, record the set, and report how it went."""
        boxes = self._in_output_frame(result.boxes, result.stamp_ns)
        self._outputs.publish(result, boxes)
        newest_ns = max(use.stamp_ns for use in result.cameras)
        timing = self.publish_timing(job, result.stamp_ns, result.timings_s, newest_ns)
        self._outputs.publish_views(result, boxes, prepared.frame_set)
        self._report_result(result, timing)
        if self._set_file is not None:
            try:
                self._set_file.add(prepared.frame_set)
            except ConfigError as error:
                self.report_problem(f"a frame set is not recorded: {error}")

    def _in_output_frame(self, boxes: Boxes3D, stamp_ns: int) -> Boxes3D:
        """Return the boxes in `output_frame`, or where they are while its transform is not known."""
        T = self.T_output(boxes.frame_id, stamp_ns, who_stays="boxes stay")
        return boxes if T is None else transform_boxes(T, boxes, self.config.output_frame)

    def _report_result(self, result: BevDetections, timing: ResultTiming) -> None:
        for problem in result.problems:
            self.report_problem(problem)
        missing = [use.name for use in result.cameras if not use.is_used]
        remarks = [f"without camera {', '.join(missing)}"] if missing else []
        if result.temporal_state == "no_ego_motion":
            remarks.append("no ego motion, so earlier frames are not used and nothing is tracked")
        values = {
            "boxes": str(len(result.boxes)),
            "tracked boxes": str(int((result.boxes.track_ids >= 0).sum())),
            "temporal state": result.temporal_state,
            "sets replaced by newer ones": str(self.mailbox.dropped),
        }
        self.diagnostics.set("pipeline", running_status(result.model, timing, remarks, values, things="boxes"))


def main() -> NoReturn:
    """Run the node."""
    run_process([BevDetectionNode])
