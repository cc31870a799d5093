"""Temporal windows for training: which frames of a scene are the history of which."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lift3d_ros.config import setting
from lift3d_ros.errors import ConfigError


@dataclass(frozen=True)
class WindowSettings:
    """How histories are drawn."""

    length: int = setting(4, "frames of a window, the trained one included", minimum=1, maximum=32)
    strides: tuple[int, ...] = setting((1,), "steps back in the scene from frame to frame; one is drawn per window")
    max_gap_s: float = setting(
        2.5, "frames farther apart share no memory, as in the detector", unit="s", minimum=0.0, maximum=60.0
    )
    drops_one: bool = setting(True, "look one frame farther back, and leave a random one of the history out")
    step_s: float = setting(
        0.0, "from frame to frame about so much time, in place of strides; 0: strides", unit="s", minimum=0.0
    )

    def __post_init__(self) -> None:
        if not self.strides or min(self.strides) < 1:
            raise ConfigError(f"windows: 'strides' is {list(self.strides)}; expected at least one step of 1 or more")


def windows(
    stamps_ns: Sequence[int],
    settings: WindowSettings,
    *,
    has_pose: Sequence[bool] | None = None,
    scene: str = "",
    seed: int = 0,
    epoch: int = 0,
) -> list[tuple[int, ...]]:
    """Return one window for each frame of a scene: its history, oldest first, and the frame itself as the last.

    Windows are shorter where a scene begins, and behind a gap or a frame without pose: memory starts afresh there on
    the vehicle, too. The same arguments always give the same windows.

    Args:
        stamps_ns: of the frames, in order of time.
        has_pose: whether the ego pose of each frame is known; all are where it is not given.
        scene: its name, so that scenes draw differently.

    Source: fact sheet DFA3D, section 17 (of the frames before the current one, one random frame is dropped).
    """
    rng = np.random.default_rng([seed, epoch, zlib.crc32(scene.encode())])
    known = [True] * len(stamps_ns) if has_pose is None else list(has_pose)
    result = []
    for index in range(len(stamps_ns)):
        stride = int(rng.choice(settings.strides))
        dropped = int(rng.integers(settings.length))
        kept = settings.length - 1
        reach = kept + 1 if settings.drops_one and kept else kept
        history = _history(stamps_ns, known, index, reach, stride, settings)
        if len(history) > kept:
            shorter = [*history[:dropped], *history[dropped + 1 :]]
            history = shorter if _is_connected(stamps_ns, [*shorter, index], settings.max_gap_s) else history[1:]
        result.append((*history, index))
    return result


def earlier_frame(stamps_ns: Sequence[int], index: int, step_s: float = 0.0) -> int:
    """Return the frame before `index` whose age is nearest to `step_s`; -1 where none is.

    Of two that are equally near it is the newer one, as in the memory of the detector; with 0 the one before.
    """

    def miss_ms(before: int) -> int:
        return round(1e3 * abs((stamps_ns[index] - stamps_ns[before]) * 1e-9 - step_s))

    chosen = index - 1
    while step_s and chosen > 0 and miss_ms(chosen - 1) < miss_ms(chosen):
        chosen -= 1
    return chosen


def _history(
    stamps_ns: Sequence[int],
    has_pose: Sequence[bool],
    index: int,
    count: int,
    stride: int,
    settings: WindowSettings,
) -> list[int]:
    """Return at most `count` frames before `index`, oldest first, each one within reach of the next."""
    history: list[int] = []
    following = index
    while len(history) < count:
        before = following - stride
        if settings.step_s:
            before = earlier_frame(stamps_ns, following, settings.step_s)
        if before < 0 or not (has_pose[before] and has_pose[following]):
            break
        if not _is_connected(stamps_ns, [before, following], settings.max_gap_s):
            break
        history.insert(0, before)
        following = before
    return history


def _is_connected(stamps_ns: Sequence[int], indices: Sequence[int], max_gap_s: float) -> bool:
    stamps = [stamps_ns[i] for i in indices]
    return all(0 < after - before <= max_gap_s * 1e9 for before, after in itertools.pairwise(stamps))
