"""A small folder of meshes, a small pack of it, and a recipe with a network that takes milliseconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.datasets.object_meshes import read_mesh_folder
from lift3d_ros.datasets.object_packing import RenderSettings, pack_meshes
from lift3d_ros.datasets.object_renders import ObjectRenderer
from lift3d_ros.models.lrm.config import LrmConfig
from lift3d_ros.simulation.gl_context import RenderingError
from lift3d_ros.simulation.meshes import Finish, Mesh, box, combine, cylinder, ellipsoid

RED, GREEN, BLUE = Finish((200, 30, 30)), Finish((30, 180, 40)), Finish((40, 60, 200))

SMALL_NETWORK = (
    "network.image.side=32",
    "network.encoder.width=32",
    "network.encoder.depth=1",
    "network.encoder.num_heads=2",
    "network.encoder.patch_size=8",
    "network.encoder.table_side=4",
    "network.decoder.width=32",
    "network.decoder.num_layers=1",
    "network.decoder.num_heads=2",
    "network.decoder.plane_side=4",
    "network.decoder.upsampling=4",
    "network.decoder.channels=8",
    "network.decoder.detail_width=8",
    "run.precision=float32",
    "run.max_minutes=0",
    "run.batch_size=4",
    "run.warmup_steps=0",
    "run.validation_interval=0",
    "loss.points=128",
    "loss.rays=32",
    "loss.ray_samples=16",
)


def renderer_or_skip(side: int) -> ObjectRenderer:
    """Return a renderer; tests are skipped where there is no OpenGL."""
    try:
        return ObjectRenderer(side)
    except RenderingError as error:
        pytest.skip(str(error))


def ball() -> Mesh:
    return ellipsoid((0, 0, 0), (0.5, 0.5, 0.5), RED, rings=16, sides=24)


def cup() -> Mesh:
    """A cylinder that is open above, with a wall of no thickness."""
    return combine([cylinder((0, 0, -0.5), (0, 0, 0.5), 0.4, GREEN, sides=24, has_caps=False), disc(-0.5)])


def disc(height: float) -> Mesh:
    return cylinder((0, 0, height), (0, 0, height + 1e-3), 0.4, GREEN, sides=24)


def brick() -> Mesh:
    return combine([box((0, 0, 0), (1.0, 0.6, 0.4), BLUE), box((0.3, 0, 0.2), (0.2, 0.3, 0.1), RED)])


def write_mesh_folder(folder: Path) -> Path:
    """Write three meshes, one of them held out, with a manifest."""
    import trimesh

    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for name, mesh, split in (("ball", ball(), "train"), ("cup", cup(), "train"), ("brick", brick(), "val")):
        faces = np.arange(len(mesh.positions)).reshape(-1, 3)
        stored = trimesh.Trimesh(mesh.positions, faces, vertex_colors=mesh.colors[:, :3], process=False)
        stored.export(folder / f"{name}.glb")
        entries.append({"name": name, "file": f"{name}.glb", "class": "toy", "licence": "CC0 1.0", "split": split})
    (folder / "manifest.json").write_text(json.dumps(entries), encoding="utf-8")
    return folder


def write_pack(folder: Path, config: LrmConfig, split: str = "train", **changes: int) -> Path:
    """Render the three meshes into a pack; tests are skipped where there is no OpenGL."""
    with renderer_or_skip(8):
        pass
    settings = RenderSettings(**{"views": 4, "points": 3000, "changed": 0, "made": 1, **changes})
    meshes = write_mesh_folder(folder / "meshes")
    pack_meshes(read_mesh_folder(meshes, split), folder / "pack", config, settings)
    return folder / "pack"
