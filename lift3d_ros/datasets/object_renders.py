"""Renders single objects on a transparent background: colour, alpha and depth, by cameras that frame them.

Meshes are drawn from both sides, with light that does not depend on the camera. Object frame: z up.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.object_views import ObjectViews
from lift3d_ros.geometry.rigid import invert, make_transform
from lift3d_ros.models.lrm.cameras import look_at_origin
from lift3d_ros.simulation.gl_context import create_context
from lift3d_ros.simulation.meshes import Mesh
from lift3d_ros.types import Float32Array, Float64Array, UInt8Array

_SUPERSAMPLING = 2
_FRAMING_ROUNDS = 12
# An object that reaches further along the optical axis than so many times its size in the picture is not framed well.
_LARGEST_DEPTH = 1.6
_NEAR, _FAR = 0.05, 100.0

_VERTEX = """
#version 330
uniform mat4 T_camera_object;
uniform float focal;
uniform vec2 near_far;
in vec3 in_position;
in vec3 in_normal;
in vec3 in_color;
in vec2 in_uv;
out vec3 normal;
out vec3 color;
out vec2 uv;
out float depth;
out vec3 to_camera;
void main() {
    vec4 p = T_camera_object * vec4(in_position, 1.0);
    float z = (near_far.y + near_far.x) / (near_far.y - near_far.x) * p.z
        - 2.0 * near_far.y * near_far.x / (near_far.y - near_far.x);
    // Rows are read from below, so the picture is drawn upside down: y of the optical frame goes down.
    gl_Position = vec4(2.0 * focal * p.x, 2.0 * focal * p.y, z, p.z);
    normal = in_normal;
    color = in_color;
    uv = in_uv;
    depth = p.z;
    to_camera = -(transpose(mat3(T_camera_object)) * p.xyz);
}
"""

_FRAGMENT = """
#version 330
uniform vec3 light;
uniform float ambient;
uniform float gain;
uniform sampler2D skin;
in vec3 normal;
in vec3 color;
in vec2 uv;
in float depth;
in vec3 to_camera;
layout(location = 0) out vec4 out_color;
layout(location = 1) out float out_depth;
void main() {
    vec3 n = normalize(normal);
    if (dot(n, to_camera) < 0.0) n = -n;
    vec3 albedo = uv.x < -0.5 ? color : color * texture(skin, uv).rgb;
    float shade = ambient + (1.0 - ambient) * (0.5 + 0.5 * dot(n, light));
    out_color = vec4(clamp(albedo * shade * gain, 0.0, 1.0), 1.0);
    out_depth = depth;
}
"""


@dataclass(frozen=True)
class Light:
    """One far light over even light from all sides.

    Args:
        direction: (x, y, z) towards the light, unit length, in the object frame.
        ambient: share of the even light, 0..1.
        gain: brightness of all.
    """

    direction: tuple[float, float, float] = (0.28, -0.48, 0.83)
    ambient: float = 0.5
    gain: float = 1.1

    def shade(self, normals: Float64Array) -> Float64Array:
        """Return what light the colours of surfaces with outward normals (N, 3) are multiplied by, (N,)."""
        share = 0.5 + 0.5 * normals @ np.array(self.direction)
        return np.asarray((self.ambient + (1.0 - self.ambient) * share) * self.gain)


def random_light(rng: np.random.Generator) -> Light:
    """Return a light from somewhere above."""
    azimuth, height = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.1, 1.0)
    across = np.sqrt(1.0 - height**2)
    direction = (float(across * np.cos(azimuth)), float(across * np.sin(azimuth)), float(height))
    return Light(direction, float(rng.uniform(0.4, 0.85)), float(rng.uniform(0.95, 1.2)))


@dataclass(frozen=True)
class Framing:
    """How cameras look at an object.

    Args:
        focal: in units of the picture's side.
        fill: share of the side that the longer side of the object takes.
    """

    focal: float = 1.25
    fill: float = 0.85


def frame_object(corners: NDArray[Any], rotation: Float64Array, framing: Framing) -> tuple[Float64Array, float]:
    """Return the pose (4, 4) of a camera that has an object in the middle of its picture, and the object's distance.

    Args:
        corners: (N, 3) points around or on the object, object frame.
        rotation: (3, 3) of the camera's axes (right, down, forward) in the object frame.

    Returns:
        The distance is that of the middle of the object's extent along the optical axis.
    """
    turned = np.asarray(corners, dtype=np.float64) @ rotation
    lower, upper = turned.min(axis=0), turned.max(axis=0)
    middle = 0.5 * (lower + upper)
    extent = float((upper - lower).max())
    distance = framing.focal * extent / framing.fill + 0.5 * extent
    for _ in range(_FRAMING_ROUNDS):
        # The camera stays in front of the object.
        distance = max(distance, 0.75 * float(upper[2] - lower[2]) + 1e-3)
        seen = framing.focal * (turned[:, :2] - middle[:2]) / (turned[:, 2:] - middle[2] + distance)
        low, high = seen.min(axis=0), seen.max(axis=0)
        middle[:2] += 0.5 * (low + high) * distance / framing.focal
        distance *= float((high - low).max()) / framing.fill
    position = rotation @ (middle - np.array([0.0, 0.0, distance]))
    return make_transform(rotation, position), distance


def random_rotations(rng: np.random.Generator, count: int, corners: NDArray[Any]) -> Float64Array:
    """Return (N, 3, 3) axes of cameras all around; most look down a little, as people do, and roll hardly.

    Args:
        corners: (M, 3) of the object: views along something long are drawn again.
    """
    rotations = []
    first = rng.uniform(0.0, 2.0 * np.pi)
    for number in range(count):
        for _ in range(8):
            azimuth = first + 2.0 * np.pi * (number + rng.uniform(-0.4, 0.4)) / count
            # One of four looks from anywhere, so that top and bottom are seen, too.
            low, high = (-0.6, 1.4) if number % 4 == 3 else (-0.1, 0.75)
            elevation, roll = rng.uniform(low, high), rng.normal(0.0, 0.04)
            c, s = np.cos(roll), np.sin(roll)
            rotation = turned_rotation(azimuth, elevation) @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
            extent = np.ptp(np.asarray(corners, dtype=np.float64) @ rotation, axis=0)
            if extent[2] <= _LARGEST_DEPTH * max(extent[:2]):
                break
            first += 0.7
        rotations.append(rotation)
    return np.stack(rotations)


def turned_rotation(azimuth: float, elevation: float) -> Float64Array:
    """Return the axes (3, 3) of a camera that stands at these angles (rad) and looks at the origin, z up."""
    across = np.cos(elevation)
    position = (across * np.cos(azimuth), across * np.sin(azimuth), np.sin(elevation))
    return look_at_origin(position)[:3, :3]


class ObjectRenderer:
    """Draws one mesh after another; a context manager, as it holds memory of the graphics driver."""

    def __init__(self, side: int) -> None:
        """Make pictures of `side` px.

        Raises:
            RenderingError: no OpenGL context can be made.
        """
        self.side = side
        self._gl, moderngl = create_context()
        self._program = self._gl.program(vertex_shader=_VERTEX, fragment_shader=_FRAGMENT)
        self._program["near_far"].value = (_NEAR, _FAR)
        size = (side * _SUPERSAMPLING,) * 2
        self._color = self._gl.texture(size, 4)
        self._depth = self._gl.texture(size, 1, dtype="f4")
        buffer = self._gl.depth_renderbuffer(size)
        self._target = self._gl.framebuffer([self._color, self._depth], buffer)
        self._gl.enable_only(moderngl.DEPTH_TEST)
        self._mesh: Any = None
        self._skin: Any = None
        self._white = self._gl.texture((1, 1), 3, b"\xff\xff\xff", alignment=1)

    def __enter__(self) -> ObjectRenderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gl.release()

    def load(self, mesh: Mesh) -> None:
        """Take a mesh to the driver, in place of the last one."""
        with self._gl:  # other contexts may live beside this one
            row = np.dtype([("p", "f4", 3), ("n", "f4", 3), ("c", "f4", 3), ("t", "f4", 2)])
            rows = np.empty(len(mesh.positions), dtype=row)
            rows["p"], rows["n"] = mesh.positions, mesh.normals
            rows["c"] = mesh.colors[:, :3] / 255.0
            rows["t"] = -1.0 if mesh.uvs is None else mesh.uvs
            for held in (self._mesh, self._skin):
                if held is not None:
                    held.release()
            attributes = (
                self._gl.buffer(rows.tobytes()),
                "3f 3f 3f 2f",
                "in_position",
                "in_normal",
                "in_color",
                "in_uv",
            )
            self._mesh = self._gl.vertex_array(self._program, [attributes])
            self._skin = None
            if mesh.texture is not None:
                # Rows go bottom first, as v counts from the bottom.
                data = np.ascontiguousarray(mesh.texture[::-1]).tobytes()
                self._skin = self._gl.texture(mesh.texture.shape[1::-1], 3, data, alignment=1)

    def draw(self, T_object_camera: Float64Array, focal: float, light: Light) -> tuple[UInt8Array, Float32Array]:
        """Return RGBA (side, side, 4), and the depth (side, side) along the optical axis, 0 where nothing is.

        Colours are not multiplied with alpha, which is the share of the pixel that is covered.
        """
        with self._gl:
            self._program["T_camera_object"].write(invert(T_object_camera).T.astype("f4").tobytes())
            self._program["focal"].value = focal
            self._program["ambient"].value, self._program["gain"].value = light.ambient, light.gain
            self._program["light"].write(struct.pack("3f", *light.direction))
            self._target.use()
            self._target.clear()
            (self._skin or self._white).use(0)
            self._mesh.render()
            drawn, distances = self._color.read(), self._depth.read()
        fine = self.side * _SUPERSAMPLING
        cells = (self.side, _SUPERSAMPLING, self.side, _SUPERSAMPLING)
        color = np.frombuffer(drawn, np.uint8).reshape(*cells, 4)
        depth = np.frombuffer(distances, np.float32).reshape(fine, fine).reshape(cells)
        sums = color.sum(axis=(1, 3), dtype=np.uint16)
        covered = np.maximum(sums[..., 3:] // 255, 1)
        rgba = np.concatenate([sums[..., :3] // covered, sums[..., 3:] // _SUPERSAMPLING**2], axis=-1)
        nearest = np.where(depth > 0.0, depth, np.inf).min(axis=(1, 3))
        return rgba.astype(np.uint8), np.where(np.isfinite(nearest), nearest, 0.0).astype(np.float32)


def render_views(
    renderer: ObjectRenderer, mesh: Mesh, rotations: Float64Array, framing: Framing, light: Light
) -> ObjectViews:
    """Render a mesh by cameras with the axes `rotations` (V, 3, 3), each with the object in the middle."""
    renderer.load(mesh)
    corners = np.unique(mesh.positions, axis=0)
    frames = [frame_object(corners, rotation, framing) for rotation in rotations]
    pictures = [renderer.draw(pose, framing.focal, light) for pose, _ in frames]
    matrix = np.array([[framing.focal, 0.0, 0.5], [0.0, framing.focal, 0.5], [0.0, 0.0, 1.0]])
    return ObjectViews(
        np.stack([rgba for rgba, _ in pictures]),
        np.stack([pose for pose, _ in frames]),
        np.broadcast_to(matrix, (len(frames), 3, 3)).copy(),
        np.array([distance for _, distance in frames]),
        np.stack([depth for _, depth in pictures]),
    )
