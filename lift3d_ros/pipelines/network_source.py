"""What a network is made of, and how weights come into it: the same for all methods that take files of weights."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from lift3d_ros.errors import ConfigError, WeightsError, nearest_name_hint
from lift3d_ros.types import ModelIdentity

ConfigT = TypeVar("ConfigT")

WEIGHTS_ENDING = ".safetensors"


@dataclass(frozen=True)
class NetworkSource(Generic[ConfigT]):
    """What a network is made of.

    Args:
        config: of the network.
        weights: file of its weights, None for random ones.
        sha256: of that file.
        seed: makes the random weights.
    """

    name: str
    config: ConfigT
    weights: Path | None = None
    sha256: str | None = None
    seed: int = 0


def preset_called(name: str, preset: Callable[[str], ConfigT | None], names: Iterable[str]) -> ConfigT:
    """Return the configuration called `name`.

    Args:
        preset: returns a configuration by its name.
        names: of all configurations.

    Raises:
        ConfigError: no such configuration; names the nearest one.
    """
    config = preset(name)
    if config is None:
        known = list(names)
        hint = nearest_name_hint(name, known)
        raise ConfigError(f"configuration '{name}' is not known{hint}; known: {', '.join(known)}")
    return config


def load_weights(network: Any, source: NetworkSource[Any]) -> ModelIdentity:
    """Load all weights of a source into its network, whose random ones stay where there are none; needs safetensors.

    Args:
        network: a module of torch, built from the configuration of the source.

    Raises:
        WeightsError: the weights do not fit the network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if source.weights is None:
        return random_weights_identity(network, source.name)
    try:
        network.load_state_dict(load_file(str(source.weights)), strict=True)
    except (SafetensorError, RuntimeError) as error:
        raise WeightsError(f"{source.weights}: does not fit model '{source.name}': {one_line(error)}") from None
    assert source.sha256 is not None
    return ModelIdentity(source.name, source.sha256, is_trained=True)


def random_weights_identity(network: Any, name: str) -> ModelIdentity:
    """Return what a network with random weights is called by; its hash is that of the file that they would make."""
    from safetensors.torch import save

    weights = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    return ModelIdentity(name, hashlib.sha256(save(weights)).hexdigest(), is_trained=False)


def read_header(path: Path) -> Mapping[str, str]:
    """Return what a file of weights says of itself.

    Raises:
        WeightsError: it is missing, or no file of safetensors; or safetensors is not installed.
    """
    if not path.is_file():
        raise WeightsError(f"model '{path}': no such file; give the weights.safetensors of a training, or a model name")
    if importlib.util.find_spec("safetensors") is None:
        raise WeightsError(f"{path}: reading it needs safetensors; 'pip install safetensors'")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({one_line(error)})") from None


def one_line(error: Exception) -> str:
    """Return the text of an error of another library in one line of bearable length."""
    return " ".join(str(error).split())[:400]
