"""Supplies the objects of a scene: parametric models and meshes of a library, each with its own look and size.

Parametric models are made once for each of some variants and then repainted and scaled, as making them takes longer
than drawing them. A variant depends on its number alone, so scenes do not depend on what was made before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import cv2
import numpy as np

from lift3d_ros.simulation.mesh_library import LibraryMesh, MeshLibrary
from lift3d_ros.simulation.meshes import Material, Mesh
from lift3d_ros.simulation.road_users import PAINTS, RoadUser, boxed, make_road_user
from lift3d_ros.types import Float32Array, Float64Array, UInt8Array

_TWO_WHEELERS = ("bicycle", "motorcycle")
_RIDER_HEIGHT_M, _STANDING_HEIGHT_M = 1.45, 1.5
# Relative change of each axis, and whether the class comes in all colours.
_SCALES = {
    "car": 0.05, "truck": 0.08, "construction_vehicle": 0.10, "bus": 0.06, "trailer": 0.10, "barrier": 0.10,
    "motorcycle": 0.05, "bicycle": 0.05, "pedestrian": 0.06, "traffic_cone": 0.12,
}  # fmt: skip
_PAINTED = ("car", "truck", "bus", "trailer", "motorcycle", "bicycle")


_Recolor = Callable[[UInt8Array], UInt8Array]


@dataclass(frozen=True, eq=False)
class Candidate:
    """An object that may be placed; its meshes are scaled and painted when it is.

    Args:
        center, size: (3,) of its box in the object frame, metres.
    """

    class_name: str
    center: Float64Array
    size: Float64Array
    _plain: RoadUser
    _scale: Float64Array
    _look: _Recolor | None

    @cached_property
    def user(self) -> RoadUser:
        """The object itself."""
        look = self._look
        meshes = tuple(
            replace(
                mesh,
                positions=(mesh.positions * self._scale).astype(np.float32),
                normals=_scaled_normals(mesh, self._scale),
                colors=mesh.colors if look is None else look(mesh.colors),
            )
            for mesh in self._plain.meshes
        )
        return replace(self._plain, meshes=meshes, center=self.center, size=self.size)


class Supply:
    """Makes road users."""

    def __init__(self, library: MeshLibrary | None, library_share: float) -> None:
        """Take the library, or None for parametric models alone."""
        self.library, self._share = library, library_share

    def make(self, class_name: str, rng: np.random.Generator, *, is_moving: bool = False) -> Candidate:
        """Return an object with a random look.

        Args:
            class_name: one of the ten nuScenes classes.
            is_moving: people walk, two-wheelers have a rider.
        """
        entry = None
        if self.library is not None and rng.random() < self._share:
            entry = self._entry(class_name, rng, is_moving)
        if entry is not None:
            user = _library_user(entry, bool(rng.random() < 0.5))
        else:
            user = parametric(class_name, is_moving, int(rng.integers(num_variants(class_name))))
        spread = _SCALES[class_name]
        if class_name == "pedestrian" and entry is None:
            spread = 0.0  # they differ in height already
        scale = 1.0 + rng.uniform(-spread, spread) + rng.uniform(-0.03, 0.03, 3)
        look = _random_look(user, rng, entry is not None)
        return Candidate(class_name, user.center * scale, user.size * scale, user, scale, look)

    def _entry(self, class_name: str, rng: np.random.Generator, is_moving: bool) -> LibraryMesh | None:
        assert self.library is not None
        entries = list(self.library.of_class(class_name))
        if class_name in _TWO_WHEELERS:
            entries = [entry for entry in entries if (entry.height > _RIDER_HEIGHT_M) == is_moving]
        elif class_name == "pedestrian" and is_moving:
            entries = [entry for entry in entries if entry.height > _STANDING_HEIGHT_M]
        return entries[int(rng.integers(len(entries)))] if entries else None


def num_variants(class_name: str) -> int:
    """Return how many parametric models there are of a class; trucks and trailers are of many kinds."""
    return 96 if class_name in ("truck", "trailer") else 32


@lru_cache(maxsize=2000)
def parametric(class_name: str, is_moving: bool, variant: int) -> RoadUser:
    """Return a parametric model; the same for the same arguments."""
    code = sum(ord(letter) * 31**i for i, letter in enumerate(class_name)) % 2**31
    return make_road_user(class_name, np.random.default_rng([variant, int(is_moving), code]), is_moving=is_moving)


@lru_cache(maxsize=2000)
def _library_user(entry: LibraryMesh, is_smooth: bool) -> RoadUser:
    return boxed(entry.class_name, (entry.smooth if is_smooth else entry.flat,), 0.0)


def _random_look(user: RoadUser, rng: np.random.Generator, is_library: bool) -> _Recolor | None:
    """Return a change of colours, or None: paint is replaced, clothes and machines shift their hue."""
    name = user.class_name
    if user.meshes[0].texture is not None:
        tint = np.append(rng.uniform(0.55, 1.0, 3) * rng.uniform(0.8, 1.0), 1.0)
        return lambda colors: np.asarray(colors * tint, dtype=np.uint8)
    if name in _PAINTED and rng.random() < (0.8 if is_library else 1.0):
        paint = PAINTS[int(rng.integers(len(PAINTS)))]
        jittered = np.clip(np.array(paint) + rng.normal(0.0, 10.0, 3), 8, 246)
        return lambda colors: _repainted(colors, jittered)
    if name == "pedestrian":
        turn, light = float(rng.uniform(-90.0, 90.0)), float(rng.uniform(0.75, 1.25))
        return lambda colors: _shifted(colors, turn, light, keeps_skin=True)
    turn = float(rng.normal(0.0, 6.0)) if name in ("traffic_cone", "barrier") else float(rng.normal(0.0, 14.0))
    light = float(rng.uniform(0.8, 1.12))
    return lambda colors: _shifted(colors, turn, light, keeps_skin=False)


def _repainted(colors: UInt8Array, paint: Float64Array) -> UInt8Array:
    """Return the colours with the commonest lacquer replaced; its lighter and darker shades follow."""
    is_paint = colors[:, 3] == Material.PAINT
    if not is_paint.any():
        return colors
    codes = colors[is_paint].astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1, 0], dtype=np.uint32)
    _, places, counts = np.unique(codes >> 2, return_index=True, return_counts=True)
    old = colors[is_paint][places[int(np.argmax(counts))], :3].astype(np.float64)
    lacquer = colors[is_paint, :3].astype(np.float64)
    share = (lacquer @ old) / max(float(old @ old), 1.0)
    follows = np.abs(lacquer - share[:, None] * old).max(axis=1) < 26.0
    follows &= (share > 0.35) & (share < 1.6)
    result = colors.copy()
    lacquer[follows] = share[follows, None] * paint
    result[is_paint, :3] = np.clip(lacquer, 0, 255).astype(np.uint8)
    return result


def _shifted(colors: UInt8Array, turn_deg: float, light: float, *, keeps_skin: bool) -> UInt8Array:
    """Return the colours with another hue and brightness."""
    hsv = cv2.cvtColor(np.ascontiguousarray(colors[None, :, :3]), cv2.COLOR_RGB2HSV)[0].astype(np.float64)
    changed = hsv.copy()
    changed[:, 0] = (hsv[:, 0] + turn_deg / 2) % 180
    changed[:, 2] = np.clip(hsv[:, 2] * light, 0, 255)
    if keeps_skin:
        is_skin = (hsv[:, 0] < 17) & (hsv[:, 1] > 30) & (hsv[:, 1] < 160) & (hsv[:, 2] > 70)
        changed[is_skin] = hsv[is_skin]
    rgb = cv2.cvtColor(np.round(changed).astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0]
    return np.concatenate([rgb, colors[:, 3:]], axis=1)


def _scaled_normals(mesh: Mesh, scale: Float64Array) -> Float32Array:
    normals = mesh.normals / scale
    lengths = np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return np.asarray(normals / lengths, dtype=np.float32)
