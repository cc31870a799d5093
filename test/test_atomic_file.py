"""Files are replaced whole, with a folder that is made, readable for other users."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lift3d_ros.atomic_file import write_atomically


def test_a_file_and_its_folder_are_made_for_everybody_to_read(tmp_path: Path) -> None:
    path = tmp_path / "a folder" / "mesh.glb"
    write_atomically(path, memoryview(b"a mesh"))
    assert path.read_bytes() == b"a mesh"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_file_whose_writing_is_stopped_stays_as_it_was(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mesh.glb"
    path.write_bytes(b"an older mesh")

    def stopped(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", stopped)
    with pytest.raises(error):
        write_atomically(path, b"a newer mesh")
    assert path.read_bytes() == b"an older mesh"
    assert list(tmp_path.iterdir()) == [path]
