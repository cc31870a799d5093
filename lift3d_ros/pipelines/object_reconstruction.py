"""The object reconstructor: a picture with one object in, a coloured mesh out.

`prepare` is stateless and may run in parallel to `infer`; `infer` runs one object at a time and can be stopped. Sides
that the picture does not show are guessed by the model; each vertex says whether the picture shows it.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.config import group, setting
from lift3d_ros.errors import Lift3dError
from lift3d_ros.geometry.depth_buffer import visible_vertices
from lift3d_ros.geometry.object_pose import ObjectPose
from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.geometry.surface import Surface
from lift3d_ros.models.lrm.cameras import orbit, view_intrinsics
from lift3d_ros.models.lrm.config import LrmConfig
from lift3d_ros.models.lrm.object_image import PixelBox
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.object_engine import LrmEngine, open_lrm_engine
from lift3d_ros.pipelines.object_foreground import BoxCutting, ObjectView, cut_object
from lift3d_ros.pipelines.object_network import ObjectNetwork
from lift3d_ros.pipelines.object_placement import place_object
from lift3d_ros.pipelines.object_surface import SurfaceConfig, check_surface_config, cut_surface, simplify_surface
from lift3d_ros.types import Boxes3D, CameraModel, Float32Array, Float64Array, ModelIdentity, UInt8Array

# Side of the picture that decides which vertices are seen; smaller for coarse meshes, whose faces are large.
_LARGEST_VISIBILITY_PX = 512

# Called with the stage (``planes``, ``surface``, ``simplify``, ``colors``, ``visibility``; ``views``) and the share of
# it that is done, 0..1.
Progress = Callable[[str, float], object]
Cancelled = Callable[[], bool]


class ReconstructionCancelledError(Lift3dError):
    """The reconstruction was stopped on request."""


@dataclass(frozen=True)
class ObjectReconstructionConfig:
    """Everything that decides the result of the reconstructor, apart from the model's own facts."""

    model: str = setting(
        "lift3d-lrm-tiny", "a name of 'lift3d weights list', an exported .onnx file, or a configuration of ours"
    )
    surface: SurfaceConfig = group(SurfaceConfig)
    engine: EngineConfig = group(EngineConfig)


@dataclass(frozen=True, eq=False)
class ObjectFrame:
    """A picture and where the object is in it.

    Args:
        picture, mask, box, box_cutting: as in :func:`lift3d_ros.pipelines.object_foreground.cut_object`.
        name: of the picture in messages.
        camera: of the picture; with `depth` or `box_3d` the result has a pose in metres.
        depth: (H, W) metres along the optical axis of the same camera, 0 where not measured.
        box_3d: the box of the object alone, in any frame.
        T_cam_box: (4, 4) from the frame of `box_3d` to the optical frame.
    """

    picture: NDArray[Any]
    mask: NDArray[Any] | None = None
    box: PixelBox | None = None
    box_cutting: BoxCutting = "grabcut"
    name: str = "picture"
    stamp_ns: int = 0
    camera: CameraModel | None = None
    depth: Float32Array | None = None
    box_3d: Boxes3D | None = None
    T_cam_box: Float64Array = field(default_factory=lambda: np.eye(4))


@dataclass(frozen=True, eq=False)
class PreparedObject:
    """An object ready for the network."""

    frame: ObjectFrame
    view: ObjectView
    prepare_s: float


