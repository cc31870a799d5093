"""Where prepared samples come from: decoded once into memory, or prepared on the fly by worker processes."""

from __future__ import annotations

import dataclasses
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lift3d_ros.datasets.labelled import LabelledData
from lift3d_ros.datasets.pack import PackReader
from lift3d_ros.datasets.prepared import PreparedSample, prepare_sample
from lift3d_ros.errors import DatasetError
from lift3d_ros.images.preprocess import InputSpec
from lift3d_ros.training.dfa3d.order import SceneFrames, Window
from lift3d_ros.training.memory import available_bytes

logger = logging.getLogger(__name__)


class Pictures(Protocol):
    """Where the pictures of samples are taken from."""

    def pictures(self, numbers: Sequence[int], samples: dict[int, PreparedSample]) -> Tensor | PictureRows:
        """Return the pictures of some samples, one sample after the other."""


class Frames(Pictures, Protocol):
    """Prepared samples by number; those of a scene follow each other."""

    @property
    def count(self) -> int:
        """Return how many samples there are."""

    def scenes(self) -> Sequence[SceneFrames]:
        """Return the samples of each scene."""

    def refresh(self) -> None:
        """Take in what was added."""

    def load(self, windows: Iterator[list[Window]]) -> Iterator[tuple[list[Window], dict[int, PreparedSample]]]:
        """Yield each batch of windows with its samples."""

    def labels(self) -> Sequence[Any] | None:
        """Return the labels of each sample, None where they are not known before loading."""


class PictureStore:
    """Decoded pictures as one tensor of fixed capacity."""

    def __init__(self, capacity: int, height: int, width: int, device: torch.device) -> None:
        """Reserve memory; on a CPU it is taken only as it is filled."""
        self._images = torch.empty((capacity, 3, height, width), dtype=torch.uint8, device=device)
        self.count = 0

    @property
    def device(self) -> torch.device:
        """Where the pictures lie."""
        return self._images.device

    @property
    def num_free(self) -> int:
        """Pictures that still fit."""
        return len(self._images) - self.count

    def add(self, images: Any) -> None:
        """Append pictures (N, 3, H, W) uint8."""
        self._images[self.count : self.count + len(images)] = torch.from_numpy(images).to(self.device)
        self.count += len(images)

    def take(self, rows: Tensor) -> Tensor:
        """Return the pictures of some rows."""
        return self._images.index_select(0, rows.to(self.device))


@dataclasses.dataclass(frozen=True, eq=False)
class PictureRows:
    """Pictures that are taken from the store when the batch is on the device."""

    store: PictureStore
    rows: Tensor


class PackedFrames:
    """All scenes of some packs, decoded once."""

    def __init__(
        self, readers: Sequence[PackReader], memory_gb: float, device: torch.device, *, grows: bool, is_quiet: bool
    ) -> None:
        """Decode everything that is there.

        Raises:
            DatasetError: a damaged file, more than fits into `memory_gb` or into the machine, or no sample.
        """
        self._readers = list(readers)
        self._done: list[set[str]] = [set() for _ in readers]
        self._samples: list[PreparedSample] = []
        self._rows: list[tuple[int, int]] = []
        self._scenes: list[SceneFrames] = []
        self._device, self._is_quiet = device, is_quiet
        spec = readers[0].facts.spec
        self._limit = int(memory_gb * 1e9 / (3 * spec.width * spec.height))
        self._store: PictureStore | None = None
        self._grows = grows
        self.refresh()
        if not self._samples:
            raise DatasetError(
                f"{readers[0].folder}: holds no sample; expected scenes made by 'lift3d train ... --pack'"
            )

    @property
    def count(self) -> int:
        """Return how many samples there are."""
        return len(self._samples)

    def scenes(self) -> Sequence[SceneFrames]:
        """Return the samples of each scene."""
        return self._scenes

    def refresh(self) -> None:
        """Decode scenes that were added."""
        wanted = []
        for reader, done in zip(self._readers, self._done, strict=True):
            reader.refresh()
            wanted += [(reader, done, scene) for scene in reader.scenes if scene not in done]
        if not wanted or (self._store is not None and self._store.num_free == 0):
            return
        if self._store is None:
            self._store = self._new_store(sum(reader.num_pictures(scene) for reader, _, scene in wanted))
        hidden = True if self._is_quiet else None
        with ThreadPoolExecutor(max_workers=torch.get_num_threads() + 1) as pool:
            loaded = pool.map(lambda item: item[0].load(item[2]), wanted)
            shown = tqdm(loaded, "decoding", len(wanted), unit="scene", disable=hidden, file=sys.stderr)
            for (_, done, scene), samples in zip(wanted, shown, strict=True):
                if sum(len(sample.images) for sample in samples) > self._store.num_free:
                    pool.shutdown(wait=False, cancel_futures=True)
                    break
                done.add(scene)
                self._take_in(scene, samples, self._store)

    def _new_store(self, count: int) -> PictureStore:
        """Reserve memory for so many pictures, or for all that may come."""
        spec, folder = self._readers[0].facts.spec, self._readers[0].folder
        size = 3 * spec.width * spec.height
        if count > self._limit:
            raise DatasetError(
                f"{folder}: {count} pictures need {count * size / 1e9:.1f} GB of memory, data.memory_gb allows "
                f"{self._limit * size / 1e9:.1f}; raise it, or train on fewer scenes"
            )
        capacity = self._limit if self._grows else count
        device = _with_room(self._device, size * capacity)
        free = available_bytes() if device.type == "cpu" else None
        if free is not None and size * capacity > free:
            found = f"this machine has {free / 1e9:.1f} GB of memory left"
            if self._grows:
                raise DatasetError(
                    f"{folder}: data.memory_gb keeps {size * capacity / 1e9:.1f} GB for a pack that grows, {found}; "
                    f"add --set data.memory_gb={max(0.1, 0.6 * free / 1e9):.1f}, or data.follows=false"
                )
            raise DatasetError(
                f"{folder}: {count} pictures need {size * count / 1e9:.1f} GB, {found}; train on fewer scenes"
            )
        return PictureStore(capacity, spec.height, spec.width, device)

    def _take_in(self, scene: str, samples: Sequence[PreparedSample], store: PictureStore) -> None:
        first = len(self._samples)
        for sample in samples:
            self._rows.append((store.count, len(sample.images)))
            store.add(sample.images)
            self._samples.append(dataclasses.replace(sample, images=sample.images[:0].copy()))
        stamps, has_pose = [sample.stamp_ns for sample in samples], [sample.has_pose for sample in samples]
        self._scenes.append(SceneFrames(scene, first, stamps, has_pose))

    def load(self, windows: Iterator[list[Window]]) -> Iterator[tuple[list[Window], dict[int, PreparedSample]]]:
        """Yield each batch of windows with its samples, whose pictures are in the store."""
        for batch in windows:
            numbers = {number for window in batch for number in window.frames}
            yield batch, {number: self._samples[number] for number in numbers}

    def pictures(self, numbers: Sequence[int], samples: dict[int, PreparedSample]) -> Tensor | PictureRows:
        """Return where the pictures of some samples lie."""
        rows = np.concatenate([np.arange(first, first + count) for first, count in (self._rows[n] for n in numbers)])
        assert self._store is not None
        return PictureRows(self._store, torch.from_numpy(rows))

    def labels(self) -> Sequence[Any] | None:
        """Return the labels of each sample."""
        return [sample.labels for sample in self._samples]


