"""Names of the published checkpoints of I2P-MAE and Point-M2AE and of our modules; imports no torch.

Source: key tables of the published models (fact sheet I2P-MAE, sections 2 and 15).
"""

from __future__ import annotations

from lift3d_ros.models.i2p_mae.config import Head
from lift3d_ros.models.renaming import Renaming

_RESIDUAL = "token_prop.#.extraction.operation.#."
_OUR_RESIDUAL = "decoder.propagations.#.residuals.#."
_NAMES = Renaming(
    (
        ("h_encoder.token_embed.", "encoder.embeddings."),
        ("h_encoder.encoder_pos_embeds.", "encoder.positions."),
        ("h_encoder.encoder_blocks.", "encoder.stacks."),
        ("h_encoder.encoder_norms.", "encoder.norms."),
        ("mask_token", "decoder.mask_token"),
        ("h_decoder.", "decoder.stacks."),
        ("decoder_pos_embeds.", "decoder.positions."),
        ("decoder_norm.", "decoder.norm."),
        ("token_prop.#.fuse.net.", "decoder.propagations.#.fuse."),
        (_RESIDUAL + "net1.", _OUR_RESIDUAL + "first."),
        (_RESIDUAL + "net2.", _OUR_RESIDUAL + "second."),
        ("rec_head_3d.", "point_head."),  # I2P-MAE
        ("rec_head.", "point_head."),  # Point-M2AE
        ("rec_head_2d.", "semantic_head."),
        ("norm.", "head.norm."),
        ("cls_head_finetune.", "head.layers."),
        ("label_conv.", "head.category."),
        ("propagations.#.mlp_convs.", "head.propagations.#.convs."),
        ("propagations.#.mlp_bns.", "head.propagations.#.norms."),
        # Counted from one there.
        *((f"convs{number + 1}.", f"head.convs.{number}.") for number in range(4)),
        *((f"bns{number + 1}.", f"head.norms.{number}.") for number in range(3)),
    )
)
_TEACHER = "clip_model."
_DECODER = ("mask_token", "h_decoder.", "decoder_pos_embeds.", "decoder_norm.", "token_prop.", "rec_head")


def our_key(published: str) -> str | None:
    """Return our name of a published key, None for a name that no published model has."""
    return _NAMES.ours(published)


def published_key(ours: str) -> str | None:
    """Return the published name of one of our weights, None where no published model has it.

    The point head goes by its name in I2P-MAE; that of Point-M2AE is ``rec_head``.
    """
    return _NAMES.published(ours)


def is_known_surplus(published: str, head: Head) -> bool:
    """Return whether a published key is stored but takes no part in the output of a network with that head.

    These are the weights of the teacher, and for a plain encoder those of the decoder.
    """
    return published.startswith(_TEACHER) or (head == "none" and published.startswith(_DECODER))
