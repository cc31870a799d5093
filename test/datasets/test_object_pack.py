"""A pack gives back what was written, and says what is wrong with a damaged one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.datasets.object_pack import ObjectPack, PackSizes, write_object_pack
from lift3d_ros.datasets.object_views import ObjectPoints, ObjectViews
from lift3d_ros.errors import DatasetError

SIZES = PackSizes(side=8, views=2, points=5, focal=1.25, fill=0.85)


def _views(seed: int) -> ObjectViews:
    rng = np.random.default_rng(seed)
    points = ObjectPoints(
        rng.normal(size=(5, 3)).astype(np.float16).astype(np.float32),
        rng.uniform(size=5) > 0.5,
        rng.integers(0, 256, (5, 3), dtype=np.uint8),
        rng.uniform(size=5) > 0.5,
    )
    return ObjectViews(
        rng.integers(0, 256, (2, 8, 8, 4), dtype=np.uint8),
        rng.normal(size=(2, 4, 4)),
        rng.normal(size=(2, 3, 3)),
        rng.uniform(1, 2, 2),
        rng.uniform(1, 2, (2, 8, 8)).astype(np.float16).astype(np.float32),
        points,
    )


def _write(folder: Path) -> list[ObjectViews]:
    objects = [_views(0), _views(1)]
    write_object_pack(folder, iter([("first", objects[0]), ("second", objects[1])]), 2, SIZES, "a test")
    return objects


def test_objects_come_back_as_they_were_written(tmp_path: Path) -> None:
    objects = _write(tmp_path / "pack")
    pack = ObjectPack(tmp_path / "pack")
    assert pack.names == ("first", "second")
    assert pack.sizes == SIZES
    for number, expected in enumerate(objects):
        found = pack[number]
        assert found.points is not None
        assert expected.points is not None
        for name in ("rgba", "T_object_cameras", "intrinsics", "distances", "depths"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        for field in dataclasses.fields(ObjectPoints):
            np.testing.assert_array_equal(getattr(found.points, field.name), getattr(expected.points, field.name))


def test_pictures_alone_make_a_pack_without_points(tmp_path: Path) -> None:
    views = dataclasses.replace(_views(0), depths=None, points=None)
    write_object_pack(tmp_path / "pack", iter([("one", views)]), 1, dataclasses.replace(SIZES, points=0), "a test")
    pack = ObjectPack(tmp_path / "pack")
    assert not pack.has_points
    assert pack[0].points is None


def test_a_pack_is_not_written_over(tmp_path: Path) -> None:
    _write(tmp_path / "pack")
    with pytest.raises(DatasetError, match="holds a pack already"):
        _write(tmp_path / "pack")


def test_an_unfinished_or_damaged_pack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"pack\.json: not found; make a pack with 'lift3d train lrm"):
        ObjectPack(tmp_path)
    _write(tmp_path / "pack")
    facts = json.loads((tmp_path / "pack" / "pack.json").read_text())
    (tmp_path / "pack" / "pack.json").write_text(json.dumps({**facts, "views": 3}))
    with pytest.raises(DatasetError, match=r"rgba\.npy: uint8 of shape .*; expected uint8 of shape \(2, 3, 8, 8, 4\)"):
        ObjectPack(tmp_path / "pack")
    (tmp_path / "pack" / "pack.json").write_text(json.dumps(facts))
    whole = (tmp_path / "pack" / "rgba.npy").read_bytes()
    for damaged in (b"", whole[:-5]):
        (tmp_path / "pack" / "rgba.npy").write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"rgba\.npy: cannot be read .*; pack again"):
            ObjectPack(tmp_path / "pack")
    (tmp_path / "pack" / "pack.json").write_text('{"format": "other"}')
    with pytest.raises(DatasetError, match="is not the description of a pack"):
        ObjectPack(tmp_path / "pack")
