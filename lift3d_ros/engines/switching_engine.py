"""Serves from a fallback backend while a faster engine is made or after it failed; no run is lost at either change.

State goes along: it is copied from the engine that served last to the one that serves next.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from numpy.typing import NDArray

from lift3d_ros.engines.device_tensor import WrongDeviceError, take_all
from lift3d_ros.engines.protocol import (
    Arrays,
    Engine,
    EngineSignature,
    EngineState,
    GraphEngine,
    Inputs,
    Tensors,
    check_inputs,
)
from lift3d_ros.engines.tensorrt_engine import ShapeOutsideProfileError
from lift3d_ros.errors import EngineError

ResultT = TypeVar("ResultT")

logger = logging.getLogger(__name__)


class SwitchingState:
    """State of whichever engine served last."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.state = engine.new_state()

    def move_to(self, engine: Engine) -> None:
        """Carry the state over to another engine; zeros where the old one does not give it any more."""
        if engine is self.engine:
            return
        state = engine.new_state()
        try:
            state.restore(self.state.snapshot())
        except EngineError as error:
            logger.warning("the state of %s is lost (%s); starting afresh", self.engine.name, error)
        self.engine, self.state = engine, state

    def reset(self) -> None:
        """Forget everything."""
        try:
            self.state.reset()
        except EngineError:  # of a device that failed
            self.state = self.engine.new_state()

    def snapshot(self) -> Arrays:
        """Copy the buffers to host memory."""
        return self.state.snapshot()

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Set the buffers from a snapshot."""
        self.state.restore(arrays)


class SwitchingEngine:
    """A preferred engine and the fallback that stands in for it."""

    def __init__(
        self, preferred: GraphEngine | Callable[[], GraphEngine], open_fallback: Callable[[], GraphEngine]
    ) -> None:
        """Serve from `preferred`, or from the fallback until a function has made `preferred` in a thread of its own.

        Args:
            open_fallback: called once, when the fallback is needed first.
        """
        self._open_fallback = open_fallback
        self._fallback: GraphEngine | None = None
        self._preferred: GraphEngine | None = None
        self._lock = threading.Lock()
        self._outside_profile = 0
        self.notice = ""
        if callable(preferred):
            served = self._serve_fallback()
            self.notice = f"serving with {served.name} while the engine is built"
            self._thread = threading.Thread(target=self._make, args=(preferred,), name="engine-build", daemon=True)
            self._thread.start()
        else:
            served = self._preferred = preferred
        self.signature: EngineSignature = served.signature
        self.facts = dict(served.facts)

    @property
    def name(self) -> str:
        """Backend that serves the next run."""
        return self._current().name

    def new_state(self) -> EngineState:
        """Return fresh state buffers."""
        return SwitchingState(self._current())

    def run(self, inputs: Inputs, state: EngineState) -> Arrays:
        """Run once on the engine that serves; see :meth:`lift3d_ros.engines.protocol.Engine.run`.

        Where the preferred engine fails, this run is done by the fallback, and so are all later ones.
        """
        return self._serve(inputs, state, lambda engine, carried: engine.run(inputs, carried))

    def run_on_device(self, inputs: Inputs, state: EngineState) -> Tensors:
        """Run once; see :meth:`lift3d_ros.engines.protocol.Engine.run_on_device`."""
        return self._serve(inputs, state, lambda engine, carried: engine.run_on_device(inputs, carried))

    def _serve(self, inputs: Inputs, state: EngineState, run: Callable[[GraphEngine, EngineState], ResultT]) -> ResultT:
        carried, engine = cast("SwitchingState", state), self._current()
        try:
            carried.move_to(engine)
            return run(engine, carried.state)
        except WrongDeviceError:
            raise
        except ShapeOutsideProfileError as error:
            self._outside_profile += 1
            if self._outside_profile.bit_count() == 1:  # the 1st, 2nd, 4th, 8th, ... time
                logger.warning("%s; the fallback took this run (%d so far)", error, self._outside_profile)
        except EngineError as error:
            if engine is self._fallback or self._is_fault_of(inputs):
                raise
            with self._lock:
                self._preferred = None
            self.notice = (
                f"{engine.name} failed ({error}); serving with the fallback until the node is configured again"
            )
            logger.error("%s", self.notice)
        fallback = self._serve_fallback()
        carried.move_to(fallback)
        return run(fallback, carried.state)

    def wait_until_built(self, timeout_s: float | None = None) -> bool:
        """Return whether the build has ended, in success or not, within `timeout_s`."""
        if (thread := getattr(self, "_thread", None)) is None:
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def _is_fault_of(self, inputs: Inputs) -> bool:
        try:
            check_inputs(self.signature, take_all(inputs))
        except EngineError:
            return True
        return False

    def _current(self) -> GraphEngine:
        with self._lock:
            preferred = self._preferred
        return preferred if preferred is not None else self._serve_fallback()

    def _serve_fallback(self) -> GraphEngine:
        if self._fallback is None:
            self._fallback = self._open_fallback()
        return self._fallback

    def _make(self, make: Callable[[], GraphEngine]) -> None:
        try:
            engine = make()
        except Exception as error:  # of whatever kind the runtime raises: the fallback goes on serving
            self.notice = f"the engine could not be built ({error}); serving with {self.name}"
            logger.error("%s", self.notice)
            return
        with self._lock:
            self._preferred = engine
        self.notice = ""
        logger.info("now serving with %s", engine.name)