@dataclass(frozen=True, eq=False)
class ReconstructedObject:
    """A mesh in the object frame (z up, within a cube about the origin), without faces where the field has no surface.

    Args:
        vertices: (V, 3) float64, units of the model; `pose` gives metres.
        faces: (F, 3) int64, anticlockwise seen from outside.
        colors: (V, 3) uint8 sRGB.
        is_seen: (V,) whether the picture shows the vertex; the others are guesses of the model.
        planes: (1, 3, C, R, R) the model's field, for views and textures.
        threshold: density at which the surface was cut.
        num_queries: points that the field was asked for to find the surface.
        pose: where the object is and how large, None where nothing told that.
        timings_s: stage name -> seconds.
        problems: one sentence for each thing that makes the result less certain, or empty.
    """

    stamp_ns: int
    vertices: Float64Array
    faces: NDArray[np.int64]
    colors: UInt8Array
    is_seen: NDArray[np.bool_]
    planes: Float32Array
    threshold: float
    num_queries: int
    identity: ModelIdentity
    pose: ObjectPose | None = None
    timings_s: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is no surface."""
        return len(self.faces) == 0


class ObjectReconstructor:
    """One loaded model; keeps nothing from one object to the next."""

    def __init__(self, lrm_engine: LrmEngine, config: ObjectReconstructionConfig) -> None:
        """Run `lrm_engine` on pictures.

        Raises:
            ConfigError: the settings do not fit together.
        """
        check_surface_config(config.surface)
        self._engine, self.config = lrm_engine, config
        self._network = ObjectNetwork(lrm_engine, config.surface.points_at_once)

    @property
    def identity(self) -> ModelIdentity:
        """Which model and weights are running."""
        return self._network.identity

    @property
    def notice(self) -> str:
        """What the engine says of itself; empty while all is well."""
        return self._network.notice

    @property
    def model_config(self) -> LrmConfig:
        """Facts of the model."""
        return self._network.config

    @property
    def renders_views(self) -> bool:
        """Whether :meth:`render` can be called: an exported graph renders no views."""
        return self._network.renders_views

    @property
    def T_object_view(self) -> Float64Array:
        """(4, 4) pose of the camera that the model assumes the picture to be taken with."""
        view = self.model_config.view
        return np.asarray(orbit([math.radians(view.azimuth_deg)], 0.0, view.distance)[0])

    def with_surface(self, surface: SurfaceConfig) -> ObjectReconstructor:
        """Return a reconstructor with the same network that makes other meshes of its field.

        Raises:
            ConfigError: the settings do not fit together.
        """
        return ObjectReconstructor(self._engine, dataclasses.replace(self.config, surface=surface))

    def reset(self) -> None:
        """Do nothing: there is no memory of earlier objects; here for the pipeline protocol."""

    def prepare(self, frame: ObjectFrame) -> PreparedObject:
        """Cut the object out and frame it.

        Raises:
            ImageError: as :func:`lift3d_ros.pipelines.object_foreground.cut_object`.
        """
        start = time.perf_counter()
        view = cut_object(
            frame.picture,
            self.model_config.image,
            mask=frame.mask,
            box=frame.box,
            box_cutting=frame.box_cutting,
            name=frame.name,
        )
        return PreparedObject(frame, view, time.perf_counter() - start)

    def infer(
        self,
        prepared: PreparedObject,
        progress: Progress = lambda stage, fraction: None,
        cancelled: Cancelled = lambda: False,
    ) -> ReconstructedObject:
        """Reconstruct one prepared object.

        Args:
            progress: called with stage and share done.
            cancelled: asked before each layer of the network and each piece of points.

        Raises:
            ReconstructionCancelledError: `cancelled` said so.
            EngineError: the engine failed.
        """
        watch = _Watch(progress, cancelled)
        timings_s = {"prepare": prepared.prepare_s}
        problems = list(prepared.view.problems)
        if not self.identity.is_trained:
            problems.append(f"{self.identity.description}: the shape has no meaning")
        start = time.perf_counter()
        planes = self._network.planes_of(prepared.view.image, lambda fraction: watch("planes", fraction))
        watch("planes", 1.0)
        timings_s["planes"] = time.perf_counter() - start
        start = time.perf_counter()
        surface = self._cut(planes, watch, problems)
        timings_s["surface"] = time.perf_counter() - start
        start = time.perf_counter()
        vertices, faces, given_up = simplify_surface(surface, self.config.surface, watch)
        problems += given_up
        timings_s["simplify"] = time.perf_counter() - start
        start = time.perf_counter()
        colors = self.colors_at(planes, vertices, lambda fraction: watch("colors", fraction))
        timings_s["colors"] = time.perf_counter() - start
        start = time.perf_counter()
        in_view = transform_points(invert(self.T_object_view), vertices)
        side = min(_LARGEST_VISIBILITY_PX, max(128, 2 * self.config.surface.resolution))
        intrinsics = view_intrinsics(self.model_config.view)
        is_seen = visible_vertices(in_view, faces, intrinsics, (side, side), lambda: watch("visibility", 0.0))
        watch("visibility", 1.0)
        pose = None
        if len(faces):
            view = self.model_config.view
            pose, unplaced = place_object(
                prepared.frame, prepared.view.square, vertices, is_seen, self.T_object_view, view
            )
            problems += unplaced
        timings_s["visibility"] = time.perf_counter() - start
        return ReconstructedObject(
            prepared.frame.stamp_ns,
            vertices,
            faces,
            colors,
            is_seen,
            planes,
            self._level,
            surface.num_queries,
            self.identity,
            pose,
            timings_s,
            tuple(problems),
        )

    def render(
        self,
        planes: Float32Array,
        T_object_cameras: Float64Array,
        side: int,
        progress: Progress = lambda stage, fraction: None,
        cancelled: Cancelled = lambda: False,
    ) -> list[UInt8Array]:
        """Render a field as seen by the model's camera from other places, over white.

        Args:
            planes: (1, 3, C, R, R) of a :class:`ReconstructedObject`.
            T_object_cameras: (N, 4, 4).
            side: of each picture, px.

        Returns:
            N pictures (side, side, 3).

        Raises:
            EngineError: the network is an exported graph.
            ReconstructionCancelledError: `cancelled` said so.
        """
        watch = _Watch(progress, cancelled)
        return self._network.render(planes, T_object_cameras, side, lambda fraction: watch("views", fraction))

    def colors_at(
        self, planes: Float32Array, points: Float64Array, on_piece: Callable[[float], object] = lambda fraction: None
    ) -> UInt8Array:
        """Return the colours (P, 3) sRGB of points (P, 3) of the object frame.

        Args:
            on_piece: called with the share that is done; may raise to stop.
        """
        return self._network.colors_at(planes, points, on_piece)

    @property
    def _level(self) -> float:
        return self.config.surface.threshold or self.model_config.field.surface_density

    def _cut(self, planes: Float32Array, watch: _Watch, problems: list[str]) -> Surface:
        if not np.isfinite(planes).all():
            problems.append(
                "no surface: the planes of the model hold values that are not finite; check the weights with "
                "'lift3d weights verify', or set engine.precision to float32"
            )
            return Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64), 0)

        def density(points: Float32Array) -> NDArray[Any]:
            return self._network.density_at(planes, points)

        half_side = self.model_config.field.half_side
        surface, problem = cut_surface(density, half_side, self._level, self.config.surface, watch)
        problems += [problem] if problem else []
        return surface


def open_object_reconstructor(config: ObjectReconstructionConfig) -> ObjectReconstructor:
    """Load the model and return a reconstructor.

    Raises:
        WeightsError, EngineError: as :func:`lift3d_ros.pipelines.object_engine.open_lrm_engine`.
        ConfigError: the settings do not fit together.
    """
    return ObjectReconstructor(open_lrm_engine(config.model, config.engine), config)


class _Watch:
    """Hands progress on and stops where that was asked for."""

    def __init__(self, progress: Progress, cancelled: Cancelled) -> None:
        self._progress = progress
        self._cancelled = cancelled

    def __call__(self, stage: str, fraction: float) -> None:
        if self._cancelled():
            raise ReconstructionCancelledError(f"reconstruction stopped on request, at {fraction:.0%} of '{stage}'")
        self._progress(stage, fraction)
