"""Reconstructs what is asked for, and places the mesh: in metres where that is known, else as a cube of side 1.

The same code serves the node and replay.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lift3d_ros.config import from_mapping, setting
from lift3d_ros.errors import ConfigError, ImageError, Lift3dError
from lift3d_ros.geometry.rigid import invert, make_transform
from lift3d_ros.models.lrm.object_image import PixelBox
from lift3d_ros.pipelines.object_foreground import BoxCutting, check_something_is_seen
from lift3d_ros.pipelines.object_mesh import glb_bytes
from lift3d_ros.pipelines.object_reconstruction import (
    Cancelled,
    ObjectReconstructor,
    PreparedObject,
    Progress,
    ReconstructedObject,
)
from lift3d_ros.pipelines.object_sets import ObjectRequest
from lift3d_ros.pipelines.object_surface import SurfaceConfig
from lift3d_ros.types import Float64Array, ModelIdentity

# Of the whole work: stage of the reconstructor -> stage that users are told, where it begins and ends.
_PROGRESS: Mapping[str, tuple[str, float, float]] = {
    "planes": ("lift", 0.05, 0.45),
    "surface": ("extract", 0.45, 0.85),
    "simplify": ("extract", 0.85, 0.92),
    "colors": ("texture", 0.92, 0.97),
    "visibility": ("texture", 0.97, 1.0),
}
# Where a mesh without a size is shown in front of the camera, one side of its cube as a metre.
_SHELF_DISTANCE_M = 3.0
# Of a picture without a box, what touches the border is the surroundings.
_BORDER_SHARE = 0.03
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True)
class ObjectOutputConfig:
    """What is made of a mesh."""

    folder: str = setting("", "folder in which a .glb file of each object is written; empty: none is written")
    file: str = setting(
        "{label}_{track}_{stamp_ns}",
        "name of the file in this folder, without ending; may hold sub-folders; without stamp_ns an object has one "
        "file, that of its newest mesh",
    )
    max_faces: int = setting(
        20000,
        "triangles of a mesh at most, where surface.max_faces is 0: RViz gets slow with more; 0: any number",
        minimum=0,
        maximum=10_000_000,
    )
    marker_lifetime_s: float = setting(
        0.0,
        "markers vanish after this time; 0 keeps them until the object's next mesh",
        unit="s",
        minimum=0.0,
        maximum=86400.0,
    )

    def limited(self, surface: SurfaceConfig) -> SurfaceConfig:
        """Return how meshes are made with at most `max_faces` triangles."""
        return dataclasses.replace(surface, max_faces=surface.max_faces or self.max_faces)


@dataclass(frozen=True, eq=False)
class PreparedRequest:
    """A request ready for the network."""

    request: ObjectRequest
    prepared: PreparedObject
    problems: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PlacedObject:
    """What came of a request.

    Args:
        vertices: (V, 3) of the mesh in its own frame, z up: metres, or within a cube of side 1 about the origin.
        T_cam_object: (4, 4) pose in the optical frame of the picture; without metres a place to show it.
    """

    request: ObjectRequest
    mesh: ReconstructedObject
    vertices: Float64Array
    T_cam_object: Float64Array
    is_metric: bool

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each thing that makes the result less certain."""
        return self.mesh.problems

    @property
    def summary(self) -> str:
        """What came out, in a sentence."""
        mesh, extents = self.mesh, np.ptp(self.vertices, axis=0)
        size = " x ".join(f"{extent:.3f}" for extent in extents) + " m" if self.is_metric else "of unknown size"
        return (
            f"{self.request.name}: {len(mesh.faces)} triangles, {size}, {mesh.is_seen.mean():.0%} of the vertices "
            "seen and the others guessed"
        )

    def glb(self) -> bytes:
        """Return the mesh as a binary glTF file, y up."""
        return glb_bytes(self.vertices, self.mesh.faces, self.mesh.colors, self.mesh.is_seen)


