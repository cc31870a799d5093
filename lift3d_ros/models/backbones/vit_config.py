"""Facts of a vision transformer that encodes a picture; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_HEAD_WIDTH = 64  # of every published one


@dataclass(frozen=True)
class VitConfig:
    """Configuration of :class:`lift3d_ros.models.backbones.vit.VisionTransformer`.

    Args:
        patch_size: side of a patch, px.
        table_side: patches along a side of the picture that the learned position table was made for.
        num_registers: extra tokens after the class token, which have no position and are not handed on.
        norm_eps: of every layer norm; 1e-12 in weights of DINO that were stored in the layout of transformers 4.
        has_layer_scale: both residual branches are multiplied by a learned vector (DINOv2).
        fuses_projections: queries, keys and values come from one matrix (DINOv2), else from three (DINO).
        table_offset: the table is resized by the factor (patches + offset) / table side, which moves the positions a
            little: 0.1 in DINO and in DINOv2 without registers, 0 with registers.
        antialiases_table: widens the kernel where the table is shrunk (DINOv2 with registers).
        modulation_width: numbers of a condition that shifts and scales both norms of each block; 0 for plain norms.
    """

    width: int = 384
    depth: int = 12
    num_heads: int = 6
    patch_size: int = 14
    table_side: int = 37
    num_registers: int = 0
    norm_eps: float = 1e-6
    has_layer_scale: bool = True
    fuses_projections: bool = True
    table_offset: float = 0.1
    antialiases_table: bool = False
    modulation_width: int = 0


def dino_base() -> VitConfig:
    """Return DINO ViT-B/16 (fact sheet LRM, section 3.1)."""
    return VitConfig(768, 12, 12, 16, 14, norm_eps=1e-12, has_layer_scale=False, fuses_projections=False)


def dinov2(width: int, num_heads: int, *, has_registers: bool) -> VitConfig:
    """Return DINOv2 with patches of 14 px and 12 blocks, by its width: 384 small, 768 base (section 3.2)."""
    if has_registers:
        return VitConfig(width, num_heads=num_heads, num_registers=4, table_offset=0.0, antialiases_table=True)
    return VitConfig(width, num_heads=num_heads)


def dino_config(shapes: Mapping[str, tuple[int, ...]]) -> VitConfig:
    """Return the configuration of a published DINO or DINOv2, which the shapes of its weights tell.

    Args:
        shapes: published name -> shape; has the names of ``vit_keys.DINO_SIGNS``.
    """
    width, _, patch_size, _ = shapes["patch_embed.proj.weight"]
    registers = shapes["register_tokens"][1] if "register_tokens" in shapes else 0
    return VitConfig(
        width,
        len({name.split(".")[1] for name in shapes if name.startswith("blocks.")}),
        max(1, width // _HEAD_WIDTH),
        patch_size,
        round((shapes["pos_embed"][1] - 1) ** 0.5),
        registers,
        has_layer_scale="blocks.0.ls1.gamma" in shapes,
        table_offset=0.0 if registers else 0.1,
        antialiases_table=registers > 0,
    )
