"""What can go wrong on a vehicle, done to frame sets before the detector sees them: tables of robustness.

Every disturbance is the same in every run: random parts are drawn from the stamp and the name of the camera.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lift3d_ros.errors import ImageError
from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import rpy_matrix
from lift3d_ros.images.decode import decode
from lift3d_ros.replay.sets import RecordedSet
from lift3d_ros.replay.source import FrameSource, Labels
from lift3d_ros.types import CameraImage, CameraView, FrameSet

MISSING_CAMERAS, CALIBRATION, TIME_OFFSET, PICTURES = "missing cameras", "calibration", "time offset", "pictures"

_ANGLES_DEG = (0.5, 1.0, 2.0)
_OFFSETS_S = (0.05, 0.1)
_NOISE_SIGMAS = (10.0, 25.0)
_LIGHT_SHARES = (0.25, 0.05)
_GAMMA = 2.2


@dataclass(frozen=True)
class Disturbance:
    """One row of a table.

    Args:
        table: title of the table it belongs to.
        name: what is wrong, for people.
        apply: changes a frame set; None where nothing is left of it.
    """

    table: str
    name: str
    apply: Callable[[FrameSet], FrameSet | None]

    @property
    def folder(self) -> str:
        """Return the name of its result folder."""
        return "".join(letter if letter.isalnum() else "_" for letter in f"{self.table} {self.name}").strip("_")


class DisturbedFrames:
    """The frame sets of a source with something wrong."""

    def __init__(self, source: FrameSource, disturbance: Disturbance) -> None:
        self._source, self._disturbance = source, disturbance

    @property
    def name(self) -> str:
        """Short name for titles."""
        return f"{self._source.name}, {self._disturbance.name}"

    @property
    def cameras(self) -> tuple[str, ...]:
        """Camera names in rig order, with those that are taken away."""
        return self._source.cameras

    @property
    def labels(self) -> Mapping[int, Labels]:
        """The labels, undisturbed."""
        return self._source.labels

    @property
    def expected_sets(self) -> int:
        """About how many sets there will be."""
        return self._source.expected_sets

    def frame_sets(self) -> Iterator[FrameSet]:
        """Yield what is left of the frame sets."""
        yield from filter(None, map(self._disturbance.apply, self._source.frame_sets()))

    def recorded_frame_sets(self, recorded: Iterable[RecordedSet]) -> Iterator[FrameSet]:
        """Yield recorded sets with the pictures as they were disturbed; the sets themselves hold the rest."""
        for item in self._source.recorded_frame_sets(recorded):
            disturbed = self._disturbance.apply(item)
            if disturbed is not None:
                yield disturbed


def missing_cameras(cameras: Sequence[str]) -> list[Disturbance]:
    """Return: each camera missing in turn, and every second one missing."""
    if len(cameras) < 2:
        return []
    rows = [Disturbance(MISSING_CAMERAS, f"without {name}", _Without((name,))) for name in cameras]
    every_second = tuple(cameras[1::2])
    return [*rows, Disturbance(MISSING_CAMERAS, f"half: without {', '.join(every_second)}", _Without(every_second))]


def calibration_errors() -> list[Disturbance]:
    """Return mountings that are wrong by a yaw or a pitch, its sign alternating in the order of the rig's cameras.

    That need not be their order around the vehicle: of front, front left, front right the first and the last turn to
    the same side, though they are neighbours.
    """
    rows = []
    for axis in ("yaw", "pitch"):
        for angle in _ANGLES_DEG:
            turn = _Turned(**{f"{axis}_deg": angle})
            rows.append(Disturbance(CALIBRATION, f"{axis} ±{angle:g}°", turn))
    return rows


def time_offsets() -> list[Disturbance]:
    """Return pictures that were taken earlier than their stamps say."""
    return [Disturbance(TIME_OFFSET, f"stamps {1e3 * offset:g} ms late", _Late(offset)) for offset in _OFFSETS_S]


def worse_pictures() -> list[Disturbance]:
    """Return noise on the pictures, and less light."""
    noise = [Disturbance(PICTURES, f"noise of {sigma:g} of 255", _Noisy(sigma)) for sigma in _NOISE_SIGMAS]
    dark = [Disturbance(PICTURES, f"{100 * share:g} % of the light", _Dark(share)) for share in _LIGHT_SHARES]
    return noise + dark


@dataclass(frozen=True)
class _Without:
    cameras: tuple[str, ...]

    def __call__(self, frame_set: FrameSet) -> FrameSet | None:
        views = {name: view for name, view in frame_set.views.items() if name not in self.cameras}
        if not views:
            return None
        missing = tuple(name for name in frame_set.cameras if name not in views)
        return dataclasses.replace(frame_set, views=views, missing=missing)


@dataclass(frozen=True)
class _Turned:
    """Turns what is believed of the mounting about the axes of the camera's body; the pictures stay."""

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0

    def __call__(self, frame_set: FrameSet) -> FrameSet:
        views = {}
        for name, view in frame_set.views.items():
            side = 1.0 if frame_set.cameras.index(name) % 2 == 0 else -1.0
            # Optical axes: a yaw turns about y (down), a pitch about x (right).
            rotation = rpy_matrix(side * np.deg2rad(self.pitch_deg), side * np.deg2rad(self.yaw_deg), 0.0)
            T_cam_believed = make_transform(rotation, np.zeros(3))
            views[name] = dataclasses.replace(view, T_base_cam=view.T_base_cam @ T_cam_believed)
        return dataclasses.replace(frame_set, views=views)