class RequestReconstructor:
    """A reconstructor that takes requests; keeps nothing from one to the next."""

    def __init__(self, reconstructor: ObjectReconstructor, box_cutting: BoxCutting) -> None:
        """Run `reconstructor`."""
        self._reconstructor, self._box_cutting = reconstructor, box_cutting

    @property
    def identity(self) -> ModelIdentity:
        """Which model and weights are running."""
        return self._reconstructor.identity

    @property
    def notice(self) -> str:
        """What the engine says of itself; empty while all is well."""
        return self._reconstructor.notice

    def reset(self) -> None:
        """Do nothing: there is no memory of earlier objects; here for the pipeline protocol."""

    def prepare(self, request: ObjectRequest) -> PreparedRequest:
        """Decode and cut the object out.

        Raises:
            ImageError: picture, mask or box cannot be used, or nothing stands out.
            ConfigError: the resolution cannot be used.
        """
        start = time.perf_counter()
        self._for(request)
        frame, problems = request.frame(self._box_cutting)
        is_searched = frame.mask is None and frame.box is None and self._box_cutting != "rembg"
        if is_searched:
            height, width = frame.picture.shape[:2]
            margin = 1 + round(_BORDER_SHARE * max(height, width))
            frame = dataclasses.replace(
                frame, box=PixelBox(margin, margin, height - margin, width - margin), box_cutting="grabcut"
            )
        if frame.mask is None and frame.box is not None:
            check_something_is_seen(frame.picture, frame.box, frame.name)
        prepared = self._reconstructor.prepare(frame)
        if is_searched and prepared.view.cutting == "box":
            raise ImageError(
                f"{frame.name}: no object stands out from the border of the picture; give a box around it, or a mask"
            )
        return PreparedRequest(request, dataclasses.replace(prepared, prepare_s=time.perf_counter() - start), problems)

    def infer(
        self,
        prepared: PreparedRequest,
        progress: Progress = lambda stage, fraction: None,
        cancelled: Cancelled = lambda: False,
    ) -> PlacedObject:
        """Reconstruct; arguments and errors as :meth:`ObjectReconstructor.infer`.

        Args:
            progress: called with ``lift``, ``extract`` or ``texture`` and the share of the whole work that is done.

        Raises:
            Lift3dError: there is no surface; the sentence says why.
        """

        def overall(stage: str, fraction: float) -> None:
            name, begin, end = _PROGRESS[stage]
            progress(name, begin + fraction * (end - begin))

        reconstructor = self._for(prepared.request)
        result = reconstructor.infer(prepared.prepared, overall, cancelled)
        if result.is_empty:
            raise Lift3dError("; ".join(result.problems))
        result = dataclasses.replace(result, problems=(*prepared.problems, *result.problems))
        if result.pose is not None:
            vertices = result.pose.scale * result.vertices
            return PlacedObject(prepared.request, result, vertices, result.pose.T_cam_object, is_metric=True)
        vertices = result.vertices / (2.0 * reconstructor.model_config.field.half_side)
        rotation = invert(reconstructor.T_object_view)[:3, :3]
        shelf = make_transform(rotation, [0.0, 0.0, _SHELF_DISTANCE_M])
        return PlacedObject(prepared.request, result, vertices, shelf, is_metric=False)

    def _for(self, request: ObjectRequest) -> ObjectReconstructor:
        if not request.resolution:
            return self._reconstructor
        surface = self._reconstructor.config.surface
        changed = from_mapping(SurfaceConfig, {**vars(surface), "resolution": request.resolution}, "the request")
        return self._reconstructor.with_surface(changed)


def check_file_pattern(folder: Path, pattern: str) -> None:
    """Refuse a pattern whose files would not lie in `folder`, or that cannot be filled in.

    Raises:
        ConfigError: names the pattern.
    """
    try:
        _path(folder, pattern, "object", "0", 0)
    except (LookupError, ValueError):
        raise ConfigError(
            f"parameter 'output.file' is '{pattern}'; expected a file name with the placeholders {{label}}, {{track}} "
            "and {stamp_ns}, for example {label}_{track}_{stamp_ns}"
        ) from None


def mesh_file(folder: Path, pattern: str, request: ObjectRequest) -> Path:
    """Return the path of an object's file; what a file name cannot hold becomes ``_``.

    Raises:
        ConfigError: it would not lie in `folder`, be it by ``..`` or by a link.
    """
    return _path(folder, pattern, request.label, request.track, request.stamp_ns)


def _path(folder: Path, pattern: str, label: str, track: str, stamp_ns: int) -> Path:
    plain = _NOT_IN_NAMES.sub("_", label).strip("_")[:64] or "object"
    relative = pattern.format(label=plain, track=track, stamp_ns=stamp_ns)
    root = folder.resolve()
    path = (root / f"{relative.removesuffix('.glb')}.glb").resolve()
    if not relative.strip() or root not in path.parents:
        raise ConfigError(
            f"parameter 'output.file' is '{pattern}', which leads to {path}; expected a file in the folder "
            f"'output.folder', {root}"
        )
    return path
