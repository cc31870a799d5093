"""A recipe for a network so small that a step takes a few hundredths of a second."""

from __future__ import annotations

from pathlib import Path

from painted_street import HEIGHT, WIDTH

from lift3d_ros.training.dfa3d.settings import Dfa3dTraining, load_recipe

RECIPE = Path(__file__).resolve().parents[2] / "config" / "training" / "dfa3d_cpu.yaml"
SMALL = (
    "preset=tiny",
    "loss.frozen_stages=0",
    "loss.backbone_rate=1",
    "run.max_minutes=0",
    "run.max_steps=20",
    "run.batch_size=2",
    "run.warmup_steps=5",
    "run.validation_interval=0",
    "run.learning_rate=0.002",
    f"network.image_width={WIDTH}",
    f"network.image_height={HEIGHT}",
    "network.backbone.width=8",
    "network.embed_dims=32",
    "network.ffn_dims=64",
    "network.num_queries=40",
    "network.bev_height=16",
    "network.bev_width=16",
    "network.point_range=[-24, -24, -5, 24, 24, 3]",
    "network.num_encoder_layers=1",
    "network.num_decoder_layers=2",
    "network.depth.num_bins=12",
)


def small_recipe(*changes: str) -> Dfa3dTraining:
    """Return the CPU recipe for a small network, with more changes."""
    return load_recipe(RECIPE, (*SMALL, *changes))
