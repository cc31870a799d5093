"""How losses, labels and box codes of BEVFormer + DFA3D are run for the numeric cases, and short trainings.

Every size comes from the case or from the shapes of its arrays.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dfa3d_case_inputs import maps_of
from published_weights import weights_of
from torch import Tensor, nn

from lift3d_ros.models.dfa3d.box_code import decode_codes, encode_boxes
from lift3d_ros.models.dfa3d.config import DepthConfig
from lift3d_ros.models.dfa3d.depth_head import AsppDepthHead, resize_scores
from lift3d_ros.models.dfa3d.depth_labels import (
    depth_labels,
    depth_loss,
    depth_map_from_points,
    depth_scores_from_lidar,
)
from lift3d_ros.models.dfa3d.losses import MatchWeights, SetPredictionLoss, matching_costs, sigmoid_focal_loss
from lift3d_ros.models.dfa3d.published_keys import our_key
from lift3d_ros.models.dfa3d.yaw_code import code_yaw_from_heading, heading_from_code_yaw

Case = Mapping[str, Any]
Arrays = Mapping[str, Tensor]
Outputs = dict[str, Tensor]

# Makes the detector of a case with the weights `w.*` of the arrays, in eval mode.
DetectorOf = Callable[[Case, Arrays], nn.Module]
# Runs it on `in.*`: logits and codes of every decoder layer, and what the depth head predicts (N, K, h, w).
Predict = Callable[[nn.Module, Case, Arrays], tuple[Sequence[tuple[Tensor, Tensor]], Tensor]]


def find_runner(name: str) -> Callable[[Case, Arrays], Outputs] | None:
    """Return the runner of a case, None for cases of other files; those of trainings take more arguments."""
    match name:
        case "loss_set_prediction" | "loss_set_prediction_empty":
            return run_set_prediction
        case "loss_focal":
            return run_focal
        case "loss_depth_grouped":
            return run_depth_loss
        case "mod_depth_head_plain":
            return run_depth_head_plain
        case "mod_depth_from_lidar":
            return run_depth_from_lidar
        case "mod_depth_map_from_points":
            return run_depth_map_from_points
        case "mod_box_code":
            return run_box_code
        case _:
            return None


def run_set_prediction(case: Case, arrays: Arrays) -> Outputs:
    logits, codes = (arrays[f"in.{name}"].clone().requires_grad_() for name in ("cls", "reg"))
    num_layers, num_samples, num_queries = logits.shape[:3]
    targets = [published_targets(arrays, f"_b{sample}") for sample in range(num_samples)]
    target_codes, target_labels = [code for code, _ in targets], [label for _, label in targets]
    loss = set_prediction_loss(case["config"])
    losses = loss(list(zip(logits, codes, strict=True)), target_codes, target_labels)
    result = summed(losses, case["config"]["loss_names"])
    result["total"].backward()
    result["grad_cls"], result["grad_reg"] = gradient(logits), gradient(codes)
    assigned = torch.full((num_layers, num_samples, num_queries), -1)
    for layer, pairs in enumerate(loss.assign(logits, codes, target_codes, target_labels)):
        for sample, (query, target) in enumerate(pairs):
            assigned[layer, sample, query] = target
    result["assigned"] = assigned
    for sample, (code, label) in enumerate(targets):
        costs = matching_costs(logits[-1, sample], codes[-1, sample], code, label, loss.matching)
        result[f"cost_cls_b{sample}"], result[f"cost_reg_b{sample}"] = costs
    return result


def run_focal(case: Case, arrays: Arrays) -> Outputs:
    config = case["config"]
    logits = arrays["in.logits"].clone().requires_grad_()
    summed_loss = sigmoid_focal_loss(logits, arrays["in.labels"], config["alpha"], config["gamma"])
    loss = config["loss_weight"] * summed_loss / config["avg_factor"]
    loss.backward()
    return {"loss": loss.reshape(1), "grad_logits": gradient(logits)}


def run_depth_loss(case: Case, arrays: Arrays) -> Outputs:
    codes = arrays["in.code"].clone().requires_grad_()
    config = depth_config(case["config"], num_codes=codes.shape[1])
    return {**learn_depth(case, arrays, codes, config), "grad_code": gradient(codes)}


def run_depth_head_plain(case: Case, arrays: Arrays) -> Outputs:
    config = depth_config(case["config"])
    features = arrays[f"in.feat_l{config.level}"]
    head = AsppDepthHead(features.shape[1], config).eval()
    missing, unexpected = head.load_state_dict(weights_of(arrays), strict=False)
    assert not unexpected
    assert all(key.endswith("num_batches_tracked") for key in missing), missing
    depth = head(features)
    depth.retain_grad()
    result = {**learn_depth(case, arrays, depth, config), "depth": depth, "grad_depth": gradient(depth)}
    for level, other in enumerate(maps_of(arrays, "feat_l")):
        result[f"depth_l{level}"] = resize_scores(depth, *other.shape[-2:])
    return result


def run_depth_from_lidar(case: Case, arrays: Arrays) -> Outputs:
    config = depth_config(case["config"])
    depth = depth_scores_from_lidar(depth_maps(arrays), config, case["config"]["downsample_factor"])
    levels = {f"depth_l{i}": resize_scores(depth, *size) for i, size in enumerate(case["config"]["level_sizes"])}
    return {"depth": depth, **levels}


def run_depth_map_from_points(case: Case, arrays: Arrays) -> Outputs:
    config = case["config"]
    return {"depth_map": depth_map_from_points(arrays["in.points"], config["height"], config["width"])}


def run_box_code(case: Case, arrays: Arrays) -> Outputs:
    code = encode_published(arrays["in.boxes"])
    boxes = decode_codes(code, "mmdet3d")
    yaw = code_yaw_from_heading(boxes.yaws, "mmdet3d")
    length, width, height = boxes.sizes.unbind(-1)
    sizes = torch.stack([width, length, height], dim=-1)
    return {"code": code, "decoded": torch.cat([boxes.centers, sizes, yaw[:, None], boxes.velocities], dim=-1)}


def run_train_gradients(case: Case, arrays: Arrays, detector_of: DetectorOf, predict: Predict) -> Outputs:
    maps = maps_of(arrays, "feat_l")
    features = {f"in.feat_l{level}": features.clone().requires_grad_() for level, features in enumerate(maps)}
    arrays = {**arrays, **features}
    detector = detector_of(case, arrays)
    result = summed(training_losses(detector, case, arrays, predict), case["config"]["loss_names"])
    result["total"].backward()
    parameters = published_parameters(detector, arrays)
    keys = case["config"]["grad_keys"]
    result["grad_norms"] = torch.stack([gradient(parameters[key]).norm() for key in keys])
    result |= {f"grad_{name.removeprefix('in.')}": gradient(value) for name, value in features.items()}
    return result | {f"grad.{key}": gradient(parameters[key]) for key in keys}


def run_train_adamw_steps(case: Case, _arrays: Arrays, detector_of: DetectorOf, predict: Predict) -> Outputs:
    """Train on the data of ``train_gradients``: this case has none of its own."""
    config = case["config"]
    data_case, arrays = other_case(config["weights"])
    detector = detector_of(data_case, arrays)
    parameters = published_parameters(detector, arrays)
    optimizer = torch.optim.AdamW(
        parameters.values(),
        lr=config["lr"],
        weight_decay=config["weight_decay"],
        betas=tuple(config["betas"]),
        eps=config["eps"],
    )
    curve, norms = [], []
    for _ in range(config["steps"]):
        optimizer.zero_grad()
        result = summed(training_losses(detector, data_case, arrays, predict), config["loss_names"])
        result["total"].backward()
        curve.append(result["losses"].detach())
        norms.append(nn.utils.clip_grad_norm_(parameters.values(), config["clip_norm"]))
        optimizer.step()
    result = summed(training_losses(detector, data_case, arrays, predict), config["loss_names"])
    curve.append(result["losses"].detach())
    after = {f"after.{key}": parameter for key, parameter in parameters.items()}
    return {"loss_curve": torch.stack(curve), "grad_norms": torch.stack(norms), **after}


def training_losses(detector: nn.Module, case: Case, arrays: Arrays, predict: Predict) -> dict[str, Tensor]:
    """Return the named losses of one sample: boxes of all layers, and depth."""
    layers, predicted_depth = predict(detector, case, arrays)
    code, label = published_targets(arrays, "")
    losses = set_prediction_loss(case["config"])(layers, [code], [label])
    config = depth_config(case["config"], num_codes=predicted_depth.shape[1])
    maps = depth_maps(arrays)
    labels = depth_labels(maps, config, -(-maps.shape[-2] // predicted_depth.shape[-2]))
    return {**losses, "loss_dpt": depth_loss(predicted_depth, labels, case["config"].get("loss_weight", 0.5))}


def learn_depth(case: Case, arrays: Arrays, predicted: Tensor, config: DepthConfig) -> Outputs:
    """Return labels and loss of predicted depth, after going backwards from the loss."""
    labels = depth_labels(depth_maps(arrays), config, case["config"]["downsample_factor"])
    loss = depth_loss(predicted, labels, case["config"]["loss_weight"])
    loss.backward()
    return {"labels": labels.permute(0, 2, 3, 1).flatten(0, 2), "loss": loss.reshape(1)}


def summed(losses: Mapping[str, Tensor], names: Sequence[str]) -> Outputs:
    assert sorted(losses) == sorted(names)
    values = torch.stack([losses[name] for name in names])
    return {"losses": values, "total": values.sum().reshape(1)}


def gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def encode_published(boxes: Tensor) -> Tensor:
    """Encode (N, 9) cx, cy, cz, w, l, h, yaw, vx, vy, with yaw as the published models count it."""
    heading = heading_from_code_yaw(boxes[:, 6], "mmdet3d")
    return encode_boxes(boxes[:, :3], boxes[:, [4, 3, 5]], heading, boxes[:, 7:9], "mmdet3d")


def published_targets(arrays: Arrays, suffix: str) -> tuple[Tensor, Tensor]:
    """Return codes and labels of boxes that are given by the centre of their bottom."""
    boxes = arrays[f"in.gt_boxes{suffix}"].clone()
    boxes[:, 2] += boxes[:, 5] / 2
    return encode_published(boxes), arrays[f"in.gt_labels{suffix}"]


def set_prediction_loss(config: Mapping[str, Any]) -> SetPredictionLoss:
    """Return the loss of a case; a case that says the weights are those of another one is read there."""
    if "same_weights_as" in config:
        return set_prediction_loss(other_case(config["same_weights_as"])[0]["config"])
    published = SetPredictionLoss()
    focal = {
        name: number_after(config.get("loss_cls", ""), name, default)
        for name, default in (("alpha", published.alpha), ("gamma", published.gamma))
    }
    return SetPredictionLoss(
        MatchWeights(
            class_cost=config.get("cost_cls", published.matching.class_cost),
            box_cost=config.get("cost_reg", published.matching.box_cost),
            num_code_numbers=config.get("cost_reg_dims", published.matching.num_code_numbers),
            **focal,
        ),
        class_weight=number_after(config.get("loss_cls", ""), "weight", published.class_weight),
        box_weight=number_after(config.get("loss_bbox", ""), "weight", published.box_weight),
        code_weights=tuple(config.get("code_weights", published.code_weights)),
        background_weight=config.get("bg_cls_weight", published.background_weight),
        **focal,
    )


def number_after(text: str, word: str, default: float) -> float:
    found = re.search(rf"{word} ([\d.]+)", text)
    return float(found[1]) if found else default


def depth_config(config: Mapping[str, Any], num_codes: int | None = None) -> DepthConfig:
    """Return the bins of a case; fewer codes than bins are three equal groups of growing codes, as published."""
    nearest, farthest, step = config["d_bound"]
    num_bins = config.get("bins") or round((farthest - nearest) / step)
    bins_per_code: tuple[int, ...] = ()
    if num_codes not in (None, num_bins):
        sizes = config.get("group_sizes", (2, 4, 8))
        bins_per_code = tuple(size for size in sizes for _ in range(num_codes // len(sizes)))
    return DepthConfig(
        source="aspp",
        num_bins=num_bins,
        range=(nearest, farthest),
        level=config.get("depth_level", 0),
        channels=config.get("mid_channels", config.get("depth_mid", 0)),
        bins_per_code=bins_per_code,
        repeats_code_probability=True,
        bin_tolerance=config.get("max_tol", 0),
    )


def depth_maps(arrays: Arrays) -> Tensor:
    """Return the depth maps of all cameras, (N, H, W)."""
    maps = arrays["in.depth_map"]
    return maps.reshape(-1, *maps.shape[-2:])


def published_parameters(detector: nn.Module, arrays: Arrays) -> dict[str, nn.Parameter]:
    """Return the parameters of the detector by the published names of the weights of a case."""
    ours = dict(detector.named_parameters())
    names = {published: our_key(published) for published in weights_of(arrays)}
    return {published: ours[name] for published, name in names.items() if name in ours}


def other_case(reference: str) -> tuple[Case, Arrays]:
    """Return the case, and its arrays, whose name stands in `reference`; from the folder that the runner reads."""
    here = Path(__file__).parent
    shared = Path(os.environ.get("LIFT3D_SHARED_DIR", here.parents[1].parent / "shared"))
    folder = Path(os.environ.get("LIFT3D_PARITY_DIR", shared / "parity")) / "dfa3d"
    cases = {case["name"]: case for case in json.loads((folder / "INDEX.json").read_text())["cases"]}
    name = next(word for word in re.findall(r"\w+", reference) if word in cases)
    with np.load(folder / f"{name}.npz") as archive:
        return cases[name], {key: torch.tensor(np.asarray(archive[key])) for key in archive.files}
