"""How the modules and networks of I2P-MAE are run for the numeric cases; every size comes from the case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from published_weights import weights_of
from torch import Tensor, nn

from lift3d_ros.models.i2p_mae.build import PointNetwork, build
from lift3d_ros.models.i2p_mae.config import (
    ClassificationConfig,
    EncoderConfig,
    Head,
    I2pMaeConfig,
    MaskConfig,
    ReconstructionConfig,
    TokenConfig,
)
from lift3d_ros.models.i2p_mae.embedding import GroupEmbedding
from lift3d_ros.models.i2p_mae.encoder import PointEncoder
from lift3d_ros.models.i2p_mae.guidance import ask_teacher
from lift3d_ros.models.i2p_mae.heads import PointFeatureNetwork, pool_tokens
from lift3d_ros.models.i2p_mae.losses import classification_loss, feature_loss, point_loss
from lift3d_ros.models.i2p_mae.masking import draw_masks, mask_finer_scales, unused_tokens
from lift3d_ros.models.i2p_mae.propagation import PointPropagation, TokenPropagation
from lift3d_ros.models.i2p_mae.published_keys import our_key
from lift3d_ros.models.i2p_mae.reconstruction import PointAutoencoder
from lift3d_ros.models.i2p_mae.teacher import ClipVisionTransformer
from lift3d_ros.models.i2p_mae.tokenizer import group_scales
from lift3d_ros.models.i2p_mae.transformer import Attention, Position, Stack, excluded_by_radius

Case = Mapping[str, Any]
Arrays = Mapping[str, Tensor]
Result = dict[str, Tensor]


def find_runner(name: str) -> Callable[[Case, Arrays], Result] | None:
    """Return the runner of a case, None for cases of other files."""
    return {
        "token_embed_scale1": run_embedding,
        "token_embed_merge": run_embedding,
        "attention_masked": run_attention,
        "encoder_block_local": run_local_stack,
        "encoder_pretrain_masked": run_masked_encoder,
        "svm_features": run_features,
        "feature_propagation": run_token_propagation,
        "feature_propagation_single": run_token_propagation,
        "decoder_block": run_decoder_stack,
        "partseg_propagation": run_point_propagation,
        "clip_visual_tiny": run_teacher,
        "pretrain_forward": run_pretraining,
        "point_m2ae_pretrain": run_point_m2ae,
        "classifier_modelnet40": run_classifier,
        "classifier_scanobjectnn": run_classifier,
    }.get(name)


def load(
    module: nn.Module, arrays: Arrays, full_name: str = "", our_prefix: str = "", skipped: str = "clip_model."
) -> None:
    """Load every weight of a case strictly, batch norm counters apart.

    Args:
        full_name: what stands before the names of the case in a whole checkpoint.
        our_prefix: what stands before the names of `module` in our networks.
        skipped: names of the case that belong to another module.
    """
    state = {}
    for name, tensor in weights_of(arrays).items():
        if name.startswith(skipped):
            continue
        ours = our_key(full_name + name)
        assert ours is not None, f"{name} has no name of ours"
        assert ours.startswith(our_prefix), ours
        state[ours.removeprefix(our_prefix)] = tensor
    load_strictly(module, state)


def load_strictly(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    missing, unexpected = module.load_state_dict(dict(state), strict=False)
    assert not unexpected, unexpected
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    assert not missing, missing
    module.eval()


def config_of(case: Case, head: Head = "none", **changes: Any) -> I2pMaeConfig:
    numbers = case["config"]
    encoder = EncoderConfig(
        dims=tuple(numbers["encoder_dims"]),
        depths=tuple(numbers["encoder_depths"]),
        num_heads=numbers["num_heads"],
        local_radii=tuple(float(radius) for radius in numbers["local_radius"]),
        has_norms=head != "classification",
        drops_unused_tokens=True,
    )
    tokens = TokenConfig(tuple(numbers["num_groups"]), tuple(numbers["group_sizes"]), skips_near_origin=True)
    masks = MaskConfig(numbers.get("mask_ratio", 0.8), normalises_saliency=False, reveals_first_token=True)
    if head == "classification":
        encoder = EncoderConfig(**{**vars(encoder), "drops_unused_tokens": False})
    return I2pMaeConfig(head=head, tokens=tokens, encoder=encoder, masks=masks, **changes)


def run_embedding(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    dims = (128, 256, 512) if numbers["in_c"] == 3 else (numbers["in_c"], numbers["in_c"], numbers["out_c"])
    module = GroupEmbedding(numbers["in_c"], dims, numbers["out_c"])
    load(module, arrays, "h_encoder.token_embed.0.", "encoder.embeddings.0.")
    groups = arrays["in.groups"].clone().requires_grad_()
    tokens = module(groups)
    tokens.square().sum().backward()
    return {"tokens": tokens, "grad_groups": groups.grad}


def run_attention(case: Case, arrays: Arrays) -> Result:
    module = Attention(case["config"]["dim"], case["config"]["num_heads"])
    block = "h_decoder.0.blocks.0.attn."
    load(module, arrays, block, "decoder.stacks.0.blocks.0.attn.")
    return {"y": module(arrays["in.x"], arrays["in.mask"]), "y_nomask": module(arrays["in.x"])}


def run_local_stack(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    stack = Stack(numbers["dim"], numbers["num_heads"], int(numbers["mlp_ratio"]), (0.0,) * numbers["depth"])
    position = Position(numbers["dim"])
    weights = weights_of(arrays)
    for module, prefix in ((stack, "encoder_blocks."), (position, "encoder_pos_embeds.")):
        load_strictly(module, {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
    excluded = excluded_by_radius(arrays["in.xyz"], numbers["local_radius"])
    at = position(arrays["in.xyz"])
    return {"mask": excluded, "pos": at, "y": stack(arrays["in.x"], at, excluded)}


def run_decoder_stack(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    stack = Stack(numbers["dim"], numbers["num_heads"], int(numbers["mlp_ratio"]), (0.0,) * numbers["depth"])
    load(stack, arrays, "h_decoder.0.", "decoder.stacks.0.")
    x = arrays["in.x"].clone().requires_grad_()
    y = stack(x, arrays["in.pos"])
    y.square().sum().backward()
    return {"y": y, "grad_x": x.grad}


def run_masked_encoder(case: Case, arrays: Arrays) -> Result:
    config = config_of(case)
    encoder = PointEncoder(config.encoder)
    load(encoder, arrays, "h_encoder.", "encoder.")
    scales = group_scales(arrays["in.xyz"], config.tokens)
    masks = mask_finer_scales(arrays["in.top_mask"], [groups.neighbours for groups in scales], reveals_first_token=True)
    result = {}
    packed = encoder(scales, masks, is_packed=True)
    for scale, (tokens, mask) in enumerate(zip(encoder(scales, masks), masks, strict=True)):
        torch.testing.assert_close(packed[scale], tokens, atol=2e-6, rtol=1e-5)
        order = torch.argsort(mask.to(torch.uint8), dim=1, stable=True)[:, : int((~mask).sum(1).max())]
        result[f"x_vis_{scale}"] = tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[2]))
        result[f"valid_{scale}"] = ~mask.gather(1, order)
        result[f"mask_{scale}"] = mask
    return result


def run_features(case: Case, arrays: Arrays) -> Result:
    config = config_of(case)
    network = PointFeatureNetwork(config)
    load(network, arrays)
    scales = group_scales(arrays["in.xyz"], config.tokens)
    feature, tokens = network(scales)
    masks = unused_tokens(scales)
    return {
        "tokens": tokens, "feature": feature, "feature_mean_plus_max": pool_tokens([tokens], "mean_plus_max"),
        "mask_0": masks[0], "mask_1": masks[1],
    }  # fmt: skip


def run_token_propagation(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    module = TokenPropagation(numbers["in_channel"], numbers["out_channel"], numbers["blocks"])
    load(module, arrays, "token_prop.0.", "decoder.propagations.0.")
    skip, tokens = (arrays[f"in.points{side}"].clone().requires_grad_() for side in (1, 2))
    y = module(arrays["in.xyz1"], arrays["in.xyz2"], skip, tokens)
    y.square().sum().backward()
    return {"y": y, "grad_points1": skip.grad, "grad_points2": tokens.grad}


def run_point_propagation(case: Case, arrays: Arrays) -> Result:
    module = PointPropagation(case["config"]["in_channel"], tuple(case["config"]["mlp"]))
    load(module, arrays, "propagations.0.", "head.propagations.0.")
    y = module(arrays["in.xyz"], arrays["in.centers"], arrays["in.feat"].transpose(1, 2))
    return {"y": y.transpose(1, 2)}


def teacher_of(numbers: Case, arrays: Arrays, prefix: str) -> ClipVisionTransformer:
    teacher = ClipVisionTransformer(
        numbers["input_resolution"], numbers["patch_size"], numbers["width"], numbers["layers"], numbers["heads"],
        numbers["output_dim"],
    )  # fmt: skip
    weights = weights_of(arrays)
    load_strictly(teacher, {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
    return teacher


def run_teacher(case: Case, arrays: Arrays) -> Result:
    teacher = teacher_of(case["config"], arrays, "visual.")
    features, saliency = teacher(arrays["in.image"])
    tokens, attention = teacher.encode(arrays["in.image"])
    return {"feat": features, "saliency": saliency, "attention": attention, "cls": tokens[:, 0]}


def network_of(case: Case, arrays: Arrays, head: Head, **changes: Any) -> PointNetwork:
    network = build(config_of(case, head, **changes))
    load(network, arrays)
    return network


def decoder_of(case: Case, teacher_dims: int, num_points: int) -> ReconstructionConfig:
    numbers = case["config"]
    return ReconstructionConfig(
        tuple(numbers["decoder_dims"]), tuple(numbers["decoder_depths"]), numbers["decoder_up_blocks"][0], num_points,
        teacher_dims,
    )  # fmt: skip


def run_pretraining(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    decoder = decoder_of(case, numbers["feat_dim_2d"], numbers["group_sizes"][1])
    network = network_of(case, arrays, "reconstruction", reconstruction=decoder)
    assert isinstance(network, PointAutoencoder)
    masks_config, points = network.config.masks, arrays["in.xyz"]
    guidance = ask_teacher(points, teacher_of(numbers["teacher"], arrays, "clip_model.visual."))
    scales = group_scales(points, network.config.tokens)
    saliency = guidance.saliency_at(scales[-1].centers)
    drawn = draw_masks(saliency, arrays["in.gumbel"], masks_config)
    masks = mask_finer_scales(
        drawn.masked, [groups.neighbours for groups in scales], reveals_first_token=masks_config.reveals_first_token
    )
    found = network(scales, masks)
    losses = (point_loss(found, scales[1]), feature_loss(found, scales[1], guidance))
    sum(losses).backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    result = {"saliency": saliency, "decoded": found.decoded, "rec_3d": found.points, "rec_2d": found.features}
    result |= {f"mask_{scale}": mask for scale, mask in enumerate(masks)}
    for output in case["outputs"]:
        if output["name"].startswith("grad."):
            result[output["name"]] = gradients[our_key(output["name"].removeprefix("grad."))]
    return {**result, "loss_3d": losses[0], "loss_2d": losses[1]}


def run_point_m2ae(case: Case, arrays: Arrays) -> Result:
    decoder = decoder_of(case, 0, case["config"]["group_sizes"][0])
    network = network_of(case, arrays, "reconstruction", reconstruction=decoder)
    assert isinstance(network, PointAutoencoder)
    scales = group_scales(arrays["in.xyz"], network.config.tokens)
    masks = mask_finer_scales(arrays["in.top_mask"], [groups.neighbours for groups in scales], reveals_first_token=True)
    loss = point_loss(network(scales, masks), scales[1])
    loss.backward()
    assert network.point_head.bias is not None
    return {
        "loss": loss,
        "svm_feature": pool_tokens(network.encoder(scales), "mean_plus_max"),
        "grad_mask_token": network.decoder.mask_token.grad,
        "grad_rec_head_bias": network.point_head.bias.grad,
    }


def run_classifier(case: Case, arrays: Arrays) -> Result:
    pooling = "sum" if "modelnet" in case["name"] else "concat"
    classes = arrays["out.logits"].shape[1]
    smoothing = case["config"].get("smooth", 0.0)
    head = ClassificationConfig(classes, pooling, label_smoothing=smoothing)
    network = network_of(case, arrays, "classification", classification=head)
    logits = network(group_scales(arrays["in.xyz"], config_of(case).tokens))
    return {"logits": logits, "loss": classification_loss(logits, arrays["in.label"], smoothing)}
