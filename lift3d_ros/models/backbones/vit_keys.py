"""Names of the published weights of DINO and DINOv2, and of our vision transformer; imports no torch.

Source: key tables of the published models (fact sheet LRM, sections 1 and 3).
"""

from __future__ import annotations

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
