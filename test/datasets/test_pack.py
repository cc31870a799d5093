"""Packs give back what was put in, grow while they are read, and refuse what they cannot trust."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors.numpy import load, save

from lift3d_ros.datasets.pack import PackFacts, PackReader, create_pack, read_facts, write_pack
from lift3d_ros.datasets.prepared import PreparedSample
from lift3d_ros.errors import DatasetError
from lift3d_ros.images.preprocess import InputSpec

FACTS = PackFacts(64, 32, ("car", "pedestrian"), "a test", 3)
EXACT = ("image_from_base", "cell_depths", "centers", "sizes", "yaws", "velocities", "labels", "visibility")


def sample(index: int = 0, cameras: tuple[str, ...] = ("front", "back"), boxes: int = 3) -> PreparedSample:
    rng = np.random.default_rng(index)
    coarse = rng.integers(0, 256, (len(cameras), 4, 8, 3), dtype=np.uint8)
    images = np.stack([cv2.resize(picture, (64, 32), interpolation=cv2.INTER_CUBIC) for picture in coarse])
    depths = rng.uniform(2, 60, (len(cameras), 2, 4)).astype(np.float16)
    depths[:, 0, 0] = np.inf
    velocities = rng.normal(size=(boxes, 2)).astype(np.float32)
    velocities[:1] = np.nan
    return PreparedSample(
        scene="street / 1",
        index=index,
        stamp_ns=1_700_000_000_123_456_789 + index,
        has_pose=index != 1,
        T_world_base=np.eye(4) + 1e-13,
        linear_velocity=rng.normal(size=3),
        angular_velocity=np.full(3, np.nan),
        cameras=cameras,
        images=np.ascontiguousarray(images.transpose(0, 3, 1, 2)),
        image_from_base=rng.normal(size=(len(cameras), 4, 4)).astype(np.float32),
        cell_depths=depths,
        centers=rng.normal(size=(boxes, 3)).astype(np.float32),
        sizes=rng.uniform(1, 2, (boxes, 3)).astype(np.float32),
        yaws=rng.normal(size=boxes).astype(np.float32),
        velocities=velocities,
        labels=rng.integers(0, 2, boxes),
        visibility=np.full(boxes, 0.5, np.float32),
        num_points=rng.integers(-1, 9, boxes),
    )


SAMPLES = (sample(0), sample(1, ("front",), 0), sample(2, ("back", "left", "right"), 5))


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    create_pack(tmp_path / "pack", FACTS)
    return tmp_path / "pack"


@pytest.mark.parametrize("quality", [None, 90])
def test_samples_come_back_as_they_were(pack: Path, quality: int | None) -> None:
    write_pack(pack, "street / 1", SAMPLES, quality)
    reader = PackReader(pack, InputSpec(64, 32), FACTS.class_names)
    assert reader.facts == FACTS
    assert reader.scenes == ("street / 1",)
    for found, expected in zip(reader.load("street / 1"), SAMPLES, strict=True):
        for field in dataclasses.fields(PreparedSample):
            one, other = getattr(found, field.name), getattr(expected, field.name)
            if field.name != "images":
                np.testing.assert_array_equal(one, other, err_msg=field.name)
            if isinstance(other, np.ndarray):
                assert (one.dtype, one.shape) == (other.dtype, other.shape), field.name
        difference = np.abs(found.images.astype(int) - expected.images)
        assert difference.max() == 0 if quality is None else difference.mean() < 12


def test_a_pack_may_grow_while_it_is_read(pack: Path) -> None:
    reader = PackReader(pack)
    assert reader.scenes == ()
    write_pack(pack, "b", [dataclasses.replace(SAMPLES[0], scene="b")])
    (pack / ".c.safetensors.1.draft").write_bytes(b"half a file")
    assert reader.refresh() == ("b",)
    write_pack(pack, "a", [dataclasses.replace(SAMPLES[0], scene="a")])
    assert reader.refresh() == ("a",)
    assert reader.scenes == ("a", "b")


def test_the_same_samples_give_the_same_bytes(pack: Path) -> None:
    first = write_pack(pack, "street / 1", SAMPLES).read_bytes()
    assert write_pack(pack, "street / 1", SAMPLES).read_bytes() == first


def test_a_pack_for_another_network_is_refused(pack: Path) -> None:
    with pytest.raises(DatasetError, match=r"pack.json: field 'width' is 64; expected 704.*another folder"):
        PackReader(pack, InputSpec(704, 32))
    with pytest.raises(DatasetError, match=r"field 'class_names' is \('car', 'pedestrian'\); expected \('car',\)"):
        PackReader(pack, class_names=("car",))
    with pytest.raises(DatasetError, match=r"field 'seed' is 3; expected 4"):
        create_pack(pack, dataclasses.replace(FACTS, seed=4))
    with pytest.raises(DatasetError, match=r"field 'rig' is None; expected 'car.yaml 12ab'"):
        create_pack(pack, dataclasses.replace(FACTS, rig="car.yaml 12ab"))
    create_pack(pack, FACTS)


def test_a_pack_of_an_older_release_which_knew_no_rig_is_read(pack: Path) -> None:
    facts = json.loads((pack / "pack.json").read_text())
    del facts["rig"]
    (pack / "pack.json").write_text(json.dumps(facts))
    assert read_facts(pack) == FACTS


def test_scenes_made_with_changed_files_are_not_added(pack: Path) -> None:
    made = dataclasses.replace(FACTS, made_with="settings streets.yaml 12ab")
    with pytest.raises(DatasetError, match=r"made with no such file, and now settings streets.yaml 12ab would be used"):
        create_pack(pack, made)
    path = pack / "pack.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"made_with": made.made_with}))
    create_pack(pack, made)
    with pytest.raises(
        DatasetError, match=r"with settings streets.yaml 12ab, and now settings streets.yaml 34cd would"
    ):
        create_pack(pack, dataclasses.replace(FACTS, made_with="settings streets.yaml 34cd"))
    del facts["made_with"]  # as an older release wrote it
    path.write_text(json.dumps(facts))
    create_pack(pack, made)
    assert read_facts(pack) == FACTS


def test_scenes_of_another_simulator_are_not_added_and_those_there_are_still_read(pack: Path) -> None:
    write_pack(pack, "street / 1", SAMPLES)
    path = pack / "pack.json"
    facts = json.loads(path.read_text())
    del facts["scenes_version"], facts["made_with"]  # as an older release wrote it
    path.write_text(json.dumps(facts))
    simulated = dataclasses.replace(FACTS, made_with="settings streets.yaml 12ab", scenes_version=3)
    with pytest.raises(DatasetError, match=r"version unknown of the simulator, and now version 3 .* with --pack"):
        create_pack(pack, simulated)
    assert PackReader(pack).load("street / 1")
    path.write_text(json.dumps(facts | {"scenes_version": 2, "made_with": simulated.made_with}))
    with pytest.raises(DatasetError, match=r"of version 2 of the simulator, and now version 3 would be added"):
        create_pack(pack, simulated)
    path.write_text(json.dumps(facts | {"scenes_version": 3, "made_with": simulated.made_with}))
    create_pack(pack, simulated)


def test_what_is_no_pack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"pack.json: not found"):
        PackReader(tmp_path)
    (tmp_path / "pack.json").write_text("{")
    with pytest.raises(DatasetError, match=r"pack.json: not readable"):
        read_facts(tmp_path)
    (tmp_path / "pack.json").write_text('{"format": 99, "cell": 16}')
    with pytest.raises(DatasetError, match=r"format 99"):
        read_facts(tmp_path)


def test_samples_that_do_not_fit_are_not_written(pack: Path) -> None:
    small = dataclasses.replace(SAMPLES[0], images=SAMPLES[0].images[:, :, :16])
    with pytest.raises(DatasetError, match=r"pictures \(2, 3, 16, 64\).*\(2, 3, 32, 64\)"):
        write_pack(pack, "street / 1", [small])
    with pytest.raises(DatasetError, match=r"labels .* to 7; expected 0 to 1"):
        write_pack(pack, "street / 1", [dataclasses.replace(SAMPLES[0], labels=np.full(3, 7))])
    with pytest.raises(DatasetError, match=r"no samples"):
        write_pack(pack, "street / 1", [])
    with pytest.raises(DatasetError, match=r"quality 101"):
        write_pack(pack, "street / 1", SAMPLES, 101)
    with pytest.raises(DatasetError, match=r"scene '..': its name"):
        write_pack(pack, "..", SAMPLES)
    assert [path.name for path in pack.iterdir()] == ["pack.json"]


def test_files_from_before_velocities_were_kept_are_read(pack: Path) -> None:
    path = write_pack(pack, "street / 1", SAMPLES)
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    arrays = {name: array for name, array in load(content).items() if not name.endswith("r_velocity")}
    assert len(arrays) == len(load(content)) - 2
    path.write_bytes(save(arrays, metadata=header))
    found = PackReader(pack).load("street / 1")
    assert np.isnan([(sample.linear_velocity, sample.angular_velocity) for sample in found]).all()
    np.testing.assert_array_equal(found[0].centers, SAMPLES[0].centers)


def test_pictures_need_no_whole_number_of_cells(tmp_path: Path) -> None:
    create_pack(tmp_path, dataclasses.replace(FACTS, width=60, height=25))
    odd = dataclasses.replace(SAMPLES[0], images=np.ascontiguousarray(SAMPLES[0].images[..., :25, :60]))
    write_pack(tmp_path, "street / 1", [odd])
    (found,) = PackReader(tmp_path, InputSpec(60, 25)).load("street / 1")
    assert found.cell_depths.shape == (2, 2, 4)
    assert found.images.shape == (2, 3, 25, 60)


def rewritten(path: Path, **changes: Any) -> None:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    path.write_bytes(save({**load(content), **changes}, metadata=header))


@pytest.mark.parametrize(
    "changes",
    [
        {"num_boxes": np.array([3, 0, 99])},
        {"num_cameras": np.array([2**62, 2**62, 2])},
        {"num_cameras": np.array([1, 2, 3])},
        {"centers": np.full((8, 3), np.nan, np.float32)},
        {"labels": np.full(8, -1)},
        {"yaws": np.zeros((8, 1), np.float32)},
        {"webp_ends": np.arange(6)},
        {"webp_ends": np.array([2**60] * 6)},
        {"webp": np.zeros(50, np.uint8), "webp_ends": np.array([5, 10, 15, 20, 25, 50])},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_a_file_that_contradicts_itself_is_refused(pack: Path, changes: dict[str, Any]) -> None:
    path = write_pack(pack, "street / 1", SAMPLES)
    rewritten(path, **changes)
    with pytest.raises(DatasetError, match=r"street%20%2F%201.safetensors: "):
        PackReader(pack).load("street / 1")


def test_damaged_files_are_refused(pack: Path) -> None:
    path = write_pack(pack, "street / 1", SAMPLES)
    content = path.read_bytes()
    for damaged in (
        b"",
        content[:7],
        content[:-1],
        content[: len(content) // 2],
        b"\xff" * 8 + content[8:],
        b"PK" * 99,
    ):
        path.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"safetensors: not readable .*delete it and prepare"):
            PackReader(pack).load("street / 1")
    path.rename(path.with_name("other.safetensors"))
    (pack / "other.safetensors").write_bytes(content)
    with pytest.raises(DatasetError, match=r"holds scene 'street / 1'; expected 'other'"):
        PackReader(pack).load("other")
    with pytest.raises(DatasetError, match=r"not found"):
        PackReader(pack).load("street / 1")
