"""Loads weights with published names into our modules, as numeric cases and generated checkpoints hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from lift3d_ros.models.dfa3d.published_keys import is_known_surplus, our_key

HEAD = "pts_bbox_head."
TRANSFORMER = "pts_bbox_head.transformer."
ENCODER_LAYER = "pts_bbox_head.transformer.encoder.layers.0."
DECODER_LAYER = "pts_bbox_head.transformer.decoder.layers.0."


def weights_of(arrays: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of a case under their published names."""
    return {name[2:]: array for name, array in arrays.items() if name.startswith("w.")}


def load_published(
    module: nn.Module,
    arrays: Mapping[str, torch.Tensor],
    full_name: str | Callable[[str], str] = "",
    our_prefix: str = "",
    *,
    only: tuple[str, ...] = ("",),
) -> None:
    """Load every weight of a case strictly, batch norm counters apart.

    Args:
        full_name: what stands before the names of the case in a whole checkpoint, or a function that completes a name.
        our_prefix: what stands before the names of `module` in our detector.
        only: prefixes of `module` that the case covers; the rest keeps its values.
    """
    has_depth_head = any((our_prefix + key).startswith("depth_head.") for key in module.state_dict())
    state = {}
    for name, tensor in weights_of(arrays).items():
        published = full_name(name) if callable(full_name) else full_name + name
        if is_known_surplus(published, has_depth_head=has_depth_head):
            continue
        ours = our_key(published)
        assert ours is not None, f"{published} has no name of ours"
        assert ours.startswith(our_prefix), ours
        state[ours.removeprefix(our_prefix)] = tensor
    missing, unexpected = module.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    missing = [key for key in missing if key.startswith(only) and not key.endswith("num_batches_tracked")]
    assert not missing, missing
