"""Scenes that worker processes prepare without end, for a training that does not wait for all of them.

Each worker has a pipe of its own: where it waits with a finished scene, the others go on, and where it ends, its pipe
tells so at once.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from lift3d_ros.datasets.labelled import LabelledData
from lift3d_ros.datasets.prepared import PreparedSample
from lift3d_ros.errors import DatasetError, Lift3dError
from lift3d_ros.images.preprocess import InputSpec
from lift3d_ros.training.packing import naming_scene, prepare_scene

_PATIENCE_S = 2.0


class SceneSource(Protocol):
    """What a worker opens; a :class:`lift3d_ros.training.packing.SimulatorSource`, sent to it by pickling."""

    def open(self, class_names: Sequence[str], stack: ExitStack) -> LabelledData:
        """Open the data in this process."""

    def scenes(self, class_names: Sequence[str]) -> Sequence[str]:
        """Return the names of all scenes."""


class SceneStream:
    """Prepared scenes in random order, each as often as the others; use as a context manager."""

    def __init__(
        self,
        source: SceneSource,
        spec: InputSpec,
        class_names: Sequence[str],
        *,
        workers: int,
        seed: Sequence[int],
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Look at the source; processes start with the ``with`` block.

        Args:
            seed: of the order of scenes; when they come is left to chance.
            share: (rank, ranks) where several trainings divide the scenes between them.

        Raises:
            Lift3dError: the source cannot be used, or has no scene.
        """
        rank, num_ranks = share
        scenes = tuple(source.scenes(class_names))[rank::num_ranks]
        if not scenes:
            raise DatasetError("no scene to train on; expected at least one for each process")
        self.num_scenes = 0
        self._workers = max(1, min(workers, len(scenes)))
        self._arguments = (source, spec, tuple(class_names), scenes, tuple(seed), self._workers)
        self._processes: dict[Connection, Any] = {}
        self._at: dict[Connection, str] = {}

    def __enter__(self) -> SceneStream:
        """Start the workers; spawned, because graphics contexts and threads do not survive a fork."""
        context = get_context("spawn")
        for number in range(self._workers):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(
                target=_work, args=(sender, number, *self._arguments), name=f"scenes {number}", daemon=True
            )
            process.start()
            sender.close()
            self._processes[receiver] = process
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers, also in the middle of a scene."""
        processes, self._processes = self._processes, {}
        for receiver, process in processes.items():
            receiver.close()
            process.terminate()
        end = time.monotonic() + _PATIENCE_S
        for process in processes.values():
            process.join(max(0.0, end - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()

    @property
    def is_open(self) -> bool:
        """Whether the workers are there."""
        return bool(self._processes)

    def take(self, timeout_s: float = 0.0) -> list[list[PreparedSample]]:
        """Return the scenes that are ready, after at most `timeout_s` where there is none yet.

        Raises:
            Lift3dError: a scene is wrong, or a worker has ended; names the scene.
        """
        found: list[list[PreparedSample]] = []
        try:
            ready = connection.wait(list(self._processes), timeout_s)
        except (OSError, ValueError):
            if self.is_open:
                raise
            return found
        for receiver in ready:
            assert isinstance(receiver, Connection)
            try:
                message = receiver.recv()
            except (EOFError, OSError):
                process = self._processes.get(receiver)
                if process is None:  # closed meanwhile
                    return found
                process.join(_PATIENCE_S)
                raise Lift3dError(
                    f"a process that prepares scenes for the training has ended (status {process.exitcode}) at scene "
                    f"'{self._at.get(receiver, 'none yet')}', perhaps for want of memory; go on with --resume and "
                    "fewer of them, --set run.workers=1, or prepare the scenes first, with --pack"
                ) from None
            if isinstance(message, str):
                self._at[receiver] = message
            elif isinstance(message, Lift3dError):
                raise message
            else:
                found.append(message)
        self.num_scenes += len(found)
        return found


def _work(
    sender: Connection,
    number: int,
    source: SceneSource,
    spec: InputSpec,
    class_names: Sequence[str],
    scenes: Sequence[str],
    seed: Sequence[int],
    workers: int,
) -> None:
    """Prepare every n-th scene of an order that all workers know, until nobody reads them any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training ends after its step, and then this process
    with contextlib.suppress(BrokenPipeError, ConnectionResetError), ExitStack() as stack:
        data: LabelledData | None = None
        order = np.random.default_rng(seed)
        while True:
            for place in order.permutation(len(scenes))[number::workers]:
                scene = scenes[place]
                sender.send(scene)
                try:
                    if data is None:
                        with naming_scene(scene):
                            data = source.open(class_names, stack)
                    samples = prepare_scene(data, scene, spec, class_names)
                except Lift3dError as error:
                    sender.send(DatasetError(str(error)))
                    return
                sender.send(samples)
