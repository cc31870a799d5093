"""Trains the heads of a BEV detector alone (decoder, proposals, motion), on stored maps of the rest.

  python tools/train_bev_heads.py --data packs/street packs/mine --init-from lift3d-bev-tiny --out heads
  lift3d weights add heads/weights.safetensors --as lift3d-bev-tiny --name my-detector

Each frame is run through the network once, half a second on one CPU core, and its map is kept: 2.6 MB each, in
OUT/maps. A step of four maps then takes less than a second. Boxes, headings and velocities get better; what the map
does not tell is not learned. Packs are made with 'lift3d train dfa3d --data ... --pack DIR'.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.training.dfa3d.heads import HeadSettings, digest_of, facts_of, store_maps, train_heads
from lift3d_ros.training.dfa3d.module import Dfa3dModule
from lift3d_ros.training.dfa3d.network import build_trained_detector, detector_weights
from lift3d_ros.training.dfa3d.settings import load_recipe
from lift3d_ros.training.dfa3d.start import start_from
from lift3d_ros.training.dfa3d.train import METHOD, open_frames
from lift3d_ros.training.export import write_weights

RECIPE = Path(__file__).resolve().parents[1] / "config" / "training" / "dfa3d_cpu.yaml"
SHOWN_LOSSES = ("loss_cls", "loss_bbox", "loss_heatmap", "loss_motion")


def main() -> int:
    """Store the maps, train, and write the weights."""
    args = parse()
    try:
        return train(args)
    except Lift3dError as error:
        print(f"train_bev_heads: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("train_bev_heads: interrupted; no weights were written", file=sys.stderr)
        return 130


def parse() -> argparse.Namespace:
    """Return the options."""
    defaults = HeadSettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="PACK", help="packs to train on")
    parser.add_argument(
        "--init-from", required=True, metavar="MODEL", help="a detector: of 'lift3d weights list', or a file"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for weights.safetensors and the maps")
    parser.add_argument("--config", type=Path, default=RECIPE, help="recipe of the network (default: that for a CPU)")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="replace settings of the recipe")
    parser.add_argument("--steps", type=int, default=defaults.steps, help="steps (default %(default)s)")
    parser.add_argument("--batch", type=int, default=defaults.batch_size, help="maps of a step (default %(default)s)")
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="default %(default)s")
    return parser.parse_args()


def train(args: argparse.Namespace) -> int:
    """Do what the options say."""
    if min(args.steps, args.batch) < 1 or not 0.0 < args.learning_rate < 1.0:
        raise ConfigError("--steps and --batch: expected at least 1; --learning-rate: expected between 0 and 1")
    path = args.out / "weights.safetensors"
    if path.exists():
        raise ConfigError(f"{path}: is there already; name another --out, or delete it (the maps are used again)")
    recipe = load_recipe(args.config, args.set)
    settings = HeadSettings(args.steps, args.batch, args.learning_rate, args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = build_trained_detector(recipe.network, recipe.run.seed).to(device)
    report = start_from(network, args.init_from)
    print(report.describe())
    if report.is_backbone:
        raise ConfigError(
            f"--init-from {args.init_from}: holds a picture backbone alone, and heads would learn the maps of a random "
            "encoder; expected weights of a whole detector, as of 'lift3d train dfa3d'"
        )
    if report.warning is not None:
        print(f"train_bev_heads: warning: {report.warning}", file=sys.stderr)
    module = Dfa3dModule(network, recipe).to(device)
    frames = open_frames(args.data, recipe, device, None, grows=False, is_quiet=False)
    source = f"{digest_of(network)}; {', '.join(path.name for path in args.data)}; {frames.count} frames"
    with tqdm(total=frames.count, desc="maps", unit="frame", disable=None) as bar:
        maps = store_maps(module, frames, args.out / "maps", source, lambda done, _: bar.update(done - bar.n))
    with tqdm(total=settings.steps, desc="heads", unit="step", disable=None) as bar:

        def on_step(step: int, figures: dict[str, float]) -> None:
            bar.update(1)
            if step % 10 == 0 or step == settings.steps:
                bar.set_postfix({name: f"{figures[name]:.2f}" for name in SHOWN_LOSSES if name in figures})

        averaged = train_heads(module, maps, settings, on_step)
    facts = {"method": METHOD, "preset": recipe.preset, "facts": json.dumps(recipe.facts), "heads": facts_of(settings)}
    write_weights(path, detector_weights(averaged), facts, is_half=True)
    print(f"weights: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
