"""Draws meshes as a camera sees them: picture, metric depth and instance numbers from one pass, without a display.

OpenGL 3.3 through EGL. A picture is drawn at twice its width and height: colours are averaged, depth and instance
take the upper left of the four samples, so that no value is invented at an edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.rigid import invert, transform_points
from lift3d_ros.simulation import shaders
from lift3d_ros.simulation.gl_context import RenderingError, create_context
from lift3d_ros.simulation.meshes import Mesh
from lift3d_ros.types import CameraModel, Float32Array, Float64Array, UInt8Array

SAMPLE_OFFSET_PX = -0.25
"""Where depth and instance are taken: this far from the pixel's centre in u and in v."""

_NEAR_M, _FAR_M = 0.3, 420.0
_SHADOW_SIZE, _SHADOW_HALF_M, _SHADOW_AHEAD_M = 2560, 50.0, 38.0
_CONTACT_REACH_M = 0.30


@dataclass(frozen=True)
class Lighting:
    """Sun, sky and air.

    Args:
        sun_azimuth, sun_elevation: rad; azimuth about +z of the world, 0 along x.
        zenith, horizon: colours of the clear sky, linear RGB.
        fog: share of light lost per metre.
        clouds: 0 none .. 1 closed.
    """

    sun_azimuth: float = 2.2
    sun_elevation: float = 0.92
    sun_color: tuple[float, float, float] = (1.62, 1.50, 1.30)
    zenith: tuple[float, float, float] = (0.16, 0.33, 0.72)
    horizon: tuple[float, float, float] = (0.66, 0.77, 0.90)
    fog: float = 0.0022
    clouds: float = 0.45

    @property
    def sun(self) -> Float64Array:
        """Unit vector towards the sun, (3,)."""
        level = np.cos(self.sun_elevation)
        azimuth = self.sun_azimuth
        return np.array([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(self.sun_elevation)])


@dataclass(frozen=True, eq=False)
class Item:
    """One placed mesh.

    Args:
        mesh: its number in the list given to the renderer.
        instance: 0 for the surroundings, else the number of the object, from 1.
        mark_layer: 0 for solid things; from 1 for what lies in the plane of the ground, higher layers on top.
        is_visible: False for what only casts a shadow.
        contact: (2,) half length and half width of the dark zone where the object stands; None for none.
    """

    mesh: int
    T_world_mesh: Float64Array
    instance: int = 0
    mark_layer: int = 0
    is_visible: bool = True
    contact: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class RenderedView:
    """One picture with its truth.

    Args:
        rgb: (H, W, 3) uint8.
        depth: (H, W) metres along the optical axis, infinite in the sky; see `SAMPLE_OFFSET_PX`.
        instances: (H, W) int32 number of the object, 0 for the surroundings, -1 for the sky.
    """

    rgb: UInt8Array
    depth: Float32Array
    instances: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class _Uploaded:
    surface: Any
    shadow: Any
    middle: Float64Array
    radius: float


