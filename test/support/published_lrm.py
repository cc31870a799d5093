"""Loads weights with the published names of OpenLRM and TripoSR into our modules, as numeric cases hold them."""

from __future__ import annotations

from collections.abc import Mapping

from published_weights import weights_of
from torch import Tensor, nn

from lift3d_ros.models.lrm.published_keys import Layout, is_known_surplus, our_key


def load_lrm(
    module: nn.Module,
    arrays: Mapping[str, Tensor],
    layout: Layout,
    full_prefix: str = "",
    our_prefix: str = "",
    *,
    renames: Mapping[str, str] | None = None,
    leaves_out: tuple[str, ...] = (),
) -> None:
    """Load every weight of a case strictly.

    Args:
        full_prefix: what stands before the names of the case in a whole checkpoint.
        our_prefix: what stands before the names of `module` in our network.
        renames: beginnings of names of variants that no published model has, and what a published model calls them.
        leaves_out: prefixes of `module` that the case does not cover; they keep their values.
    """
    state = {}
    for name, tensor in weights_of(arrays).items():
        for beginning, replacement in (renames or {}).items():
            if name.startswith(beginning):
                name = replacement + name.removeprefix(beginning)
                break
        if is_known_surplus(full_prefix + name):
            continue
        ours = our_key(full_prefix + name, layout)
        assert ours is not None, f"{full_prefix + name} has no name of ours"
        assert ours.startswith(our_prefix), ours
        state[ours.removeprefix(our_prefix)] = tensor
    missing, unexpected = module.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    missing = [key for key in missing if not leaves_out or not key.startswith(leaves_out)]
    assert not missing, missing
