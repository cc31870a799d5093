"""Facts of a picture backbone; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class BackboneConfig:
    """Configuration of a picture backbone.

    Args:
        depth: of a ResNet; 18 and 34 have basic blocks, 50 and 101 bottlenecks.
        width: channels of the first stage of a ResNet, 64 in the original.
        style: ``caffe`` has the stride of a bottleneck on its first convolution, ``pytorch`` on the 3x3 one.
        deformable_stages: stages (1 to 4) whose 3x3 convolutions are modulated deformable ones.
        output_stages: stages that feed the pyramid; stage s has stride 2 ** (s + 1).
        has_frozen_norms: batch norms always use stored statistics and have no gradient.
        architecture: ``efficientnet_lite0`` is small and fast on a CPU; of the others it uses
            `output_stages` and `has_frozen_norms` only.
    """

    depth: Literal[18, 34, 50, 101] = 18
    width: int = 64
    style: Literal["pytorch", "caffe"] = "pytorch"
    deformable_stages: tuple[int, ...] = ()
    output_stages: tuple[int, ...] = (3, 4)
    has_frozen_norms: bool = False
    architecture: Literal["resnet", "efficientnet_lite0"] = "resnet"
