"""Batches from scenes that are prepared while the network trains; the latest ones are kept and drawn from at random."""

from __future__ import annotations

import bisect
import logging
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lift3d_ros.datasets.prepared import PreparedSample
from lift3d_ros.training.dfa3d.assembly import assemble
from lift3d_ros.training.dfa3d.batch import Batch
from lift3d_ros.training.dfa3d.data import BatchStream, Dfa3dData
from lift3d_ros.training.dfa3d.order import SceneFrames, Window, histories, sample_rng
from lift3d_ros.training.dfa3d.samples import Frames, prepared_pictures
from lift3d_ros.training.dfa3d.settings import Dfa3dTraining
from lift3d_ros.training.scene_stream import SceneStream

logger = logging.getLogger(__name__)

_FIRST_SHARE = 8  # so many times fewer samples than are kept are there before the first batch


class SceneRing:
    """The latest scenes with at most so many samples, numbered in the order in which they came."""

    def __init__(self, capacity: int) -> None:
        """Keep `capacity` samples; one scene is kept in any case."""
        self._capacity = capacity
        self._scenes: list[SceneFrames] = []
        self.samples: dict[int, PreparedSample] = {}

    def add(self, samples: Sequence[PreparedSample]) -> None:
        """Append a scene, and let go of the oldest ones."""
        first = self._scenes[-1].first + len(self._scenes[-1].stamps_ns) if self._scenes else 0
        stamps, has_pose = [sample.stamp_ns for sample in samples], [sample.has_pose for sample in samples]
        self._scenes.append(SceneFrames(samples[0].scene, first, stamps, has_pose))
        self.samples |= dict(enumerate(samples, first))
        while len(self.samples) > self._capacity and len(self._scenes) > 1:
            oldest = self._scenes.pop(0)
            for number in range(oldest.first, oldest.first + len(oldest.stamps_ns)):
                del self.samples[number]

    def draw(self, rng: np.random.Generator) -> tuple[SceneFrames, int]:
        """Return a scene and the place of one of its samples; all samples are equally likely."""
        number = self._scenes[0].first + int(rng.integers(len(self.samples)))
        scene = self._scenes[bisect.bisect(self._scenes, number, key=lambda scene: scene.first) - 1]
        return scene, number - scene.first

    def pictures(self, numbers: Sequence[int], samples: dict[int, PreparedSample]) -> Tensor:
        """Return the pictures of some samples, one sample after the other."""
        return prepared_pictures(numbers, samples)


class StreamingData(Dfa3dData):
    """Training batches from a stream of scenes, validation batches from frames; not repeatable."""

    def __init__(
        self, stream: SceneStream, validation: Frames | None, recipe: Dfa3dTraining, device: torch.device, *,
        is_quiet: bool = False,
    ) -> None:  # fmt: skip
        """Draw from `stream`, which must be open while batches are made."""
        super().__init__(None, validation, recipe, device)
        self._stream, self._is_quiet = stream, is_quiet

    def train_batches(self, first: int, rank: int, num_ranks: int) -> BatchStream:
        """Return an endless iterable."""
        return BatchStream(lambda: self._streamed_batches(first, rank, num_ranks), None, self._is_pinned)

    def _streamed_batches(self, first: int, rank: int, num_ranks: int) -> Iterator[Batch]:
        recipe = self._recipe
        settings, size, seed = recipe.data, recipe.run.batch_size, recipe.run.seed
        ring = SceneRing(settings.stream_samples)
        rng = np.random.default_rng((seed, 1 << 50, first, rank))
        self._fill(ring, max(1, min(settings.stream_samples, max(size, settings.stream_samples // _FIRST_SHARE))))
        number = first
        while self._stream.is_open:
            for samples in self._stream.take():
                ring.add(samples)
            is_alone = sample_rng(seed, number + (1 << 49)).random() >= settings.history_share
            windows = []
            for place in range(size):
                position = (number * num_ranks + rank) * size + place
                scene, index = ring.draw(rng)
                frames = histories([scene], recipe, position, is_training=True)[index]
                has_history = not is_alone and rng.random() >= settings.drops_history
                windows.append(Window(frames[-1:] if is_alone else frames, position, bool(has_history)))
            numbers = {frame for window in windows for frame in window.frames}
            used = {frame: ring.samples[frame] for frame in numbers}
            yield self._checked(assemble(windows, used, ring, recipe, is_training=True))
            number += 1

    def _fill(self, ring: SceneRing, wanted: int) -> None:
        """Wait for the first scenes."""
        hidden: Any = True if self._is_quiet else None
        with tqdm(total=wanted, desc="first scenes", unit="sample", disable=hidden, file=sys.stderr) as bar:
            while len(ring.samples) < wanted and self._stream.is_open:
                for samples in self._stream.take(timeout_s=0.2):
                    ring.add(samples)
                    bar.update(len(samples))
