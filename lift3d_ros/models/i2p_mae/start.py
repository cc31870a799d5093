"""Starts a network from another one: from all of it, or from its encoder, as a classifier from pre-training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from lift3d_ros.errors import WeightsError

_ENCODER = "encoder."
_NORMS = "encoder.norms."
_LISTED = 5


class EncoderStart(NamedTuple):
    """What was taken over, and what was not; our names.

    Args:
        loaded: weights that were taken over.
        left_out: given weights without a place in the network: heads, decoder, norms that a classifier does not have.
        fresh: weights of the network that keep their random values.
    """

    loaded: tuple[str, ...]
    left_out: tuple[str, ...]
    fresh: tuple[str, ...]


def load_start(network: nn.Module, state: Mapping[str, Tensor], where: str) -> EncoderStart:
    """Load all of `state` where it is of the same network, so that a training goes on from it; else its encoder.

    Args:
        state, where: as of :func:`load_encoder`.

    Raises:
        WeightsError: as :func:`load_encoder`.
    """
    own = network.state_dict()
    if own.keys() != state.keys() or any(own[name].shape != state[name].shape for name in own):
        return load_encoder(network, state, where)
    network.load_state_dict(dict(state))
    return EncoderStart(tuple(own), (), ())


def load_encoder(network: nn.Module, state: Mapping[str, Tensor], where: str) -> EncoderStart:
    """Load the encoder of `state` into that of `network`, all of it; nothing is loaded where that fails.

    Args:
        state: our name -> values, of any network of :mod:`lift3d_ros.models.i2p_mae.build`.
        where: file or model name for error messages.

    Raises:
        WeightsError: no weight of the encoder is there, some are missing, or some have another shape.
    """
    own = network.state_dict()
    wanted = [name for name in own if name.startswith(_ENCODER)]
    found = {name: tensor for name, tensor in state.items() if name.startswith(_ENCODER)}
    known = [name for name in wanted if name in found]
    if not known:
        raise WeightsError(
            f"{where}: none of its {len(state)} weights belongs to the encoder (for example "
            f"{', '.join(list(state)[:2]) or 'it is empty'}); expected names such as {wanted[0]}. Import a published "
            "checkpoint with 'lift3d weights import' first, or give weights of an I2P-MAE training"
        )
    missing = [name for name in wanted if name not in found]
    foreign = [name for name in found if name not in own and not name.startswith(_NORMS)]
    wrong = [f"{name}: found {list(found[name].shape)}, expected {list(own[name].shape)}" for name in known
             if found[name].shape != own[name].shape]  # fmt: skip
    for problem, names in (("are missing", missing), ("have no place", foreign), ("have another shape", wrong)):
        if names:
            more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            raise WeightsError(
                f"{where}: {len(names)} weights of the encoder {problem}: {', '.join(names[:_LISTED])}{more}. They "
                "are of another size of the encoder; use the configuration that they were trained with"
            )
    network.load_state_dict({name: found[name] for name in known}, strict=False)
    taken = set(known)
    return EncoderStart(
        tuple(known),
        tuple(name for name in state if name not in taken),
        tuple(name for name in own if name not in taken),
    )
