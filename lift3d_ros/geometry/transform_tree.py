"""A tree of coordinate frames over time: what `/tf` and `/tf_static` say, with interpolation and clear errors.

Shared by replay and by the node; safe to use from several threads. Look-ups never wait and never extrapolate
beyond a small tolerance. As in tf2, a frame that is published under a new parent moves there. The history of a frame
starts again when its stamps jump back by more than a second.
"""

from __future__ import annotations

import bisect
import threading
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from lift3d_ros.errors import TransformError, nearest_name_hint
from lift3d_ros.geometry.rigid import interpolate, invert
from lift3d_ros.types import Float64Array, as_transform

ALWAYS_NS = 2**62
_NS = 1_000_000_000
# A sample this much older than the newest one comes from a clock that was set back or a recording that starts again.
_JUMP_NS = _NS


@dataclass
class _Edge:
    """Samples of one child frame in its parent, sorted by stamp; one sample without time if static."""

    parent: str
    is_static: bool
    stamps: list[int] = field(default_factory=list)
    samples: list[Float64Array] = field(default_factory=list)
    has_moved: bool = False

    def insert(self, stamp_ns: int, T_parent_child: Float64Array, history_ns: int) -> None:
        self.has_moved |= bool(self.samples) and not np.array_equal(self.samples[-1], T_parent_child)
        if self.stamps and stamp_ns < self.stamps[-1] - _JUMP_NS:
            self.stamps.clear()
            self.samples.clear()
        position = bisect.bisect_left(self.stamps, stamp_ns)
        if position < len(self.stamps) and self.stamps[position] == stamp_ns:
            self.samples[position] = T_parent_child
            return
        self.stamps.insert(position, stamp_ns)
        self.samples.insert(position, T_parent_child)
        expired = bisect.bisect_left(self.stamps, self.stamps[-1] - history_ns)
        del self.stamps[:expired], self.samples[:expired]

    def at(self, stamp_ns: int) -> Float64Array:
        """Return the transform at `stamp_ns`, clamped to the samples."""
        if self.is_static:
            return self.samples[-1]
        after = bisect.bisect_left(self.stamps, stamp_ns)
        if after == 0:
            return self.samples[0]
        if after == len(self.stamps):
            return self.samples[-1]
        before_ns, after_ns = self.stamps[after - 1], self.stamps[after]
        fraction = (stamp_ns - before_ns) / (after_ns - before_ns)
        return interpolate(self.samples[after - 1], self.samples[after], fraction)


