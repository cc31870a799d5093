"""`lift3d train i2p_mae`: train the point encoder, its 2D teacher or a classifier on files of clouds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lift3d_ros.cli.train_options import how_to_go_on
from lift3d_ros.cli.train_start import start_weights
from lift3d_ros.errors import ConfigError

if TYPE_CHECKING:
    from lift3d_ros.training.i2p_mae.settings import I2pMaeTraining

_MADE = "made"
_RECIPES = {
    "pretrain": "config/training/i2p_mae_cpu.yaml",
    "teacher": "config/training/i2p_mae_teacher.yaml",
    "finetune": "config/training/i2p_mae_finetune.yaml",
    "parts": "config/training/i2p_mae_parts.yaml",
}


def run_i2p_mae(args: argparse.Namespace) -> int:
    """Train and say what to do next."""
    from lift3d_ros.pipelines.point_network import find_points
    from lift3d_ros.resources import find_resource
    from lift3d_ros.training.i2p_mae.settings import load_recipe
    from lift3d_ros.training.i2p_mae.teachers import find_teacher
    from lift3d_ros.training.i2p_mae.train import train

    if args.pack is not None or args.classes is not None:
        raise ConfigError(
            "--pack and --classes are for dfa3d; 'lift3d train i2p_mae' reads files of clouds as they are"
        )
    if args.out is None:
        raise ConfigError("--out is missing; name the folder of the run")
    config = args.config or find_resource(_RECIPES[args.stage or "pretrain"])
    stage = [] if args.stage is None else [f"stage={args.stage}"]
    recipe = load_recipe(config, [*stage, *args.changes])
    if recipe.stage == "parts":
        return _run_parts(args, recipe)
    result = train(
        recipe,
        [Path(path) for path in args.data],
        args.val,
        args.out,
        teacher=None if args.teacher is None else find_teacher(args.teacher),
        init_from=start_weights(args.init_from, find_points),
        resume=args.resume,
        is_half=args.half,
    )
    if not result.run.is_first_process:
        return 130 if result.run.reason == "interrupted" else 0
    classes = f" of {result.num_classes} classes" if recipe.stage == "finetune" else ""
    print(f"trained on {result.num_clouds} clouds{classes}")
    if result.num_loaded:
        print(f"started from {result.num_loaded} weights in {args.init_from}")
    print(f"weights: {result.weights}" + (f"; of the best validation: {result.best}" if result.best else ""))
    if result.run.reason != "finished":
        print(f"stopped at step {result.run.step} ({result.run.reason}); {how_to_go_on(args)}")
        return 130 if result.run.reason == "interrupted" else 0
    print(f"finished at step {result.run.step}")
    if recipe.stage == "teacher":
        print(f"use it:  lift3d train i2p_mae --data ... --teacher {result.weights} --out DIR")
    if recipe.stage == "finetune":
        print(f"measure: lift3d evaluate point_features --test ... --classifier {result.weights} --out DIR")
    if result.encoder is not None:
        print(f"encoder: {result.encoder}")
        print(f"measure: lift3d evaluate point_features --train ... --test ... --weights {result.encoder} --out DIR")
        name = recipe.preset.removesuffix("-pretrain")
        if result.recipe.is_plain_preset:
            print(f"use it:  lift3d weights add {result.encoder} --as {name} --name my-encoder")
        else:
            print(f"its encoder differs from that of the preset '{name}', so models cannot name it yet")
    return 0


def _run_parts(args: argparse.Namespace, recipe: I2pMaeTraining) -> int:
    from lift3d_ros.pipelines.point_network import find_points
    from lift3d_ros.training.i2p_mae.train_parts import train_parts

    if args.data != [_MADE]:
        raise ConfigError(f"--data {' '.join(args.data)}: stage 'parts' makes its shapes; expected --data {_MADE}")
    if args.val or args.teacher is not None:
        raise ConfigError("--val and --teacher have no effect with stage 'parts'; leave them out")
    start = start_weights(args.init_from, find_points)
    result = train_parts(recipe, args.out, init_from=start, resume=args.resume, is_half=args.half)
    if not result.run.is_first_process:
        return 130 if result.run.reason == "interrupted" else 0
    print(f"weights: {result.weights}")
    if result.run.reason != "finished":
        print(f"stopped at step {result.run.step} ({result.run.reason}); {how_to_go_on(args)}")
        return 130 if result.run.reason == "interrupted" else 0
    best = "" if result.run.best_score is None else f"; best IoU of the validation {result.run.best_score:.3f}"
    print(f"finished at step {result.run.step}{best}")
    return 0
