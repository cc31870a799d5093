"""Weights that a training of the lifter starts from, of the same network or of one with fewer blocks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from lift3d_ros.errors import WeightsError
from lift3d_ros.models.lfm.network import LfmNetwork
from lift3d_ros.training.checkpoint import read_checkpoint

_BLOCK_OUTPUTS = ("local_branch.output", "global_branch.output", "perceptron.2")
"""Layers of a block of ``sums`` that write into its sums: where they are zero, the block changes nothing."""


def start_from(network: LfmNetwork, path: Path) -> None:
    """Take the weights of a file over; blocks that a shallower network lacks come between its own and change nothing.

    Raises:
        WeightsError: it cannot be read, or belongs to another network.
    """
    if path.suffix in (".ckpt", ".json"):
        state = dict(read_checkpoint(path).averaged)
    else:
        try:
            state = dict(load_file(str(path)))
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path}: cannot be read as safetensors ({' '.join(str(error).split())})") from None
    own = network.state_dict()
    depth = _num_blocks(state)
    if 0 < depth < network.config.num_layers and network.config.block == "sums":
        state = _deepened(state, own, depth, network.config.num_layers)
    wrong = sorted(
        name for name in {*own, *state} if name not in own or name not in state or own[name].shape != state[name].shape
    )
    if wrong:
        raise WeightsError(
            f"{path}: {len(wrong)} tensors do not fit this network, '{wrong[0]}' first; expected weights of the same "
            f"preset, or with fewer network.num_layers where the block is 'sums'; {_remedy(path)}"
        )
    network.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in state.items()})


def _remedy(path: Path) -> str:
    if path.suffix == ".safetensors":
        with safe_open(str(path), "pt") as file:
            if name := (file.metadata() or {}).get("preset"):
                return f"the file is of preset '{name}': --set preset={name}"
    return "change 'preset' of the recipe"


def _num_blocks(state: Mapping[str, Tensor]) -> int:
    return len({name.split(".")[1] for name in state if name.startswith("blocks.")})


def _deepened(state: Mapping[str, Tensor], own: Mapping[str, Tensor], before: int, after: int) -> dict[str, Tensor]:
    """Return `state` spread over `after` blocks, the new ones as in `own` with outputs of zero."""
    place = {number: number * after // before for number in range(before)}
    deepened = dict(state)
    for name in state:
        if name.startswith("blocks."):
            del deepened[name]
        elif name.startswith("pair_bias.") and name in own:  # rows of all blocks, one after the other
            rows = own[name].clone().reshape(after, -1, *own[name].shape[1:])
            rows[list(place.values())] = state[name].to(rows.dtype).reshape(before, -1, *own[name].shape[1:])
            deepened[name] = rows.flatten(0, 1)
    for number in range(after):
        prefix = f"blocks.{number}."
        for name in (name.removeprefix(prefix) for name in own if name.startswith(prefix)):
            is_output = name.rpartition(".")[0] in _BLOCK_OUTPUTS
            deepened[prefix + name] = torch.zeros_like(own[prefix + name]) if is_output else own[prefix + name]
    for old, new in place.items():
        prefix = f"blocks.{old}."
        for name in (name.removeprefix(prefix) for name in state if name.startswith(prefix)):
            deepened[f"blocks.{new}.{name}"] = state[prefix + name]
    return deepened
