"""The life of every task node: lifecycle, one worker, mailbox, diagnostics, and a line that says what it waits for.

A task node says how to open its pipeline, its inputs and its outputs, and how to publish a result. Callbacks hand
items to the mailbox; the worker prepares the next item while it infers the present one and publishes the results in
order. Subscriptions live only while the node is active.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, cast

from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from lift3d_ros.errors import ConfigError, Lift3dError, TransformError
from lift3d_ros.nodes.arguments import arguments_of
from lift3d_ros.nodes.callbacks import surviving, unexpected
from lift3d_ros.nodes.diagnostics import Diagnostics, Level, Status, steady_clock
from lift3d_ros.nodes.inputs import Inputs
from lift3d_ros.nodes.jobs import ItemT, Job, Pipeline, PreparedT, ResultT
from lift3d_ros.nodes.params import declare_parameters, requested_autostart
from lift3d_ros.nodes.results import ResultTiming, TimingOutput
from lift3d_ros.nodes.ros_logging import NodeLog
from lift3d_ros.nodes.throttled_log import ThrottledLog
from lift3d_ros.sync.ahead import prepared_ahead
from lift3d_ros.sync.mailbox import Mailbox
from lift3d_ros.types import Float64Array

_WAITING_LINE_S = 5.0
_DIAGNOSTICS_S = 1.0
# An interrupt must not wait until a graph is exported: launch kills what has not ended by itself after ten seconds.
LAST_RESULT_S = 3.0
# Exporting a graph changes settings of the whole process, and several at once would need the memory of all of them.
_OPENING = threading.Lock()
_JUMP = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1_000_000), on_clock_change=False)


class PipelineNode(LifecycleNode, ABC, Generic[ItemT, PreparedT, ResultT]):
    """A lifecycle node around one pipeline."""

    # What is going on until the first item can be taken; what the pipeline logs meanwhile is added.
    opening_note = "the engine is being opened"
    # Part of the diagnostics that tells of the inputs.
    inputs_part = "inputs"

    def __init__(self, name: str, config_class: type[Any]) -> None:
        """Read the parameters; what is wrong with them is reported when the node is configured."""
        super().__init__(name, cli_args=arguments_of(name, sys.argv))
        self._worker: threading.Thread | None = None
        self._worker_note = ""
        self.log = NodeLog(self, self._note_progress)
        self.config: Any = config_class()
        self.is_autostarted = requested_autostart(self)
        self._config_error: ConfigError | None = None
        try:
            self.config = declare_parameters(self, config_class, f"config/{name}.yaml")
        except ConfigError as error:
            self._config_error = error
        self.diagnostics = Diagnostics(self)
        self.inputs: Inputs | None = None
        self.pipeline: Pipeline[ItemT, PreparedT, ResultT] | None = None
        self._timing: TimingOutput | None = None
        self.mailbox: Mailbox[Job[ItemT]] = Mailbox()
        self.refusal: Lift3dError | None = None
        self.results = 0
        self._is_reset_asked = threading.Event()
        self._is_destroyed = False
        self._last_result_s = 0.0
        self._warnings = ThrottledLog(lambda sentence: self.get_logger().warning(sentence))
        clock = steady_clock()
        self.create_timer(_DIAGNOSTICS_S, self._publish_diagnostics, clock=clock)
        self.create_timer(_WAITING_LINE_S, self._say_what_is_missing, clock=clock)
        self._jump_handle = self.get_clock().create_jump_callback(_JUMP, post_callback=self._on_jump)

    # What a task node provides.

    @abstractmethod
    def check(self) -> None:
        """Refuse what can be known to be wrong before anything runs: files, names, hashes (raises Lift3dError)."""

    @abstractmethod
    def open_pipeline(self) -> Pipeline[ItemT, PreparedT, ResultT]:
        """Open model and engine; runs in the worker, since it may take long."""

    @abstractmethod
    def open_inputs(self) -> Inputs:
        """Subscribe; called at each activation."""

    @abstractmethod
    def open_outputs(self) -> None:
        """Create the publishers; called once, when the configuration is accepted first."""

    @abstractmethod
    def publish_result(self, job: Job[ItemT], prepared: PreparedT, result: ResultT) -> None:
        """Publish one result; runs in the worker."""

    # What a task node may provide.

    def make_mailbox(self) -> Mailbox[Job[ItemT]]:
        """Return what holds items until the worker takes them; called at each activation."""
        return Mailbox(drop=self.config.sync.drop)

    def prepared_jobs(
        self, mailbox: Mailbox[Job[ItemT]], prepare: Callable[[Job[ItemT]], PreparedT | None]
    ) -> Iterator[tuple[Job[ItemT], PreparedT]]:
        """Yield items with what `prepare` makes of them: the next one is prepared while the present one is inferred."""
        return prepared_ahead(mailbox, prepare)

    def is_result_due(self) -> bool:
        """Return whether the lack of results is worth a word; a node that works on request need not have any."""
        return True

    def give_up(self, job: Job[ItemT], sentence: str) -> None:
        """Take notice that an item gives no result, and why; runs in the worker. For who owes somebody an answer."""

    def report_work(self) -> None:
        """Report what is being done; called once a second while the node is active."""

    # For task nodes.

    def create_subscription(self, msg_type: Any, topic: str, callback: Any, *args: Any, **kwargs: Any) -> Any:
        """Subscribe; what the callback raises is reported."""
        callback = surviving(callback, self.report_problem, f"topic '{self.resolve_topic_name(topic)}'")
        return super().create_subscription(msg_type, topic, callback, *args, **kwargs)

    def create_timer(self, timer_period_sec: float, callback: Any, *args: Any, **kwargs: Any) -> Any:
        """Call regularly; what the callback raises is reported."""
        callback = surviving(callback, self.report_problem, f"timer of {timer_period_sec:g} s")
        return super().create_timer(timer_period_sec, callback, *args, **kwargs)

    def publish_timing(
        self, job: Job[ItemT], stamp_ns: int, stages_s: Mapping[str, float], newest_ns: int | None = None
    ) -> ResultTiming:
        """Publish how long a result took, and return it.

        Args:
            newest_ns: stamp of its newest input, where that is not `stamp_ns`.
        """
        assert self._timing is not None
        newest_ns = stamp_ns if newest_ns is None else newest_ns
        dropped = self.mailbox.dropped
        return self._timing.publish(stamp_ns, stages_s, released_s=job.released_s, newest_ns=newest_ns, dropped=dropped)

    def T_output(self, frame_id: str, stamp_ns: int, *, who_stays: str) -> Float64Array | None:
        """Return the transform from a frame to `output_frame`; None where results stay in the frame.

        They stay where no other frame is asked for, and while the transform is not known, which is reported.

        Args:
            who_stays: begin of the sentence, for example ``boxes stay``.
        """
        target, inputs = self.config.output_frame, self.inputs
        if not target or target == frame_id or inputs is None:
            return None
        try:
            return inputs.tree.lookup(target, frame_id, stamp_ns)
        except TransformError as error:
            self.report_problem(f"{who_stays} in '{frame_id}': {error}")
            return None

    # The lifecycle.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check everything that can be checked at once, and create the publishers."""
        try:
            if self._config_error is not None:
                raise self._config_error
            self.check()
            if self._timing is None:
                self.open_outputs()
                self._timing = TimingOutput(self)
        except Exception as error:  # rclpy would swallow what is not expected
            if not isinstance(error, Lift3dError):
                error = Lift3dError(f"cannot be configured: {type(error).__name__}: {error}")
            self.refusal = error
            self.get_logger().error(str(error))
            self.diagnostics.set("configuration", Status(Level.ERROR, str(error)))
            return TransitionCallbackReturn.FAILURE
        self.refusal = None
        self.diagnostics.set("configuration", Status(Level.OK, "accepted"))
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start worker and inputs."""
        self.mailbox = self.make_mailbox()
        self._last_result_s = time.monotonic()
        self._worker_note = self.opening_note
        self.diagnostics.set("pipeline", Status(Level.WARN, self._worker_note))
        self._worker = threading.Thread(target=self._work, args=(self.mailbox,), name="worker", daemon=True)
        self._worker.start()
        try:
            self.inputs = self.open_inputs()
        except Exception as error:  # whatever a middleware raises for topics that it does not accept
            self.refusal = Lift3dError(f"the inputs cannot be subscribed to: {type(error).__name__}: {error}")
            self.get_logger().error(str(self.refusal))
            self.stop(LAST_RESULT_S)
            self.diagnostics.set("configuration", Status(Level.ERROR, str(self.refusal)))
            return TransitionCallbackReturn.FAILURE
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop inputs and worker; what is being inferred is finished first, what waits is dropped."""
        self.stop(LAST_RESULT_S)
        return super().on_deactivate(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop whatever runs."""
        self.stop(LAST_RESULT_S)
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured, from where the node can be configured again."""
        self.stop(LAST_RESULT_S)
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Free everything, shared memory of the middleware too.

        The state machine of a lifecycle node of rclpy holds the node of the middleware, and rclpy leaves both alive:
        the process would end with its segments still in /dev/shm.
        """
        self._is_destroyed = True
        self.log.close()
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()

    def ask_to_stop(self) -> None:
        """Stop the inputs, and let the worker end after what it is doing; safe to call twice."""
        if self._worker is None:
            return
        self.pipeline = None
        if self.inputs is not None:
            self.inputs.close()
            self.inputs = None
        self.diagnostics.forget(self.inputs_part)
        self.diagnostics.forget("engine")
        self.mailbox.clear()
        self.mailbox.close()

    def stop(self, timeout_s: float) -> None:
        """Stop inputs and worker; safe to call twice.

        Args:
            timeout_s: wait no longer than this for what the worker is doing; with its mailbox closed it ends by itself.
        """
        if self._worker is None:
            return
        self.ask_to_stop()
        self._worker.join(timeout_s)
        self._worker = None
        self.pipeline = None  # the worker may have opened it after it was asked to stop
        self.diagnostics.set("pipeline", Status(Level.STALE, "not active"))

    # The worker.

    def submit(self, item: ItemT) -> None:
        """Hand an item to the worker; never blocks."""
        self.mailbox.put(Job(item, time.monotonic()))

    def _work(self, mailbox: Mailbox[Job[ItemT]]) -> None:
        self.log.receive_this_thread()
        try:
            with _OPENING:
                if mailbox.is_closed:  # while another node of this process opened its own
                    return
                pipeline = self.open_pipeline()
        except Exception as error:  # a broken runtime raises anything; the node must say so and live on
            self._worker_note = str(error) if isinstance(error, Lift3dError) else f"{type(error).__name__}: {error}"
            self._worker_note = f"the engine cannot be opened: {self._worker_note}"
            self.get_logger().error(self._worker_note)
            self.diagnostics.set("pipeline", Status(Level.ERROR, self._worker_note))
            mailbox.close()
            return
        self._worker_note = ""
        if threading.current_thread() is self._worker:
            self.pipeline = pipeline

        def prepare(job: Job[ItemT]) -> PreparedT | None:
            self.log.receive_this_thread()  # may run in another thread than the worker
            return cast("PreparedT | None", self._guarded(job, lambda: pipeline.prepare(job.item)))

        for job, prepared in self.prepared_jobs(mailbox, prepare):
            self._infer(pipeline, job, prepared)

    def _infer(self, pipeline: Pipeline[Any, PreparedT, ResultT], job: Job[ItemT], prepared: PreparedT) -> None:
        if self._is_reset_asked.is_set():
            self._is_reset_asked.clear()
            pipeline.reset()
        result = self._guarded(job, lambda: pipeline.infer(prepared))
        if result is not None:
            self._guarded(job, lambda: self.publish_result(job, prepared, result))
            self.results += 1
            self._last_result_s = time.monotonic()

    def _guarded(self, job: Job[ItemT], action: Callable[[], Any]) -> Any:
        """Return what `action` gives; an error is reported, and the node goes on with the next item."""
        try:
            return action()
        except Lift3dError as error:
            sentence = str(error)
            self.report_problem(sentence)
        except Exception as error:  # a defect of ours must not take the vehicle's node down
            if self._is_destroyed:  # under a worker that did not end in time
                return None
            logging.getLogger("lift3d_ros").exception("unexpected error in the worker")
            sentence = unexpected(error)
            self.diagnostics.set("pipeline", Status(Level.ERROR, sentence))
        self.give_up(job, sentence)
        return None

    def _note_progress(self, text: str) -> None:
        """Take a line of the pipeline's log as what is going on, while the pipeline is being opened."""
        if self._worker_note and threading.current_thread() is self._worker:
            self._worker_note = f"{self.opening_note}: {text}"
            self.diagnostics.set("pipeline", Status(Level.WARN, self._worker_note))

    # What the user sees.

    def report_problem(self, sentence: str) -> None:
        """Log a sentence about bad input; the same one, but for its numbers, at most every five seconds, counted."""
        self._warnings.add(sentence)

    def _publish_diagnostics(self) -> None:
        if self._worker is not None:
            if self.inputs is not None:
                self.inputs.adapt_to_publishers()
                self.diagnostics.set(self.inputs_part, self.inputs.status())
            if self.pipeline is not None:
                notice = self.pipeline.notice
                self.diagnostics.set("engine", Status(Level.WARN if notice else Level.OK, notice or "serving"))
            self.report_work()
        self.diagnostics.publish()

    def _say_what_is_missing(self) -> None:
        silence_s = time.monotonic() - self._last_result_s
        if self._worker is None or silence_s < _WAITING_LINE_S or not (self._worker_note or self.is_result_due()):
            return
        reasons = [self._worker_note] if self._worker_note else []
        reasons += self.inputs.waiting_for() if self.inputs is not None else []
        text = "waiting for: " + ("; ".join(reasons) or "the model to finish")
        self.get_logger().info(text)
        level = Level.ERROR if "cannot be opened" in self._worker_note else Level.WARN
        self.diagnostics.set("pipeline", Status(level, f"no result for {silence_s:.0f} s; {text}"))

    def _on_jump(self, jump: TimeJump) -> None:
        self.get_logger().warning(f"the clock jumped by {jump.delta.nanoseconds * 1e-9:+.3f} s: starting afresh")
        self.mailbox.clear()
        if self.inputs is not None:
            self.inputs.reset()
        self._is_reset_asked.set()
