"""Single clouds are read from what sensors and tools write; damaged files are named."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lift3d_ros.datasets.cloud_files import read_cloud_file
from lift3d_ros.datasets.lzf import decompress_lzf
from lift3d_ros.errors import CloudError, DatasetError

POINTS = np.array([[1.5, -2.25, 3.0], [0.125, 5.0, -6.5], [7.0, 8.0, np.nan], [-1.0, 0.0, 9.75]], np.float32)
CLOUD_PCD = """\
# .PCD v0.7
VERSION 0.7
FIELDS rgb x _ y z
SIZE 4 {size} 1 {size} {size}
TYPE U F U F F
COUNT 1 1 3 1 1
WIDTH 2
HEIGHT 2
VIEWPOINT 0 0 0 1 0 0 0
POINTS 4
DATA {data}
"""


def read(path: Path) -> NDArray[Any]:
    (cloud,) = read_cloud_file(path)
    assert cloud.points.dtype == np.float32
    return cloud.points


def pcd_body(kind: str) -> NDArray[Any]:
    fields = [("rgb", "<u4"), ("x", kind), ("_", "u1", (3,)), ("y", kind), ("z", kind)]
    body = np.zeros(4, np.dtype(fields))
    for axis, name in enumerate("xyz"):
        body[name] = POINTS[:, axis]
    return body


def as_literals(data: bytes) -> bytes:
    """Pack bytes as LZF does that finds nothing to copy."""
    runs = [data[start : start + 32] for start in range(0, len(data), 32)]
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


@pytest.mark.parametrize("size", [4, 8])
def test_pcd_files_of_every_kind_give_the_same_points(tmp_path: Path, size: int) -> None:
    body = pcd_body(f"<f{size}")
    text = "\n".join(f"7 {row[0]} 0 0 0 {row[1]} {row[2]}" for row in POINTS)
    (tmp_path / "a.pcd").write_text(CLOUD_PCD.format(size=size, data="ascii") + text + "\n")
    (tmp_path / "b.pcd").write_bytes(CLOUD_PCD.format(size=size, data="binary").encode() + body.tobytes())
    columns = b"".join(body[name].tobytes() for name in body.dtype.names or ())
    packed = as_literals(columns)
    sizes = struct.pack("<II", len(packed), len(columns))
    header = CLOUD_PCD.format(size=size, data="binary_compressed").encode()
    (tmp_path / "c.pcd").write_bytes(header + sizes + packed)
    for name in "abc":
        np.testing.assert_array_equal(read(tmp_path / f"{name}.pcd"), POINTS)


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_files_of_every_kind_give_the_same_points(tmp_path: Path, form: str) -> None:
    header = (
        f"ply\nformat {form} 1.0\ncomment made by a test\nelement vertex 4\nproperty double x\nproperty uchar red\n"
        "property float y\nproperty float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
    )
    order = ">" if form.endswith("big_endian") else "<"
    body = np.zeros(4, [("x", f"{order}f8"), ("red", "u1"), ("y", f"{order}f4"), ("z", f"{order}f4")])
    for axis, name in enumerate("xyz"):
        body[name] = POINTS[:, axis]
    data = body.tobytes() + b"\x03" + bytes(12)
    if form == "ascii":
        data = "".join(f"{row[0]} 255 {row[1]} {row[2]}\n" for row in POINTS).encode() + b"3 0 1 2\n"
    (tmp_path / "cloud.ply").write_bytes(header.encode() + data)
    np.testing.assert_array_equal(read(tmp_path / "cloud.ply"), POINTS)


def test_arrays_are_read_as_clouds_or_as_sets_of_them(tmp_path: Path) -> None:
    organised = POINTS.reshape(2, 2, 3)
    np.savez(tmp_path / "flat.npz", points=POINTS)
    np.savez(tmp_path / "organised.npz", points=organised, rgb=np.zeros((2, 2, 3), np.uint8))
    np.savez(tmp_path / "xyz.npz", xyz=POINTS, intensity=np.zeros(4))
    np.savez(tmp_path / "set.npz", points=organised.astype(np.float16), labels=[0, 1])
    np.save(tmp_path / "plain.npy", np.concatenate([POINTS, POINTS], axis=1))
    for name in ("flat.npz", "organised.npz", "xyz.npz", "plain.npy"):
        np.testing.assert_array_equal(read(tmp_path / name), POINTS)
    clouds = read_cloud_file(tmp_path / "set.npz")
    assert [cloud.name for cloud in clouds] == ["set_0", "set_1"]
    np.testing.assert_array_equal(clouds[1].points, POINTS[2:])


def test_scans_of_kitti_and_nuscenes_are_told_apart_by_their_ending(tmp_path: Path) -> None:
    np.concatenate([POINTS, np.ones((4, 1))], axis=1).astype("<f4").tofile(tmp_path / "000008.bin")
    np.concatenate([POINTS, np.ones((4, 2))], axis=1).astype("<f4").tofile(tmp_path / "sweep.pcd.bin")
    for name in ("000008.bin", "sweep.pcd.bin"):
        np.testing.assert_array_equal(read(tmp_path / name), POINTS)


PLY = b"ply\nformat binary_little_endian 1.0\nelement vertex 9\nproperty float x\nproperty float y\n"
BAD = {
    "missing.pcd": (None, "cannot be read (No such file"),
    "cloud.las": (b"", "the ending '.las' is not known"),
    "text.pcd": (b"no header\n" * 3, "its header has no DATA line"),
    "cut.pcd": (CLOUD_PCD.format(size=4, data="binary").encode() + bytes(9), "has 9 bytes of data; expected 76"),
    "words.pcd": (CLOUD_PCD.format(size=4, data="ascii").encode() + b"1 2 3 4 5 x 7\n" * 4, "a value is no number"),
    "few.pcd": (CLOUD_PCD.format(size=4, data="ascii").encode() + b"1 2 3 4 5 6 7\n", "holds 7 values; expected 28"),
    "packed.pcd": (
        CLOUD_PCD.format(size=4, data="binary_compressed").encode() + struct.pack("<II", 4, 76) + b"\x20\x00ab",
        "compressed data are damaged (a reference points before the beginning)",
    ),
    "size.pcd": (
        CLOUD_PCD.format(size=4, data="binary_compressed").encode() + struct.pack("<II", 4, 10**9) + b"abcd",
        "compressed data do not unpack to the 76 bytes of 4 points",
    ),
    "kind.pcd": (CLOUD_PCD.format(size=5, data="binary").encode(), "the PCD header cannot be read"),
    "form.pcd": (CLOUD_PCD.format(size=4, data="zip").encode(), "DATA is 'zip'; expected ascii, binary or"),
    "flat.pcd": (CLOUD_PCD.format(size=4, data="binary").replace(" z", " w").encode(), "has no field 'z' but rgb, x"),
    "text.ply": (b"plain text", "no PLY file"),
    "flat.ply": (PLY + b"end_header\n", "has no field 'z' but x, y; expected x, y and z"),
    "cut.ply": (PLY + b"property float z\nend_header\n" + bytes(24), "has 24 bytes of data; expected 108 for 9 points"),
    "faces.ply": (PLY.replace(b"vertex", b"face") + b"end_header\n", "its first element is 'face'"),
    "odd.bin": (bytes(20), "5 float32 values; expected four for each point"),
    "text.npz": (b"nothing", "cannot be read as .npz"),
    "text.npy": (b"nothing", "cannot be read as .npy"),
    "form.ply": (PLY.replace(b"binary_little_endian", b"zip") + b"end_header\n", "its format is 'zip')"),
    "none.ply": (PLY.replace(b"format binary_little_endian 1.0\n", b"") + b"end_header\n", "it names no format"),
    "kind.ply": (PLY + b"property half z\nend_header\n", "'z' is of the unknown type 'half'"),
}


@pytest.mark.parametrize("name", BAD)
def test_files_that_are_no_clouds_are_named(tmp_path: Path, name: str) -> None:
    content, words = BAD[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CloudError) as caught:
        read_cloud_file(tmp_path / name)
    assert words in str(caught.value)
    assert name in str(caught.value)


def test_arrays_that_are_no_clouds_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", cloud=POINTS)
    np.savez(tmp_path / "b.npz", points=POINTS[:, :2])
    np.save(tmp_path / "c.npy", np.array([["a", "b", "c"]]))
    for name, words in (("a.npz", "has no array 'points' but cloud"), ("b.npz", "(4, 2)"), ("c.npy", "<U1 of shape")):
        with pytest.raises(CloudError) as caught:
            read_cloud_file(tmp_path / name)
        assert words in str(caught.value)
    # Files under the ending of the other kind, and a header that asks for more memory than there is.
    np.save(tmp_path / "single.npy", POINTS)
    (tmp_path / "single.npy").rename(tmp_path / "d.npz")
    (tmp_path / "b.npz").rename(tmp_path / "e.npy")
    with (tmp_path / "f.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**15, 3)})
    for name, words in (
        ("d.npz", "it holds a single array without a name; rename it to .npy"),
        ("e.npy", "it holds the arrays points; rename it to .npz"),
        ("f.npy", "f.npy: cannot be read as .npy"),
    ):
        with pytest.raises(CloudError) as caught:
            read_cloud_file(tmp_path / name)
        assert words in str(caught.value)
    (tmp_path / "odd.pcd.bin").write_bytes(bytes(16))
    with pytest.raises(DatasetError, match="expected five for each point"):
        read_cloud_file(tmp_path / "odd.pcd.bin")


def test_copies_in_compressed_data_may_overlap_what_they_write() -> None:
    assert decompress_lzf(bytes([1]) + b"ab" + bytes([(4 << 5) | 0, 1]), 8) == b"abababab"
    assert decompress_lzf(bytes([0]) + b"x" + bytes([(7 << 5) | 0, 3, 0]), 13) == b"x" * 13
    for data, words in ((bytes([5]) + b"abc", "within a run"), (bytes([0, 1]), "hold 1 bytes; expected 8")):
        with pytest.raises(ValueError, match=words):
            decompress_lzf(data, 8)
    with pytest.raises(ValueError, match="more than 2 bytes"):
        decompress_lzf(bytes([3]) + b"abcd", 2)


def test_published_files_hold_the_points_that_others_read_in_them(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "pointclouds" / "scans"
    for name, expected in json.loads((folder / "expected.json").read_text()).items():
        points = read(folder / name)
        assert len(points) == expected["points"]
        np.testing.assert_allclose(points.min(axis=0), expected["min"], atol=1e-4)
        np.testing.assert_allclose(points.max(axis=0), expected["max"], atol=1e-4)
        np.testing.assert_allclose(points.mean(axis=0, dtype=np.float64), expected["mean"], atol=1e-4)
        np.testing.assert_allclose(points[0], expected["first"], atol=1e-4)
    assert np.isnan(read(folder / "rgbd_people_organized.npz")).any()
