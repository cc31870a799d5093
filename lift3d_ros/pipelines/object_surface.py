"""Makes a mesh of a model's field: cuts the surface, keeps what is wanted of it, and says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.config import setting
from lift3d_ros.errors import ConfigError
from lift3d_ros.geometry.decimation import decimate
from lift3d_ros.geometry.surface import COARSEST_STRIDE, Density, Surface, extract_surface
from lift3d_ros.geometry.triangles import is_watertight, keep_largest
from lift3d_ros.types import Float32Array, Float64Array

# Called with the stage and the share of it that is done, 0..1; may raise to stop.
OnStage = Callable[[str, float], object]

MOST_CELLS = 1024
"""Along a side of the cube: a dense grid of more would not fit into memory, and planes do not tell more."""


@dataclass(frozen=True)
class SurfaceConfig:
    """How a mesh is made of the model's field."""

    resolution: int = setting(
        256, "cells along a side of the cube, a multiple of 4", minimum=COARSEST_STRIDE, maximum=MOST_CELLS
    )
    threshold: float = setting(
        0.0, "density at which the surface is cut; less keeps thin parts. 0 takes that of the model", minimum=0.0
    )
    points_at_once: int = setting(
        16384, "points that the field is asked for at once; bounds the memory", minimum=256, maximum=1048576
    )
    max_faces: int = setting(0, "triangles of the mesh at most; 0 keeps all", minimum=0)
    watertight: bool = setting(True, "close the mesh where it reaches the border of the model's cube")
    largest_part: bool = setting(False, "keep only the largest connected part")


def check_surface_config(config: SurfaceConfig) -> None:
    """Refuse settings that no mesh can be made with.

    Raises:
        ConfigError: names the setting.
    """
    if not COARSEST_STRIDE <= config.resolution <= MOST_CELLS:
        raise ConfigError(f"surface.resolution is {config.resolution}; expected {COARSEST_STRIDE} to {MOST_CELLS}")
    if config.resolution % COARSEST_STRIDE:
        raise ConfigError(
            f"surface.resolution is {config.resolution}; expected a multiple of {COARSEST_STRIDE}, for example "
            f"{config.resolution // COARSEST_STRIDE * COARSEST_STRIDE}"
        )
    if 0 < config.max_faces < 4:
        raise ConfigError(f"surface.max_faces is {config.max_faces}; expected 4 or more, or 0 to keep all")


def cut_surface(
    density: Density, half_side: float, level: float, config: SurfaceConfig, on_stage: OnStage
) -> tuple[Surface, str]:
    """Return the surface of a field, and a sentence that says why where it is empty.

    Args:
        density: of points (P, 3) of the object frame.
        half_side: of the model's cube.
        level: density at which the surface is cut.
    """
    asked = 0
    lowest, highest = float("inf"), float("-inf")
    # All nodes of the coarsest grid, and a guess at those near the surface, which grow with its area.
    expected = (config.resolution // COARSEST_STRIDE + 1) ** 3 + 12 * config.resolution**2

    def observed(points: Float32Array) -> NDArray[Any]:
        nonlocal lowest, highest
        found = density(points)
        numbers = found[~np.isnan(found)]
        lowest = min(lowest, float(numbers.min(initial=np.inf)))
        highest = max(highest, float(numbers.max(initial=-np.inf)))
        return found

    def on_points(count: int) -> None:
        nonlocal asked
        on_stage("surface", min(asked / expected, 0.99))
        asked += count

    surface = extract_surface(
        observed,
        half_side,
        level,
        num_cells=config.resolution,
        is_closed=config.watertight,
        points_at_once=config.points_at_once,
        on_points=on_points,
    )
    on_stage("surface", 1.0)
    nothing = Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64), surface.num_queries)
    found = f"the surface is cut at a density of {level:g}, and the field has {lowest:.3g} to {highest:.3g}"
    if lowest > highest:
        return nothing, "no surface: the field holds no numbers; check the weights with 'lift3d weights verify'"
    if lowest >= level:
        return nothing, f"no surface: all of the cube is solid, {found}; raise the threshold, or check the cut-out"
    if surface.is_empty:
        return nothing, (
            f"no surface: the field is empty, {found}; lower the threshold, raise the resolution, or check the cut-out"
        )
    return surface, ""


def simplify_surface(
    surface: Surface, config: SurfaceConfig, on_stage: OnStage
) -> tuple[Float64Array, NDArray[np.int64], tuple[str, ...]]:
    """Return vertices and faces of what is wanted of a surface, and sentences about what had to be given up."""
    problems = []
    vertices, faces = surface.vertices, surface.faces
    on_stage("simplify", 0.0)
    if config.largest_part:
        vertices, faces, num_dropped = keep_largest(vertices, faces)
        if num_dropped:
            problems.append(f"{num_dropped} smaller parts of the surface were dropped")
    if config.max_faces:
        vertices, faces = decimate(vertices, faces, config.max_faces, lambda share: on_stage("simplify", share))
        if len(faces) > config.max_faces:
            problems.append(
                f"the mesh has {len(faces)} triangles and not {config.max_faces}: fewer would tear it apart"
            )
    if config.watertight and len(faces) and not is_watertight(faces):
        problems.append("the mesh is not watertight: some of its edges belong to one or to more than two triangles")
    on_stage("simplify", 1.0)
    return vertices, faces, tuple(problems)
