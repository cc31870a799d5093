"""The requests of the object_reconstruction node: who waits for an answer, and what waits for the worker."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from lift3d_ros.nodes.jobs import Job
from lift3d_ros.pipelines.object_requests import PlacedObject, PreparedRequest, RequestReconstructor
from lift3d_ros.pipelines.object_sets import ObjectRequest
from lift3d_ros.sync.mailbox import Mailbox

_FEEDBACK_PERIOD_S = 0.1

# Called once with what came of a request, or None and a sentence that says why there is nothing.
OnDone = Callable[[PlacedObject | None, str], None]
OnProgress = Callable[[str, float], None]


class PendingRequest:
    """A request on its way; is answered exactly once, whatever happens to it.

    Args:
        on_done: called in the thread that ends the request.
        on_progress: called in the worker with stage and share of the whole work, at most every 0.1 s.
    """

    def __init__(
        self,
        request: ObjectRequest,
        on_done: OnDone = lambda placed, sentence: None,
        on_progress: OnProgress = lambda stage, share: None,
    ) -> None:
        self.request = request
        self._on_done, self._on_progress = on_done, on_progress
        self._is_cancelled = threading.Event()
        self._lock, self._is_answered = threading.Lock(), False
        self._told = ("", -_FEEDBACK_PERIOD_S)
        self.progress = ("", 0.0)

    @property
    def is_asked_for(self) -> bool:
        """Whether somebody waits for the answer; else a topic triggered it."""
        return not self.request.key

    @property
    def is_cancelled(self) -> bool:
        """Whether its work shall stop."""
        return self._is_cancelled.is_set()

    def cancel(self) -> None:
        """Ask the worker to stop."""
        self._is_cancelled.set()

    def finish(self, placed: PlacedObject | None, sentence: str) -> None:
        """Answer; later answers are ignored."""
        with self._lock:
            if self._is_answered:
                return
            self._is_answered = True
        self._on_done(placed, sentence)

    def note_progress(self, stage: str, share: float) -> None:
        """Take notice of how far the work is."""
        self.progress = (stage, share)
        told_stage, told_s = self._told
        now_s = time.monotonic()
        if stage != told_stage or now_s - told_s >= _FEEDBACK_PERIOD_S:
            self._told = (stage, now_s)
            self._on_progress(stage, share)


class RequestQueue(Mailbox[Job[PendingRequest]]):
    """Requests that wait for the worker, at most `length`.

    What somebody asked for goes first, in order. Of one object only the newest picture waits. Where there is no room,
    the oldest object of a topic gives way; never what was asked for: that is refused when it comes.
    """

    def __init__(self, length: int) -> None:
        """Wait for requests."""
        super().__init__(drop=False)
        self._length = length
        self._items: deque[Job[PendingRequest]] = deque()

    def put(self, item: Job[PendingRequest]) -> int:
        """Leave a request; return how many others gave way to it, 0 or 1. Never blocks."""
        with self._changed:
            loser, sentence = self._loser(item)
            if loser is not item:
                if loser is not None:
                    self._items.remove(loser)
                self._items.append(item)
                self._changed.notify()
            is_replaced = loser is not None and loser is not item
            self.dropped += loser is not None and not loser.item.is_asked_for
        if loser is not None:
            loser.item.finish(None, sentence)
        return int(is_replaced)

    def take(self, timeout_s: float | None = None) -> Job[PendingRequest] | None:
        """Take the request that is next; None after `timeout_s` without one, or once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._is_closed, timeout_s)
            if not self._items:
                return None
            chosen = next((job for job in self._items if job.item.is_asked_for), self._items[0])
            self._items.remove(chosen)
            return chosen

    def withdraw(self, pending: PendingRequest) -> bool:
        """Take a request back; return False where it does not wait any more."""
        with self._changed:
            waiting = next((job for job in self._items if job.item is pending), None)
            if waiting is not None:
                self._items.remove(waiting)
        return waiting is not None

    def clear(self) -> None:
        """Answer and throw away what waits."""
        self._end("the request was dropped: the node stops, or the clock jumped; ask again")

    def close(self) -> None:
        """Wake the worker; later requests are refused, and those that wait are answered."""
        super().close()
        self._end("the node stops; activate it and ask again")

    def __len__(self) -> int:
        return len(self._items)

    def _loser(self, item: Job[PendingRequest]) -> tuple[Job[PendingRequest] | None, str]:
        """Return which request has to go so that `item` can wait, `item` itself where none may."""
        if self._is_closed:
            return item, "the node takes no requests: its model could not be opened, or it stops; see /diagnostics"
        key = item.item.request.key
        same = next((job for job in self._items if key and job.item.request.key == key), None)
        if same is not None:
            return same, "a newer picture of the object came"
        if len(self._items) < self._length:
            return None, ""
        oldest = next((job for job in self._items if not job.item.is_asked_for), item)
        return oldest, (f"{self._length} requests wait already (queue.length); ask again later, or enlarge the queue")

    def _end(self, sentence: str) -> None:
        with self._changed:
            ended = list(self._items)
            self._items.clear()
        for job in ended:
            job.item.finish(None, sentence)


PreparedPending = tuple[PendingRequest, PreparedRequest]


class RequestPipeline:
    """The reconstructor as the worker runs it: tells progress, and stops what is cancelled.

    `current` is the request that is worked on.

    Args:
        is_stopping: whether everything shall stop.
    """

    def __init__(self, reconstructor: RequestReconstructor, is_stopping: Callable[[], bool]) -> None:
        self._reconstructor, self._is_stopping = reconstructor, is_stopping
        self.current: PendingRequest | None = None

    @property
    def notice(self) -> str:
        """What the engine says of itself; empty while all is well."""
        return self._reconstructor.notice

    def prepare(self, pending: PendingRequest, /) -> PreparedPending:
        """Decode and cut out; :meth:`infer` follows."""
        self.current = pending
        pending.note_progress("segment", 0.0)
        try:
            return pending, self._reconstructor.prepare(pending.request)
        except Exception:
            self.current = None
            raise

    def infer(self, prepared: PreparedPending, /) -> PlacedObject:
        """Reconstruct."""
        pending, request = prepared
        pending.note_progress("segment", 0.05)
        try:
            return self._reconstructor.infer(
                request, pending.note_progress, lambda: pending.is_cancelled or self._is_stopping()
            )
        finally:
            self.current = None

    def reset(self) -> None:
        """Do nothing: there is no memory of earlier objects."""
