"""How cameras, fields, rendering and preparation of OpenLRM and TripoSR are run for the numeric cases."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from published_lrm import load_lrm
from torch import Tensor, nn
from torch.nn import functional as F

from lift3d_ros.models.lrm.cameras import camera_numbers, look_at_origin, move_to_view, orbit
from lift3d_ros.models.lrm.config import FieldConfig, LrmConfig, RenderConfig, preset
from lift3d_ros.models.lrm.field import TriplaneField, sample_planes
from lift3d_ros.models.lrm.losses import plane_variation
from lift3d_ros.models.lrm.object_image import PixelBox, composite, pad_object, recentre_object, resize_picture
from lift3d_ros.models.lrm.rays import cross_cube, pixel_rays
from lift3d_ros.models.lrm.renderer import RayJitter, Rendering, importance_depths, render_rays

Arrays = Mapping[str, Tensor]
Case = Mapping[str, Any]
Result = dict[str, Tensor]
Runner = Callable[[Case, Arrays], Result]

BACK = 4.0


def find_runner(name: str) -> Runner | None:
    """Return the runner of a case, None for cases of other files."""
    return {
        "openlrm_camera": run_camera,
        "openlrm_triplane_sample": run_plane_sampling,
        "openlrm_field": run_openlrm_field,
        "openlrm_rays": run_openlrm_rays,
        "openlrm_render_coarse": run_openlrm_rendering,
        "openlrm_render_fine": run_openlrm_rendering,
        "openlrm_render_grad": run_openlrm_rendering,
        "openlrm_importance": run_importance,
        "openlrm_losses": run_losses,
        "triposr_field": run_triposr_field,
        "triposr_rays": run_triposr_rays,
        "triposr_render": run_triposr_rendering,
        "triposr_render_grad": run_triposr_rendering,
        "preprocess": run_preparation,
    }.get(name)


def published(name: str) -> LrmConfig:
    config = preset(name)
    assert config is not None
    return config


def flipped(poses: Tensor) -> Tensor:
    """Turn poses (V, 4, 4) between our axes and the published ones, which have y up and z backward."""
    return poses @ torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))


def opengl(poses: np.ndarray) -> Tensor:
    """Return our poses (V, 4, 4) as the published code has them, (V, 3, 4)."""
    return flipped(torch.tensor(poses, dtype=torch.float32))[:, :3]


def run_camera(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    poses = np.stack([look_at_origin(position) for position in arrays["in.positions"].cpu().numpy()])
    moved, moved_to_fixed = move_to_view(poses), move_to_view(poses, numbers["fixed_distance"])
    (fx, fy), (cx, cy), (width, height) = arrays["in.intrinsics"].double().cpu().numpy()
    K = np.array([[fx / width, 0, cx / width], [0, fy / height, cy / height], [0, 0, 1]])
    source = torch.tensor(camera_numbers(moved[0], K), dtype=torch.float32)[None]
    embedding = nn.Sequential(nn.Linear(16, numbers["embed_dim"]), nn.SiLU(), nn.Linear(*(numbers["embed_dim"],) * 2))
    load_lrm(embedding, arrays, "openlrm-1.1", "camera_embedder.", "camera_embedding.")
    whole = flipped(torch.tensor(moved, dtype=torch.float32))
    intrinsics = torch.tensor(K, dtype=torch.float32).expand(len(moved), 3, 3)
    azimuths = np.linspace(-0.5 * math.pi, 1.5 * math.pi, numbers["ring_views"])
    elevation = math.asin(numbers["ring_height"] / numbers["ring_radius"])
    return {
        "poses": opengl(poses),
        "poses_auto": opengl(moved),
        "poses_fixed": opengl(moved_to_fixed),
        "source_vector": source,
        "render_vectors": torch.cat([whole.flatten(1), intrinsics.flatten(1)], dim=1),
        "embedding": embedding(source),
        "ring": opengl(orbit(azimuths, elevation, numbers["ring_radius"])),
    }


def run_plane_sampling(case: Case, arrays: Arrays) -> Result:
    points = arrays["in.points"] / (0.5 * case["config"]["box_side"])
    axes = published("openlrm-base-1.1").field.plane_axes
    assert [list(pair) for pair in axes] == case["config"]["axes"]
    return {"features": sample_planes(arrays["in.planes"], points, axes)}


def grid_points(size: int, half_side: float) -> Tensor:
    axis = torch.linspace(-half_side, half_side, size)
    return torch.cartesian_prod(axis, axis, axis)


def openlrm_field(arrays: Arrays, channels: int) -> TriplaneField:
    field = TriplaneField(published("openlrm-base-1.1").field, channels)
    load_lrm(field, arrays, "openlrm-1.1", "synthesizer.decoder.", "field.")
    return field


def run_openlrm_field(case: Case, arrays: Arrays) -> Result:
    planes, size = arrays["in.planes"], case["config"]["grid_size"]
    field = openlrm_field(arrays, planes.shape[2])
    raw, color = field(planes, arrays["in.points"])
    density, _ = field.query(planes, grid_points(size, 1.0).expand(len(planes), -1, -1))
    return {
        "sigma_raw": raw[..., None],
        "rgb": color,
        "density": field.density(raw)[..., None],
        "grid_density": density.reshape(-1, size, size, size, 1),
    }


def run_openlrm_rays(case: Case, arrays: Arrays) -> Result:
    region, half_side = case["config"]["region"], 0.5 * case["config"]["box_side"]
    poses = flipped(arrays["in.cam2world"])
    views = []
    for index, size in enumerate(arrays["in.resolution"].flatten().tolist()):
        one = slice(index, index + 1)
        window, anchor = (region, region), arrays["in.anchor"][one]
        views.append(pixel_rays(poses[one], arrays["in.intrinsics"][one], (int(size), int(size)), window, anchor))
    origins, directions = (torch.cat(parts) for parts in zip(*views, strict=True))
    near, far = marked_cube(origins, directions, half_side)
    free_near, free_far = marked_cube(arrays["in.free_origin"], arrays["in.free_direction"], half_side)
    return {
        "origin": origins,
        "direction": directions,
        "near": near,
        "far": far,
        "free_near": free_near,
        "free_far": free_far,
    }


def marked_cube(origins: Tensor, directions: Tensor, half_side: float) -> tuple[Tensor, Tensor]:
    """Mark misses as the published code does: it also takes cubes that lie wholly behind the origin as hit."""
    near, far = cross_cube(origins, directions, half_side)
    return torch.where(near < far, near, -1.0), torch.where(near < far, far, -2.0)


def run_openlrm_rendering(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    planes = arrays["in.planes"].clone().requires_grad_()
    field = openlrm_field(arrays, numbers["triplane_dim"])
    config = RenderConfig(numbers["coarse"], numbers["fine"])
    first = arrays["in.u_coarse"]
    jitter = RayJitter(first, arrays.get("in.u_fine", first[..., :0]))
    background = arrays["in.background"][:, None, None]
    # The published renderer also sees what lies behind a camera: here, cameras stand farther back.
    origins = arrays["in.origin"] - BACK * arrays["in.direction"]
    found = render_rays(field, planes, origins, arrays["in.direction"], config, background, jitter)
    result = {"rgb": found.color, "weight": found.weight, "depth": published_depth(found, arrays, config)}
    if "in.grad_rgb" in arrays:
        loss = (found.color * arrays["in.grad_rgb"]).sum() + (found.weight * arrays["in.grad_weight"]).sum()
        result |= gradients(loss, planes, field, "net.")
    return result


def published_depth(found: Rendering, arrays: Arrays, config: RenderConfig) -> Tensor:
    """Give rays that meet nothing the largest sampled distance of the batch, as the published renderer does."""
    near, far = cross_cube(arrays["in.origin"], arrays["in.direction"], 1.0)
    steps = (torch.arange(config.num_samples) + arrays["in.u_coarse"]) / (config.num_samples - 1)
    farthest = (near[..., None] + steps * (far - near)[..., None])[near < far].max()
    return torch.where(found.depth.isnan(), farthest, found.depth - BACK)


def gradients(loss: Tensor, planes: Tensor, field: TriplaneField, prefix: str) -> Result:
    loss.backward()
    assert planes.grad is not None
    result = {"grad_planes": planes.grad}
    for name, parameter in field.layers.named_parameters():
        assert parameter.grad is not None
        result[f"grad_w.{prefix}{name}"] = parameter.grad
    return result


def run_importance(case: Case, arrays: Arrays) -> Result:
    return {"t_fine": importance_depths(arrays["in.t"], arrays["in.weights"], arrays["in.u"])}


def run_losses(case: Case, arrays: Arrays) -> Result:
    """The schedule is that of the published training; trainings of this package have their own."""
    numbers = case["config"]
    planes = arrays["in.planes"].clone().requires_grad_()
    variation = plane_variation(planes)
    variation.backward()
    assert planes.grad is not None
    base, start, warmup, end = (numbers[key] for key in ("base_lr", "initial_lr", "warmup", "max_iters"))
    rates = [
        start + (base - start) * step / warmup
        if step < warmup
        else 0.5 * base * (1.0 + math.cos(math.pi * (step - warmup) / (end - warmup)))
        for step in range(1, end + 1)
    ]
    return {
        "mse": F.mse_loss(arrays["in.pred"], arrays["in.target"]),
        "tv": variation,
        "grad_tv": planes.grad,
        "lr": 1e4 * torch.tensor(rates),
    }


def triposr_field(arrays: Arrays, numbers: Mapping[str, Any]) -> TriplaneField:
    config: FieldConfig = dataclasses.replace(
        published("triposr").field, hidden_width=numbers["neurons"], num_layers=numbers["hidden_layers"] + 1
    )
    assert config.half_side == numbers["radius"]
    field = TriplaneField(config, numbers["channels"])
    load_lrm(field, arrays, "triposr", "decoder.", "field.")
    return field


def run_triposr_field(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    planes, size = arrays["in.planes"][None], numbers["grid_size"]
    field = triposr_field(arrays, numbers)
    raw, color = field(planes, arrays["in.points"][None])
    features = torch.logit(color)  # the case also names colours before their activation
    density, _ = field.query(planes, grid_points(size, numbers["radius"])[None])
    return {
        "density_raw": raw[0, :, None],
        "features": features[0],
        "density": field.density(raw)[0, :, None],
        "color": color[0],
        "grid_density": density.reshape(size, size, size),
    }


def run_triposr_rays(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    rows, columns = size = numbers["height"], numbers["width"]
    azimuths = np.linspace(0.0, 2.0 * math.pi, numbers["views"], endpoint=False)
    poses = torch.tensor(orbit(azimuths, math.radians(numbers["elevation_deg"]), numbers["distance"])).float()
    focal = 0.5 * rows / math.tan(math.radians(0.5 * numbers["fovy_deg"]))
    intrinsics = torch.tensor([[focal / columns, 0.0, 0.5], [0.0, focal / rows, 0.5], [0.0, 0.0, 1.0]])
    origins, directions = pixel_rays(poses, intrinsics.expand(len(poses), 3, 3), size)
    render = published("triposr").render
    near, far = cross_cube(origins, directions, numbers["radius"] * (1.0 - render.shrinks_cube))
    near = near.clamp(min=0.0)
    valid = far - near > numbers["valid_threshold"]
    result = {
        "origin": origins,
        "direction": directions,
        "near": torch.where(valid, near, 0.0),
        "far": torch.where(valid, far, 0.0),
        "valid": valid,
    }
    return {name: tensor.unflatten(1, size) for name, tensor in result.items()}


def run_triposr_rendering(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    planes = arrays["in.planes"].clone().requires_grad_()
    field = triposr_field(arrays, numbers)
    config = dataclasses.replace(published("triposr").render, num_samples=numbers["samples"])
    assert (config.shrinks_cube, config.shortest_chord) == (numbers["box_shrink"], numbers["valid_threshold"])
    found = render_rays(field, planes[None], arrays["in.origin"][None], arrays["in.direction"][None], config)
    result = {"rgb": found.color[0], "valid": found.hits_cube[0]}
    if "in.grad_rgb" in arrays:
        result |= gradients((found.color[0] * arrays["in.grad_rgb"]).sum(), planes, field, "layers.")
    return result


def run_preparation(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    rgba = arrays["in.rgba"].cpu().numpy()
    rows, columns = np.nonzero(rgba[..., 3])
    # The published code leaves out the last row and column of the object.
    box = PixelBox(int(rows.min()), int(columns.min()), int(rows.max()), int(columns.max()))
    tripo = dataclasses.replace(published("triposr").image, side=numbers["triposr"]["size"])
    foreground = pad_object(rgba, box, numbers["triposr"]["ratio"])
    grey = (255.0 * composite(foreground, numbers["triposr"]["background"])).astype(np.uint8)
    lrm = dataclasses.replace(published("openlrm-base-1.1").image, side=numbers["openlrm"]["size"])
    recentred = recentre_object(
        rgba, box, numbers["openlrm"]["recentre_square"], 1.0 - numbers["openlrm"]["border_ratio"]
    )
    white = resize_picture(composite(rgba, lrm.background), lrm)
    return {
        "triposr_foreground": torch.tensor(foreground),
        "triposr_grey": torch.tensor(grey),
        "triposr_input": torch.tensor(resize_picture(grey.astype(np.float32) / 255.0, tripo)),
        "openlrm_recentred": torch.tensor(recentred),
        "openlrm_input": torch.tensor(white.transpose(2, 0, 1))[None],
    }
