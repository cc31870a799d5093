"""How whole detectors are run over consecutive frames for the numeric cases; every size comes from the case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from dfa3d_case_inputs import encode, learned_sizes, maps_of, published_config
from dfa3d_loss_cases import run_train_adamw_steps, run_train_gradients
from published_weights import load_published
from torch import Tensor

from lift3d_ros.models.backbones.config import BackboneConfig
from lift3d_ros.models.dfa3d.can_bus import can_bus_difference
from lift3d_ros.models.dfa3d.config import DepthConfig, Dfa3dConfig
from lift3d_ros.models.dfa3d.depth_head import resize_scores, scores_of_codes
from lift3d_ros.models.dfa3d.detector import Dfa3dDetector
from lift3d_ros.models.dfa3d.yaw_code import code_yaw_from_heading
from lift3d_ros.pipelines.box_decoding import decode_model_boxes
from lift3d_ros.types import Boxes3D

Arrays = Mapping[str, Tensor]
Case = Mapping[str, Any]
Result = dict[str, Tensor]


def find_runner(name: str) -> Callable[[Case, Arrays], Result] | None:
    """Return the runner of a case, None for cases of other files."""
    if name.startswith("det_"):
        return run_detector
    if name.startswith("mod_nms_free_decode"):
        return run_decoding
    training = {"train_gradients": run_train_gradients, "train_adamw_steps": run_train_adamw_steps}.get(name)
    if training is not None:
        return lambda case, arrays: training(case, arrays, detector_of, predict_for_training)
    return None


def detector_of(case: Case, arrays: Arrays) -> Dfa3dDetector:
    """Return the detector of a case with its weights; parts that it does not cover are small and random."""
    numbers = case["config"]
    near, far, step = numbers["d_bound"]
    num_bins = round((far - near) / step)
    covered = ["camera_embedding", "level_embedding", "can_bus_embedding", "encoder", "decoder"]
    covered += ["bev_embedding", "cell_position"]
    changes = learned_sizes(arrays)
    if "in.depth_map" in arrays and "w.pts_dpt_head.depth_conv.5.weight" not in arrays:
        depth = DepthConfig("lidar", num_bins, (near, far), numbers["depth_level"], bin_tolerance=numbers["max_tol"])
    else:
        covered.append("depth_head")
        codes = (2,) * 8 + (4,) * 8 + (8,) * 8
        depth = DepthConfig(
            "aspp",
            num_bins,
            (near, far),
            numbers["depth_level"],
            numbers["depth_mid"],
            codes if sum(codes) == num_bins else (),
            repeats_code_probability=True,
        )
    if "resnet" in numbers:
        covered += ["backbone", "neck"]
        resnet = numbers["resnet"]
        stages = tuple(index + 1 for index in resnet["out_indices"])
        deformable = tuple(resnet["dcn_stages"])
        changes["backbone"] = BackboneConfig(
            resnet["depth"], resnet["base_channels"], resnet["style"], deformable, stages, has_frozen_norms=True
        )
        changes["image_height"], changes["image_width"] = arrays["in.images"].shape[2:4]
        changes["image_mean"] = tuple(reversed(numbers["mean_bgr"]))
    detector = Dfa3dDetector(published_config(numbers, depth=depth, **changes)).eval()
    load_published(detector, arrays, only=tuple(covered))
    return detector


def run_detector(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    detector = detector_of(case, arrays)
    absolute = arrays["in.can_bus_abs"].cpu().numpy()
    scenes = numbers.get("scene_tokens", [""] * len(absolute))
    history, before, scene = None, None, None
    result: Result = {}
    with torch.inference_mode():
        for frame in range(len(absolute)):
            if scenes[frame] != scene:
                history, before = None, None
            scene = scenes[frame]
            can_bus = can_bus_difference(absolute[frame], before)
            before = absolute[frame]
            if "in.images" in arrays:
                images = arrays["in.images"][frame].flip(-1).permute(0, 3, 1, 2)
                maps = detector.pyramid(detector.backbone(detector.image_input(images)))
            else:
                maps = maps_of(arrays, f"feat_t{frame}_l")
            measured = arrays["in.depth_map"][frame, 0, :, 0] if "in.depth_map" in arrays else None
            scores = detector.depth_scores(maps, arrays["in.lidar2img"][frame], measured)
            ego = torch.tensor(can_bus[None].astype(np.float32))
            history = encode(detector, maps, scores, arrays["in.lidar2img"][frame][None], ego, history)
            layers = detector.decoder(history)
            boxes, found, labels = published_boxes(layers[-1][0][0], layers[-1][1][0], detector.config)
            result |= {
                f"bev_t{frame}": history.transpose(0, 1),
                f"cls_t{frame}": torch.stack([logits for logits, _ in layers]),
                f"reg_t{frame}": torch.stack([codes for _, codes in layers]),
                f"depth_l_last_t{frame}": scores[-1][None],
                f"can_bus_t{frame}": torch.tensor(can_bus),
                f"boxes_t{frame}": boxes,
                f"scores_t{frame}": found,
                f"labels_t{frame}": labels,
            }
    return result


def predict_for_training(
    detector: Dfa3dDetector, case: Case, arrays: Arrays
) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Return logits and codes of every decoder layer, and the codes of the depth head, with gradients."""
    maps, depth = maps_of(arrays, "feat_l"), detector.config.depth
    assert detector.depth_head is not None
    codes = detector.depth_head(maps[depth.level])
    scores = [resize_scores(scores_of_codes(codes, depth), *level.shape[-2:]) for level in maps]
    matrices, can_bus = arrays["in.lidar2img"][None], arrays["in.can_bus"][None].float()
    return detector.decoder(encode(detector, maps, scores, matrices, can_bus, arrays["in.prev_bev"])), codes


def run_decoding(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    config = published_config(numbers, center_range=tuple(map(float, numbers["post_center_range"])))
    logits, codes = arrays["in.all_cls_scores"][-1, 0], arrays["in.all_bbox_preds"][-1, 0]
    boxes, scores, labels = published_boxes(logits, codes, config, numbers.get("score_threshold", 0.0))
    return {"boxes": boxes, "scores": scores, "labels": labels}


def published_boxes(
    logits: Tensor, codes: Tensor, config: Dfa3dConfig, score_threshold: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Decode and return boxes as the published code has them: x, y, z of the bottom, w, l, h, yaw, vx, vy."""
    found: Boxes3D = decode_model_boxes(logits.cpu().numpy(), codes.cpu().numpy(), config)
    found = found.select(found.scores > score_threshold)
    length, width, height = found.sizes.T
    bottom = found.centers - 0.5 * np.stack([0 * height, 0 * height, height], axis=-1)
    yaw = code_yaw_from_heading(found.yaws, config.yaw_code)
    boxes = np.column_stack([bottom, width, length, height, yaw, found.velocities])
    return torch.tensor(boxes), torch.tensor(found.scores.copy()), torch.tensor(found.labels.copy())
