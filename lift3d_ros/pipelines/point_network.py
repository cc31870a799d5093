"""The point encoder with its weights: of a model of a manifest, of a training, or untrained."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lift3d_ros.config import from_mapping
from lift3d_ros.errors import ConfigError, EngineError, WeightsError
from lift3d_ros.models.i2p_mae.config import PRESETS, I2pMaeConfig, preset
from lift3d_ros.pipelines.network_source import (
    WEIGHTS_ENDING,
    NetworkSource,
    one_line,
    preset_called,
    random_weights_identity,
    read_header,
)
from lift3d_ros.types import ModelIdentity
from lift3d_ros.weights.manifest import find_model, sha256_of, verified_weights_path

if TYPE_CHECKING:
    from lift3d_ros.models.i2p_mae.heads import PointClassifier, PointFeatureNetwork

METHOD = "i2p_mae"


# Of the encoder: the head of the configuration is 'none', and the weights may be of any network with that encoder.
PointSource = NetworkSource[I2pMaeConfig]


def find_points(model: str) -> PointSource:
    """Return the encoder called `model` in a manifest, or that of the ``.safetensors`` file of a training.

    Raises:
        WeightsError: no such model or file, weights that are damaged or belong to another method.
    """
    if model.endswith(WEIGHTS_ENDING):
        return _source_of_file(Path(model))
    entry = find_model(model)
    config = preset(entry.preset) if entry.method == METHOD else None
    if config is None:
        raise WeightsError(
            f"model '{model}': method '{entry.method}' with preset '{entry.preset}' is no point encoder; expected "
            f"method '{METHOD}' with one of the presets {', '.join(PRESETS)}"
        )
    path = verified_weights_path(model, entry)
    return PointSource(model, dataclasses.replace(config, head="none"), path, entry.sha256, entry.seed)


def untrained_points(preset_name: str, seed: int = 0) -> PointSource:
    """Return the encoder of a preset with random weights.

    Raises:
        ConfigError: no such preset; names the nearest one.
    """
    config = preset_called(preset_name, preset, PRESETS)
    return PointSource(preset_name, dataclasses.replace(config, head="none"), seed=seed)


def load_point_network(source: PointSource) -> tuple[PointFeatureNetwork, ModelIdentity]:
    """Build the encoder and load its weights; without trained weights they are random but repeatable.

    Returns:
        The network in eval mode, and whose weights it has.

    Raises:
        EngineError: torch is not installed.
        WeightsError: the weights do not fit the encoder.
    """
    _require_torch(source.name)

    from lift3d_ros.models.i2p_mae.build import build_encoder
    from lift3d_ros.models.i2p_mae.start import load_encoder

    network = build_encoder(source.config, source.seed)
    if source.weights is None:
        return network, dataclasses.replace(random_weights_identity(network, source.name), backend="torch")
    load_encoder(network, _read_state(source.weights), str(source.weights))
    assert source.sha256 is not None
    return network, ModelIdentity(source.name, source.sha256, is_trained=True, backend="torch")


def load_point_classifier(path: Path) -> tuple[PointClassifier, PointSource, tuple[str, ...], ModelIdentity]:
    """Build the classifier of a file that ``lift3d train i2p_mae --stage finetune`` wrote.

    Returns:
        The network in eval mode, what it is made of, the names of its classes, and whose weights it has.

    Raises:
        EngineError: torch is not installed.
        WeightsError: the file holds no classifier, or is damaged.
    """
    source = _source_of_file(path, head="classification")
    _require_torch(source.name)
    from lift3d_ros.models.i2p_mae.build import build
    from lift3d_ros.models.i2p_mae.heads import PointClassifier

    header, network = read_header(path), build(source.config).eval()
    assert isinstance(network, PointClassifier)
    try:
        network.load_state_dict(_read_state(path))
    except RuntimeError as error:
        raise WeightsError(f"{path}: holds other weights than its header says ({one_line(error)})") from None
    names = json.loads(header.get("classes", "[]"))
    assert source.sha256 is not None
    return network, source, tuple(map(str, names)), ModelIdentity(source.name, source.sha256, is_trained=True)


def header_group(path: Path, header: Mapping[str, str], name: str) -> Mapping[str, Any]:
    """Return a group of settings that a header holds as JSON.

    Raises:
        WeightsError: the file is of another method, or has no such group.
    """
    try:
        group = json.loads(header.get(name, "null"))
    except ValueError:
        group = None
    if header.get("method") != METHOD or not isinstance(group, dict):
        raise WeightsError(
            f"{path}: its header names method '{header.get('method', 'none')}' and "
            f"{'no' if group is None else 'a'} '{name}'; expected weights that 'lift3d train {METHOD}' wrote"
        )
    return group


def _source_of_file(path: Path, head: Literal["none", "classification"] = "none") -> PointSource:
    """Return the encoder of a file of weights, or its classifier; its header says how it was configured."""
    header = read_header(path)
    if header.get("method") == METHOD and header.get("stage") == "teacher":
        raise WeightsError(f"{path}: holds a 2D teacher; expected a point encoder, which is trained with --teacher")
    network = header_group(path, header, "network")
    if head != "none" and network.get("head") != head:
        raise WeightsError(
            f"{path}: holds a network for '{network.get('head')}'; expected one for '{head}', which 'lift3d train "
            f"{METHOD} --stage finetune' writes"
        )
    try:
        config = from_mapping(I2pMaeConfig, {**network, "head": head}, f"{path}: facts of the network")
    except ConfigError as error:
        raise WeightsError(f"{error}. The file belongs to another release of this package") from None
    return PointSource(path.stem, config, path, sha256_of(path))


def _require_torch(name: str) -> None:
    if importlib.util.find_spec("torch") is None:
        raise EngineError(f"model '{name}': building it needs torch, which is not installed; install torch")


def _read_state(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(str(path)))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: cannot be read as safetensors ({one_line(error)})") from None
