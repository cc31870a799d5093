"""Draws meshes as a camera sees them: light, metric depth and instance numbers from one pass, without a display.

OpenGL 3.3 through EGL. A picture is drawn at twice its width and height: light is averaged, depth and instance
take the upper left of the four samples, so that no value is invented at an edge.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.rigid import invert
from lift3d_ros.simulation import pass_shaders, shaders
from lift3d_ros.simulation.gl_context import RenderingError, create_context
from lift3d_ros.simulation.light_maps import LightMaps
from lift3d_ros.simulation.mesh_store import MeshStore
from lift3d_ros.simulation.meshes import Mesh
from lift3d_ros.simulation.placement import Placed, columns, in_view, place
from lift3d_ros.simulation.shadows import HALF_M, ShadowMap, Shadows
from lift3d_ros.simulation.sprites import Sprites, lamps_in_world, strongest_lamps
from lift3d_ros.simulation.surfaces import SAMPLERS, Surfaces
from lift3d_ros.simulation.targets import Target
from lift3d_ros.simulation.weather import Lamp
from lift3d_ros.simulation.weather import Lighting as Lighting
from lift3d_ros.types import CameraModel, Float32Array, Float64Array, UInt8Array

SAMPLE_OFFSET_PX = -0.25
"""`Renderer.sample_offset_px` of a renderer that is not told otherwise."""

_NEAR_M, _FAR_M = 0.3, 420.0
_SKY_DEPTH = 1e6

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Item:
    """One placed mesh.

    Args:
        mesh: its number in the renderer.
        instance: 0 for the surroundings, else the number of the object, from 1.
        mark_layer: 0 for solid things; from 1 for what lies in the plane of the ground, higher layers on top.
        is_visible: False for what only casts a shadow.
        contact: (2,) half length and half width of the dark zone where the object stands; None for none.
        lamps: what shines where `Lighting.lamps` is above 0.
    """

    mesh: int
    T_world_mesh: Float64Array
    instance: int = 0
    mark_layer: int = 0
    is_visible: bool = True
    contact: tuple[float, float] | None = None
    lamps: tuple[Lamp, ...] = ()


@dataclass(frozen=True, eq=False)
class RenderedView:
    """One picture with its truth.

    Args:
        light: (H, W, 3) linear RGB, 0..8; a white matte surface in the sun has about 1.5.
        depth: (H, W) metres along the optical axis, infinite in the sky; see `Renderer.sample_offset_px`.
        instances: (H, W) int32 number of the object, 0 for the surroundings, -1 for the sky.
    """

    light: Float32Array
    depth: Float32Array
    instances: NDArray[np.int32]

    @cached_property
    def rgb(self) -> UInt8Array:
        """The picture of a camera without faults, (H, W, 3)."""
        steps = np.sqrt(self.light * np.float32(4095**2 / 8.0)).astype(np.uint16)
        return np.asarray(_DISPLAY[steps])


def projection_matrix(model: CameraModel) -> Float64Array:
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


def to_display(light: Any) -> Float64Array:
    """Return sRGB values, 0..1, of linear light with the highlights rolled off."""
    light = np.asarray(light, dtype=np.float64)
    mapped = 1.16 * light * (1.0 + light * 0.14) / (1.0 + light * 0.42)
    return np.asarray(np.clip(mapped, 0.0, 1.0) ** (1 / 2.2))


_DISPLAY = np.round(255 * to_display(8.0 * np.linspace(0.0, 1.0, 4096) ** 2)).astype(np.uint8)


class Renderer:
    """Holds meshes on the graphics device, for one scene after the other; use as a context manager."""

    def __init__(
        self, meshes: Sequence[Mesh] = (), lighting: Lighting | None = None, *, supersampling: int = 2
    ) -> None:
        """Make the context and upload meshes, which get the numbers 0, 1, ...

        Args:
            supersampling: samples of a pixel in x and in y; 1 takes half the time and leaves edges jagged.

        Raises:
            RenderingError: no OpenGL context can be made; names the packages that bring one.
        """
        self.gl, self.moderngl = create_context()
        self.is_closed = False
        gl = self.gl
        self.supersampling = supersampling
        self.device = str(gl.info["GL_RENDERER"])
        if any(name in self.device.lower() for name in ("llvmpipe", "softpipe", "swrast")):
            _LOG.warning("pictures are rendered on the CPU by '%s'; a GPU is used where EGL offers one", self.device)
        self.store = MeshStore(gl)
        self._world = gl.buffer(reserve=8 * 16)
        self._view = gl.buffer(reserve=(3 * 4 + 4 + 3 * shaders.MAX_LAMPS) * 16)
        self._world.bind_to_uniform_block(0)
        self._view.bind_to_uniform_block(1)
        self._surfaces = Surfaces(gl, self.store, self._linked)
        self._sky = self._linked(pass_shaders.SKY_VERTEX, pass_shaders.SKY_FRAGMENT)
        self._sky_triangle = gl.vertex_array(self._sky, [])
        self._resolve = self._linked(pass_shaders.FILTER_VERTEX, pass_shaders.RESOLVE_FRAGMENT)
        self._resolve_triangle = gl.vertex_array(self._resolve, [])
        contact = self._linked(pass_shaders.CONTACT_VERTEX, pass_shaders.CONTACT_FRAGMENT)
        glare = self._linked(pass_shaders.GLARE_VERTEX, pass_shaders.GLARE_FRAGMENT)
        self._sprites = Sprites(gl, self.moderngl, contact, glare)
        linked = partial(self._linked, pass_shaders.FILTER_VERTEX)
        self._lights = LightMaps(
            gl, self.moderngl, linked(pass_shaders.MIRRORED_FRAGMENT), linked(pass_shaders.LAMPS_FRAGMENT)
        )
        self._depth_only = self._linked(pass_shaders.DEPTH_VERTEX, pass_shaders.DEPTH_FRAGMENT)
        self._truth = self._linked(pass_shaders.TRUTH_VERTEX, pass_shaders.TRUTH_FRAGMENT)
        self._shadow_map = ShadowMap(gl, self.moderngl, self.store, self._depth_only)
        self._targets: dict[str, Target] = {}
        self._frame: Shadows | None = None
        self.lighting = Lighting()
        self.set_lighting(lighting or self.lighting)
        for mesh in meshes:
            self.add(mesh)

    def __enter__(self) -> Renderer:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the device."""
        self.close()

    @property
    def sample_offset_px(self) -> float:
        """Where depth and instance are taken: this far from the pixel's centre in u and in v."""
        return 0.5 / self.supersampling - 0.5

    def close(self) -> None:
        """Release the device; the renderer cannot be used afterwards."""
        if not self.is_closed:
            self.is_closed = True
            self.gl.release()

    def make_current(self) -> None:
        """Direct what is drawn from now on to this renderer; needed where a process has several of them."""
        self.gl.__enter__()

    def add(self, mesh: Mesh) -> int:
        """Upload a mesh; return its number for `Item.mesh`."""
        self.make_current()
        return self.store.add(mesh)

    def remove(self, number: int) -> None:
        """Free a mesh."""
        self.make_current()
        self.store.remove(number)

    def set_lighting(self, lighting: Lighting) -> None:
        """Change sun, sky and air of everything drawn from now on."""
        self.make_current()
        self.lighting, self._frame = lighting, None
        fog_color = lighting.horizon if lighting.fog_color is None else lighting.fog_color
        rows = [
            (*lighting.sun, 0.0), (*lighting.sun_color, 0.0), (*lighting.zenith, lighting.clouds),
            (*lighting.horizon, lighting.fog), (*fog_color, lighting.wetness),
            (*lighting.ambient_sky, lighting.lamps), (*lighting.ambient_ground, lighting.lit_windows),
            (*lighting.cloud, 0.0),
        ]  # fmt: skip
        self._world.write(np.array(rows, dtype=np.float32).tobytes())
        self._lights.map_surroundings()

    def begin_frame(self, T_world_base: Float64Array, items: Sequence[Item]) -> None:
        """Draw the shadows around a vehicle once for all its cameras.

        They serve every picture of the same instances in the same order until the next call or change of light;
        `render` draws its own otherwise. Things may have moved a little in the pictures.
        """
        self.make_current()
        self._frame = self._draw_shadows(T_world_base[:3, 3], place(self.store, items))
        self._lights.map_lamps(self._lamps(items), T_world_base[:3, 3], self.lighting.lamps)

    def render(self, model: CameraModel, T_world_cam: Float64Array, items: Sequence[Item]) -> RenderedView:
        """Draw the items as a camera at `T_world_cam` sees them.

        Raises:
            RenderingError: the camera is distorted; only pinhole pictures are drawn, see `lens.Lens`.
        """
        self.make_current()
        if model.is_distorted:
            raise RenderingError(
                f"camera '{model.name}' has distortion model '{model.distortion_model}'; only pinhole pictures are "
                "drawn. Render the pinhole camera of a Lens and distort its picture"
            )
        gl, moderngl, samples = self.gl, self.moderngl, self.supersampling
        size = (samples * model.width, samples * model.height)
        placed = place(self.store, items)
        shadows = self._shadows_for(T_world_cam, placed)
        projection = projection_matrix(model) @ invert(T_world_cam)
        eye, axis = T_world_cam[:3, 3], T_world_cam[:3, 2]
        lamps = self._lamps(items)
        if self._frame is None:
            self._lights.map_lamps(lamps, eye, self.lighting.lamps)
        near = strongest_lamps(lamps, eye, axis, shaders.MAX_LAMPS)
        self._write_view(model, projection, shadows.view, eye, axis, near)
        target = self._target("light", size, ("4f4", "1i4"))
        target.begin(gl, moderngl, size)
        self._shadow_map.texture.use(0)
        self.store.use_textures(1)
        self._lights.use(2)
        seen = in_view(placed, projection, eye)
        self._surfaces.draw(placed, shadows, seen, self.lighting)
        self._sky_triangle.render(moderngl.TRIANGLES, vertices=3)
        over = target.begin_colors(size)
        stands = [placed.items[i] for i in seen]
        self._sprites.draw_contacts(over, [(i.T_world_mesh, i.contact) for i in stands if i.contact is not None])
        if len(lamps):
            self._sprites.draw_glare(over, lamps, eye, self.lighting.lamps)
        return self._resolved(target, model)

    def render_truth(
        self, model: CameraModel, T_world_cam: Float64Array, items: Sequence[Item]
    ) -> tuple[Float32Array, NDArray[np.int32]]:
        """Return depth (H, W), infinite in the sky, and instances (H, W), taken at the centres of the pixels."""
        self.make_current()
        size = (model.width, model.height)
        placed = place(self.store, items)
        T_cam_world = invert(T_world_cam)
        clip = projection_matrix(model) @ T_cam_world
        target = self._target("truth", size, ("1f4", "1i4"))
        target.begin(self.gl, self.moderngl, size, clear=_SKY_DEPTH)
        matrices = columns(clip @ placed.poses)
        depths = (T_cam_world[2] @ placed.poses).astype(np.float32)
        uniforms = (self._truth["to_clip"], self._truth["to_depth"], self._truth["instance"])
        for i in in_view(placed, clip, T_world_cam[:3, 3]):
            uniforms[0].write(matrices[i])
            uniforms[1].write(depths[i].tobytes())
            uniforms[2].value = placed.items[i].instance
            mesh = placed.meshes[i]
            self.store.array(mesh, "truth", self._truth, has_position_only=True).render()
        depth, instances = target.read(0, size, 1, np.float32), target.read(1, size, 1, np.int32)
        is_sky = depth >= _SKY_DEPTH
        return np.where(is_sky, np.float32(np.inf), depth), np.where(is_sky, np.int32(-1), instances)

    def depth_target(self, size: tuple[int, int]) -> Any:
        """Return a framebuffer of depth alone, at least of `size`; see `draw_depth`."""
        self.make_current()
        return self._target("depth", size, ()).full

    def draw_depth(self, mesh: int, mesh_to_clip: Float64Array) -> None:
        """Draw the depth of one mesh into the framebuffer in use."""
        self._depth_only["to_clip"].write(columns(mesh_to_clip[None])[0])
        self.store.array(self.store[mesh], "depth", self._depth_only, has_position_only=True).render()

    def _lamps(self, items: Sequence[Item]) -> Float64Array:
        is_on = self.lighting.lamps > 0.0
        return lamps_in_world((item.T_world_mesh, item.lamps) for item in items if is_on)

    def _shadows_for(self, T_world_cam: Float64Array, placed: Placed) -> Shadows:
        if self._frame is not None and self._frame.serves(placed):
            return self._frame
        self._frame = None
        ahead = T_world_cam[:3, 2] * [1.0, 1.0, 0.0]
        middle = T_world_cam[:3, 3] + 0.6 * HALF_M * ahead / max(float(np.linalg.norm(ahead)), 1e-6)
        return self._draw_shadows(middle, placed)

    def _draw_shadows(self, middle: Float64Array, placed: Placed) -> Shadows:
        return self._shadow_map.draw(self.lighting.sun, middle, placed, has_sun=self.lighting.has_shadows)

    def _write_view(
        self,
        model: CameraModel,
        projection: Float64Array,
        shadow_view: Float64Array,
        eye: Float64Array,
        axis: Float64Array,
        lamps: Float64Array,
    ) -> None:
        K, width, height = model.intrinsics, model.width, model.height
        head = np.zeros((4, 4))
        head[0, :3], head[1, :3], head[1, 3] = eye, axis, len(lamps)
        head[2, :2] = self._lights.middle
        head[3] = 2 * K[0, 0] / width, 2 * K[1, 1] / height, 2 / width, 2 / height
        table = np.zeros((3, shaders.MAX_LAMPS, 4))
        table[0, : len(lamps), :3], table[0, : len(lamps), 3] = lamps[:, :3], lamps[:, 9]
        table[1, : len(lamps), :3] = lamps[:, 3:6]
        table[1, : len(lamps), 3] = np.abs(lamps[:, 3:6]).sum(axis=1) > 0
        table[2, : len(lamps), :3] = lamps[:, 6:9] * lamps[:, 10:11] * self.lighting.lamps
        matrices = np.stack([projection.T, np.linalg.inv(projection).T, shadow_view.T])
        parts = (matrices.reshape(-1, 4), head, table.reshape(-1, 4))
        self._view.write(np.concatenate(parts).astype(np.float32).tobytes())

    def _resolved(self, target: Target, model: CameraModel) -> RenderedView:
        size = (model.width, model.height)
        resolved = self._target("resolved", size, ("4f4", "1i4"))
        resolved.begin_filter(self.gl, self.moderngl, size)
        first = len(SAMPLERS)
        for unit, (name, texture) in enumerate(zip(("colors", "instances"), target.attachments, strict=True), first):
            texture.use(unit)
            self._resolve[name].value = unit
        self._resolve["samples"].value = self.supersampling
        self._resolve_triangle.render(self.moderngl.TRIANGLES, vertices=3)
        light, instances = resolved.read(0, size, 4, np.float32), resolved.read(1, size, 1, np.int32)
        depth = np.where(light[..., 3] > _SKY_DEPTH, np.float32(np.inf), light[..., 3])
        return RenderedView(np.ascontiguousarray(light[..., :3]), depth, instances)

    def _target(self, name: str, size: tuple[int, int], forms: Sequence[str]) -> Target:
        """Return the target of a name, made larger where it is too small."""
        known = self._targets.get(name)
        if known is None or known.size[0] < size[0] or known.size[1] < size[1]:
            if known is not None:
                size = max(size[0], known.size[0]), max(size[1], known.size[1])
                known.release()
            self._targets[name] = Target(self.gl, size, forms)
        return self._targets[name]

    def _linked(self, vertex: str, fragment: str) -> Any:
        program = self.gl.program(vertex, fragment)
        for name, binding in (("World", 0), ("View", 1)):
            if name in program:
                program[name].binding = binding
        return program
