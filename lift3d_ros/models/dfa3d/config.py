"""Facts of a BEV detector: sizes, ranges, classes. They belong to its weights, not to how it is run.

Imports no torch, so that a runtime without it can read them. Options named after a habit of the published
checkpoints exist because their weights were trained with it; our own models leave them off.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.config import group
from lift3d_ros.errors import ConfigError
from lift3d_ros.models.backbones.config import BackboneConfig

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
# Rows of the learned camera embeddings of the published checkpoints.
NUSCENES_CAMERAS = ("front", "front_right", "front_left", "back", "back_left", "back_right")

CODE_SIZE = 10
"""Numbers of a box code: cx, cy, log width, log length, cz, log height, sin yaw, cos yaw, vx, vy."""


@dataclass(frozen=True)
class DepthConfig:
    """Where depth scores come from.

    Args:
        source: ``none`` gives plain 2D attention; ``light`` predicts with two convolutions, ``aspp`` with the
            published head; ``lidar`` takes maps of measured depth as input.
        range: nearest and farthest bin border, metres along the optical axis.
        level: pyramid level that the head reads, and whose cells measured depth is reduced to.
        channels: hidden channels of the ``aspp`` head.
        bins_per_code: the ``aspp`` head predicts codes that stand for so many bins each; empty for one code per bin.
        repeats_code_probability: published habit: a code's probability is given to each of its bins undivided.
        focal_px: the ``light`` head counts depth as a camera of this focal length would (what is enlarged looks near),
            px of the padded pictures, and is told where the ground is: z = 0 of the model frame. Zero: neither.
        bin_tolerance: bins to each side of the measured one that count as hit, for labels and ``lidar``.
        score_gain: attention sees scores times this. Of many bins each scores little, above all before training, so
            that features hardly reach the cells; the number of bins gives scores relative to equal ones. One in the
            published checkpoints.
    """

    source: Literal["none", "light", "aspp", "lidar"] = "light"
    num_bins: int = 56
    range: tuple[float, float] = (2.0, 58.0)
    level: int = 0
    channels: int = 256
    bins_per_code: tuple[int, ...] = ()
    repeats_code_probability: bool = False
    focal_px: float = 0.0
    bin_tolerance: int = 0
    score_gain: float = 1.0


@dataclass(frozen=True)
class MotionConfig:
    """How velocities are read from the last BEV map and the current one.

    Args:
        channels: of the features that both maps are compared by; zero leaves velocities to the box codes alone, as the
            published checkpoints do.
        largest_mps: the velocities that are tried reach so far along x and y, m/s.
        steps: velocities to each side of zero.
        forward_mps: a box that would move backwards faster than this is turned round: vehicles seldom do, and their
            fronts are harder to tell than their motion. Zero: none is.
    """

    channels: int = 0
    largest_mps: float = 16.0
    steps: int = 8
    forward_mps: float = 1.5


@dataclass(frozen=True)
class RefinementConfig:
    """How found boxes are corrected by a window of the picture around each of them.

    Args:
        channels: of the windows; zero leaves boxes as the decoder gives them, as the published checkpoints do.
        hidden: of the perceptron that reads a window.
        window: places along either side of a window.
        stages: of the backbone, whose maps are read beside the finest level of the pyramid; stage s has stride
            2 ** (s + 1).
    """

    channels: int = 0
    hidden: int = 192
    window: int = 7
    stages: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Dfa3dConfig:
    """Configuration of :class:`lift3d_ros.models.dfa3d.detector.Dfa3dDetector`.

    The model frame is the frame of the BEV grid and of the boxes: the base frame turned by `frame_yaw_deg` and moved
    to `frame_origin`. Row of the grid grows with +y of that frame, column with +x.

    Args:
        image_width, image_height: pictures that enter the network, px.
        image_scale: the network itself scales normalised pictures by this, with sizes truncated.
        size_divisor: the network pads scaled pictures at the bottom and right with zeros to multiples of this.
        image_mean, image_std: RGB normalisation, 0..255.
        reads_bgr: the first convolution expects the channels in the order blue, green, red.
        pixel_origin: ``center`` counts projected pixels from the centre of the first one, ``corner`` (published
            habit) reads the same number as a distance from the border of the picture.
        num_levels: pyramid levels that spatial attention samples, finest first; more than the backbone outputs adds
            coarser ones.
        num_level_embeddings: rows of the level embedding, at least `num_levels`.
        camera_names: rows of a learned camera embedding, addressed by name; empty derives the embedding from the
            calibration, so that any number of cameras in any place is accepted.
        point_range: x, y, z minimum, then maximum, metres in the model frame.
        bev_height, bev_width: cells along y and along x.
        pillar_heights: z of the anchors that a BEV cell projects into the pictures, metres in the model frame.
        view_transform: ``attention`` lets cells look into the pictures; ``lift_splat`` sums picture features into
            cells along their rays, to be compared with it.
        num_points: sampling points of each head and level in spatial attention; a multiple of the anchors.
        point_spread: how far apart the points of spatial attention lie before training, in feature cells (half as many
            depth bins). They move slowly: with one, a short training looks beside the anchors for most of its time.
        num_temporal_points: sampling points of each head in temporal attention and in the decoder.
        query_source: ``learned`` queries are the same for every frame; ``heatmap`` queries start at the peaks of a
            dense class heatmap of the BEV map.
        crowded_classes: objects of these classes may stand in neighbouring cells: heatmap queries may, too.
        reads_history_age: the network is told how old the map of its memory is.
        history_s: age of the map that a frame uses, as near as frames allow; it is what the weights were trained with,
            as nothing seems to move between two frames of a fast camera. 0: the map of the last frame.
        motion: of the head that reads velocities from two maps; with `reads_history_age` and `ego_input` transform.
        ego_input: ``transform`` moves the history rigidly, with interpolation; ``can_bus`` (published habit) turns it
            to the nearest cell about `rotation_center`, shifts references by the rest, and adds an embedding of
            18 numbers, see :mod:`lift3d_ros.models.dfa3d.can_bus`.
        repeats_quaternion_scalar: published habit of `can_bus`: the scalar part stands in all four places of the
            quaternion.
        rotation_center: x, y in cells from the corner of the grid.
        shifts_current_references: published habit: the ego shift also moves the references into the current map.
        keeps_initial_queries: published habit: with history, every layer attends to the queries as they entered the
            first one, not to the updated map.
        yaw_code: ``heading`` counts from +x to the left; ``mmdet3d`` (published habit) from -y to the right.
        suppression_m: boxes are left out that lie within this distance of a better one of their class plus half
            its width. One-to-one matching teaches a network not to repeat itself, but slowly. Zero: none is.
        max_detections, center_range: best class scores kept by decoding, and where centres may lie (x, y, z minimum,
            then maximum, metres in the model frame).
    """

    class_names: tuple[str, ...] = NUSCENES_CLASSES
    image_width: int = 704
    image_height: int = 256
    image_scale: float = 1.0
    size_divisor: int = 32
    image_mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    image_std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    reads_bgr: bool = False
    pixel_origin: Literal["center", "corner"] = "center"
    backbone: BackboneConfig = group(BackboneConfig)
    depth: DepthConfig = group(DepthConfig)
    embed_dims: int = 128
    ffn_dims: int = 256
    num_heads: int = 4
    dropout: float = 0.1
    num_levels: int = 1
    num_level_embeddings: int = 1
    camera_names: tuple[str, ...] = ()
    frame_yaw_deg: float = 0.0
    frame_origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    point_range: tuple[float, float, float, float, float, float] = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
    bev_height: int = 50
    bev_width: int = 50
    pillar_heights: tuple[float, ...] = (-0.5, 0.5, 1.5, 2.5)
    view_transform: Literal["attention", "lift_splat"] = "attention"
    num_points: int = 4
    point_spread: float = 1.0
    num_temporal_points: int = 4
    num_encoder_layers: int = 2
    num_decoder_layers: int = 3
    num_queries: int = 200
    query_source: Literal["learned", "heatmap"] = "learned"
    crowded_classes: tuple[str, ...] = ("pedestrian", "traffic_cone", "barrier", "bicycle", "motorcycle")
    reads_history_age: bool = False
    history_s: float = 0.0
    motion: MotionConfig = group(MotionConfig)
    refinement: RefinementConfig = group(RefinementConfig)
    ego_input: Literal["transform", "can_bus"] = "transform"
    repeats_quaternion_scalar: bool = False
    rotation_center: tuple[float, float] = (0.0, 0.0)
    shifts_current_references: bool = False
    keeps_initial_queries: bool = False
    yaw_code: Literal["heading", "mmdet3d"] = "heading"
    suppression_m: float = 0.0
    max_detections: int = 200
    center_range: tuple[float, float, float, float, float, float] = (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0)

    def __post_init__(self) -> None:
        """Refuse a motion head without what it compares, and windows of maps that boxes were found with."""
        if self.motion.channels and not (self.reads_history_age and self.ego_input == "transform"):
            raise ConfigError(
                f"network.motion.channels is {self.motion.channels}, but the network is not told how old its last map "
                "is, or moves it by can_bus; set network.reads_history_age=true and network.ego_input=transform"
            )

        stages, first = self.refinement.stages, min(self.backbone.output_stages)
        if self.refinement.channels and (
            list(stages) != sorted(set(stages)) or not all(1 <= s < first for s in stages)
        ):
            raise ConfigError(
                f"network.refinement.stages is {list(stages)}; expected rising numbers from 1 to {first - 1}, as the "
                f"pyramid is made of stage {first} and later ones"
            )

    @property
    def num_cells(self) -> int:
        """Cells of the BEV grid."""
        return self.bev_height * self.bev_width

    @property
    def scaled_size(self) -> tuple[int, int]:
        """(height, width) of a picture after the network has scaled it, px."""
        return int(self.image_height * self.image_scale), int(self.image_width * self.image_scale)

    @property
    def padded_size(self) -> tuple[int, int]:
        """(height, width) of a picture after scaling and padding; projections are normalised with it, px."""
        height, width = self.scaled_size
        return -(-height // self.size_divisor) * self.size_divisor, -(-width // self.size_divisor) * self.size_divisor

    @property
    def scaling_matrix(self) -> NDArray[np.float64]:
        """Map pixels of the pictures that enter to those of the scaled ones, (3, 3)."""
        scale = self.image_scale
        offset = 0.5 * scale - 0.5 if self.pixel_origin == "center" else 0.0
        return np.array([[scale, 0.0, offset], [0.0, scale, offset], [0.0, 0.0, 1.0]])


def preset(name: str) -> Dfa3dConfig | None:
    """Return the configuration called `name`, None where there is none.

    Source: fact sheet DFA3D, sections 2, 4 and 19.
    """
    match name:
        case "tiny":
            return Dfa3dConfig(backbone=BackboneConfig(width=32))
        case "lift3d-bev-tiny":
            return Dfa3dConfig(
                image_mean=(127.0, 127.0, 127.0),
                image_std=(128.0, 128.0, 128.0),
                backbone=BackboneConfig(architecture="efficientnet_lite0", has_frozen_norms=True),
                depth=DepthConfig(focal_px=560.0, score_gain=56.0),
                dropout=0.0,
                bev_height=100,
                bev_width=100,
                point_spread=0.25,
                num_decoder_layers=2,
                query_source="heatmap",
                reads_history_age=True,
                history_s=0.5,
                motion=MotionConfig(channels=32),
                refinement=RefinementConfig(channels=32),
                suppression_m=0.5,
            )
        case "dfa3d-small":
            return dataclasses.replace(_published_small(), depth=_published_depth(level=0))
        case "dfa3d-base":
            return dataclasses.replace(_published_base(), depth=_published_depth(level=2))
        case "dfa3d-base-gtdepth":
            depth = dataclasses.replace(_published_depth(level=2), source="lidar", bin_tolerance=2)
            return dataclasses.replace(_published_base(), depth=depth)
        case "bevformer-tiny":
            return dataclasses.replace(
                _published_small(),
                image_scale=0.5,
                image_std=(58.395, 57.12, 57.375),
                reads_bgr=False,
                backbone=BackboneConfig(50, 64, "pytorch", (), (4,), has_frozen_norms=True),
                bev_height=50,
                bev_width=50,
            )
        case "bevformer-small":
            return _published_small()
        case "bevformer-base":
            return _published_base()
        case _:
            return None


PRESETS = (
    "tiny",
    "lift3d-bev-tiny",
    "dfa3d-small",
    "dfa3d-base",
    "dfa3d-base-gtdepth",
    "bevformer-tiny",
    "bevformer-small",
    "bevformer-base",
)


def published_pillar_heights(
    point_range: tuple[float, float, float, float, float, float], num_anchors: int
) -> tuple[float, ...]:
    """Return anchors spread over the height of the range, half a metre off its ends, metres."""
    lowest, highest = point_range[2], point_range[5]
    return tuple(float(z) for z in lowest + np.linspace(0.5, highest - lowest - 0.5, num_anchors))


def _published_base() -> Dfa3dConfig:
    point_range = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
    return Dfa3dConfig(
        image_width=1600,
        image_height=900,
        image_std=(1.0, 1.0, 1.0),
        reads_bgr=True,
        pixel_origin="corner",
        backbone=BackboneConfig(101, 64, "caffe", (3, 4), (2, 3, 4), has_frozen_norms=True),
        depth=DepthConfig(source="none"),
        embed_dims=256,
        ffn_dims=512,
        num_heads=8,
        num_levels=4,
        num_level_embeddings=4,
        camera_names=NUSCENES_CAMERAS,
        # The LiDAR of the nuScenes vehicles: x right, y forward.
        frame_yaw_deg=-90.0,
        frame_origin=(0.943713, 0.0, 1.84023),
        point_range=point_range,
        bev_height=200,
        bev_width=200,
        pillar_heights=published_pillar_heights(point_range, 4),
        num_points=8,
        num_encoder_layers=6,
        num_decoder_layers=6,
        num_queries=900,
        ego_input="can_bus",
        repeats_quaternion_scalar=True,
        rotation_center=(100.0, 100.0),
        shifts_current_references=True,
        keeps_initial_queries=True,
        yaw_code="mmdet3d",
        max_detections=300,
    )


def _published_small() -> Dfa3dConfig:
    return dataclasses.replace(
        _published_base(),
        image_scale=0.8,
        backbone=BackboneConfig(101, 64, "caffe", (3, 4), (4,), has_frozen_norms=True),
        num_levels=1,
        bev_height=150,
        bev_width=150,
        num_encoder_layers=3,
    )


def _published_depth(level: int) -> DepthConfig:
    return DepthConfig(
        source="aspp",
        num_bins=112,
        level=level,
        bins_per_code=(2,) * 8 + (4,) * 8 + (8,) * 8,
        repeats_code_probability=True,
    )