class Renderer:
    """Holds the meshes of one scene on the graphics device; use as a context manager."""

    def __init__(self, meshes: Sequence[Mesh], lighting: Lighting) -> None:
        """Upload the meshes.

        Raises:
            RenderingError: no OpenGL context can be made; names the packages that bring one.
        """
        self._gl, self._moderngl = create_context()
        gl = self._gl
        self.device = str(gl.info["GL_RENDERER"])
        self._lighting = lighting
        self._surface = gl.program(shaders.SURFACE_VERTEX, shaders.SURFACE_FRAGMENT)
        self._shadow = gl.program(shaders.SHADOW_VERTEX, shaders.SHADOW_FRAGMENT)
        self._sky = gl.program(shaders.SKY_VERTEX, shaders.SKY_FRAGMENT)
        self._contact = gl.program(shaders.CONTACT_VERTEX, shaders.CONTACT_FRAGMENT)
        self._sky_triangle = gl.vertex_array(self._sky, [])
        self._contact_square = gl.vertex_array(self._contact, [])
        self._meshes = [self._upload(mesh) for mesh in meshes]
        self._shadow_map = gl.depth_texture((_SHADOW_SIZE, _SHADOW_SIZE))
        self._shadow_map.compare_func = "<="
        self._shadow_map.repeat_x = self._shadow_map.repeat_y = False
        self._shadow_target = gl.framebuffer(depth_attachment=self._shadow_map)
        self._targets: dict[tuple[int, int], tuple[Any, Any]] = {}
        for program in (self._surface, self._sky):
            _assign(program, sun=lighting.sun, sun_color=lighting.sun_color, zenith=lighting.zenith)
            _assign(program, horizon=lighting.horizon, fog=lighting.fog, clouds=lighting.clouds)

    def __enter__(self) -> Renderer:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the device."""
        self.close()

    def close(self) -> None:
        """Release the device; the renderer cannot be used afterwards."""
        self._gl.release()

    def render(self, model: CameraModel, T_world_cam: Float64Array, items: Sequence[Item]) -> RenderedView:
        """Draw the items as a camera at `T_world_cam` sees them.

        Raises:
            RenderingError: the camera is distorted; only pinhole pictures are drawn.
        """
        if model.is_distorted:
            raise RenderingError(
                f"camera '{model.name}' has distortion model '{model.distortion_model}'; only pinhole pictures are "
                "drawn. Set distortion_model: none in the rig file"
            )
        moderngl, size = self._moderngl, (2 * model.width, 2 * model.height)
        target, color_only = self._target(size)
        projection = _projection(model) @ invert(T_world_cam)
        shadow_view = self._draw_shadows(T_world_cam, items)
        target.use()
        target.clear()
        self._gl.enable(moderngl.DEPTH_TEST)
        self._gl.depth_func = "<="
        eye, axis = T_world_cam[:3, 3], T_world_cam[:3, 2]
        self._shadow_map.use(0)
        _assign(self._surface, projection_view=projection, shadow_view=shadow_view, shadow_map=0, eye=eye, axis=axis)
        seen = [item for item in items if item.is_visible and self._is_in_view(item, projection)]
        # Near things first: what they hide is then not shaded.
        seen.sort(key=lambda item: self._distance(item, eye))
        for item in sorted(seen, key=lambda item: item.mark_layer):
            self._gl.polygon_offset = -1.0 * item.mark_layer, -8.0 * item.mark_layer
            self._draw_surface(item)
        self._gl.polygon_offset = 0.0, 0.0
        _assign(self._sky, inverse_projection_view=np.linalg.inv(projection), eye=eye)
        self._sky_triangle.render(moderngl.TRIANGLES, vertices=3)
        self._draw_contacts(color_only, projection, seen)
        return _read(target, size)

    def _upload(self, mesh: Mesh) -> _Uploaded:
        rows = np.zeros(len(mesh.positions), dtype=[("p", "f4", 3), ("n", "f4", 3), ("c", "u1", 4)])
        rows["p"], rows["n"], rows["c"] = mesh.positions, mesh.normals, mesh.colors
        buffer = self._gl.buffer(rows.tobytes())
        lower, upper = mesh.bounds
        return _Uploaded(
            self._gl.vertex_array(self._surface, [(buffer, "3f 3f 4f1", "in_position", "in_normal", "in_color")]),
            self._gl.vertex_array(self._shadow, [(buffer, "3f 16x", "in_position")]),
            (lower + upper) / 2,
            float(np.linalg.norm(upper - lower) / 2),
        )

    def _target(self, size: tuple[int, int]) -> tuple[Any, Any]:
        """Return the framebuffer of all outputs, and one of the colours alone with the same depth."""
        if size not in self._targets:
            gl = self._gl
            color, depth = gl.texture(size, 4), gl.depth_renderbuffer(size)
            attachments = [color, gl.texture(size, 1, dtype="i4"), gl.texture(size, 1, dtype="f4")]
            self._targets[size] = (gl.framebuffer(attachments, depth), gl.framebuffer([color], depth))
        return self._targets[size]

    def _draw_surface(self, item: Item) -> None:
        _assign(self._surface, model=item.T_world_mesh, instance=item.instance)
        self._meshes[item.mesh].surface.render()

    def _draw_shadows(self, T_world_cam: Float64Array, items: Sequence[Item]) -> Float64Array:
        """Draw the sun's depth map around what the camera sees; return the projection into it."""
        sun = self._lighting.sun
        forward = T_world_cam[:3, 2] * [1.0, 1.0, 0.0]
        forward = forward / max(float(np.linalg.norm(forward)), 1e-6)
        middle = T_world_cam[:3, 3] * [1.0, 1.0, 0.0] + _SHADOW_AHEAD_M * forward
        side = np.cross([0.0, 0.0, 1.0], sun)
        side /= np.linalg.norm(side)
        rotation = np.stack([side, np.cross(sun, side), -sun])
        view = np.eye(4)
        view[:3, :3] = rotation / [[_SHADOW_HALF_M], [_SHADOW_HALF_M], [90.0]]
        view[:3, 3] = -view[:3, :3] @ middle
        self._shadow_target.use()
        self._shadow_target.clear()
        self._gl.enable(self._moderngl.DEPTH_TEST)
        self._gl.depth_func = "<="
        _assign(self._shadow, projection_view=view)
        for item in items:
            mesh = self._meshes[item.mesh]
            at = transform_points(item.T_world_mesh, mesh.middle[None])[0]
            if item.mark_layer or float(np.linalg.norm(at - middle)) > 1.5 * _SHADOW_HALF_M + mesh.radius + 20.0:
                continue
            _assign(self._shadow, model=item.T_world_mesh)
            mesh.shadow.render()
        return view

    def _draw_contacts(self, target: Any, projection: Float64Array, items: Sequence[Item]) -> None:
        """Darken the ground where things stand on it; the sun's shadow alone leaves them floating."""
        gl, moderngl = self._gl, self._moderngl
        target.use()
        target.depth_mask = False
        gl.enable(moderngl.BLEND)
        gl.blend_func = moderngl.ZERO, moderngl.SRC_COLOR
        gl.polygon_offset = -4.0, -16.0
        _assign(self._contact, projection_view=projection, reach=_CONTACT_REACH_M, strength=0.5)
        for item in items:
            if item.contact is not None:
                _assign(self._contact, model=item.T_world_mesh, half_size=item.contact)
                self._contact_square.render(moderngl.TRIANGLE_STRIP, vertices=4)
        gl.polygon_offset = 0.0, 0.0
        gl.disable(moderngl.BLEND)
        target.depth_mask = True

    def _distance(self, item: Item, eye: Float64Array) -> float:
        mesh = self._meshes[item.mesh]
        return float(np.linalg.norm(transform_points(item.T_world_mesh, mesh.middle[None])[0] - eye)) - mesh.radius

    def _is_in_view(self, item: Item, projection: Float64Array) -> bool:
        mesh = self._meshes[item.mesh]
        middle = np.append(transform_points(item.T_world_mesh, mesh.middle[None])[0], 1.0)
        planes = np.concatenate([projection[3] + projection[:3], projection[3] - projection[:3]])
        distances = planes @ middle / np.linalg.norm(planes[:, :3], axis=1)
        return bool((distances > -mesh.radius - 0.5).all())


