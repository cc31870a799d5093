"""The whole BEV detector: pictures, projections and the last BEV map in, class logits and box codes out."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.backbones.resnet import ResNet
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.models.dfa3d.decoder import Decoder
from lift3d_ros.models.dfa3d.depth_head import DepthHead
from lift3d_ros.models.dfa3d.encoder import CameraFeatures, CellPosition, EncoderLayer, PillarReferences
from lift3d_ros.models.dfa3d.fpn import FPN
from lift3d_ros.models.dfa3d.reference_points import bev_cell_centers, pillar_anchors, project_anchors


class Dfa3dDetector(nn.Module):
    """BEVFormer encoder with depth-aware cross attention, and a query decoder.

    Any number of cameras, in any order: a camera is told apart by its projection, not by its place.
    """

    mean: Tensor
    std: Tensor
    anchors: Tensor
    cells: Tensor
    grid_min: Tensor
    grid_size: Tensor

    def __init__(self, config: Dfa3dConfig) -> None:
        super().__init__()
        self.config = config
        dims = config.embed_dims
        self.backbone = ResNet(config.backbone_width)
        self.neck = FPN(self.backbone.out_channels[1:], dims, config.num_levels)
        self.depth_head = DepthHead(dims, config.num_depth_bins)
        self.camera_embedding = nn.Sequential(nn.Linear(12, dims), nn.ReLU(inplace=True), nn.Linear(dims, dims))
        self.level_embeds = nn.Parameter(torch.zeros(config.num_levels, dims))
        self.bev_embedding = nn.Embedding(config.bev_height * config.bev_width, dims)
        self.cell_position = CellPosition(config)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_encoder_layers))
        self.decoder = Decoder(config)
        x_min, y_min, _, x_max, y_max, _ = config.point_range
        self.register_buffer("mean", torch.tensor(config.image_mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(config.image_std)[:, None, None], persistent=False)
        self.register_buffer("anchors", pillar_anchors(config), persistent=False)
        self.register_buffer("cells", bev_cell_centers(config), persistent=False)
        self.register_buffer("grid_min", torch.tensor([x_min, y_min]), persistent=False)
        self.register_buffer("grid_size", torch.tensor([x_max - x_min, y_max - y_min]), persistent=False)

    def forward(
        self,
        images: Tensor,
        image_from_base: Tensor,
        camera_mask: Tensor,
        T_history_current: Tensor,
        history_valid: Tensor,
        history: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Detect on one frame set.

        | argument | shape | meaning |
        |---|---|---|
        | images | (N, 3, H, W) uint8 | RGB |
        | image_from_base | (N, 4, 4) float32 | base frame, metres, to (u*depth, v*depth, depth, 1) |
        | camera_mask | (N,) float32 | 1 used, 0 as if the camera were not there |
        | T_history_current | (4, 4) float32 | points of the current base frame into that of the last frame |
        | history_valid | () float32 | 0 ignores the history |
        | history | (cells, C) float32 | BEV map of the last frame |

        Returns:
            Class logits (Q, classes); box codes (Q, 10) as in ``decode_boxes``; BEV map (cells, C).
        """
        cameras = self._see(images, image_from_base)
        points, is_visible = project_anchors(self.anchors, image_from_base, self.config)
        is_hit = is_visible.any(-1).to(images.device, torch.float32) * camera_mask[:, None]
        pillars = PillarReferences(points, is_hit)
        query = self.bev_embedding.weight[None]
        aligned = self._align(history, T_history_current)
        # Selected and not weighted: a history that is not finite must not outlive the frame that ignores it.
        memory = torch.where(history_valid > 0.5, aligned, query)
        reference = ((self.cells - self.grid_min) / self.grid_size)[None, :, None]
        position = self.cell_position()
        for layer in self.encoder:
            query = layer(query, position, memory, reference, cameras, pillars)
        class_logits, box_codes = self.decoder(query)[-1]
        return class_logits, box_codes, query[0]

    def _see(self, images: Tensor, image_from_base: Tensor) -> CameraFeatures:
        """Extract features and depth scores of every camera, levels flattened and joined."""
        normalised = (images.to(torch.float32) - self.mean) / self.std
        maps = self.neck(self.backbone(normalised)[1:])
        depth = self.depth_head(maps[0])
        scale = torch.tensor([self.config.image_width, self.config.image_height, 1.0], device=images.device)
        calibration = (image_from_base[:, :3] / scale[:, None]).reshape(-1, 12)
        camera = self.camera_embedding(calibration)[:, None]
        values, scores, levels = [], [], []
        for level, feature in enumerate(maps):
            height, width = feature.shape[-2:]
            levels.append((int(height), int(width)))
            values.append(feature.flatten(2).transpose(1, 2) + camera + self.level_embeds[level])
            scores.append(F.interpolate(depth, size=(height, width)).flatten(2).transpose(1, 2))
        return CameraFeatures(torch.cat(values, dim=1), torch.cat(scores, dim=1), levels)

    def _align(self, history: Tensor, T_history_current: Tensor) -> Tensor:
        """Move the last BEV map (cells, C) to the current base frame, bilinear, zero where it was not seen."""
        cells = torch.cat([self.cells, torch.zeros_like(self.cells[:, :1]), torch.ones_like(self.cells[:, :1])], -1)
        before = (cells @ T_history_current.T)[:, :2]
        grid = ((before - self.grid_min) / self.grid_size) * 2 - 1
        picture = history.T.reshape(1, -1, self.config.bev_height, self.config.bev_width)
        sampled = F.grid_sample(picture, grid[None, None], mode="bilinear", padding_mode="zeros", align_corners=False)
        return sampled[:, :, 0].transpose(1, 2)


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
        decoder.reference_points.weight.mul_(3.0)
        for classify, regress in zip(decoder.cls_branches, decoder.reg_branches, strict=True):
            head, box = list(classify.children())[-1], list(regress.children())[-1]
            assert isinstance(head, nn.Linear)
            assert isinstance(box, nn.Linear)
            nn.init.normal_(head.weight, std=1.0 / math.sqrt(head.in_features))
            nn.init.constant_(head.bias, -2.5)
            nn.init.normal_(box.weight, std=0.1 / math.sqrt(box.in_features))
            box.bias.copy_(car_code)
