"""Finds files that lie outside the Python tree: weights, configuration, launch files, message definitions.

The same call works from a colcon install, a wheel and an editable install.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from lift3d_ros.errors import Lift3dError

_PACKAGE = "lift3d_ros"


def find_resource(relative: str) -> Path:
    """Return the path of an installed file, for example ``config/bev_detection.yaml``.

    Searched in this order: the folder named by LIFT3D_MODELS_DIR (for ``models/...`` only), the ament share
    folders, ``share`` beside the Python installation, the source tree.

    Raises:
        Lift3dError: the file is in none of them; names all places searched.
    """
    candidates = list(_candidates(relative))
    for path in candidates:
        if path.exists():
            return path
    places = ", ".join(str(path) for path in candidates)
    raise Lift3dError(f"'{relative}' was not found; searched {places}. Install the package again")


def cache_dir() -> Path:
    """Return the folder for files that can be made again: LIFT3D_CACHE_DIR, else the user's cache folder."""
    if override := os.environ.get("LIFT3D_CACHE_DIR"):
        return Path(override)
    # Here, because launch files import this module, and `ros2 launch` runs without the packages of the nodes.
    from platformdirs import user_cache_path

    return user_cache_path(_PACKAGE)


def _candidates(relative: str) -> Iterator[Path]:
    models_dir = os.environ.get("LIFT3D_MODELS_DIR")
    if models_dir and relative.startswith("models/"):
        yield Path(models_dir) / relative.removeprefix("models/")
    for prefix in filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)):
        yield Path(prefix) / "share" / _PACKAGE / relative
    yield Path(sys.prefix) / "share" / _PACKAGE / relative
    yield Path(__file__).resolve().parents[1] / relative
