"""The whole BEV detector: pictures, projections and the last BEV map in, class logits and box codes out.

Letters: B samples, N cameras of all samples one sample after the other, P pairs of a camera and a cell that it sees,
K cameras of a cell, C embedding width.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lift3d_ros.models.backbones.efficientnet_lite import EfficientNetLite
from lift3d_ros.models.backbones.resnet import ResNet
from lift3d_ros.models.dfa3d.camera_views import CameraViews, camera_views
from lift3d_ros.models.dfa3d.can_bus import CAN_BUS_LENGTH
from lift3d_ros.models.dfa3d.config import CODE_SIZE, Dfa3dConfig
from lift3d_ros.models.dfa3d.cross_attention import CameraFeatures, PillarPairs
from lift3d_ros.models.dfa3d.decoder import Decoder
from lift3d_ros.models.dfa3d.depth_head import build_depth_head, resize_scores, scores_of_codes
from lift3d_ros.models.dfa3d.depth_labels import depth_scores_from_lidar
from lift3d_ros.models.dfa3d.encoder import CellPosition, EncoderLayer
from lift3d_ros.models.dfa3d.fpn import FPN
from lift3d_ros.models.dfa3d.history import BevGrid, History
from lift3d_ros.models.dfa3d.image_input import ImageInput
from lift3d_ros.models.dfa3d.lift_splat import RayCells, find_ray_cells
from lift3d_ros.models.dfa3d.motion import MotionHead
from lift3d_ros.models.dfa3d.reference_points import project_anchors
from lift3d_ros.models.dfa3d.refinement import PictureRefinement
from lift3d_ros.models.dfa3d.visibility import anchor_grid


class Dfa3dDetector(nn.Module):
    """BEVFormer encoder with depth-aware cross attention, and a query decoder."""

    anchors: Tensor
    picture_scale: Tensor

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        self.config = config
        dims = config.embed_dims
        self.image_input = ImageInput(config)
        self.backbone, self._num_fine = _build_backbone(config)
        fine, coarse = self.backbone.out_channels[: self._num_fine], self.backbone.out_channels[self._num_fine :]
        self.neck = FPN(coarse, dims, config.num_levels)
        self.depth_head = build_depth_head(dims, config.depth)
        self.camera_embedding: nn.Module
        if config.camera_names:
            self.camera_embedding = nn.Embedding(len(config.camera_names), dims)
        else:
            self.camera_embedding = nn.Sequential(nn.Linear(12, dims), nn.ReLU(inplace=True), nn.Linear(dims, dims))
        self.level_embedding = nn.Parameter(torch.zeros(config.num_level_embeddings, dims))
        self.can_bus_embedding = _CanBusEmbedding(dims) if config.ego_input == "can_bus" else None
        self.age_embedding = nn.Linear(1, dims) if config.reads_history_age else None
        self.bev_embedding = nn.Embedding(config.num_cells, dims)
        self.cell_position = CellPosition(config)
        self.grid = BevGrid(config)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_encoder_layers))
        self.decoder = Decoder(config)
        self.refinement = PictureRefinement(config, (*fine, dims)) if config.refinement.channels else None
        self.motion = MotionHead(config) if config.motion.channels else None
        self.register_buffer("anchors", torch.tensor(anchor_grid(config)), persistent=False)
        height, width = config.padded_size
        self.register_buffer("picture_scale", torch.tensor([[width], [height], [1.0]]), persistent=False)

    def forward(
        self,
        images: Tensor,
        image_from_model: Tensor,
        pair_camera: Tensor,
        pair_cell: Tensor,
        pairs_of_cell: Tensor,
        ego: Tensor,
        history_valid: Tensor,
        history: Tensor,
        camera_rows: Tensor | None = None,
        depth_maps: Tensor | None = None,
        history_age: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Detect on one frame set, or on a batch of them.

        | argument | shape | meaning |
        |---|---|---|
        | images | (N, 3, H, W) uint8 | RGB |
        | image_from_model | (N, 4, 4) float32 | model frame, metres, to (u*depth, v*depth, depth, 1), px of the input |
        | pair_camera, pair_cell | (P,) int64 | cameras, and the cells that they see |
        | pairs_of_cell | (B*cells, K) int64 | pairs of each cell; P where there are fewer than K |
        | ego | (B, 4, 4) or (B, 18) float32 | motion since the last frame, by `config.ego_input`: points of the current
          model frame into the last one, or the can_bus vector |
        | history_valid | (B,) float32 | 0 ignores the history |
        | history | (B, cells, C) float32 | BEV map of the last frame |
        | camera_rows | (N,) int64 | row of the learned camera embedding, where the configuration has one |
        | depth_maps | (N, H, W) float32 | measured depth in metres, 0 where unknown, for the source ``lidar`` |
        | history_age | (B,) float32 | time since the last frame in s, where the configuration reads it |

        Returns:
            Class logits (B, Q, classes); box codes (B, Q, 10) as in ``decode_boxes``; BEV map (B, cells, C).
        """
        features: list[Tensor] = self.backbone(self.image_input(images))
        maps = self.pyramid(features)
        scores = self.depth_scores(maps, image_from_model, depth_maps)
        cameras = self.embed_cameras(maps, scores, image_from_model, camera_rows)
        places = self.place(image_from_model, pair_camera, pair_cell, pairs_of_cell, cameras.levels)
        aligned = self.align(history, ego)
        bev = self.encode(cameras, places, ego, history_valid, aligned, history_age)
        class_logits, box_codes = self.decoder(bev)[-1]
        if self.refinement is not None:
            seen = self.window_features(features, maps)
            sample = _sample_of_cameras(pair_camera, pair_cell // self.config.num_cells, len(bev), len(images))
            class_logits, box_codes = self.refinement(seen, class_logits, box_codes, image_from_model, sample)
        return class_logits, self.with_velocities(box_codes, bev, aligned, history_valid, history_age), bev

    def pyramid(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the pyramid made of what the backbone gives, a map (N, C, h, w) for each level, finest first."""
        levels: list[Tensor] = self.neck(features[self._num_fine :])
        return levels

    def window_features(self, features: Sequence[Tensor], maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps that boxes are refined by, of the backbone's features and the pyramid; none without that."""
        if self.refinement is None:
            return []
        return self.refinement.features([*features[: self._num_fine], maps[0]])

    def predict_depth(self, maps: Sequence[Tensor], image_from_model: Tensor) -> Tensor | None:
        """Return code probabilities (N, codes, h, w) of the depth head at its level, None where there is none."""
        if self.depth_head is None:
            return None
        features = maps[self.config.depth.level]
        inputs: tuple[Tensor | CameraViews, ...] = (features,)
        if self.config.depth.focal_px:
            level = (int(features.shape[-2]), int(features.shape[-1]))
            inputs = (features, camera_views(image_from_model, level, self.config))
        codes: Tensor = self.depth_head(*inputs)
        return codes

    def depth_scores(
        self, maps: Sequence[Tensor], image_from_model: Tensor, depth_maps: Tensor | None = None
    ) -> list[Tensor]:
        """Return depth scores (N, bins, h, w) for each level; none for plain 2D attention."""
        depth = self.config.depth
        if depth.source == "none":
            return []
        codes = self.predict_depth(maps, image_from_model)
        if codes is not None:
            scores = scores_of_codes(codes, depth)
        elif depth_maps is not None:
            stride = round(self.config.padded_size[0] / maps[depth.level].shape[-2])
            scores = depth_scores_from_lidar(depth_maps, depth, stride)
        else:
            raise ValueError("this detector takes measured depth: 'depth_maps' is missing; expected (N, H, W) metres")
        return [resize_scores(scores, int(level.shape[-2]), int(level.shape[-1])) for level in maps]

    def embed_cameras(
        self,
        maps: Sequence[Tensor],
        scores: Sequence[Tensor],
        image_from_model: Tensor,
        camera_rows: Tensor | None = None,
    ) -> CameraFeatures:
        """Join the levels of the features, with embeddings of camera and level added, and those of the depth scores."""
        camera = self._camera_embedding(image_from_model, camera_rows)[:, None]
        values = [rows + camera + self.level_embedding[level] for level, rows in enumerate(map(_rows, maps))]
        levels = [(int(feature.shape[-2]), int(feature.shape[-1])) for feature in maps]
        score_rows = torch.cat([_rows(score) for score in scores], dim=1) if scores else None
        if score_rows is not None and self.config.depth.score_gain != 1.0:
            score_rows = score_rows * self.config.depth.score_gain
        return CameraFeatures(torch.cat(values, dim=1), score_rows, levels)

    def _camera_embedding(self, image_from_model: Tensor, camera_rows: Tensor | None) -> Tensor:
        if self.config.camera_names:
            if camera_rows is None:
                raise ValueError("this detector has learned camera embeddings: 'camera_rows' is missing")
            rows: Tensor = self.camera_embedding(camera_rows)
            return rows
        embedded: Tensor = self.camera_embedding((image_from_model[:, :3] / self.picture_scale).reshape(-1, 12))
        return embedded

    def place_pillars(
        self, image_from_model: Tensor, pair_camera: Tensor, pair_cell: Tensor, pairs_of_cell: Tensor
    ) -> PillarPairs:
        """Project the anchors of each pair; the arguments are those of :meth:`forward`."""
        anchors = self.anchors.index_select(0, pair_cell % self.config.num_cells)
        points = project_anchors(anchors, image_from_model.index_select(0, pair_camera), self.config)
        return PillarPairs(
            pair_camera, pair_cell, pairs_of_cell, points[..., :2] if self.config.depth.source == "none" else points
        )

    def place(
        self,
        image_from_model: Tensor,
        pair_camera: Tensor,
        pair_cell: Tensor,
        pairs_of_cell: Tensor,
        levels: Sequence[tuple[int, int]],
    ) -> PillarPairs | RayCells:
        """Return where cells and pictures meet; the arguments are those of :meth:`forward`, and the feature levels."""
        config = self.config
        if config.view_transform == "attention":
            return self.place_pillars(image_from_model, pair_camera, pair_cell, pairs_of_cell)
        num_samples = pairs_of_cell.shape[0] // config.num_cells
        sample = _sample_of_cameras(pair_camera, pair_cell // config.num_cells, num_samples, len(image_from_model))
        return find_ray_cells(image_from_model, sample, num_samples, levels[0], config)

    def encode(
        self,
        cameras: CameraFeatures,
        places: PillarPairs | RayCells,
        ego: Tensor,
        history_valid: Tensor,
        aligned: Tensor,
        history_age: Tensor | None = None,
    ) -> Tensor:
        """Return the BEV map (B, cells, C); `aligned` is the last one as :meth:`align` gives it."""
        query = self.bev_embedding.weight[None].expand(aligned.shape[0], -1, -1)
        if self.can_bus_embedding is not None:
            query = query + self.can_bus_embedding(ego)[:, None]
        if self.age_embedding is not None:
            if history_age is None:
                raise ValueError("this detector reads the age of its history: 'history_age' is missing")
            age = torch.where(history_valid > 0.5, history_age, torch.zeros_like(history_age))
            query = query + self.age_embedding(age[:, None])[:, None]
        position = self.cell_position()
        memory = self._history(query, ego, history_valid, aligned)
        for layer in self.encoder:
            query = layer(query, position, memory, cameras, places)
        return query

    def with_velocities(
        self, box_codes: Tensor, bev: Tensor, aligned: Tensor, history_valid: Tensor, history_age: Tensor | None
    ) -> Tensor:
        """Return box codes (B, Q, 10) with the velocities of the motion head, where there are one and a history."""
        if self.motion is None or history_age is None:
            return box_codes
        velocities = self.motion(bev, aligned, box_codes[..., :2], history_age)
        is_valid = (history_valid > 0.5).reshape(-1, 1, 1)
        return torch.cat([box_codes[..., :8], torch.where(is_valid, velocities, box_codes[..., 8:])], dim=-1)

    def align(self, history: Tensor, ego: Tensor) -> Tensor:
        """Move the BEV map of the last frame (B, cells, C) to where the vehicle is now."""
        if self.config.ego_input == "can_bus":
            return self.grid.turn_to_nearest_cell(history, ego[:, 17])
        return self.grid.align_rigidly(history, ego)

    def _history(self, query: Tensor, ego: Tensor, history_valid: Tensor, aligned: Tensor) -> History:
        config = self.config
        current = self.grid.references.expand(aligned.shape[0], -1, -1)
        before = current
        if config.ego_input == "can_bus":
            before = current + self.grid.shift_of_can_bus(ego)[:, None]
        now = before if config.shifts_current_references else current
        return History(
            aligned,
            query if config.keeps_initial_queries else None,
            (history_valid > 0.5).reshape(-1, 1, 1),
            torch.stack([before, now], dim=1),
        )


def _build_backbone(config: Dfa3dConfig) -> tuple[ResNet | EfficientNetLite, int]:
    """Return the backbone, and how many of its first outputs are not for the pyramid."""
    fine = config.refinement.stages if config.refinement.channels else ()
    backbone = dataclasses.replace(config.backbone, output_stages=(*fine, *config.backbone.output_stages))
    return ResNet(backbone) if backbone.architecture == "resnet" else EfficientNetLite(backbone), len(fine)


def _sample_of_cameras(pair_camera: Tensor, pair_sample: Tensor, num_samples: int, num_cameras: int) -> Tensor:
    """Return the sample of each camera (N,), -1 for one that sees no cell and may belong to any."""
    if num_samples == 1:
        return pair_camera.new_zeros(num_cameras)
    return pair_camera.new_full((num_cameras,), -1).scatter(0, pair_camera, pair_sample)


def _rows(maps: Tensor) -> Tensor:
    """Return maps (N, C, h, w) as rows (N, h*w, C)."""
    return maps.flatten(2).transpose(1, 2)


class _CanBusEmbedding(nn.Sequential):
    """Maps the 18 numbers of the vehicle's motion (B, 18) to (B, C)."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.add_module("0", nn.Linear(CAN_BUS_LENGTH, dims // 2))
        self.add_module("1", nn.ReLU(inplace=True))
        self.add_module("2", nn.Linear(dims // 2, dims))
        self.add_module("3", nn.ReLU(inplace=True))
        self.add_module("norm", nn.LayerNorm(dims))


def build_detector(config: Dfa3dConfig, seed: int) -> Dfa3dDetector:
    """Return a detector with random weights that are the same for the same seed, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Dfa3dDetector(config)
        _initialise_heads(network.decoder)
    return network.eval()


def _initialise_heads(decoder: Decoder) -> None:
    """Start with boxes of car size, objects rare, and references spread over the grid."""
    car_code = torch.tensor([0.0, 0.0, math.log(1.9), math.log(4.5), 0.5, math.log(1.6), 0.0, 1.0, 0.0, 0.0])
    with torch.no_grad():
        if decoder.proposals is None:
            decoder.reference_points.weight.mul_(3.0)
        else:
            nn.init.normal_(decoder.proposals.codes.weight, std=1e-3)
            assert decoder.proposals.codes.bias is not None
            decoder.proposals.codes.bias.copy_(car_code)
        for classify, regress in zip(decoder.cls_branches, decoder.reg_branches, strict=True):
            head, box = list(classify.children())[-1], list(regress.children())[-1]
            assert isinstance(head, nn.Linear)
            assert isinstance(box, nn.Linear)
            assert box.out_features == CODE_SIZE
            nn.init.normal_(head.weight, std=1.0 / math.sqrt(head.in_features))
            nn.init.normal_(box.weight, std=0.1 / math.sqrt(box.in_features))
            if decoder.proposals is None:
                nn.init.constant_(head.bias, -2.5)
                box.bias.copy_(car_code)
            else:  # what proposals say is added
                nn.init.normal_(head.weight, std=0.1 / math.sqrt(head.in_features))
                nn.init.zeros_(head.bias)
                nn.init.zeros_(box.bias)
