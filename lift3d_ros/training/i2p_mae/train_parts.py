"""Trains part segmentation from the shapes that the package makes to a file of weights."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import torch

from lift3d_ros.models.i2p_mae.build import build
from lift3d_ros.models.i2p_mae.heads import PartSegmenter
from lift3d_ros.models.i2p_mae.start import load_encoder
from lift3d_ros.training.export import write_weights
from lift3d_ros.training.i2p_mae.parts import PartData, PartModule
from lift3d_ros.training.i2p_mae.settings import I2pMaeTraining, part_segmenter
from lift3d_ros.training.i2p_mae.train import METHOD, read_state
from lift3d_ros.training.run import RunResult, run


@dataclass(frozen=True)
class PartResult:
    """How the call ended.

    Args:
        weights: averaged weights; None in all but the first of several processes.
        num_loaded: weights of the encoder that were started from.
    """

    run: RunResult
    weights: Path | None = None
    num_loaded: int = 0


def train_parts(
    recipe: I2pMaeTraining,
    out: Path,
    *,
    init_from: Path | None = None,
    resume: bool = False,
    is_half: bool = False,
    is_quiet: bool = False,
) -> PartResult:
    """Train until the run or the slice ends.

    Args:
        init_from: weights or a checkpoint whose encoder is started from; not looked at when a run goes on.
        is_half: write the weights as float16.

    Raises:
        Lift3dError: of configuration, weights, or a loss that is not finite.
    """
    data = PartData(recipe)
    shapes = data.training
    network_config = part_segmenter(recipe.network, len(shapes.part_names), len(shapes.category_names))
    recipe = dataclasses.replace(recipe, network=network_config)
    torch.manual_seed(recipe.run.seed)
    network = build(recipe.network)
    assert isinstance(network, PartSegmenter)
    num_loaded = 0
    if init_from is not None and not resume:
        num_loaded = len(load_encoder(network, read_state(init_from), str(init_from)).loaded)
    module = PartModule(network, recipe, shapes)
    result = run(module, data, recipe.run, out, method=METHOD, facts=recipe.facts, resume=resume, is_quiet=is_quiet)
    if not result.is_first_process:
        return PartResult(result, None, num_loaded)
    header = {
        "method": METHOD,
        "stage": recipe.stage,
        "preset": recipe.preset,
        "network": json.dumps(dataclasses.asdict(recipe.network)),
        "parts": json.dumps(shapes.part_names),
        "categories": json.dumps(shapes.category_names),
        "step": str(result.step),
    }
    weights = out / "weights.safetensors"
    write_weights(weights, result.averaged, header, is_half=is_half)
    return PartResult(result, weights, num_loaded)
