"""Names of the published weights of DINO and DINOv2, and of our vision transformer; imports no torch.

Source: key tables of the published models (fact sheet LRM, sections 1 and 3).
"""

from __future__ import annotations

from collections.abc import Iterable

from lift3d_ros.models.renaming import Renaming

DINO_NAMES = (
    ("cls_token", "class_token"),
    ("pos_embed", "position_table"),
    ("register_tokens", "register_tokens"),
    ("patch_embed.proj.", "patch_embedding."),
    ("blocks.#.norm1.", "blocks.#.norm1."),
    ("blocks.#.attn.qkv.", "blocks.#.attention.qkv."),
    ("blocks.#.attn.proj.", "blocks.#.attention.output."),
    ("blocks.#.ls1.gamma", "blocks.#.scale1"),
    ("blocks.#.norm2.", "blocks.#.norm2."),
    ("blocks.#.mlp.fc1.", "blocks.#.feed_forward.first."),
    ("blocks.#.mlp.fc2.", "blocks.#.feed_forward.second."),
    ("blocks.#.ls2.gamma", "blocks.#.scale2"),
    ("norm.", "norm."),
)
"""Beginnings of names, published and ours, see :class:`lift3d_ros.models.renaming.Renaming`."""

DINO_SIGNS = ("cls_token", "pos_embed", "patch_embed.proj.weight")
"""Names that the weights of every DINO and DINOv2 have."""

# DINOv2 stores a token that only its own training reads.
_UNREAD = "mask_token"


def our_dino_names(published: Iterable[str]) -> dict[str, str]:
    """Return published name -> ours, without what the network does not read; unknown names stay as they are."""
    names = Renaming(DINO_NAMES)
    return {name: names.ours(name) or name for name in published if name != _UNREAD}
