"""A folder of meshes gives what its manifest says, or an error that names file and field."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("trimesh")

from object_folders import brick, write_mesh_folder

from lift3d_ros.datasets.object_meshes import changed_mesh, read_mesh_folder
from lift3d_ros.datasets.object_shapes import made_object
from lift3d_ros.errors import DatasetError


def test_the_held_out_split_is_taken_where_there_is_one(tmp_path: Path) -> None:
    folder = write_mesh_folder(tmp_path)
    assert [entry.name for entry in read_mesh_folder(folder)] == ["brick"]
    assert [entry.name for entry in read_mesh_folder(folder, "train")] == ["ball", "cup"]
    assert len(read_mesh_folder(folder, "all")) == 3


def test_a_plain_list_of_files_is_enough(tmp_path: Path) -> None:
    folder = write_mesh_folder(tmp_path)
    (folder / "manifest.json").write_text('[{"name": "x", "file": "ball.glb"}]', encoding="utf-8")
    (entry,) = read_mesh_folder(folder)
    assert (entry.class_name, entry.licence, entry.split) == ("object", "unknown", "")


def test_a_mesh_is_brought_to_size_one_around_the_origin(tmp_path: Path) -> None:
    folder = write_mesh_folder(tmp_path)
    lower, upper = read_mesh_folder(folder, "val")[0].load().bounds
    np.testing.assert_allclose(upper - lower, (1.0, 0.6, 0.45), atol=1e-5)
    np.testing.assert_allclose(upper + lower, 0.0, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "expected a list of meshes"),
        ("{", "not readable as JSON"),
        ('[{"name": "x"}]', "entry 0: field 'file' is None"),
        ('[{"name": "x", "file": "../x.glb"}]', "lies outside the folder"),
        ('[{"name": "x", "file": "x.glb", "split": 3}]', "field 'split' is 3"),
        ('[{"name": "x", "file": "a.glb"}, {"name": "x", "file": "b.glb"}]', "same name"),
    ],
)
def test_a_wrong_manifest_names_file_and_field(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        read_mesh_folder(tmp_path)


def test_a_file_in_place_of_the_folder_is_no_folder_of_meshes(tmp_path: Path) -> None:
    (tmp_path / "mesh.glb").write_bytes(b"glTF")
    with pytest.raises(DatasetError, match=r"mesh\.glb/manifest\.json: not found; expected a folder of meshes"):
        read_mesh_folder(tmp_path / "mesh.glb")


def test_a_split_without_meshes_names_those_there_are(tmp_path: Path) -> None:
    folder = write_mesh_folder(tmp_path)
    with pytest.raises(DatasetError, match="split 'test'; expected one of train, val, all"):
        read_mesh_folder(folder, "test")


def test_a_missing_file_is_named_when_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps([{"name": "x", "file": "gone.glb"}]), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"gone\.glb: mesh 'x' of the manifest does not exist"):
        read_mesh_folder(tmp_path)[0].load()


def test_a_changed_mesh_differs_in_shape_and_colour_and_keeps_its_size() -> None:
    mesh = brick()
    changed = changed_mesh(mesh, np.random.default_rng(3))
    assert np.ptp(changed.positions, axis=0).max() == pytest.approx(1.0)
    assert not np.allclose(np.ptp(changed.positions, axis=0), np.ptp(mesh.positions, axis=0), atol=0.02)
    assert not np.array_equal(changed.colors[:, :3], mesh.colors[:, :3])


def test_made_objects_are_repeatable_and_of_size_one() -> None:
    for seed in range(40):
        mesh, again = made_object(np.random.default_rng(seed)), made_object(np.random.default_rng(seed))
        assert np.array_equal(mesh.positions, again.positions)
        assert np.isfinite(mesh.positions).all()
        assert np.isfinite(mesh.normals).all()
        assert np.ptp(mesh.positions, axis=0).max() == pytest.approx(1.0, abs=1e-5)
