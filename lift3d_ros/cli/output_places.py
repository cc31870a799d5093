"""Refuses places for results that cannot be written, before a command works for minutes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lift3d_ros.errors import ConfigError


def check_file_place(option: str, path: Path) -> None:
    """Refuse a file that could not be written; nothing is created.

    Raises:
        ConfigError: it is a folder, or cannot be made where it shall be; names the option.
    """
    if path.is_dir():
        raise ConfigError(f"{option} {path}: is a folder; give the name of a file, in it or elsewhere")
    _check_folder(option, path, path.parent)


def check_folder_place(option: str, path: Path) -> None:
    """Refuse a folder that could not be written to; nothing is created.

    Raises:
        ConfigError: it is a file, or cannot be made where it shall be; names the option.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{option} {path}: is a file; give a folder")
    _check_folder(option, path, path)


def _check_folder(option: str, path: Path, folder: Path) -> None:
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise ConfigError(f"{option} {path}: {existing} is a file and not a folder; choose another place")
    try:
        # Permissions alone do not tell: a disk may be full or read-only.
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(
            f"{option} {path}: {existing} cannot be written to ({reason}); choose another place, or change its "
            "permissions"
        ) from None
