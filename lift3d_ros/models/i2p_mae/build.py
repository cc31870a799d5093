"""Makes the network of a configuration."""

from __future__ import annotations

import dataclasses

import torch

from lift3d_ros.models.i2p_mae.config import I2pMaeConfig
from lift3d_ros.models.i2p_mae.heads import PartSegmenter, PointClassifier, PointFeatureNetwork
from lift3d_ros.models.i2p_mae.reconstruction import PointAutoencoder

PointNetwork = PointFeatureNetwork | PointAutoencoder | PointClassifier | PartSegmenter


def build(config: I2pMaeConfig) -> PointNetwork:
    """Return the network, with random weights; all of them have their encoder as ``encoder``."""
    match config.head:
        case "none":
            return PointFeatureNetwork(config)
        case "reconstruction":
            return PointAutoencoder(config)
        case "classification":
            return PointClassifier(config)
        case "part_segmentation":
            return PartSegmenter(config)


def build_encoder(config: I2pMaeConfig, seed: int = 0) -> PointFeatureNetwork:
    """Return the encoder of a configuration alone, in eval mode, with the random weights of `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PointFeatureNetwork(dataclasses.replace(config, head="none")).eval()
