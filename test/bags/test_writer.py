"""A recording appears whole or not at all, and replaces nothing that it should not."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.bags.messages import camera_model_from_msg
from lift3d_ros.bags.reader import open_bag
from lift3d_ros.bags.writer import BagWriter
from lift3d_ros.errors import BagError, DatasetError
from lift3d_ros.types import CameraModel, DistortionModel

WriteBag = Callable[..., Path]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_nothing_is_left_after_an_error(tmp_path: Path, storage: str) -> None:
    def fail() -> None:
        with BagWriter(tmp_path / "bag", storage=storage) as writer:
            writer.transforms({("a", "b"): np.eye(4)}, 1, 1)
            raise DatasetError("picture 7 is missing")

    with pytest.raises(DatasetError, match="picture 7"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_older_recording_stays_whole_when_its_replacement_fails(write_bag: WriteBag) -> None:
    path = write_bag()

    def fail() -> None:
        with BagWriter(path, overwrite=True):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    with open_bag(path) as reader:
        assert reader.message_count == 10
    assert [item.name for item in path.parent.iterdir()] == ["bag"]


def test_a_recording_is_not_visible_before_it_is_complete(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "deep" / "bag") as writer:
        writer.transforms({("a", "b"): np.eye(4)}, 1, 1)
        assert not (tmp_path / "deep" / "bag").exists()
    assert sorted(item.name for item in (tmp_path / "deep" / "bag").iterdir()) == ["bag.mcap", "metadata.yaml"]


def test_existing_recordings_are_replaced_only_on_demand(write_bag: WriteBag) -> None:
    path = write_bag()
    with pytest.raises(BagError, match=r"bag: exists already; give another --out, or --overwrite"):
        BagWriter(path)
    with BagWriter(path, storage="sqlite3", overwrite=True) as writer:
        writer.transforms({("a", "b"): np.eye(4)}, 1, 1)
    assert sorted(item.name for item in path.iterdir()) == ["bag.db3", "metadata.yaml"]


def test_folders_and_files_that_are_no_recordings_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    for path in (tmp_path / "home", tmp_path / "home" / "thesis.tex"):
        with pytest.raises(BagError, match="is not a rosbag2 folder, so it is not replaced"):
            BagWriter(path, overwrite=True)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "x"


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BagError, match=r"bag: cannot be written .* check permissions and free space"):
        BagWriter(tmp_path / "file" / "bag").__enter__()


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        with BagWriter(tmp_path / "bag") as writer:

            def full(*_: object) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            monkeypatch.setattr(writer._writer, "write", full)
            writer.transforms({("a", "b"): np.eye(4)}, 1, 1)

    with pytest.raises(BagError, match=r"bag: cannot be written \(.*No space left on device\)"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_storage_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"storage 'sqlite' is not known; did you mean 'sqlite3'"):
        BagWriter(tmp_path / "bag", storage="sqlite")


@pytest.mark.parametrize(
    ("kind", "coefficients"),
    [
        ("none", []),
        ("plumb_bob", [0.1, -0.2, 0.01, 0.02, 0.3]),
        ("rational_polynomial", [0.1, 0.2, 0.0, 0.0, 0.3, 0.4, 0.5, 0.6]),
        ("equidistant", [0.1, 0.0, 0.0, 0.01]),
    ],
)
def test_calibration_of_every_kind_survives(
    write_bag: WriteBag, kind: DistortionModel, coefficients: list[float]
) -> None:
    K = np.array([[30.5, 0.0, 15.1], [0.0, 31.5, 11.2], [0.0, 0.0, 1.0]])
    model = CameraModel("wide", "wide_optical", 64, 48, K, kind, np.array(coefficients))
    path = write_bag(extra=lambda writer: writer.camera_info("/wide/camera_info", model, 5, 5))
    with open_bag(path) as reader:
        again = camera_model_from_msg(
            reader.first_messages(["/wide/camera_info"])["/wide/camera_info"].message, "wide", ""
        )
    assert again.intrinsics.tolist() == K.tolist()
    assert (again.distortion_model, again.distortion.tolist()) == (kind, coefficients)
    assert (again.frame_id, again.width, again.height) == ("wide_optical", 64, 48)
