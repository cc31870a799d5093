"""Whether a file can be written, asked before minutes are spent on what it is to hold."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile

from lift3d_ros.errors import ConfigError


def check_out_file(option: str, path: Path) -> None:
    """Refuse a file that could not be written; its folder is made.

    Args:
        option: that named the file, for the error.

    Raises:
        ConfigError: it is a folder, or its folder cannot be made or written to.
    """
    reason = "is a folder" if path.is_dir() else ""
    try:
        if not reason:
            path.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=path.parent):
                pass
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise ConfigError(
            f"{option} {path}: cannot be written ({reason}); check permissions and free space, or give another file"
        )
