"""Facts of a BEV detector: sizes, ranges, classes. They belong to its weights, not to how it is run.

Imports no torch, so that a runtime without it can read them.
"""

from __future__ import annotations

from dataclasses import dataclass

NUSCENES_CLASSES = (
    "car",
    "truck",
    "construction_vehicle",
    "bus",
    "trailer",
    "barrier",
    "motorcycle",
    "bicycle",
    "pedestrian",
    "traffic_cone",
)


@dataclass(frozen=True)
class Dfa3dConfig:
    """Configuration of :class:`lift3d_ros.models.dfa3d.detector.Dfa3dDetector`.

    Args:
        image_width, image_height: network input, px; multiples of 32.
        image_mean, image_std: RGB normalisation, 0..255.
        backbone_width: channels of the first backbone stage; later stages double it.
        num_levels: finest pyramid levels that spatial attention samples, the first at 1/16 of the input.
        depth_range: nearest and farthest bin border, metres along the optical axis.
        point_range: x, y, z minimum, then maximum, metres in the base frame.
        bev_height, bev_width: cells along y and along x; row grows with +y, column with +x.
        pillar_heights: z of the anchors that a BEV cell projects into the pictures, metres.
        num_points: sampling points of each head and level in spatial attention; a multiple of the anchors.
        num_temporal_points: the same in temporal attention and in the decoder.
    """

    class_names: tuple[str, ...] = NUSCENES_CLASSES
    image_width: int = 704
    image_height: int = 256
    image_mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    image_std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    backbone_width: int = 32
    embed_dims: int = 128
    num_heads: int = 4
    num_levels: int = 1
    num_depth_bins: int = 56
    depth_range: tuple[float, float] = (2.0, 58.0)
    point_range: tuple[float, float, float, float, float, float] = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
    bev_height: int = 50
    bev_width: int = 50
    pillar_heights: tuple[float, ...] = (-0.5, 0.5, 1.5, 2.5)
    num_points: int = 4
    num_temporal_points: int = 4
    num_encoder_layers: int = 2
    num_decoder_layers: int = 3
    num_queries: int = 200

    @classmethod
    def tiny(cls) -> Dfa3dConfig:
        """Return the small model meant for vehicles and for machines without a GPU."""
        return cls()