def _with_room(device: torch.device, size: int) -> torch.device:
    """Return the GPU where it has room for `size` bytes and for training beside them, else the CPU."""
    if device.type != "cuda" or size < 0.7 * torch.cuda.mem_get_info(device)[0]:
        return device
    logger.info("%.1f GB of pictures stay in main memory, the GPU has too little", size / 1e9)
    return torch.device("cpu")


class StreamedFrames:
    """Samples of labelled data, prepared on the fly."""

    def __init__(self, data: LabelledData, spec: InputSpec, class_names: Sequence[str], workers: int) -> None:
        """Prepare for a network with this input and these classes.

        Raises:
            DatasetError: there is no frame.
        """
        self._preparation = _Preparation(data, spec, class_names)
        self._workers = workers
        if not self.count:
            raise DatasetError(f"the data has no labelled frame in {len(data.scenes)} scenes; expected at least one")

    @property
    def count(self) -> int:
        """Return how many samples there are."""
        return self._preparation.count

    def scenes(self) -> Sequence[SceneFrames]:
        """Return the samples of each scene; gaps and missing poses are seen when they are loaded."""
        return self._preparation.scenes

    def refresh(self) -> None:
        """Labelled data does not grow."""

    def load(self, windows: Iterator[list[Window]]) -> Iterator[tuple[list[Window], dict[int, PreparedSample]]]:
        """Yield each batch of windows with its samples."""
        loader = torch.utils.data.DataLoader(
            _Batches(self._preparation, windows, max(1, self._workers)),
            batch_size=None,
            num_workers=self._workers,
            prefetch_factor=2 if self._workers else None,
            worker_init_fn=_ignore_interrupts,
        )
        yield from loader

    def pictures(self, numbers: Sequence[int], samples: dict[int, PreparedSample]) -> Tensor | PictureRows:
        """Return the pictures of some samples."""
        return prepared_pictures(numbers, samples)

    def labels(self) -> Sequence[Any] | None:
        """Labels are not known before loading."""
        return None


def prepared_pictures(numbers: Sequence[int], samples: dict[int, PreparedSample]) -> Tensor:
    """Return the pictures that samples hold themselves, one sample after the other."""
    return torch.from_numpy(np.concatenate([samples[number].images for number in numbers]))


def _ignore_interrupts(worker: int) -> None:
    """Leave Ctrl-C to the main process, which ends the run after a step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Preparation:
    def __init__(self, data: LabelledData, spec: InputSpec, class_names: Sequence[str]) -> None:
        self._data, self._spec, self._class_names = data, spec, tuple(class_names)
        self._place: list[tuple[str, int]] = []
        self.scenes: list[SceneFrames] = []
        for scene in data.scenes:
            count = data.num_frames(scene)
            self.scenes.append(SceneFrames(scene, len(self._place), range(count), [True] * count, knows_stamps=False))
            self._place += [(scene, index) for index in range(count)]
        self.count = len(self._place)

    def __getitem__(self, number: int) -> PreparedSample:
        scene, index = self._place[number]
        return prepare_sample(self._data.load(scene, index), self._spec, self._class_names, index=index)


class _Batches(torch.utils.data.IterableDataset[Any]):
    """Each worker prepares every n-th batch; the loader takes them in turn, so the order stays."""

    def __init__(self, preparation: _Preparation, windows: Iterator[list[Window]], workers: int) -> None:
        self._preparation, self._windows, self._workers = preparation, windows, workers

    def __iter__(self) -> Iterator[tuple[list[Window], dict[int, PreparedSample]]]:
        info = torch.utils.data.get_worker_info()
        worker = 0 if info is None else info.id
        for number, batch in enumerate(self._windows):
            if number % self._workers == worker:
                numbers = {n for window in batch for n in window.frames}
                yield batch, {n: self._preparation[n] for n in sorted(numbers)}
