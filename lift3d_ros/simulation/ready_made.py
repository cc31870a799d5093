"""Scenery that is made once in each process and used in all scenes; each mesh depends on its number alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from lift3d_ros.simulation import scenery
from lift3d_ros.simulation.buildings import building
from lift3d_ros.simulation.meshes import Mesh
from lift3d_ros.types import Float64Array

VARIANTS = 20
"""Number of different houses and trees."""


@lru_cache(maxsize=400)
def bounds_of(mesh: Mesh) -> tuple[Float64Array, Float64Array]:
    """Return the bounds of a mesh, kept as computing them takes long."""
    return mesh.bounds


@lru_cache(maxsize=200)
def house(is_low: bool, variant: int) -> Mesh:
    """Return a house, low as in a suburb or with two to five storeys."""
    rng = np.random.default_rng([11, int(is_low), variant])
    storeys = int(rng.integers(1, 3)) if is_low else int(rng.integers(2, 6))
    return building(float(rng.uniform(9.0, 16.0)), float(rng.uniform(8.0, 13.0)), rng, storeys)


@lru_cache(maxsize=100)
def tree(variant: int) -> Mesh:
    """Return a tree."""
    return scenery.tree(np.random.default_rng([12, variant]))


@lru_cache(maxsize=12)
def grove(variant: int) -> Mesh:
    """Return a few plain trees."""
    return scenery.grove(np.random.default_rng([15, variant]))


@lru_cache(maxsize=20)
def hedge(variant: int, length: int) -> Mesh:
    """Return a hedge."""
    return scenery.hedge(float(length), np.random.default_rng([13, variant]))


@lru_cache(maxsize=8)
def skyline(variant: int) -> Mesh:
    """Return far woods and houses."""
    return scenery.skyline(np.random.default_rng([14, variant]))


@lru_cache(maxsize=8)
def sign(kind: int) -> Mesh:
    """Return a traffic sign, see :func:`scenery.sign`."""
    return scenery.sign(kind)


@lru_cache(maxsize=1)
def lamp_post() -> Mesh:
    """Return a street lamp."""
    return scenery.lamp_post()


@lru_cache(maxsize=1)
def traffic_light() -> Mesh:
    """Return a traffic light."""
    return scenery.traffic_light()


@lru_cache(maxsize=16)
def thing(name: str) -> Mesh:
    """Return a piece of street furniture by its name."""
    makers: dict[str, Callable[[], Mesh]] = {
        "bench": scenery.bench, "bin": scenery.bin_, "hydrant": scenery.hydrant, "shelter": scenery.shelter,
        "bollard": scenery.bollard, "cabinet": scenery.cabinet, "crate": scenery.crate, "rail": scenery.guard_rail,
    }  # fmt: skip
    return makers[name]()
