"""Makes packs of objects: rendered meshes of a folder, changed ones, and objects made from parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lift3d_ros.config import setting
from lift3d_ros.datasets.object_meshes import MeshEntry, changed_mesh
from lift3d_ros.datasets.object_pack import Named, PackSizes, write_object_pack
from lift3d_ros.datasets.object_points import label_points
from lift3d_ros.datasets.object_renders import (
    Framing,
    Light,
    ObjectRenderer,
    random_light,
    random_rotations,
    render_views,
)
from lift3d_ros.datasets.object_shapes import made_object
from lift3d_ros.datasets.object_views import ObjectViews
from lift3d_ros.models.lrm.config import LrmConfig
from lift3d_ros.simulation.meshes import Mesh


@dataclass(frozen=True)
class RenderSettings:
    """What is rendered for training."""

    views: int = setting(16, "cameras around each object", minimum=2, maximum=256)
    points: int = setting(20_000, "labelled points of each object", minimum=1000, maximum=1_000_000)
    changed: int = setting(1, "stretched and tinted copies of each mesh", minimum=0, maximum=100)
    made: int = setting(300, "objects made from random parameters", minimum=0, maximum=100_000)
    seed: int = setting(0, "makes cameras, light and changes repeatable", minimum=0)


def pack_meshes(
    entries: Sequence[MeshEntry],
    folder: Path,
    config: LrmConfig,
    settings: RenderSettings,
    on_object: Callable[[int, int], object] = lambda done, total: None,
) -> int:
    """Render meshes into a pack, in the size and with the field of view of a model; return how many objects it has.

    Args:
        on_object: called with how many are done, and how many there will be.

    Raises:
        DatasetError: a mesh cannot be read, or the folder cannot be written.
        RenderingError: there is no OpenGL.
    """
    total = len(entries) * (1 + settings.changed) + settings.made
    sizes = PackSizes(config.image.side, settings.views, settings.points, config.view.focal, config.image.fill)
    source = f"{len(entries)} meshes, {settings.changed} changed copies of each, {settings.made} made objects"

    def rendered() -> Iterator[Named]:
        with ObjectRenderer(sizes.side) as renderer:
            for number, (name, mesh) in enumerate(_meshes(entries, settings)):
                rng = np.random.default_rng((settings.seed, number, 1))
                yield name, render_object(renderer, mesh, sizes, random_light(rng), rng)

    write_object_pack(folder, rendered(), total, sizes, source, lambda done: on_object(done, total))
    return total


def render_object(
    renderer: ObjectRenderer, mesh: Mesh, sizes: PackSizes, light: Light, rng: np.random.Generator
) -> ObjectViews:
    """Return random views of a mesh, and labelled points where `sizes` asks for them."""
    rotations = random_rotations(rng, sizes.views, np.unique(mesh.positions, axis=0))
    views = render_views(renderer, mesh, rotations, Framing(sizes.focal, sizes.fill), light)
    if not sizes.points:
        return views
    points = label_points(renderer, mesh, light, sizes.points, rng)
    return ObjectViews(views.rgba, views.T_object_cameras, views.intrinsics, views.distances, views.depths, points)


def _meshes(entries: Sequence[MeshEntry], settings: RenderSettings) -> Iterator[tuple[str, Mesh]]:
    for number, entry in enumerate(entries):
        mesh = entry.load()
        yield entry.name, mesh
        for copy in range(settings.changed):
            yield (
                f"{entry.name}#{copy + 1}",
                changed_mesh(mesh, np.random.default_rng((settings.seed, number, copy, 2))),
            )
    for number in range(settings.made):
        yield f"made#{number}", made_object(np.random.default_rng((settings.seed, number, 3)))
