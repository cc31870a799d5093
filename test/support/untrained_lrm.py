"""An object reconstructor with random weights, and a density at which its field has a surface."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tabletop import ball_pixels, camera_image

from lift3d_ros.images.decode import decode
from lift3d_ros.models.lrm.cameras import view_numbers
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.object_engine import open_lrm_engine
from lift3d_ros.pipelines.object_foreground import cut_object

NAME = "small"
MANIFEST = f"models:\n  {NAME}: {{method: lrm, preset: lift3d-lrm-tiny, licence: Apache-2.0, source: a test}}\n"


def add_untrained_lrm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `NAME` known to this process, and to those that it starts."""
    (folder / "models").mkdir()
    (folder / "models" / "manifest.yaml").write_text(MANIFEST)
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(folder / "models"))


@cache
def usual_density() -> float:
    """Return the median density of its field for the ball of `tabletop`; call it after `add_untrained_lrm`."""
    engine = open_lrm_engine(NAME, EngineConfig(threads=1))
    view = cut_object(decode(camera_image()), engine.config.image, box=ball_pixels())
    cameras = view_numbers(engine.config.view).astype(np.float32)[None]
    planes = engine.planes.run({"images": view.image[None], "cameras": cameras}, engine.planes.new_state())["planes"]
    half_side = engine.config.field.half_side
    points = np.random.default_rng(0).uniform(-half_side, half_side, (1, 4000, 3)).astype(np.float32)
    density = engine.field.run({"planes": planes, "points": points}, engine.field.new_state())["density"]
    return float(np.median(density))
