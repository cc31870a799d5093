"""Descriptors and classes of many clouds by a frozen network, arrays in and arrays out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lift3d_ros.errors import EngineError
from lift3d_ros.models.i2p_mae.config import TokenConfig
from lift3d_ros.models.i2p_mae.heads import PointClassifier, PointFeatureNetwork
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
        (N, D).

    Raises:
        EngineError: torch cannot use the device.
    """
    found = [result[0].float().cpu().numpy() for result in _results(network, tokens, points, device, batch_size)]
    return np.concatenate(found) if found else np.zeros((0, network.descriptor_dims), np.float32)


def classify_clouds(
    network: PointClassifier,
    tokens: TokenConfig,
    points: NDArray[np.float32],
    *,
    device: str = "cpu",
    batch_size: int = 32,
) -> NDArray[np.int64]:
    """Return the class (N,) of each cloud; arguments and errors are those of :func:`describe_clouds`."""
    found = [logits.argmax(1).cpu().numpy() for logits in _results(network, tokens, points, device, batch_size)]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _results(
    network: PointFeatureNetwork | PointClassifier,
    tokens: TokenConfig,
    points: NDArray[np.float32],
    device: str,
    batch_size: int,
) -> Iterator[Any]:
    try:
        network.to(device).eval()
    except (RuntimeError, AssertionError) as error:  # torch without CUDA answers with an assertion
        reason = str(error).splitlines()[0][:200]
        raise EngineError(
            f"device '{device}': torch cannot use it ({reason}); expected for example cpu or cuda:0"
        ) from None
    with torch.inference_mode():
        for first in range(0, len(points), batch_size):
            part = torch.from_numpy(np.ascontiguousarray(points[first : first + batch_size])).to(device)
            yield network(group_scales(part, tokens))
