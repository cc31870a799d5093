"""Compares what a weights file of OpenLRM 1.0 says about its network with the configuration that it is imported as.

Heads, samples and the side of the picture change no shape of a weight, so names and shapes alone cannot tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lift3d_ros.errors import WeightsError
from lift3d_ros.models.lrm.config import LrmConfig, preset
from lift3d_ros.models.lrm.published_keys import LAYOUTS
from lift3d_ros.weights.checkpoint import shown


def check_lrm_settings(path: Path, preset_name: str, settings: Mapping[str, object]) -> None:
    """Refuse weights whose file says another thing than the configuration; other methods and silent files pass.

    Args:
        settings: what lies beside the weights as ``kwargs``.

    Raises:
        WeightsError: names what differs.
    """
    config = preset(preset_name) if preset_name in LAYOUTS else None
    if config is None:
        return
    wrong = []
    for (part, name), expected in _expected(config).items():
        values = settings.get(part)
        found = values.get(name, expected) if isinstance(values, Mapping) else expected
        if found != expected:
            wrong.append(f"{name} is {shown(found)}, expected {expected}")
    if wrong:
        raise WeightsError(
            f"{path}: its weights fit {preset_name}, but it says of its network: {', '.join(wrong)}. Nothing was "
            "written; the network would run and give noise. Import an unchanged published file of this configuration"
        )


def _expected(config: LrmConfig) -> Mapping[tuple[str, str], int]:
    render = config.render
    return {
        ("model", "transformer_heads"): config.decoder.num_heads,
        ("model", "camera_embed_dim"): config.decoder.camera_width,
        ("model", "rendering_samples_per_ray"): render.num_samples + render.num_importance,
        ("infer", "source_size"): config.image.side,
    }
