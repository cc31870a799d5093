"""Which learned camera embedding each camera of a rig gets, for models that have them.

Published checkpoints know six cameras by name (``config.camera_names``). A camera is given one by the rig file
(``embedding: front_left`` in its block), else by its own name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lift3d_ros.errors import ConfigError, nearest_name_hint
from lift3d_ros.models.dfa3d.config import Dfa3dConfig

# Words of a camera name that tell nothing about its direction.
_NOISE = frozenset({"cam", "cams", "camera", "cameras"})
_SAME_WORD = {"rear": "back"}


def embedding_rows(cameras: Sequence[str], config: Dfa3dConfig, explicit: Mapping[str, str]) -> dict[str, int]:
    """Return the row of the camera embedding for each camera.

    Args:
        cameras: names of the rig, in any order.
        explicit: camera name -> embedding name of the rig file, for cameras that have one.

    Returns:
        camera name -> row; 0 for all where the model has no embeddings by name.

    Raises:
        ConfigError: more cameras than embeddings, no embedding for a camera, or one embedding for two cameras.
    """
    known = config.camera_names
    if not known:
        return dict.fromkeys(cameras, 0)
    if len(cameras) > len(known):
        raise ConfigError(
            f"the rig has {len(cameras)} cameras ({', '.join(cameras)}); this model has {len(known)} camera embeddings "
            f"({', '.join(known)}); name at most {len(known)} cameras in the rig file, or take a model without "
            "embeddings by name"
        )
    row_of = {_bare_name(name): row for row, name in enumerate(known)}
    rows: dict[str, int] = {}
    camera_of: dict[int, str] = {}
    for camera in cameras:
        wanted = explicit.get(camera, camera)
        row = row_of.get(_bare_name(wanted))
        if row is None:
            raise ConfigError(_unknown_text(camera, explicit.get(camera), known))
        if row in camera_of:
            raise ConfigError(
                f"cameras '{camera_of[row]}' and '{camera}' would both use the camera embedding '{known[row]}'; "
                f"expected each of {', '.join(known)} at most once; write 'embedding: NAME' into the block of one of "
                "them in the rig file, or leave one out"
            )
        camera_of[row] = camera
        rows[camera] = row
    return rows


def _unknown_text(camera: str, wanted: str | None, known: Sequence[str]) -> str:
    expected = f"expected one of {', '.join(known)}"
    if wanted is not None:
        hint = nearest_name_hint(wanted, known)
        return f"camera '{camera}': embedding '{wanted}' of the rig file is not known; {expected}{hint}"
    return (
        f"camera '{camera}': its name tells no camera embedding of this model; {expected}; "
        f"write 'embedding: NAME' into its block in the rig file, or rename it"
    )


def _bare_name(name: str) -> str:
    """Return the words of a name that tell its direction, for example ``frontleft`` for ``/CAM_FrontLeft``."""
    # A capital after a small letter starts a word, too.
    words = re.findall(r"[a-z]+|[0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return "".join(_SAME_WORD.get(word, word) for word in words if word not in _NOISE)
