"""Names of the published weights of OpenLRM and TripoSR and of our modules; imports no torch.

Source: key tables of the published models (fact sheet LRM, section 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from lift3d_ros.models.backbones.vit_keys import DINO_NAMES
from lift3d_ros.models.renaming import Renaming

Layout = Literal["openlrm-1.0", "openlrm-1.1", "triposr"]
# Beginnings of names, published and ours; '#' is the same number in both.
_Beginnings = tuple[tuple[str, str], ...]

LAYOUTS: Mapping[str, Layout] = {
    "openlrm-small-1.0": "openlrm-1.0",
    "openlrm-base-1.0": "openlrm-1.0",
    "openlrm-large-1.0": "openlrm-1.0",
    "openlrm-small-1.1": "openlrm-1.1",
    "openlrm-base-1.1": "openlrm-1.1",
    "openlrm-large-1.1": "openlrm-1.1",
    "triposr": "triposr",
}
"""Published configurations, and the layout of names that their weights have."""


def _dino(model: str) -> _Beginnings:
    """Return the names of a DINO encoder in the layout of transformers 4."""
    layer = model + "encoder.layer.#."
    return (
        (model + "embeddings.cls_token", "encoder.class_token"),
        (model + "embeddings.position_embeddings", "encoder.position_table"),
        (model + "embeddings.patch_embeddings.projection.", "encoder.patch_embedding."),
        (layer + "attention.attention.query.", "encoder.blocks.#.attention.query."),
        (layer + "attention.attention.key.", "encoder.blocks.#.attention.key."),
        (layer + "attention.attention.value.", "encoder.blocks.#.attention.value."),
        (layer + "attention.output.dense.", "encoder.blocks.#.attention.output."),
        (layer + "intermediate.dense.", "encoder.blocks.#.feed_forward.first."),
        (layer + "output.dense.", "encoder.blocks.#.feed_forward.second."),
        (layer + "layernorm_before.", "encoder.blocks.#.norm1."),
        (layer + "layernorm_after.", "encoder.blocks.#.norm2."),
        (model + "layernorm.", "encoder.norm."),
    )


_DINOV2: _Beginnings = tuple(("encoder.model." + published, "encoder." + ours) for published, ours in DINO_NAMES)


def _conditioned_norm(published: str, ours: str) -> _Beginnings:
    # The longer of our names first: the shorter one begins it.
    return ((published + "mlp.1.", ours + "shift_scale."), (published + "norm.", ours))


_LAYER, _BLOCK = "transformer.layers.#.", "decoder.transformer.blocks.#."
_OPENLRM: _Beginnings = (
    ("camera_embedder.mlp.", "camera_embedding."),
    *_conditioned_norm(_LAYER + "norm1.", _BLOCK + "picture_norm."),
    (_LAYER + "cross_attn.in_proj_weight", _BLOCK + "picture_attention.qkv.weight"),
    (_LAYER + "cross_attn.q_proj_weight", _BLOCK + "picture_attention.query.weight"),
    (_LAYER + "cross_attn.k_proj_weight", _BLOCK + "picture_attention.key.weight"),
    (_LAYER + "cross_attn.v_proj_weight", _BLOCK + "picture_attention.value.weight"),
    (_LAYER + "cross_attn.out_proj.", _BLOCK + "picture_attention.output."),
    *_conditioned_norm(_LAYER + "norm2.", _BLOCK + "token_norm."),
    (_LAYER + "self_attn.in_proj_weight", _BLOCK + "token_attention.qkv.weight"),
    (_LAYER + "self_attn.out_proj.", _BLOCK + "token_attention.output."),
    *_conditioned_norm(_LAYER + "norm3.", _BLOCK + "feed_forward_norm."),
    (_LAYER + "mlp.0.", _BLOCK + "feed_forward.first."),
    (_LAYER + "mlp.3.", _BLOCK + "feed_forward.second."),
    ("transformer.norm.", "decoder.transformer.norm."),
    ("synthesizer.decoder.net.", "field.layers."),
)

_TRIPO_BLOCK = "backbone.transformer_blocks.#."
_TRIPOSR: _Beginnings = (
    ("tokenizer.embeddings", "decoder.tokens"),
    ("backbone.norm.", "decoder.transformer.group_norm."),
    ("backbone.proj_in.", "decoder.transformer.first_projection."),
    (_TRIPO_BLOCK + "norm1.", _BLOCK + "token_norm."),
    (_TRIPO_BLOCK + "attn1.to_q.", _BLOCK + "token_attention.query."),
    (_TRIPO_BLOCK + "attn1.to_k.", _BLOCK + "token_attention.key."),
    (_TRIPO_BLOCK + "attn1.to_v.", _BLOCK + "token_attention.value."),
    (_TRIPO_BLOCK + "attn1.to_out.0.", _BLOCK + "token_attention.output."),
    (_TRIPO_BLOCK + "norm2.", _BLOCK + "picture_norm."),
    (_TRIPO_BLOCK + "attn2.to_q.", _BLOCK + "picture_attention.query."),
    (_TRIPO_BLOCK + "attn2.to_k.", _BLOCK + "picture_attention.key."),
    (_TRIPO_BLOCK + "attn2.to_v.", _BLOCK + "picture_attention.value."),
    (_TRIPO_BLOCK + "attn2.to_out.0.", _BLOCK + "picture_attention.output."),
    (_TRIPO_BLOCK + "norm3.", _BLOCK + "feed_forward_norm."),
    (_TRIPO_BLOCK + "ff.net.0.proj.", _BLOCK + "feed_forward.first."),
    (_TRIPO_BLOCK + "ff.net.2.", _BLOCK + "feed_forward.second."),
    ("backbone.proj_out.", "decoder.transformer.last_projection."),
    ("post_processor.upsample.", "decoder.upsampler."),
    ("decoder.layers.", "field.layers."),
)

_NAMES: Mapping[Layout, Renaming] = {
    "openlrm-1.0": Renaming(
        (
            ("transformer.pos_embed", "decoder.tokens"),
            ("transformer.deconv.", "decoder.upsampler."),
            *_dino("encoder.model."),
            *_OPENLRM,
        )
    ),
    "openlrm-1.1": Renaming(
        (("pos_embed", "decoder.tokens"), ("upsampler.", "decoder.upsampler."), *_DINOV2, *_OPENLRM)
    ),
    "triposr": Renaming((*_dino("image_tokenizer.model."), *_TRIPOSR)),
}


def our_key(published: str, layout: Layout) -> str | None:
    """Return our name of a published key, None for a name that this layout does not have."""
    return _NAMES[layout].ours(published)


def published_key(ours: str, layout: Layout) -> str | None:
    """Return the published name of one of our weights, None where the layout has none."""
    return _NAMES[layout].published(ours)


def is_known_surplus(published: str) -> bool:
    """Return whether a published key is stored but takes no part in the output: the pooler of TripoSR's encoder."""
    return published.startswith("image_tokenizer.model.pooler.")