class TransformTree:
    """Frames, their parents and their history."""

    def __init__(self, history_s: float = 10.0, tolerance_s: float = 0.0) -> None:
        """Keep `history_s` of each moving frame; look-ups may lie `tolerance_s` outside of the samples."""
        self._history_ns = round(history_s * _NS)
        self._tolerance_s = tolerance_s
        self._edges: dict[str, _Edge] = {}
        self._lock = threading.RLock()

    def add(
        self, parent: str, child: str, stamp_ns: int, T_parent_child: Float64Array, *, is_static: bool = False
    ) -> None:
        """Add one sample of `child` in `parent`; names may carry the leading slash of ROS 1.

        Raises:
            TransformError: parent and child are the same, or the sample would close a loop.
            CalibrationError: the matrix is not a rigid transform.
        """
        parent, child = parent.lstrip("/"), child.lstrip("/")
        matrix = as_transform(T_parent_child, f"transform '{parent}' -> '{child}'")
        with self._lock:
            edge = self._edges.get(child)
            if edge is None or edge.parent != parent or edge.is_static != is_static:
                if child == parent or child in self._chain(parent):
                    raise TransformError(
                        f"transform '{parent}' -> '{child}' closes a loop: '{child}' is already above '{parent}'; "
                        "stop one of the publishers"
                    )
                edge = self._edges[child] = _Edge(parent, is_static)
            if is_static:
                edge.stamps, edge.samples = [0], [matrix]
            else:
                edge.insert(stamp_ns, matrix, self._history_ns)

    @property
    def frames(self) -> tuple[str, ...]:
        """All known frames, sorted."""
        with self._lock:
            return tuple(sorted({*self._edges, *(edge.parent for edge in self._edges.values())}))

    def parent_of(self, frame: str) -> str | None:
        """Return the parent of a frame, None at the top or for an unknown frame."""
        edge = self._edges.get(frame.lstrip("/"))
        return None if edge is None else edge.parent

    def is_static(self, frame: str) -> bool:
        """Whether the frame is fixed in its parent."""
        edge = self._edges.get(frame.lstrip("/"))
        return edge is not None and edge.is_static

    def has_moved(self, frame: str) -> bool:
        """Whether two samples of the frame in its parent differed, of all that were ever added."""
        edge = self._edges.get(frame.lstrip("/"))
        return edge is not None and edge.has_moved

    def lookup(self, target: str, source: str, stamp_ns: int, tolerance_s: float | None = None) -> Float64Array:
        """Return T_target_source at `stamp_ns`.

        Args:
            tolerance_s: how far `stamp_ns` may lie outside of the samples; None takes that of the tree.

        Raises:
            TransformError: a frame is not known, the frames are not connected, or the time is not covered.
        """
        return self._combine(target, source, stamp_ns, self._tolerance_s if tolerance_s is None else tolerance_s)

    def lookup_static(self, target: str, source: str) -> Float64Array:
        """Return the newest T_target_source, whatever its time: for mountings, which do not move.

        Raises:
            TransformError: a frame is not known or the frames are not connected.
        """
        return self._combine(target, source, None)

    def newest_common_stamp_ns(self, target: str, source: str) -> int | None:
        """Return the newest time at which T_target_source is known.

        None where it is not known at all; ``ALWAYS_NS`` where every part of it is static.
        """
        with self._lock:
            try:
                up, down = self._path(target.lstrip("/"), source.lstrip("/"))
            except TransformError:
                return None
            stamps = [self._edges[child].stamps[-1] for child in (*up, *down) if not self._edges[child].is_static]
        return min(stamps, default=ALWAYS_NS)

    def _combine(self, target: str, source: str, stamp_ns: int | None, tolerance_s: float = 0.0) -> Float64Array:
        target, source = target.lstrip("/"), source.lstrip("/")
        with self._lock:
            target_path, source_path = self._path(target, source)
            T_common_source = self._up(source_path, stamp_ns, tolerance_s, target, source)
            T_common_target = self._up(target_path, stamp_ns, tolerance_s, target, source)
        return np.asarray(invert(T_common_target) @ T_common_source)

    def _up(self, path: list[str], stamp_ns: int | None, tolerance_s: float, target: str, source: str) -> Float64Array:
        """Return the transform from the first frame of `path` to the parent of the last one."""
        T = np.eye(4)
        for child in path:
            edge = self._edges[child]
            if stamp_ns is None:
                T = edge.samples[-1] @ T
                continue
            self._check_time(child, edge, stamp_ns, round(tolerance_s * _NS), target, source)
            T = edge.at(stamp_ns) @ T
        return T

    def _check_time(self, child: str, edge: _Edge, stamp_ns: int, tolerance_ns: int, target: str, source: str) -> None:
        if edge.is_static:
            return
        first, last = edge.stamps[0], edge.stamps[-1]
        where: Literal["older", "newer"]
        if stamp_ns < first - tolerance_ns:
            where, distance_s = "older", (first - stamp_ns) / _NS
        elif stamp_ns > last + tolerance_ns:
            where, distance_s = "newer", (stamp_ns - last) / _NS
        else:
            return
        raise TransformError(
            f"transform from '{source}' to '{target}' at {stamp_ns} ns is not known: {distance_s:.3f} s {where} "
            f"than the samples of '{edge.parent}' -> '{child}' ({first} to {last} ns); "
            "check that the clocks agree and that its publisher runs"
        )

    def _path(self, target: str, source: str) -> tuple[list[str], list[str]]:
        """Return the frames from `target` and from `source` up to, not including, their common ancestor."""
        known = self.frames
        for frame in (target, source):
            if frame not in known and target != source:
                listed = ", ".join(known) or "none"
                raise TransformError(
                    f"frame '{frame}' is not known{nearest_name_hint(frame, known)} (known frames: {listed}); "
                    "publish it on /tf or /tf_static, or give the mounting in a rig file"
                )
        target_chain, source_chain = self._chain(target), self._chain(source)
        common = next((frame for frame in source_chain if frame in target_chain), None)
        if common is None:
            raise TransformError(
                f"frames '{source}' and '{target}' are not connected: the first hangs below '{source_chain[-1]}', the "
                f"second below '{target_chain[-1]}'; publish the transform between them, or give a rig file"
            )
        return target_chain[: target_chain.index(common)], source_chain[: source_chain.index(common)]

    def _chain(self, frame: str) -> list[str]:
        """Return `frame` and its ancestors, nearest first."""
        chain = [frame]
        while (edge := self._edges.get(chain[-1])) is not None:
            chain.append(edge.parent)
        return chain
