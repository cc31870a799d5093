"""How encoders, blocks and whole networks of OpenLRM and TripoSR are run for the numeric cases.

Every size comes from the case.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from published_lrm import load_lrm
from torch import Tensor

from lift3d_ros.models.backbones.transformer import ConditionedNorm
from lift3d_ros.models.backbones.vit import VisionTransformer, VitBlock
from lift3d_ros.models.backbones.vit_config import VitConfig, dino_base, dinov2
from lift3d_ros.models.lrm.config import LrmConfig, ObjectImageConfig, TokenDecoderConfig, preset
from lift3d_ros.models.lrm.decoder import DecoderBlock, TokenTransformer, TriplaneDecoder
from lift3d_ros.models.lrm.network import Lrm, PictureInput
from lift3d_ros.models.lrm.object_image import resize_picture

Arrays = Mapping[str, Tensor]
Case = Mapping[str, Any]
Result = dict[str, Tensor]
Runner = Callable[[Case, Arrays], Result]


def find_runner(name: str) -> Runner | None:
    """Return the runner of a case, None for cases of other files."""
    return {
        "dino_vit_block": run_vit_block,
        "dino_vit_encoder": run_dino_encoder,
        "dinov2_block": run_vit_block,
        "dinov2_block_modulated": run_vit_block,
        "dinov2_reg_encoder": run_dinov2_encoder,
        "dinov2_plain_encoder": run_dinov2_encoder,
        "openlrm_modln": run_conditioned_norm,
        "openlrm_block_basic": run_openlrm_block,
        "openlrm_block_cond": run_openlrm_block,
        "openlrm_block_cond_mod": run_openlrm_block,
        "openlrm_block_cond_mod_same_width": run_openlrm_block,
        "openlrm_upsample": run_upsampling,
        "openlrm_image_to_planes": run_openlrm,
        "openlrm10_image_to_planes": run_openlrm,
        "triposr_image_tokenizer": run_image_tokenizer,
        "triposr_triplane_tokenizer": run_triplane_tokenizer,
        "triposr_block": run_triposr_block,
        "triposr_backbone": run_triposr_backbone,
        "triposr_upsample": run_upsampling,
        "triposr_image_to_planes": run_triposr,
    }.get(name)


def published(name: str) -> LrmConfig:
    config = preset(name)
    assert config is not None
    return config


def vit_config(numbers: Mapping[str, Any], base: VitConfig) -> VitConfig:
    """Return the encoder of a case: sizes of the case, and all habits of a published one."""
    sizes = {"width": numbers["dim"], "num_heads": numbers["heads"], "depth": numbers.get("depth", 1)}
    if "patch" in numbers:
        sizes |= {"patch_size": numbers["patch"], "table_side": numbers["table_side"]}
    return dataclasses.replace(base, **sizes, modulation_width=numbers.get("mod_dim", 0))


def run_vit_block(case: Case, arrays: Arrays) -> Result:
    is_dino = case["name"].startswith("dino_")
    base = dino_base() if is_dino else dinov2(384, 6, has_registers=True)
    block = VitBlock(vit_config(case["config"], base)).eval()
    if is_dino:
        load_lrm(block, arrays, "openlrm-1.0", "encoder.model.encoder.layer.0.", "encoder.blocks.0.")
        return {"y": block(arrays["in.x"])}
    renames = {}
    if "in.mod" in arrays:
        renames = {"norm1.norm.": "norm1.", "norm2.norm.": "norm2."}
        renames |= {f"norm{i}.mlp.1.": f"norm{i}.shift_scale." for i in (1, 2)}
    load_lrm(block, arrays, "openlrm-1.1", "encoder.model.blocks.0.", "encoder.blocks.0.", renames=renames)
    return {"y": block(arrays["in.x"], arrays.get("in.mod"))}


def run_dino_encoder(case: Case, arrays: Arrays) -> Result:
    encoder = VisionTransformer(vit_config(case["config"], dino_base())).eval()
    load_lrm(encoder, arrays, "openlrm-1.0", "encoder.model.", "encoder.")
    numbers = case["config"]
    normalise = picture_input(numbers["image_mean"], numbers["image_std"])
    rows, columns = (size // numbers["patch"] for size in arrays["in.image_large"].shape[2:])
    return {
        "tokens_native": encoder(normalise(arrays["in.image_native"])),
        "tokens_large": encoder(normalise(arrays["in.image_large"])),
        "pos_large": encoder.positions(rows, columns),
    }


def run_dinov2_encoder(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    encoder = VisionTransformer(vit_config(numbers, dinov2(384, 6, has_registers=numbers["registers"] > 0))).eval()
    load_lrm(encoder, arrays, "openlrm-1.1", "encoder.model.", "encoder.")
    result = {name.replace("in.image", "tokens"): encoder(array) for name, array in arrays.items() if "image" in name}
    if "in.image_small" in arrays:
        side = arrays["in.image_small"].shape[2] // numbers["patch"]
        result["pos_small"] = encoder.positions(side, side)
    return result


def picture_input(mean: Any, std: Any) -> Callable[[Tensor], Tensor]:
    """Return our normalisation of pictures with values 0..1."""
    module = PictureInput(ObjectImageConfig(mean=tuple(mean), std=tuple(std)))
    return lambda images: module(255.0 * images)


def run_conditioned_norm(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    norm = ConditionedNorm(numbers["dim"], numbers["eps"], numbers["mod_dim"])
    load_lrm(norm, arrays, "openlrm-1.1", "transformer.layers.0.norm1.", "decoder.transformer.blocks.0.picture_norm.")
    return {"y": norm(arrays["in.x"], arrays["in.mod"])}


def run_openlrm_block(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    config = dataclasses.replace(
        published("openlrm-base-1.1").decoder,
        width=numbers["inner_dim"],
        num_heads=numbers["num_heads"],
        norm_eps=numbers["eps"],
        camera_width=numbers.get("mod_dim", 0),
    )
    block = DecoderBlock(config, numbers.get("cond_dim")).eval()
    renames = {}
    if "cond_dim" not in numbers:  # without attention to a picture, norms are counted from the next
        renames = {"norm1.": "norm2.norm.", "norm2.": "norm3.norm."}
    elif "mod_dim" not in numbers:
        renames = {f"norm{i}.": f"norm{i}.norm." for i in (1, 2, 3)}
    load_lrm(block, arrays, "openlrm-1.1", "transformer.layers.0.", "decoder.transformer.blocks.0.", renames=renames)
    return {"y": block(arrays["in.x"], arrays.get("in.cond"), arrays.get("in.mod"))}


def run_upsampling(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    is_openlrm = case["name"].startswith("openlrm")
    width = numbers["dim"] if is_openlrm else numbers["in_channels"]
    side = numbers["low_res"] if is_openlrm else int(arrays["in.planes"].shape[-1])
    channels = numbers["triplane_dim"] if is_openlrm else numbers["out_channels"]
    config = TokenDecoderConfig(width, 0, 1, plane_side=side, channels=channels, fuses_projections=False)
    decoder = TriplaneDecoder(config, width)
    prefix = "" if is_openlrm else "post_processor."
    layout = "openlrm-1.1" if is_openlrm else "triposr"
    load_lrm(decoder, arrays, layout, prefix, "decoder.", leaves_out=("tokens", "transformer"))
    if is_openlrm:
        return {"planes": decoder.to_planes(arrays["in.tokens"])}
    return {"y": decoder.to_planes(arrays["in.planes"].permute(0, 1, 3, 4, 2).flatten(1, 3))}


def run_openlrm(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    is_first = case["name"].startswith("openlrm10")
    base = published("openlrm-base-1.0" if is_first else "openlrm-base-1.1")
    sizes = numbers["decoder"]
    decoder = dataclasses.replace(
        base.decoder,
        width=sizes["dim"],
        num_layers=sizes["layers"],
        num_heads=sizes["heads"],
        plane_side=sizes["low_res"],
        channels=sizes["triplane_dim"],
        camera_width=sizes["camera_embed_dim"],
    )
    config = dataclasses.replace(base, encoder=vit_config(numbers["encoder"], base.encoder), decoder=decoder)
    network = Lrm(config).eval()
    load_lrm(network, arrays, "openlrm-1.0" if is_first else "openlrm-1.1", leaves_out=("field.",))
    images = 255.0 * arrays["in.image"]
    picture = network.encoder(network.picture_input(images))
    camera = network.embed_cameras(arrays["in.camera"])
    tokens = network.decoder.transformer(network.decoder.initial_tokens(len(images)), picture, camera)
    return {
        "encoder_tokens": picture,
        "camera_embedding": camera,
        "tokens": tokens,
        "planes": network(images, arrays["in.camera"]),
    }


def run_image_tokenizer(case: Case, arrays: Arrays) -> Result:
    base = published("triposr")
    encoder = VisionTransformer(vit_config(case["config"], base.encoder)).eval()
    load_lrm(encoder, arrays, "triposr", "image_tokenizer.", "encoder.")
    images = arrays["in.image"]
    tokens = encoder(picture_input(base.image.mean, base.image.std)(images.flatten(0, 1)))
    return {"tokens": tokens.transpose(1, 2).unflatten(0, images.shape[:2])}


def run_triplane_tokenizer(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    config = dataclasses.replace(
        published("triposr").decoder,
        width=numbers["channels"],
        num_layers=0,
        plane_side=numbers["plane_size"],
        group_norm_groups=1,
    )
    decoder = TriplaneDecoder(config, 1)
    load_lrm(decoder, arrays, "triposr", "tokenizer.", "decoder.", leaves_out=("transformer", "upsampler"))
    # An upsampler that changes nothing shows how tokens are laid out.
    decoder.upsampler = torch.nn.ConvTranspose2d(1, 1, 1)
    decoder.upsampler.forward = lambda planes: planes
    return {
        "sequence": decoder.initial_tokens(len(arrays["in.tokens"])).transpose(1, 2),
        "planes": decoder.to_planes(arrays["in.tokens"].transpose(1, 2)),
    }


def triposr_decoder(numbers: Mapping[str, Any], **changes: Any) -> TokenDecoderConfig:
    base = published("triposr").decoder
    return dataclasses.replace(
        base, width=numbers["heads"] * numbers["head_dim"], num_heads=numbers["heads"], **changes
    )


def run_triposr_block(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    block = DecoderBlock(triposr_decoder(numbers, norm_eps=numbers["ln_eps"]), numbers["cross_dim"]).eval()
    load_lrm(block, arrays, "triposr", "backbone.transformer_blocks.0.", "decoder.transformer.blocks.0.")
    return {"y": block(arrays["in.x"], arrays["in.cond"])}


def run_triposr_backbone(case: Case, arrays: Arrays) -> Result:
    numbers = case["config"]
    config = triposr_decoder(numbers, num_layers=numbers["layers"], group_norm_groups=numbers["norm_groups"])
    transformer = TokenTransformer(config, numbers["cross_dim"]).eval()
    load_lrm(transformer, arrays, "triposr", "backbone.", "decoder.transformer.")
    return {"y": transformer(arrays["in.x"].transpose(1, 2), arrays["in.cond"]).transpose(1, 2)}


def run_triposr(case: Case, arrays: Arrays) -> Result:
    numbers, base = case["config"], published("triposr")
    sizes = numbers["backbone"]
    decoder = triposr_decoder(
        sizes,
        num_layers=sizes["layers"],
        plane_side=numbers["plane_size"],
        group_norm_groups=sizes["norm_groups"],
        channels=numbers["triplane_dim"],
    )
    image = dataclasses.replace(base.image, side=numbers["cond_image_size"])
    encoder = vit_config(numbers["encoder"], base.encoder)
    network = Lrm(dataclasses.replace(base, image=image, encoder=encoder, decoder=decoder)).eval()
    load_lrm(network, arrays, "triposr", leaves_out=("field.",))
    resized = torch.stack(
        [torch.tensor(resize_picture(picture.cpu().numpy(), image)) for picture in arrays["in.image"]]
    )
    return {"resized": resized, "planes": network(255.0 * resized.permute(0, 3, 1, 2))}
