"""The life of every task node: lifecycle, one worker, mailbox, diagnostics, and a line that says what it waits for.

A task node says how to open its pipeline, which inputs to start, and how to publish a result. Callbacks hand items to
the mailbox; the worker prepares the next item while it infers the present one and publishes the results in order.
Subscriptions live only while the node is active.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

import rclpy
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.nodes.diagnostics import Diagnostics, Level, Status, steady_clock
from lift3d_ros.nodes.params import declare_parameters, requested_autostart
from lift3d_ros.nodes.ros_logging import bridge_logging
from lift3d_ros.sync.ahead import prepared_ahead
from lift3d_ros.sync.mailbox import Mailbox

ItemT = TypeVar("ItemT")
PreparedT = TypeVar("PreparedT")
ResultT = TypeVar("ResultT")

_WAITING_LINE_S = 5.0
_DIAGNOSTICS_S = 1.0
# An interrupt must not wait until a graph is exported: launch kills what has not ended by itself after ten seconds.
LAST_RESULT_S = 3.0
_JUMP = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1_000_000), on_clock_change=False)


class Pipeline(Protocol[ItemT, PreparedT, ResultT]):
    """What the worker runs; see the classes in `lift3d_ros.pipelines`."""

    def prepare(self, item: ItemT, /) -> PreparedT:
        """Turn an item into network input; may run while another item is inferred."""

    def infer(self, prepared: PreparedT, /) -> ResultT:
        """Turn network input into a result; called in order."""

    def reset(self) -> None:
        """Forget earlier items."""


@dataclass(frozen=True)
class Job(Generic[ItemT]):
    """An item on its way through the worker; `released_s` is steady time."""

    item: ItemT
    released_s: float


class PipelineNode(LifecycleNode, ABC, Generic[ItemT, PreparedT, ResultT]):
    """A lifecycle node around one pipeline."""

    # What is going on until the first item can be taken; what the pipeline logs meanwhile is added.
    opening_note = "the engine is being opened"

    def __init__(self, name: str, config_class: type[Any]) -> None:
        """Read the parameters; what is wrong with them is reported when the node is configured."""
        super().__init__(name)
        self._worker: threading.Thread | None = None
        self._worker_note = ""
        bridge_logging(self, self._note_progress)
        self.config: Any = config_class()
        self.is_autostarted = requested_autostart(self)
        self._config_error: ConfigError | None = None
        try:
            self.config = declare_parameters(self, config_class, f"config/{name}.yaml")
        except ConfigError as error:
            self._config_error = error
        self.diagnostics = Diagnostics(self)
        self.mailbox: Mailbox[Job[ItemT]] = Mailbox()
        self.refusal: Lift3dError | None = None
        self.results = 0
        self.has_abandoned_worker = False
        self._is_reset_asked = threading.Event()
        self._last_result_s = 0.0
        self._throttled: dict[str, tuple[float, int]] = {}
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
    def start_inputs(self) -> None:
        """Create the subscriptions."""

    @abstractmethod
    def stop_inputs(self) -> None:
        """Destroy the subscriptions."""

    @abstractmethod
    def reset_inputs(self) -> None:
        """Forget waiting items, after a clock jump."""

    @abstractmethod
    def waiting_for(self) -> list[str]:
        """Return what has not arrived yet, one phrase each."""

    @abstractmethod
    def report_inputs(self) -> None:
        """Set the diagnostics of the inputs; called once a second."""

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

    # The lifecycle.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check everything that can be checked at once."""
        try:
            if self._config_error is not None:
                raise self._config_error
            self.check()
        except Lift3dError as error:
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
            self.start_inputs()
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
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()

    def stop(self, timeout_s: float) -> None:
        """Stop inputs and worker; safe to call twice.

        Args:
            timeout_s: wait no longer than this for what the worker is doing; with its mailbox closed it ends by itself.
        """
        if self._worker is None:
            return
        self.stop_inputs()
        self.mailbox.clear()
        self.mailbox.close()
        self._worker.join(timeout_s)
        self.has_abandoned_worker |= self._worker.is_alive()
        self._worker = None
        self.diagnostics.forget("cameras")
        self.diagnostics.set("pipeline", Status(Level.STALE, "not active"))

    # The worker.

    def submit(self, item: ItemT) -> None:
        """Hand an item to the worker; never blocks."""
        self.mailbox.put(Job(item, time.monotonic()))

    def _work(self, mailbox: Mailbox[Job[ItemT]]) -> None:
        try:
            pipeline = self.open_pipeline()
        except Exception as error:  # a broken runtime raises anything; the node must say so and live on
            self._worker_note = str(error) if isinstance(error, Lift3dError) else f"{type(error).__name__}: {error}"
            self._worker_note = f"the engine cannot be opened: {self._worker_note}"
            self.get_logger().error(self._worker_note)
            self.diagnostics.set("pipeline", Status(Level.ERROR, self._worker_note))
            mailbox.close()
            return
        self._worker_note = ""

        def prepare(job: Job[ItemT]) -> PreparedT | None:
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
            if not rclpy.ok():
                return None
            logging.getLogger("lift3d_ros").exception("unexpected error in the worker")
            sentence = f"unexpected {type(error).__name__}: {error}"
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
        now_s, key = time.monotonic(), re.sub(r"\d+", "#", sentence)
        last_s, count = self._throttled.get(key, (-_WAITING_LINE_S, 0))
        if now_s - last_s < _WAITING_LINE_S:
            self._throttled[key] = (last_s, count + 1)
            return
        if len(self._throttled) > 200:
            self._throttled.clear()
        self._throttled[key] = (now_s, 0)
        self.get_logger().warning(sentence + (f" ({count} more since the last line)" if count else ""))

    def _publish_diagnostics(self) -> None:
        if self._worker is not None:
            self.report_inputs()
        self.diagnostics.publish()

    def _say_what_is_missing(self) -> None:
        silence_s = time.monotonic() - self._last_result_s
        if self._worker is None or silence_s < _WAITING_LINE_S or not (self._worker_note or self.is_result_due()):
            return
        reasons = ([self._worker_note] if self._worker_note else []) + self.waiting_for()
        text = "waiting for: " + ("; ".join(reasons) or "the model to finish")
        self.get_logger().info(text)
        level = Level.ERROR if "cannot be opened" in self._worker_note else Level.WARN
        self.diagnostics.set("pipeline", Status(level, f"no result for {silence_s:.0f} s; {text}"))

    def _on_jump(self, jump: TimeJump) -> None:
        self.get_logger().warning(f"the clock jumped by {jump.delta.nanoseconds * 1e-9:+.3f} s: starting afresh")
        self.mailbox.clear()
        self.reset_inputs()
        self._is_reset_asked.set()