@dataclass(frozen=True)
class _Late:
    """Moves the believed capture by what the vehicle drives in the offset; without ego motion nothing changes."""

    offset_s: float

    def __call__(self, frame_set: FrameSet) -> FrameSet:
        ego = frame_set.ego
        if ego is None or ego.linear_velocity is None or ego.angular_velocity is None:
            return frame_set
        turn = rpy_matrix(*(ego.angular_velocity * self.offset_s))
        T_capture_believed = make_transform(turn, ego.linear_velocity * self.offset_s)
        views = {
            name: dataclasses.replace(view, T_reference_capture=view.T_reference_capture @ T_capture_believed)
            for name, view in frame_set.views.items()
        }
        return dataclasses.replace(frame_set, views=views)


@dataclass(frozen=True)
class _Noisy:
    """Adds normal noise to every pixel and channel."""

    sigma: float

    def __call__(self, frame_set: FrameSet) -> FrameSet:
        return _with_pixels(frame_set, self._add)

    def _add(self, rgb: np.ndarray, seed: list[int]) -> np.ndarray:  # type: ignore[type-arg]
        noise = np.random.default_rng(seed).standard_normal(rgb.shape, dtype=np.float32)
        return np.asarray(rgb + self.sigma * noise)


@dataclass(frozen=True)
class _Dark:
    """Keeps a share of the light, as a display gamma makes it look; dark steps are lost to 8 bits."""

    share: float

    def __call__(self, frame_set: FrameSet) -> FrameSet:
        return _with_pixels(frame_set, lambda rgb, _: rgb * np.float32(self.share ** (1 / _GAMMA)))


def _with_pixels(
    frame_set: FrameSet,
    change: Callable[[np.ndarray, list[int]], np.ndarray],  # type: ignore[type-arg]
) -> FrameSet:
    views = {}
    for name, view in frame_set.views.items():
        seed = [frame_set.stamp_ns, zlib.crc32(name.encode())]
        views[name] = _with_changed_pixels(view, change, seed)
    return dataclasses.replace(frame_set, views=views)


def _with_changed_pixels(
    view: CameraView,
    change: Callable[[np.ndarray, list[int]], np.ndarray],  # type: ignore[type-arg]
    seed: list[int],
) -> CameraView:
    image = view.image
    try:
        rgb = decode(image)
    except ImageError:
        return view  # the detector names it
    changed = np.clip(np.rint(change(rgb.astype(np.float32), seed)), 0, 255).astype(np.uint8)
    height, width = changed.shape[:2]
    raw = CameraImage(
        image.camera, image.stamp_ns, image.frame_id, "rgb8", changed.reshape(-1), width, height, 3 * width,
        source=image.source,
    )  # fmt: skip
    return dataclasses.replace(view, image=raw)
