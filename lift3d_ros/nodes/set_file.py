"""The file to which a node writes every frame set, for 'lift3d replay --sets'."""

from __future__ import annotations

from pathlib import Path

from lift3d_ros.errors import ConfigError
from lift3d_ros.replay.sets import frame_set_to_json
from lift3d_ros.types import FrameSet


class SetFile:
    """Appends to a file; what is in it already stays."""

    def __init__(self, path: Path) -> None:
        """Make the file where there is none; raises ConfigError where it cannot be written."""
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("a").close()
        except OSError as error:
            raise self._refusal(error) from None

    def add(self, frame_set: FrameSet) -> None:
        """Append a set; raises ConfigError where that fails, for example on a full disk."""
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(frame_set_to_json(frame_set) + "\n")
        except OSError as error:
            raise self._refusal(error) from None

    def _refusal(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"parameter 'record_sets': {self._path} cannot be written ({error.strerror}); check permissions and free "
            "space, or name another file"
        )
