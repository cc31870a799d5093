"""`lift3d train lfm`: train the skeleton lifter on folders of point sets."""

from __future__ import annotations

import argparse
from pathlib import Path

from lift3d_ros.cli.train_options import how_to_go_on
from lift3d_ros.cli.train_start import start_weights
from lift3d_ros.errors import ConfigError


def run_lfm(args: argparse.Namespace) -> int:
    """Train and say what to do next."""
    from lift3d_ros.evaluation.skeleton_calibration import calibrate_weights
    from lift3d_ros.pipelines.skeleton_graph import find_lfm
    from lift3d_ros.resources import find_resource
    from lift3d_ros.training.lfm.settings import load_recipe
    from lift3d_ros.training.lfm.train import train

    if args.pack is not None or args.classes is not None:
        raise ConfigError(
            "--pack and --classes are for dfa3d; 'lift3d train lfm' reads folders of .npz files as they are"
        )
    if args.stage is not None or args.teacher is not None:
        raise ConfigError("--stage and --teacher are for i2p_mae; leave them out")
    if args.out is None:
        raise ConfigError("--out is missing; name the folder of the run")
    recipe = load_recipe(args.config or find_resource("config/training/lfm_cpu.yaml"), args.changes)
    result = train(
        recipe,
        [Path(path) for path in args.data],
        args.val,
        args.out,
        init_from=start_weights(args.init_from, find_lfm),
        resume=args.resume,
        is_half=args.half,
        has_non_commercial=args.non_commercial,
    )
    if not result.run.is_first_process:
        return 130 if result.run.reason == "interrupted" else 0
    print(f"trained on {len(result.categories)} sets: {', '.join(result.categories)}")
    print(f"weights: {result.weights}" + (f"; of the best validation: {result.best}" if result.best else ""))
    if result.run.reason != "finished":
        print(f"stopped at step {result.run.step} ({result.run.reason}); {how_to_go_on(args)}")
        return 130 if result.run.reason == "interrupted" else 0
    for weights in (result.weights, result.best):
        if weights is not None and (fit := calibrate_weights(weights, args.val or [Path(path) for path in args.data])):
            print(f"{weights.name}: stated errors raised to {fit.factor:.2f} x error^{fit.exponent:.2f}, as found")
    print(f"finished at step {result.run.step}")
    if recipe.is_plain_preset:
        print(f"to use it by name: lift3d weights add {result.weights} --as {recipe.preset} --name my-lifter")
    else:
        print(f"its network differs from the preset '{recipe.preset}', so no name can be given to it; use its path")
    return 0
