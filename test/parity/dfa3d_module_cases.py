"""How the modules of BEVFormer + DFA3D are run for the numeric cases; every size comes from the case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from dfa3d_case_inputs import encode, learned_sizes, levels_of, maps_of, published_config
from published_weights import DECODER_LAYER, ENCODER_LAYER, HEAD, TRANSFORMER, load_published
from torch import Tensor, nn

from lift3d_ros.models.backbones.config import BackboneConfig
from lift3d_ros.models.backbones.resnet import Bottleneck, ResNet
from lift3d_ros.models.dfa3d.attention import DeformableAttention
from lift3d_ros.models.dfa3d.can_bus import can_bus_difference
from lift3d_ros.models.dfa3d.config import DepthConfig, Dfa3dConfig
from lift3d_ros.models.dfa3d.cross_attention import CameraFeatures, PillarPairs, SpatialCrossAttention
from lift3d_ros.models.dfa3d.decoder import Decoder, DecoderLayer
from lift3d_ros.models.dfa3d.depth_head import AsppDepthHead, resize_scores, scores_of_codes
from lift3d_ros.models.dfa3d.detector import Dfa3dDetector
from lift3d_ros.models.dfa3d.encoder import CellPosition, EncoderLayer
from lift3d_ros.models.dfa3d.fpn import FPN
from lift3d_ros.models.dfa3d.history import BevGrid, History
from lift3d_ros.models.dfa3d.image_input import ImageInput
from lift3d_ros.models.dfa3d.reference_points import project_anchors
from lift3d_ros.models.dfa3d.temporal_attention import TemporalSelfAttention
from lift3d_ros.models.dfa3d.visibility import anchor_grid
from lift3d_ros.ops.deformable_attention_3d import sample_depth_scores
from lift3d_ros.ops.deformable_convolution import DeformableConv2d

Arrays = Mapping[str, Tensor]
Case = Mapping[str, Any]
Result = dict[str, Tensor]
Runner = Callable[[Case, Arrays], Result]


def find_runner(name: str) -> Runner | None:
    """Return the runner of a case, None for cases of other files."""
    return {
        "mod_reference_points": run_reference_points,
        "mod_point_sampling": run_point_sampling,
        "mod_positional_encoding": run_positional_encoding,
        "mod_bev_alignment": run_bev_alignment,
        "mod_bev_alignment_default_centre": run_bev_alignment,
        "mod_temporal_self_attention_no_history": run_temporal_attention,
        "mod_temporal_self_attention_history": run_temporal_attention,
        "mod_msda3d_dfa3d": run_attention_module,
        "mod_spatial_cross_attention": run_spatial_attention,
        "mod_spatial_cross_attention_blind": run_spatial_attention,
        "mod_spatial_cross_attention_2d": run_spatial_attention,
        "mod_encoder_layer": run_encoder_layer,
        "mod_encoder_sequence": run_encoder_sequence,
        "mod_encoder_batch2": run_encoder,
        "mod_encoder_four_cameras": run_encoder,
        "mod_decoder_layer": run_decoder_layer,
        "mod_decoder": run_decoder,
        "mod_bottleneck_caffe_dcnv2": run_bottleneck,
        "mod_bottleneck_caffe_plain": run_bottleneck,
        "mod_dcnv1_groups": run_deformable_convolution,
        "mod_resnet50_fpn": run_backbone,
        "mod_depth_head_grouped": run_depth_head,
        "mod_image_preprocess": run_image_input,
    }.get(name)


class FixedPosition(nn.Module):
    """Takes the place of the learned position where a case gives it as input."""

    def __init__(self, position: Tensor) -> None:
        super().__init__()
        self.position = position

    def forward(self) -> Tensor:
        return self.position


def run_reference_points(case: Case, arrays: Arrays) -> Result:
    config = published_config(case["config"])
    low, high = np.array(config.point_range[:3]), np.array(config.point_range[3:])
    normalised = (anchor_grid(config).astype(np.float64) - low) / (high - low)  # (cells, Z, 3)
    samples = case["config"]["bs"]
    anchors = torch.tensor(normalised.astype(np.float32)).transpose(0, 1)
    return {
        "ref_3d": anchors[None].expand(samples, -1, -1, -1),
        "ref_2d": BevGrid(config).references[None, :, None].expand(samples, -1, -1, -1),
    }


def run_point_sampling(case: Case, arrays: Arrays) -> Result:
    anchors, matrices = arrays["in.ref_3d"], arrays["in.lidar2img"]  # (B, Z, Q, 3), (B, N, 4, 4)
    samples, heights, cells = anchors.shape[:3]
    cameras = matrices.shape[1]
    config = published_config(case["config"], bev_height=cells, pillar_heights=(0.0,) * heights)
    low, high = torch.tensor(config.point_range[:3]), torch.tensor(config.point_range[3:])
    metres = (anchors * (high - low) + low).transpose(1, 2)  # (B, Q, Z, 3)
    pairs = metres[None].expand(cameras, -1, -1, -1, -1).reshape(-1, heights, 3)
    of_pair = matrices.transpose(0, 1)[:, :, None].expand(-1, -1, cells, -1, -1).reshape(-1, 4, 4)
    points = project_anchors(pairs, of_pair, config).reshape(cameras, samples, cells, heights, 3)
    depth = points[..., 2] * (config.depth.range[1] - config.depth.range[0]) + config.depth.range[0]
    inside = (points[..., :2] > 0) & (points[..., :2] < 1)
    return {"reference_points_cam": points, "bev_mask": (inside.all(-1) & (depth > 1e-5)).to(torch.uint8)}


def run_positional_encoding(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    config = published_config(numbers, embed_dims=2 * numbers["num_feats"])
    module = CellPosition(config)
    load_published(module, arrays, HEAD + "positional_encoding.", "cell_position.")
    rows = module()[0].T.reshape(-1, config.bev_height, config.bev_width)
    return {"pos": rows[None].expand(numbers["bs"], -1, -1, -1)}


def run_bev_alignment(case: Case, arrays: Arrays) -> Result:
    sizes = learned_sizes(arrays)
    config = published_config(case["config"], num_levels=max(len(maps_of(arrays, "feat_")), 1), **sizes)
    can_bus, grid = arrays["in.can_bus"].float(), BevGrid(config)
    result = {
        "shift": grid.shift_of_can_bus(can_bus),
        "prev_rotated": grid.turn_to_nearest_cell(arrays["in.prev_bev"], can_bus[:, 17]).transpose(0, 1),
    }
    if "in.bev_queries" not in arrays:
        return result
    detector = Dfa3dDetector(config).eval()
    load_published(detector, arrays, TRANSFORMER, only=("camera_embedding", "level_embedding", "can_bus_embedding"))
    samples, cameras = arrays["in.feat_0"].shape[:2]
    rows = torch.arange(cameras).repeat(samples)
    maps = maps_of(arrays, "feat_")
    features = detector.embed_cameras(maps, maps_of(arrays, "dpt_"), torch.eye(4).expand(len(rows), 4, 4), rows)
    assert detector.can_bus_embedding is not None
    assert features.depth_scores is not None
    embedded = arrays["in.bev_queries"][:, None] + detector.can_bus_embedding(can_bus)

    def by_camera(tensor: Tensor) -> Tensor:  # (B * N, S, C) to (N, S, B, C)
        return tensor.reshape(samples, cameras, *tensor.shape[1:]).permute(1, 2, 0, 3)

    sizes = [height * width for height, width in features.levels]
    return {
        **result,
        "bev_queries": embedded,
        "feat_flatten": by_camera(features.value),
        "dpt_flatten": by_camera(features.depth_scores),
        "level_start_index": torch.tensor([sum(sizes[:level]) for level in range(len(sizes))]),
    }


def run_temporal_attention(case: Case, arrays: Arrays) -> Result:
    module = TemporalSelfAttention(published_config(case["config"])).eval()
    load_published(module, arrays, ENCODER_LAYER + "attentions.0.", "encoder.0.temporal.")
    query = arrays["in.query"]
    maps = arrays["in.value"] if "in.value" in arrays else query.expand(2, -1, -1)
    references = arrays["in.reference_points"][None, :, :, 0]
    return {"output": module(query, arrays["in.query_pos"], maps[None], references)}


def run_attention_module(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    module = DeformableAttention(
        numbers["embed_dims"], numbers["num_heads"], numbers["num_levels"], numbers["num_points"], has_depth=True
    )
    load_published(
        module, arrays, ENCODER_LAYER + "attentions.1.deformable_attention.", "encoder.0.spatial.deformable_attention."
    )
    query, depth, levels = arrays["in.query"], arrays["in.depth"], levels_of(arrays)
    reference = arrays["in.reference_points"]
    locations, weights = module.locate(query, reference, levels, depth.shape[-1])
    scores = sample_depth_scores(depth, locations, levels).mean(-1)
    return {
        "output": module(query, arrays["in.value"], reference, levels, depth),
        "weight_update": (weights * scores).sum((-2, -1))[..., None],
    }


def pairs_of_mask(mask: Tensor, points: Tensor) -> PillarPairs:
    """Return the pairs of a published visibility mask (N, 1, Q, Z) with their points (N, 1, Q, Z, 2 or 3)."""
    is_hit = mask[:, 0].bool().any(-1)  # (N, Q)
    camera, cell = torch.nonzero(is_hit, as_tuple=True)
    cells = is_hit.shape[1]
    table = torch.full((cells, max(int(is_hit.sum(0).max()), 1)), len(camera))
    for q in range(cells):
        rows = torch.nonzero(cell == q)[:, 0]
        table[q, : len(rows)] = rows
    return PillarPairs(camera, cell, table, points[:, 0][camera, cell])


def camera_features(arrays: Arrays) -> CameraFeatures:
    depth = arrays["in.depth"][:, :, 0] if "in.depth" in arrays else None
    return CameraFeatures(arrays["in.feat"][:, :, 0], depth, levels_of(arrays))


def run_spatial_attention(case: Case, arrays: Arrays) -> Result:
    source = "lidar" if "in.depth" in arrays else "none"
    config = published_config(case["config"], depth=DepthConfig(source, case["config"]["D"]))
    module = SpatialCrossAttention(config).eval()
    load_published(module, arrays, ENCODER_LAYER + "attentions.1.", "encoder.0.spatial.")
    pairs = pairs_of_mask(arrays["in.bev_mask"], arrays["in.reference_points_cam"])
    return {"output": module(arrays["in.query"], camera_features(arrays), pairs)}


def run_encoder_layer(case: Case, arrays: Arrays) -> Result:
    config = published_config(case["config"], depth=DepthConfig("lidar", case["config"]["D"]))
    layer = EncoderLayer(config).eval()
    load_published(layer, arrays, ENCODER_LAYER, "encoder.0.")
    last, initial = arrays["in.prev_value"][:, None]
    history = History(last, initial, torch.ones(1, 1, 1, dtype=torch.bool), arrays["in.ref_2d"][None, :, :, 0])
    pairs = pairs_of_mask(arrays["in.bev_mask"], arrays["in.reference_points_cam"])
    return {"output": layer(arrays["in.query"], arrays["in.bev_pos"], history, camera_features(arrays), pairs)}


def encoder_of(case: Case, arrays: Arrays) -> Dfa3dDetector:
    """Return a detector whose encoder has the weights and learned inputs of a case."""
    numbers = case["config"]
    sizes = learned_sizes(arrays)
    detector = Dfa3dDetector(published_config(numbers, num_encoder_layers=numbers["layers"], **sizes)).eval()
    covered = ("camera_embedding", "level_embedding", "can_bus_embedding", "encoder")
    load_published(detector, arrays, TRANSFORMER, only=covered)
    detector.bev_embedding.weight.data = arrays["in.bev_queries"]
    detector.cell_position = FixedPosition(arrays["in.bev_pos"].flatten(2).transpose(1, 2))  # type: ignore[assignment]
    return detector


def run_encoder_sequence(case: Case, arrays: Arrays) -> Result:
    detector = encoder_of(case, arrays)
    result: Result = {}
    deltas, before, history = [], None, None
    for frame, absolute in enumerate(arrays["in.can_bus_abs"].cpu().numpy()):
        deltas.append(can_bus_difference(absolute, before))
        before = absolute
        maps = [maps_of(arrays, f"{kind}_t{frame}_l") for kind in ("feat", "depth")]
        can_bus = torch.tensor(deltas[-1][None].astype(np.float32))
        history = encode(detector, maps[0], maps[1], arrays["in.lidar2img"][None], can_bus, history)
        result[f"bev_t{frame}"] = history
    return {**result, "can_bus_delta": torch.tensor(np.stack(deltas))}


def run_encoder(case: Case, arrays: Arrays) -> Result:
    detector = encoder_of(case, arrays)
    matrices, can_bus = arrays["in.lidar2img"], arrays["in.can_bus"].float()
    if matrices.dim() == 3:
        matrices, can_bus = matrices[None], can_bus[None]
    maps, scores = maps_of(arrays, "feat_l"), maps_of(arrays, "depth_l")
    return {"bev": encode(detector, maps, scores, matrices, can_bus, arrays["in.prev_bev"])}


def run_decoder_layer(case: Case, arrays: Arrays) -> Result:
    layer = DecoderLayer(decoder_config(case)).eval()
    load_published(layer, arrays, DECODER_LAYER, "decoder.layers.0.")
    query, position, bev = (arrays[f"in.{name}"].transpose(0, 1) for name in ("query", "query_pos", "bev"))
    return {"output": layer(query, position, bev, arrays["in.reference_points"]).transpose(0, 1)}


def run_decoder(case: Case, arrays: Arrays) -> Result:
    decoder = Decoder(decoder_config(case, num_decoder_layers=case["config"]["layers"])).eval()

    def full_name(name: str) -> str:
        return HEAD + (name if name.startswith("reg_branches") else f"transformer.decoder.{name}")

    load_published(decoder, arrays, full_name, "decoder.", only=("layers", "reg_branches"))
    query, position, bev = (arrays[f"in.{name}"].transpose(0, 1) for name in ("query", "query_pos", "bev"))
    layers = decoder.refine(query, position, bev, arrays["in.reference_points"])
    return {
        "hs": torch.stack([query.transpose(0, 1) for query, _, _ in layers]),
        "inter_references": torch.stack([refined for _, refined, _ in layers]),
    }


def decoder_config(case: Case, **changes: Any) -> Dfa3dConfig:
    return published_config(case["config"], num_temporal_points=case["config"]["points"], **changes)


def run_bottleneck(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    is_deformable = "w.conv2.conv_offset.weight" in arrays
    block = Bottleneck(
        numbers["inplanes"], numbers["planes"], numbers["stride"], is_caffe=True, is_deformable=is_deformable
    ).eval()
    load_published(block, arrays, "img_backbone.layer1.0.", "backbone.layer1.0.")
    return {"output": block(arrays["in.x"])}


def run_deformable_convolution(case: Case, arrays: Arrays) -> Result:
    numbers, weight = case["config"], arrays["w.weight"]
    outputs, inputs, kernel = weight.shape[0], weight.shape[1] * numbers["groups"], weight.shape[2]
    layer = DeformableConv2d(
        inputs, outputs, kernel, 1, numbers["padding"], groups=numbers["groups"], is_modulated=False
    )
    load_published(layer, arrays, "pts_dpt_head.depth_conv.4.", "depth_head.depth_conv.4.")
    return {"output": layer(arrays["in.x"]), "offset": layer.conv_offset(arrays["in.x"])}


def run_backbone(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    stages = tuple(index + 1 for index in numbers["out_indices"])
    style, deformable = numbers.get("style", "caffe"), tuple(numbers.get("dcn_stages", (3, 4)))
    backbone = ResNet(BackboneConfig(numbers["depth"], numbers["base_channels"], style, deformable, stages)).eval()
    neck = FPN(backbone.out_channels, numbers["fpn_out"], numbers["num_outs"])
    load_published(nn.ModuleDict({"backbone": backbone, "neck": neck}), arrays)
    features = backbone(arrays["in.x"])
    levels = neck(features)
    return {
        **{f"c{stage + 1}": feature for stage, feature in zip(stages, features, strict=True)},
        **{f"p{level}": feature for level, feature in enumerate(levels)},
    }


def depth_config(numbers: Mapping[str, Any]) -> DepthConfig:
    """Return the published depth head of a case: grouped codes where it names groups, else one code per bin."""
    near, far, _ = numbers["d_bound"]
    codes = tuple(size for size in numbers.get("group_sizes", ()) for _ in range(numbers["codes_per_group"]))
    return DepthConfig(
        "aspp",
        numbers["bins"],
        (near, far),
        numbers.get("depth_level", 0),
        numbers.get("mid_channels", 256),
        codes,
        repeats_code_probability=True,
        bin_tolerance=numbers.get("max_tol", 0),
    )


def run_depth_head(case: Case, arrays: Arrays) -> Result:
    config, maps = depth_config(case["config"]), maps_of(arrays, "feat_l")
    head = AsppDepthHead(maps[config.level].shape[1], config).eval()
    load_published(head, arrays, "pts_dpt_head.", "depth_head.")
    code = head(maps[config.level])
    scores = scores_of_codes(code, config)
    return {
        "code": code,
        **{f"depth_l{i}": resize_scores(scores, *feature.shape[-2:]) for i, feature in enumerate(maps)},
    }


def run_image_input(case: Case, arrays: Arrays) -> Result:
    numbers, picture = case["config"], arrays["in.image"]  # (H, W, 3) BGR
    deviation = numbers["std"] if isinstance(numbers["std"], list) else [numbers["std"]] * 3
    config = published_config(
        numbers,
        image_height=picture.shape[0],
        image_width=picture.shape[1],
        image_scale=numbers["scale"],
        size_divisor=numbers["size_divisor"],
        image_mean=tuple(reversed(numbers["mean_bgr"])),
        image_std=tuple(deviation),
    )
    rgb = picture.flip(-1).permute(2, 0, 1)[None]
    scale = torch.diag(torch.tensor([config.image_scale, config.image_scale, 1.0, 1.0]))
    return {"image": ImageInput(config)(rgb)[0], "lidar2img": scale @ arrays["in.lidar2img"]}
