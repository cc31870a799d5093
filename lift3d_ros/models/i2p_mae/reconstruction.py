"""The network of pre-training: encodes what is visible, and predicts points of what is hidden.

Letters: B clouds, G groups of the scale that the decoder reaches, K points of a group, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from lift3d_ros.models.i2p_mae.config import I2pMaeConfig
from lift3d_ros.models.i2p_mae.decoder import PointDecoder
from lift3d_ros.models.i2p_mae.encoder import PointEncoder
from lift3d_ros.models.i2p_mae.pointwise import PointwiseConv
from lift3d_ros.models.i2p_mae.tokenizer import PointGroups


class Reconstruction(NamedTuple):
    """Predictions for the groups of the scale that the decoder reaches, clouds one after the other.

    Args:
        decoded: (B, G, C) tokens.
        masked: (B, G) bool, true for hidden groups.
        points: (hidden groups, points, 3) relative to their centres.
        features: (visible groups, K, 3 * teacher's channels) of the points of a group, None without semantic head.
    """

    decoded: Tensor
    masked: Tensor
    points: Tensor
    features: Tensor | None


class PointAutoencoder(nn.Module):
    """I2P-MAE, and without a semantic head Point-M2AE."""

    def __init__(self, config: I2pMaeConfig) -> None:
        super().__init__()
        self.config = config
        head, dims = config.reconstruction, config.reconstruction.dims[-1]
        self.scale = len(config.encoder.dims) - len(config.reconstruction.dims)
        self.encoder = PointEncoder(config.encoder)
        self.decoder = PointDecoder(config)
        self.point_head = PointwiseConv(dims, 3 * head.num_points)
        members = config.tokens.group_sizes[self.scale]
        self.semantic_head = PointwiseConv(dims, members * 3 * head.teacher_dims) if head.teacher_dims else None

    def forward(self, scales: Sequence[PointGroups], masks: Sequence[Tensor]) -> Reconstruction:
        """Predict what is hidden; a batch may be a single cloud.

        Args:
            scales: groups of each scale, finest first.
            masks: (B, G) bool of each scale, true for hidden tokens, see :func:`mask_finer_scales`.
        """
        tokens = self.encoder(scales, masks, is_packed=True)
        decoded = self.decoder(tokens, masks, [groups.centers for groups in scales])
        masked = masks[self.scale]
        points = self.point_head(decoded[masked]).unflatten(-1, (-1, 3))
        if self.semantic_head is None:
            return Reconstruction(decoded, masked, points, None)
        members = self.config.tokens.group_sizes[self.scale]
        features = self.semantic_head(decoded[~masked]).unflatten(-1, (members, -1))
        return Reconstruction(decoded, masked, points, features)
