"""Reads which network a file of trained weights belongs to, so that it can be run without a manifest."""

from __future__ import annotations

import json
from pathlib import Path

from lift3d_ros.config import from_mapping
from lift3d_ros.errors import ConfigError, WeightsError
from lift3d_ros.models.lrm.config import LrmConfig
from lift3d_ros.pipelines.network_source import read_header
from lift3d_ros.pipelines.object_engine import LrmSource
from lift3d_ros.weights.manifest import sha256_of

_METHOD = "lrm"


def source_of_file(path: Path) -> LrmSource:
    """Return the network of a ``.safetensors`` file of ``lift3d train lrm``, whose header says how it was configured.

    Raises:
        WeightsError: it cannot be read, or belongs to another method.
    """
    header = read_header(path)
    try:
        if header.get("method") != _METHOD:
            raise ConfigError(f"{path}: its header names method '{header.get('method', 'none')}'")
        config = from_mapping(LrmConfig, json.loads(header.get("network", "{}")), f"{path}: facts of the network")
    except (ConfigError, ValueError) as error:
        raise WeightsError(f"{error}. Expected weights that 'lift3d train lrm' of this release wrote") from None
    return LrmSource(path.stem, config, path, sha256_of(path))
