"""Descriptors of many clouds by a frozen encoder, arrays in and arrays out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from lift3d_ros.errors import EngineError
from lift3d_ros.models.i2p_mae.config import TokenConfig
from lift3d_ros.models.i2p_mae.heads import PointFeatureNetwork
from lift3d_ros.models.i2p_mae.tokenizer import group_scales


def describe_clouds(
    network: PointFeatureNetwork,
    tokens: TokenConfig,
    points: NDArray[np.float32],
    *,
    device: str = "cpu",
    batch_size: int = 32,
) -> NDArray[np.float32]:
    """Return the descriptor of each cloud.

    Args:
        points: (N, P, 3), at least one point; those that are not finite are left out.
        batch_size: clouds that are encoded at once; the result does not depend on it.

    Returns:
        (N, C).

    Raises:
        EngineError: torch cannot use the device.
    """
    try:
        network.to(device).eval()
    except (RuntimeError, AssertionError) as error:  # torch without CUDA answers with an assertion
        reason = str(error).splitlines()[0][:200]
        raise EngineError(
            f"device '{device}': torch cannot use it ({reason}); expected for example cpu or cuda:0"
        ) from None
    found = []
    with torch.inference_mode():
        for first in range(0, len(points), batch_size):
            part = torch.from_numpy(np.ascontiguousarray(points[first : first + batch_size])).to(device)
            found.append(network(group_scales(part, tokens))[0].float().cpu().numpy())
    return np.concatenate(found) if found else np.zeros((0, network.encoder.config.dims[-1]), np.float32)
