"""Turns a synchronised set of pictures into a frame set: calibration, mounting and ego motion attached.

The same code serves the node and replay; both fill a :class:`~lift3d_ros.geometry.transform_tree.TransformTree`
and a table of camera models, and hand over what the collector released. A camera that lacks calibration
or mounting is left out of the set, with a sentence that says why; the others go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lift3d_ros.config import setting
from lift3d_ros.errors import CalibrationError, TransformError
from lift3d_ros.geometry.motion import VELOCITY_BASELINE_NS, ego_motion
from lift3d_ros.geometry.transform_tree import TransformTree
from lift3d_ros.sync.collector import StreamCollector
from lift3d_ros.sync.streams import StreamSpec
from lift3d_ros.types import CameraImage, CameraModel, CameraView, EgoMotion, Float64Array, FrameSet

EGO_STREAM = "ego"


@dataclass(frozen=True)
class SyncConfig:
    """Which pictures belong together, and how long a set waits for them."""

    window_s: float = setting(
        0.1, "pictures of one set lie within this time of each other", unit="s", minimum=0.001, maximum=2.0
    )
    deadline_s: float = setting(
        0.2, "a set is released incomplete after waiting this long", unit="s", minimum=0.001, maximum=10.0
    )
    min_cameras: int = setting(1, "sets with fewer cameras are dropped and counted", minimum=1, maximum=32)
    drop: bool = setting(
        True,
        "only the newest set waits for a busy detector; false keeps up to 32, for paced runs; replay keeps all",
    )
    compensate_ego_motion: bool = setting(True, "project each camera from where the vehicle was when that camera fired")


def camera_collector(cameras: Mapping[str, float], config: SyncConfig, *, has_ego_motion: bool) -> StreamCollector:
    """Return the collector of a rig.

    Args:
        cameras: camera name -> known offset of its stamps in seconds, usually 0.
        has_ego_motion: sets then wait until the ego pose covers them; report poses with
            ``collector.cover(EGO_STREAM, stamp_ns, now_ns)``.
    """
    specs = [StreamSpec(name, "required", offset_s=offset_s) for name, offset_s in cameras.items()]
    if has_ego_motion:
        specs.append(StreamSpec(EGO_STREAM, "covering"))
    return StreamCollector(specs, window_s=config.window_s, deadline_s=config.deadline_s, quorum=config.min_cameras)


class FrameSetAssembler:
    """Attaches camera models and transforms to pictures."""

    def __init__(
        self,
        tree: TransformTree,
        base_frame: str,
        world_frame: str | None,
        *,
        compensate_ego_motion: bool = True,
        offsets_s: Mapping[str, float] | None = None,
        mountings: Mapping[str, Float64Array | None] | None = None,
    ) -> None:
        """Use `tree` for ego motion, and for the mounting of cameras whose rig file gives none.

        Args:
            world_frame: frame that does not jump (``odom``); None when ego motion is not known at all.
            compensate_ego_motion: project each camera from where the vehicle was when that camera fired.
            offsets_s: camera name -> known offset of its stamps, the same as given to the collector.
            mountings: camera name -> T_base_cam, which holds whatever `tree` says; None where it is not given.
        """
        self._mountings = dict(mountings or {})
        self._offsets_ns = {name: round(offset_s * 1e9) for name, offset_s in (offsets_s or {}).items()}
        self._tree = tree
        self._base_frame = base_frame
        self.world_frame = world_frame
        self._compensate = compensate_ego_motion

    def assemble(
        self,
        stamp_ns: int,
        images: Mapping[str, CameraImage],
        models: Mapping[str, CameraModel],
        cameras: tuple[str, ...],
    ) -> FrameSet:
        """Build the frame set at the reference stamp `stamp_ns`.

        Args:
            images: camera name -> picture, as released by the collector.
            models: camera name -> calibration received so far.
            cameras: every camera of the rig, in rig order.

        Raises:
            CalibrationError: not one camera of the set is usable; says why for each.
        """
        problems: list[str] = []
        ego = self._ego_motion(stamp_ns, problems)
        views: dict[str, CameraView] = {}
        for name in cameras:
            if name not in images:
                continue
            try:
                views[name] = self._view(name, images[name], models, ego, problems)
            except (CalibrationError, TransformError) as error:
                problems.append(str(error))
        if not views:
            raise CalibrationError("no camera of this set can be used: " + "; ".join(problems))
        missing = tuple(name for name in cameras if name not in views)
        return FrameSet(stamp_ns, views, missing, self._base_frame, ego, tuple(problems), cameras)

    def _view(
        self,
        name: str,
        image: CameraImage,
        models: Mapping[str, CameraModel],
        ego: EgoMotion | None,
        problems: list[str],
    ) -> CameraView:
        if name not in models:
            raise CalibrationError(
                f"camera '{name}': no calibration received for {image.label}; publish its CameraInfo, "
                "or give its intrinsics in a rig file"
            )
        T_base_cam = self._mountings.get(name)
        if T_base_cam is None:
            try:
                T_base_cam = self._tree.lookup_static(self._base_frame, image.frame_id)
            except TransformError as error:
                raise TransformError(f"camera '{name}': {error}") from None
        offset_ns = self._offsets_ns.get(name, 0)
        try:
            T_reference_capture = self._capture_motion(image.stamp_ns - offset_ns, ego)
        except TransformError as error:
            problems.append(f"camera '{name}': used as if it had fired at the reference stamp: {error}")
            T_reference_capture = np.eye(4)
        return CameraView(image, models[name], T_base_cam, T_reference_capture, offset_ns)

    def _ego_motion(self, stamp_ns: int, problems: list[str]) -> EgoMotion | None:
        if self.world_frame is None:
            return None
        try:
            T_world_base = self._tree.lookup(self.world_frame, self._base_frame, stamp_ns)
        except TransformError as error:
            problems.append(f"no ego motion: {error}")
            return None
        try:
            T_world_before = self._tree.lookup(self.world_frame, self._base_frame, stamp_ns - VELOCITY_BASELINE_NS)
        except TransformError:  # at the start of a recording
            T_world_before = None
        return ego_motion(stamp_ns, T_world_base, T_world_before, self.world_frame)

    def _capture_motion(self, stamp_ns: int, ego: EgoMotion | None) -> Float64Array:
        """Return T_reference_capture; identity where there is no ego motion to compensate."""
        if ego is None or not self._compensate:
            return np.eye(4)
        T_world_capture = self._tree.lookup(ego.world_frame, self._base_frame, stamp_ns)
        return np.asarray(np.linalg.inv(ego.T_world_base) @ T_world_capture)