def _projection(model: CameraModel) -> Float64Array:
    """Return the clip matrix for points of the optical frame; rows of the read-back picture come top first."""
    K, w, h, n, f = model.intrinsics, model.width, model.height, _NEAR_M, _FAR_M
    # OpenGL counts from the picture's corner, K from the centre of the first pixel.
    cx, cy = K[0, 2] + 0.5, K[1, 2] + 0.5
    return np.array(
        [
            [2 * K[0, 0] / w, 2 * K[0, 1] / w, 2 * cx / w - 1, 0],
            [0, 2 * K[1, 1] / h, 2 * cy / h - 1, 0],
            [0, 0, (f + n) / (f - n), -2 * f * n / (f - n)],
            [0, 0, 1, 0],
        ]
    )


def _read(target: Any, size: tuple[int, int]) -> RenderedView:
    width, height = size
    colors = np.frombuffer(target.read(components=3, alignment=1), np.uint8).reshape(height, width, 3)
    ids = np.frombuffer(target.read(components=1, attachment=1, dtype="i4", alignment=1), np.int32)
    depth = np.frombuffer(target.read(components=1, attachment=2, dtype="f4", alignment=1), np.float32)
    depth = depth.reshape(height, width)[::2, ::2]
    return RenderedView(
        np.asarray(cv2.resize(colors, (width // 2, height // 2), interpolation=cv2.INTER_AREA)),
        np.where(depth > 1e6, np.float32(np.inf), depth),
        ids.reshape(height, width)[::2, ::2].copy(),
    )


def _assign(program: Any, **values: Any) -> None:
    """Set uniforms; those that the compiler has removed are skipped, matrices are given row-major."""
    for name, value in values.items():
        if name not in program:
            continue
        array = np.asarray(value)
        if array.ndim == 2:
            program[name].write(array.T.astype("f4").tobytes())
        elif array.ndim == 1:
            program[name].value = tuple(float(v) for v in array)
        else:
            program[name].value = value
