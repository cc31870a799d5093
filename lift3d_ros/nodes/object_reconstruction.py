"""The object_reconstruction node: pictures and detected objects in, coloured meshes out; on request, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from lift3d_ros.bags.object_messages import object_request_from_msg, requested_box
from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.nodes.base import PipelineNode
from lift3d_ros.nodes.boxes_topic import boxes_message
from lift3d_ros.nodes.diagnostics import Level, Status
from lift3d_ros.nodes.jobs import Job
from lift3d_ros.nodes.object_inputs import VISION_BOXES, ObjectInputs
from lift3d_ros.nodes.object_outputs import ObjectOutputs, object_status
from lift3d_ros.nodes.object_reconstruction_config import ObjectReconstructionNodeConfig
from lift3d_ros.nodes.object_requests import PendingRequest, PreparedPending, RequestPipeline, RequestQueue
from lift3d_ros.nodes.object_servers import ObjectServers
from lift3d_ros.nodes.run import run_process
from lift3d_ros.pipelines.object_reconstruction import open_object_reconstructor
from lift3d_ros.pipelines.object_requests import PlacedObject, RequestReconstructor
from lift3d_ros.pipelines.object_sets import ObjectRequest
from lift3d_ros.sync.mailbox import Mailbox
from lift3d_ros.types import Float64Array, ModelIdentity

# Requests are answered when the node is destroyed, but for that of a worker that did not end in time.
_LAST_ANSWER_S = 0.5


class ObjectReconstructionNode(PipelineNode[PendingRequest, PreparedPending, PlacedObject]):
    """Reconstructs detected objects, and what is asked for."""

    config: ObjectReconstructionNodeConfig
    inputs: ObjectInputs | None
    pipeline: RequestPipeline | None
    _outputs: ObjectOutputs

    def __init__(self) -> None:
        """Read the parameters."""
        super().__init__("object_reconstruction", ObjectReconstructionNodeConfig)
        self._servers: ObjectServers | None = None
        self._identity: ModelIdentity | None = None
        self._last = Status(Level.OK, "no object so far")

    def check(self) -> None:
        """Check topics, outputs and model."""
        self.config.check_topics()
        boxes_message(self.config.topics.boxes_type, VISION_BOXES)
        self.config.check_outputs()
        self.config.check_model()

    def destroy_node(self) -> None:
        """End service and action, too."""
        if self._servers is not None:
            self._servers.close(_LAST_ANSWER_S)
            self._servers = None
        super().destroy_node()

    def make_mailbox(self) -> RequestQueue:
        """Return the queue of requests."""
        return RequestQueue(self.config.queue.length)

    def prepared_jobs(
        self,
        mailbox: Mailbox[Job[PendingRequest]],
        prepare: Callable[[Job[PendingRequest]], PreparedPending | None],
    ) -> Iterator[tuple[Job[PendingRequest], PreparedPending]]:
        """Yield requests in turn: one that is taken ahead could not give way to a newer picture any more."""
        while (job := mailbox.take()) is not None:
            prepared = prepare(job)
            if prepared is not None:
                yield job, prepared

    def open_pipeline(self) -> RequestPipeline:
        """Open the reconstructor."""
        queue = self.mailbox
        reconstructor = RequestReconstructor(
            open_object_reconstructor(self.config.reconstruction), self.config.input.box_cutting
        )
        identity = reconstructor.identity
        topics = self.config.topics
        source = f"objects on {self.resolve_topic_name(topics.boxes)}" if topics.boxes else "objects on request"
        self.get_logger().info(f"{identity.description} on {identity.backend}; {source}; meshes {self._where()}")
        self._identity = identity
        return RequestPipeline(reconstructor, lambda: queue.is_closed)

    def open_inputs(self) -> ObjectInputs:
        """Subscribe."""
        return ObjectInputs(self, self.config, lambda one: self._ask(PendingRequest(one)), self.report_problem)

    def open_outputs(self) -> None:
        """Create publishers, service and action."""
        self._outputs = ObjectOutputs(self, self.config.output)
        self._servers = ObjectServers(self, self._read, self._ask, self._withdraw, lambda: self._identity)

    def is_result_due(self) -> bool:
        """Return False: objects come when they come, and what is being done is told once a second."""
        return False

    def publish_result(self, job: Job[PendingRequest], prepared: PreparedPending, result: PlacedObject) -> None:
        """Publish and write a mesh, answer who asked for it, and report how it went."""
        T_frame_object, frame_id = self._in_output_frame(result)
        self._outputs.publish(result, T_frame_object, frame_id)
        sentences = [result.summary, *result.problems]
        try:
            path = self._outputs.write(result)
            sentences += [f"written to {path}"] if path else []
        except Lift3dError as error:
            self.report_problem(str(error))
            sentences.append(str(error))
        timing = self.publish_timing(job, result.request.stamp_ns, result.mesh.timings_s)
        for problem in result.problems:
            self.report_problem(f"{result.request.name}: {problem}")
        self._last = object_status(result, prepared[1].prepared.view.cutting, timing)
        job.item.finish(result, "; ".join(sentences))

    def give_up(self, job: Job[PendingRequest], sentence: str) -> None:
        """Tell who asked that there is no mesh."""
        self._last = Status(Level.WARN, f"{job.item.request.name}: {sentence}", self._last.values)
        job.item.finish(None, sentence)

    # Requests.

    def _read(self, message: Any, source: str) -> ObjectRequest:
        """Return what a message asks for; one without a picture takes the newest of the topic."""
        if len(message.image.data) or message.image.width:
            return object_request_from_msg(message, source, is_rectified=self.config.input.is_rectified)
        if (inputs := self.inputs) is None:
            raise ConfigError("the node is not active; activate it and ask again")
        return inputs.sets.newest_request(requested_box(message.box), int(message.resolution))

    def _ask(self, pending: PendingRequest) -> None:
        """Hand a request to the worker."""
        if isinstance(self.mailbox, RequestQueue):
            self.submit(pending)
        else:
            pending.finish(None, "the node was never active; activate it and ask again")

    def _withdraw(self, pending: PendingRequest) -> None:
        """Stop a request; the worker answers for the one that it is at."""
        pending.cancel()
        is_running = (pipeline := self.pipeline) is not None and pipeline.current is pending
        if isinstance(self.mailbox, RequestQueue):
            self.mailbox.withdraw(pending)
        if not is_running:
            pending.finish(None, "stopped on request, before it began")

    # What the user sees.

    def _where(self) -> str:
        frame = f"'{self.config.output_frame}'" if self.config.output_frame else "the frame of the camera"
        return f"in {frame}" + (f", files in {self.config.output.folder}" if self.config.output.folder else "")

    def _in_output_frame(self, placed: PlacedObject) -> tuple[Float64Array, str]:
        """Return pose and frame of a mesh: `output_frame` where it has metres and the transform is known."""
        image = placed.request.image
        T = None
        if placed.is_metric:
            T = self.T_output(image.frame_id, image.stamp_ns, who_stays="the mesh stays")
        if T is None:
            return placed.T_cam_object, image.frame_id
        return T @ placed.T_cam_object, self.config.output_frame

    def report_work(self) -> None:
        """Set the status of the pipeline: what is being done, and how the last object went."""
        if (pipeline := self.pipeline) is None:
            return
        doing = "idle"
        if (current := pipeline.current) is not None:
            stage, share = current.progress
            doing = f"{current.request.name}: {stage} {share:.0%}"
        waiting = len(self.mailbox) if isinstance(self.mailbox, RequestQueue) else 0
        values = {
            "objects": str(self.results),
            "requests that wait": str(waiting),
            "objects that gave way": str(self.mailbox.dropped),
            **self._last.values,
        }
        self.diagnostics.set("pipeline", Status(self._last.level, f"{doing}; last: {self._last.message}", values))


def main() -> NoReturn:
    """Run the node."""
    run_process([ObjectReconstructionNode])
