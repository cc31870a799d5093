"""Names of the published checkpoints and of our modules; imports no torch.

Source: key tables of the published configurations (fact sheet DFA3D, section 19).
"""

from __future__ import annotations

from lift3d_ros.models.renaming import Renaming

_TRANSFORMER = "pts_bbox_head.transformer."
_NAMES = Renaming(
    (
        ("img_backbone.", "backbone."),
        ("img_neck.lateral_convs.#.conv.", "neck.lateral_convs.#."),
        ("img_neck.fpn_convs.#.conv.", "neck.fpn_convs.#."),
        ("pts_dpt_head.", "depth_head."),
        (_TRANSFORMER + "cams_embeds", "camera_embedding.weight"),
        (_TRANSFORMER + "level_embeds", "level_embedding"),
        (_TRANSFORMER + "can_bus_mlp.", "can_bus_embedding."),
        (_TRANSFORMER + "reference_points.", "decoder.reference_points."),
        (_TRANSFORMER + "encoder.layers.#.attentions.0.", "encoder.#.temporal."),
        (_TRANSFORMER + "encoder.layers.#.attentions.1.", "encoder.#.spatial."),
        (_TRANSFORMER + "encoder.layers.#.ffns.0.layers.0.0.", "encoder.#.ffn.0."),
        (_TRANSFORMER + "encoder.layers.#.ffns.0.layers.1.", "encoder.#.ffn.3."),
        (_TRANSFORMER + "encoder.layers.#.norms.", "encoder.#.norms."),
        (_TRANSFORMER + "decoder.layers.#.attentions.0.attn.", "decoder.layers.#.self_attention."),
        (_TRANSFORMER + "decoder.layers.#.attentions.1.", "decoder.layers.#.cross_attention."),
        (_TRANSFORMER + "decoder.layers.#.ffns.0.layers.0.0.", "decoder.layers.#.ffn.0."),
        (_TRANSFORMER + "decoder.layers.#.ffns.0.layers.1.", "decoder.layers.#.ffn.3."),
        (_TRANSFORMER + "decoder.layers.#.norms.", "decoder.layers.#.norms."),
        ("pts_bbox_head.cls_branches.", "decoder.cls_branches."),
        ("pts_bbox_head.reg_branches.", "decoder.reg_branches."),
        ("pts_bbox_head.query_embedding.", "decoder.query_embedding."),
        ("pts_bbox_head.bev_embedding.", "bev_embedding."),
        ("pts_bbox_head.positional_encoding.", "cell_position."),
    )
)


def our_key(published: str) -> str | None:
    """Return our name of a published key, None for a name that no published detector has."""
    return _NAMES.ours(published)


def published_key(ours: str) -> str | None:
    """Return the published name of one of our weights, None where no published detector has it."""
    return _NAMES.published(ours)


def is_known_surplus(published: str, *, has_depth_head: bool) -> bool:
    """Return whether a published key is stored but takes no part in the network's output.

    These are the weights of the box loss, and the depth head of the variant that measures depth.
    """
    return published == "pts_bbox_head.code_weights" or (published.startswith("pts_dpt_head.") and not has_depth_head)
