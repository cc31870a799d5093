"""Labelled frame sets straight from the simulator: each seed is a scene, rendered when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence

import numpy as np

from lift3d_ros.datasets.class_map import ClassMap
from lift3d_ros.datasets.frames import BASE_FRAME, WORLD_FRAME
from lift3d_ros.datasets.in_order import InOrder
from lift3d_ros.datasets.label_checks import check_labels
from lift3d_ros.datasets.labelled import LabelledSet
from lift3d_ros.datasets.trajectory import Trajectory
from lift3d_ros.errors import DatasetError
from lift3d_ros.geometry.motion import VELOCITY_BASELINE_NS, ego_motion
from lift3d_ros.geometry.rigid import invert
from lift3d_ros.simulation.frame import SimulatedFrame, SimulatedView
from lift3d_ros.types import CameraImage, CameraModel, CameraView, FrameSet


class SimulatedData:
    """Scenes of the simulator, by seed; frames of a scene are best read in order, as going back renders it anew."""

    def __init__(
        self,
        drive: Callable[[int], Iterable[SimulatedFrame]],
        frames_per_scene: int,
        seeds: Sequence[int],
        class_map: ClassMap | None = None,
    ) -> None:
        """Take `drive` of an open :class:`lift3d_ros.simulation.drive.Simulator`, and the seeds of the scenes."""
        self._class_map = class_map or ClassMap()
        self._drive, self._frames = drive, frames_per_scene
        self._seeds = {scene_name(seed): seed for seed in seeds}
        self._sets = InOrder(self._rendered)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes of the labels: those of the network."""
        return self._class_map.class_names

    @property
    def scenes(self) -> Sequence[str]:
        """Names made of the seeds."""
        return tuple(self._seeds)

    def num_frames(self, scene: str) -> int:
        """Return how many frames each scene has."""
        return self._frames if scene in self._seeds else 0

    def load(self, scene: str, index: int) -> LabelledSet:
        """Return one frame; those before it are rendered first.

        Raises:
            DatasetError: the drive ends before this frame.
        """
        try:
            return self._sets.get(scene, index)
        except IndexError as error:
            raise DatasetError(f"scene {error}; give the number of frames that the simulator is set to") from None

    def _rendered(self, scene: str) -> Generator[LabelledSet, None, None]:
        for frame in self._drive(self._seeds[scene]):
            where = f"scene '{scene}', frame {frame.index}"
            check_labels(frame.boxes, where)
            yield self._class_map.apply(labelled_set_of(frame, scene), where)


def scene_name(seed: int) -> str:
    """Return the name of the scene of a seed; names sort as seeds do."""
    return f"simulated-{seed:06d}"


def labelled_set_of(frame: SimulatedFrame, scene: str) -> LabelledSet:
    """Return a simulated frame as what a vehicle would have recorded, with its labels."""
    views = {}
    T_base_world = invert(frame.T_world_base)
    for name, view in frame.views.items():
        camera = frame.cameras[name]
        motion = T_base_world @ view.T_world_base
        views[name] = CameraView(_image(name, view, camera.model), camera.model, camera.T_base_cam, motion)
    poses = {view.stamp_ns: view.T_world_base for view in frame.views.values()} | {frame.stamp_ns: frame.T_world_base}
    before = Trajectory(poses).at(frame.stamp_ns - VELOCITY_BASELINE_NS) if len(poses) > 1 else None
    ego = ego_motion(frame.stamp_ns, frame.T_world_base, before, WORLD_FRAME)
    frames = FrameSet(frame.stamp_ns, views, base_frame=BASE_FRAME, ego=ego, cameras=tuple(frame.cameras))
    depth_maps = {name: view.depth for name, view in frame.views.items()}
    return LabelledSet(scene, frames, frame.boxes, frame.visibility, frame.num_points, frame.points, depth_maps)


def _image(name: str, view: SimulatedView, model: CameraModel) -> CameraImage:
    height, width = view.rgb.shape[:2]
    pixels = np.ascontiguousarray(view.rgb).reshape(-1)
    return CameraImage(
        name, view.stamp_ns, model.frame_id, "rgb8", pixels, width, height, 3 * width, source="simulator"
    )
