"""Batches of the BEV detector, made ahead by a thread while the network is busy."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch

from lift3d_ros.errors import ConfigError
from lift3d_ros.training.dfa3d.assembly import assemble
from lift3d_ros.training.dfa3d.batch import Batch
from lift3d_ros.training.dfa3d.loss import check_targets
from lift3d_ros.training.dfa3d.order import Window, class_weights, epochs, histories, sample_rng
from lift3d_ros.training.dfa3d.samples import Frames
from lift3d_ros.training.dfa3d.settings import Dfa3dTraining

_AHEAD = 3


class Dfa3dData:
    """Training and validation batches from frames."""

    def __init__(
        self, training: Frames | None, validation: Frames | None, recipe: Dfa3dTraining, device: torch.device
    ) -> None:
        """Make batches for `device` by a recipe."""
        self._training, self._validation, self._recipe, self._device = training, validation, recipe, device

    def train_batches(self, first: int, rank: int, num_ranks: int) -> BatchStream:
        """Return an endless iterable; the batches of all processes together are those of one with larger ones."""
        return BatchStream(lambda: self._training_batches(first, rank, num_ranks), None, self._is_pinned)

    def validation_batches(self, rank: int, num_ranks: int) -> BatchStream | None:
        """Return an iterable of the validation samples, evenly spread where there are more than are wanted.

        Raises:
            ConfigError: a process would have none; all of them have to take part in a validation.
        """
        if self._validation is None:
            return None
        count, most = self._validation.count, self._recipe.data.validation_samples
        chosen = np.unique(np.linspace(0, count - 1, min(count, most or count)).round().astype(int))
        if len(chosen) < num_ranks:
            raise ConfigError(
                f"{len(chosen)} validation samples for {num_ranks} processes; expected one for each. Give more, in "
                "--val or data.validation_samples, start fewer processes, or --set run.validation_interval=0"
            )
        chosen = chosen[rank::num_ranks]
        size = self._recipe.run.batch_size
        return BatchStream(
            lambda: self._validation_batches([int(n) for n in chosen]), -(-len(chosen) // size), self._is_pinned
        )

    @property
    def _is_pinned(self) -> bool:
        return self._device.type == "cuda"

    def _training_batches(self, first: int, rank: int, num_ranks: int) -> Iterator[Batch]:
        source, recipe = self._training, self._recipe
        assert source is not None
        size = recipe.run.batch_size
        together = size * num_ranks
        windows = self._training_windows(first * together, together)

        def batches() -> Iterator[list[Window]]:
            while True:
                yield list(islice(windows, together))[rank * size : (rank + 1) * size]

        for batch, samples in source.load(batches()):
            yield self._checked(assemble(batch, samples, source, recipe, is_training=True))

    def _training_windows(self, first: int, together: int) -> Iterator[Window]:
        source, recipe = self._training, self._recipe
        assert source is not None
        seed = recipe.run.seed
        is_first = True

        def count_samples() -> int:
            nonlocal is_first
            if recipe.data.follows and not is_first:
                source.refresh()
            is_first = False
            return source.count

        def weights() -> Any:
            labels = source.labels() if recipe.data.balances_classes else None
            return None if labels is None else class_weights(labels, len(recipe.network.class_names))

        for epoch, start, order in epochs(seed, first, count_samples, weights):
            frames = histories(source.scenes(), recipe, epoch, is_training=True)
            for position, sample in enumerate(order, start):
                # The same for all windows of a batch, so that the batch may leave out the earlier frames.
                if sample_rng(seed, position // together + (1 << 49)).random() >= recipe.data.history_share:
                    yield Window(frames[sample][-1:], position, has_history=False)
                    continue
                has_history = sample_rng(seed, position + (1 << 48)).random() >= recipe.data.drops_history
                yield Window(frames[sample], position, bool(has_history))

    def _validation_batches(self, chosen: Sequence[int]) -> Iterator[Batch]:
        source, recipe = self._validation, self._recipe
        assert source is not None
        frames = histories(source.scenes(), recipe, 0, is_training=False)
        windows = [Window(frames[number], number) for number in chosen]
        size = recipe.run.batch_size
        parts = (windows[start : start + size] for start in range(0, len(windows), size))
        for batch, samples in source.load(parts):
            yield self._checked(assemble(batch, samples, source, recipe, is_training=False))

    def _checked(self, batch: Batch) -> Batch:
        num_classes = len(self._recipe.network.class_names)
        check_targets(batch.target_codes, batch.target_labels, num_classes, batch.names)
        return batch


class BatchStream:
    """An iterable whose batches are made ahead in a thread; each iteration begins anew."""

    def __init__(self, make: Callable[[], Iterator[Batch]], length: int | None, is_pinned: bool) -> None:
        """Iterate over what `make` returns; `length` is known of validation data."""
        self._make, self._length, self._is_pinned = make, length, is_pinned

    def __len__(self) -> int:
        """Return the number of batches."""
        if self._length is None:
            raise TypeError("training batches have no end")
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches; an error of the thread is raised here."""
        ready: queue.Queue[Any] = queue.Queue(maxsize=_AHEAD)
        is_over = threading.Event()

        def put(item: Any) -> None:
            while not is_over.is_set():
                try:
                    ready.put(item, timeout=0.2)
                    return
                except queue.Full:
                    continue

        def work() -> None:
            try:
                for batch in self._make():
                    put((batch.pinned() if self._is_pinned else batch, None))
                    if is_over.is_set():
                        return
                put((None, None))
            except BaseException as error:  # raised again where the batches are used
                put((None, error))

        thread = threading.Thread(target=work, name="batches", daemon=True)
        thread.start()
        try:
            while True:
                batch, error = ready.get()
                if error is not None:
                    raise error
                if batch is None:
                    return
                yield batch
        finally:
            is_over.set()
            thread.join(timeout=5.0)
