"""A folder of meshes is read by class, split and licence; errors name file and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")

from lift3d_ros.errors import DatasetError  # noqa: E402
from lift3d_ros.simulation.mesh_library import MeshLibrary  # noqa: E402
from lift3d_ros.simulation.meshes import Material  # noqa: E402
from lift3d_ros.simulation.supply import Supply  # noqa: E402


def entry(name: str, **changes: Any) -> dict[str, Any]:
    fields = {"name": name, "file": f"{name}.glb", "class": "car", "licence": "CC0 1.0", "split": "train"}
    return {**fields, **changes}


def write_folder(folder: Path, entries: list[dict[str, Any]]) -> Path:
    for fields in entries:
        box = trimesh.creation.box(extents=(4.0, 2.0, 1.5))
        box.apply_translation((0.0, 0.0, 0.75))
        box.visual = trimesh.visual.ColorVisuals(box, vertex_colors=np.tile([200, 30, 30, 255], (8, 1)))
        box.export(folder / fields["file"])
    (folder / "manifest.json").write_text(json.dumps(entries), encoding="utf-8")
    return folder


def test_meshes_keep_their_axes_size_and_colour(tmp_path: Path) -> None:
    library = MeshLibrary(write_folder(tmp_path, [entry("a")]))
    mesh = library.of_class("car")[0].flat
    np.testing.assert_allclose(mesh.bounds[0], [-2.0, -1.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(mesh.bounds[1], [2.0, 1.0, 1.5], atol=1e-5)
    assert mesh.colors[0].tolist() == [200, 30, 30, Material.PAINT]
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1.0, atol=1e-5)


def test_a_texture_is_kept(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.zeros((256, 256, 3), np.uint8)
    pixels[:128] = (250, 0, 0)
    box = trimesh.creation.box(extents=(4.0, 2.0, 1.5))
    uv = np.tile([[0.5, 0.9]], (8, 1))
    box.visual = trimesh.visual.TextureVisuals(
        uv=uv, material=trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(pixels))
    )
    box.export(tmp_path / "a.glb")
    (tmp_path / "manifest.json").write_text(json.dumps([entry("a")]), encoding="utf-8")
    mesh = MeshLibrary(tmp_path).of_class("car")[0].flat
    assert mesh.texture is not None
    assert mesh.uvs is not None
    u, v = mesh.uvs[0]
    row, column = int((1 - v) * 256), int(u * 256)
    np.testing.assert_allclose(mesh.texture[row, column], [250, 0, 0], atol=12)


@pytest.mark.parametrize("has_uv", [True, False])
def test_a_mesh_of_one_colour_without_texture_is_read(tmp_path: Path, has_uv: bool) -> None:
    box = trimesh.creation.box(extents=(4.0, 2.0, 1.5))
    material = trimesh.visual.material.PBRMaterial(baseColorFactor=[200, 30, 30, 255])
    box.visual = trimesh.visual.TextureVisuals(uv=np.zeros((8, 2)) if has_uv else None, material=material)
    box.export(tmp_path / "a.glb")
    (tmp_path / "manifest.json").write_text(json.dumps([entry("a")]), encoding="utf-8")
    mesh = MeshLibrary(tmp_path).of_class("car")[0].smooth
    assert mesh.colors[0].tolist() == [200, 30, 30, Material.PAINT]
    assert mesh.texture is None


@pytest.mark.parametrize(("scale", "found"), [(1000.0, "4000"), (0.001, "0.004")], ids=["millimetres", "kilometres"])
def test_a_mesh_in_another_unit_is_refused(tmp_path: Path, scale: float, found: str) -> None:
    write_folder(tmp_path, [entry("a")])
    trimesh.creation.box(extents=np.array([4.0, 2.0, 1.5]) * scale).export(tmp_path / "a.glb")
    with pytest.raises(DatasetError, match=rf"a\.glb: mesh 'a' is {found} long; expected 0\.05 to 100.*metres"):
        _ = MeshLibrary(tmp_path).of_class("car")[0].flat


def test_a_mesh_without_area_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, [entry("a")])
    trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]], process=False).export(tmp_path / "a.glb")
    with pytest.raises(DatasetError, match=r"a\.glb: all 1 triangles are without area"):
        _ = MeshLibrary(tmp_path).of_class("car")[0].flat


def test_split_and_licence_decide_what_is_used(tmp_path: Path) -> None:
    entries = [
        entry("a"), entry("b", split="val"), entry("c", licence="CC0 1.0 (inferred)"), entry("d", **{"class": "tree"}),
    ]  # fmt: skip
    write_folder(tmp_path, entries)
    assert [mesh.name for mesh in MeshLibrary(tmp_path, "train").of_class("car")] == ["a"]
    assert [mesh.name for mesh in MeshLibrary(tmp_path, "val").of_class("car")] == ["b"]
    assert len(MeshLibrary(tmp_path, "any")) == 3
    assert len(MeshLibrary(tmp_path, "any", left_out_licences=())) == 4


def test_half_of_the_road_users_come_from_the_library(tmp_path: Path) -> None:
    supply = Supply(MeshLibrary(write_folder(tmp_path, [entry("a")])), 0.5)
    rng = np.random.default_rng(0)
    users = [supply.make("car", rng).user for _ in range(100)]
    from_library = [user for user in users if len(user.meshes[0].positions) == 36]
    assert 30 < len(from_library) < 70
    lengths = [user.size[0] for user in from_library]
    assert 3.6 < min(lengths) < max(lengths) < 4.4
    for user in from_library[:5]:
        lower, upper = user.meshes[0].bounds
        np.testing.assert_allclose(upper - lower, user.size, rtol=1e-5)
    assert len({tuple(user.meshes[0].colors[0]) for user in from_library}) > 10
    assert all(len(supply.make("bus", rng).user.meshes[0].positions) > 36 for _ in range(5))  # none in the folder


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"manifest\.json: not found; expected a folder of meshes"):
        MeshLibrary(tmp_path)


def test_an_empty_split_says_what_was_left_out(tmp_path: Path) -> None:
    write_folder(tmp_path, [entry("a")])
    with pytest.raises(DatasetError, match="no mesh of split 'val' is left"):
        MeshLibrary(tmp_path, "val")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class": "cra"}, "entry 0: class 'cra' is not known; did you mean 'car'"),
        ({"split": "test"}, "entry 0: field 'split' is 'test'; expected train or val"),
        ({"licence": None}, "entry 0: field 'licence' is None; expected text"),
        ({"file": "../outside.glb"}, "lies outside the folder"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps([entry("a", **changes)]), encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        MeshLibrary(tmp_path)


def test_a_missing_file_is_named_before_anything_is_rendered(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps([entry("a"), entry("b", split="val")]), encoding="utf-8")
    (tmp_path / "b.glb").write_bytes(b"glTF no mesh")
    with pytest.raises(DatasetError, match=r"a\.glb: mesh 'a' of the manifest does not exist"):
        MeshLibrary(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps([entry("b")]), encoding="utf-8")
    (tmp_path / "b.glb").write_bytes(b"glTF no mesh")
    with pytest.raises(DatasetError, match=r"b\.glb: not a mesh that can be read"):
        _ = MeshLibrary(tmp_path).of_class("car")[0].flat


def test_the_shared_meshes_load(shared_dir: Path) -> None:
    library = MeshLibrary(shared_dir / "data" / "meshes" / "driving", "val")
    assert len(library) > 20
    for class_name in ("car", "truck", "bus", "pedestrian", "barrier"):
        mesh = library.of_class(class_name)[0]
        assert abs(mesh.flat.bounds[0][2]) < 0.05
        assert mesh.smooth.positions.shape == mesh.flat.positions.shape
