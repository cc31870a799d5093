"""In which order samples are trained, and which earlier frames go with each; decided by seed and position alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.sequences import WindowSettings, earlier_frame, windows
from lift3d_ros.training.dfa3d.settings import Dfa3dTraining


@dataclass(frozen=True)
class Window:
    """The frames of one sample.

    Args:
        frames: numbers of samples, oldest first, as many in all windows of a batch; where a scene has no earlier frame
            its first one stands again.
        position: place in the order of the whole run, which makes the augmentation.
        has_history: False to train without, although there are earlier frames.
    """

    frames: tuple[int, ...]
    position: int
    has_history: bool = True


@dataclass(frozen=True, eq=False)
class SceneFrames:
    """The samples of a scene: numbered from `first`, with what is known of them before they are loaded.

    Args:
        knows_stamps: False where `stamps_ns` only counts.
    """

    name: str
    first: int
    stamps_ns: Sequence[int]
    has_pose: Sequence[bool]
    knows_stamps: bool = True

    def before(self, index: int, history_s: float) -> int:
        """Return the frame whose map the frame `index` uses: about `history_s` older where stamps are known."""
        return earlier_frame(self.stamps_ns, index, history_s if self.knows_stamps else 0.0)


def histories(
    scenes: Sequence[SceneFrames], recipe: Dfa3dTraining, epoch: int, *, is_training: bool
) -> list[tuple[int, ...]]:
    """Return for each sample the frames of its window, all of the same length."""
    settings, seed, history_s = recipe.data, recipe.run.seed, recipe.network.history_s
    length = settings.history_frames + 1
    strides = settings.history_strides if is_training else settings.history_strides[:1]
    frames: list[tuple[int, ...]] = []
    for scene in scenes:
        step_s = history_s if scene.knows_stamps and settings.history_strides == (1,) else 0.0
        drawn = WindowSettings(length, strides, settings.max_gap_s, settings.drops_one and is_training, step_s)
        found = windows(scene.stamps_ns, drawn, has_pose=scene.has_pose, scene=scene.name, seed=seed, epoch=epoch)
        for window in found:
            numbers = [scene.first + index for index in window]
            frames.append((*numbers[:1] * (length - len(numbers)), *numbers))
    return frames


def sample_rng(seed: int, position: int) -> np.random.Generator:
    """Return the generator of everything that is random about the sample at a position of the run."""
    return np.random.default_rng((seed, position))


def epochs(
    seed: int, first: int, count_samples: Callable[[], int], weights: Callable[[], NDArray[np.float64] | None]
) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """Yield the number of each epoch, its first position, and its samples in order, without end.

    Args:
        first: position to start at; the first order is cut there.
        count_samples: called at the start of each epoch, so that data may grow.
        weights: of the samples, None where each comes once.
    """
    size = count_samples()
    epoch = first // size
    position = epoch * size
    while True:
        rng = np.random.default_rng((seed, 1 << 40, epoch))
        chance = weights()
        order = rng.permutation(size) if chance is None else rng.choice(size, size, p=chance / chance.sum())
        skipped = max(0, first - position)
        yield epoch, position + skipped, order[skipped:]
        position, epoch = position + size, epoch + 1
        size = count_samples()


def class_weights(labels: Sequence[NDArray[np.int64]], num_classes: int) -> NDArray[np.float64]:
    """Return a weight for each sample, such that classes come about equally often.

    Args:
        labels: of the boxes of each sample.
    """
    present = np.zeros((len(labels), num_classes))
    for row, found in enumerate(labels):
        present[row, found] = 1.0
    share = present.mean(axis=0)
    rarity = np.where(share > 0, 1.0 / np.maximum(share, 1e-9), 0.0) / max(1, int((share > 0).sum()))
    weights = (present * rarity).sum(axis=1) / np.maximum(1.0, present.sum(axis=1))
    return np.where(weights > 0, weights, weights[weights > 0].min() if (weights > 0).any() else 1.0)
