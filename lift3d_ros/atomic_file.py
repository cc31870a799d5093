"""Writes a file whole or not at all, also when the work is interrupted or the machine is switched off."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import NamedTemporaryFile


def write_atomically(path: Path, data: bytes | bytearray | memoryview) -> None:
    """Replace a file, whose folder is made; until the new one is whole, an older one stays.

    Raises:
        OSError: as of the system.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        draft = Path(file.name)
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            draft.chmod(0o644)  # temporary files are private; another user may read what a node wrote
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
