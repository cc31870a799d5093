"""Arrays are read as they were written, and damage is one clause, whatever numpy and zipfile say to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lift3d_ros.array_files import read_archive, read_array

VALUES = np.random.default_rng(0).normal(size=(400, 3))


def test_what_was_asked_for_is_read_and_all_names_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", points=VALUES, labels=np.arange(3))
    arrays, names = read_archive(tmp_path / "a.npz", "points", "colors")
    assert (set(arrays), names) == ({"points"}, ("points", "labels"))
    np.testing.assert_array_equal(arrays["points"], VALUES)
    np.save(tmp_path / "a.npy", VALUES)
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), VALUES)


def test_damage_anywhere_in_a_file_is_an_error_of_its_value(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    np.savez_compressed(tmp_path / "a.npz", points=VALUES)
    np.savez(tmp_path / "b.npz", points=VALUES[:20])
    np.save(tmp_path / "c.npy", VALUES[:20])
    refused: list[str] = []
    for name in ("a.npz", "b.npz", "c.npy"):
        whole = (tmp_path / name).read_bytes()
        for _ in range(150):
            content = bytearray(whole[: int(rng.integers(len(whole)))] if rng.random() < 0.3 else whole)
            for place in rng.integers(0, max(min(len(content), 300), 1), 4):
                if content:
                    content[place % len(content)] = int(rng.integers(256))
            (tmp_path / name).write_bytes(content)
            try:
                read_array(tmp_path / name) if name == "c.npy" else read_archive(tmp_path / name, "points")
            except ValueError as error:
                refused.append(str(error))
    assert len(refused) > 300
    assert all(refused)
    assert not any("\n" in reason for reason in refused)


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_archive(tmp_path / "none.npz", "points")
    with pytest.raises(FileNotFoundError):
        read_array(tmp_path / "none.npy")
