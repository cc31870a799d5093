"""`lift3d train lrm`: render meshes into packs, and train the object reconstructor on them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lift3d_ros.cli.train_options import how_to_go_on
from lift3d_ros.cli.train_start import start_weights
from lift3d_ros.errors import ConfigError

if TYPE_CHECKING:
    from lift3d_ros.training.lrm.settings import LrmTraining


def run_lrm(args: argparse.Namespace) -> int:
    """Prepare data, or train and say what to do next."""
    from lift3d_ros.pipelines.object_engine import find_lrm
    from lift3d_ros.resources import find_resource
    from lift3d_ros.training.lrm.settings import load_recipe
    from lift3d_ros.training.lrm.train import train

    if args.stage is not None or args.teacher is not None or args.classes is not None:
        raise ConfigError("--stage, --teacher and --classes are for other methods; leave them out")
    recipe = load_recipe(args.config or find_resource("config/training/lrm_cpu.yaml"), args.changes)
    if args.pack is not None:
        return _pack(args, recipe)
    if args.split is not None:
        raise ConfigError(f"--split {args.split}: is of meshes that --pack renders; leave it out")
    if args.out is None:
        raise ConfigError("--out is missing; name the folder of the run (or prepare data with --pack)")
    result = train(
        recipe,
        [Path(path) for path in args.data],
        args.val,
        args.out,
        init_from=start_weights(args.init_from, find_lrm),
        resume=args.resume,
        is_half=args.half,
    )
    if not result.run.is_first_process:
        return 130 if result.run.reason == "interrupted" else 0
    print(f"trained on {result.num_objects} objects")
    print(f"weights: {result.weights}" + (f"; of the best validation: {result.best}" if result.best else ""))
    if result.run.reason != "finished":
        print(f"stopped at step {result.run.step} ({result.run.reason}); {how_to_go_on(args)}")
        return 130 if result.run.reason == "interrupted" else 0
    print(f"finished at step {result.run.step}")
    print(f"measure: lift3d evaluate object_reconstruction --data MESHES --weights {result.weights} --out DIR")
    if recipe.is_plain_preset:
        print(f"use it:  lift3d weights add {result.weights} --as {recipe.preset} --name my-reconstructor")
        print("         lift3d reconstruct PICTURE --model my-reconstructor --out mesh.glb")
    else:
        print(f"its network differs from the preset '{recipe.preset}', so models cannot name it yet")
    return 0


def _pack(args: argparse.Namespace, recipe: LrmTraining) -> int:
    """Render meshes, or read posed pictures, into a pack."""
    from tqdm import tqdm

    from lift3d_ros.datasets.object_captures import pack_captures
    from lift3d_ros.datasets.object_meshes import MANIFEST, read_mesh_folder
    from lift3d_ros.datasets.object_packing import pack_meshes

    folders = [Path(path) for path in args.data]
    with tqdm(desc=f"preparing {args.pack}", unit="object", disable=None, file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        if (folders[0] / MANIFEST).is_file():
            entries = [entry for folder in folders for entry in read_mesh_folder(folder, args.split or "train")]
            count = pack_meshes(entries, args.pack, recipe.network, recipe.render, show)
        elif args.split is not None:
            raise ConfigError(
                f"--split {args.split}: is of folders of meshes, and {folders[0]} holds no {MANIFEST}; leave it out"
            )
        else:
            count = pack_captures(folders, args.pack, recipe.network, recipe.render.views, show)
    size_mb = sum(path.stat().st_size for path in args.pack.iterdir()) / 1e6
    print(f"{args.pack}: {count} objects, {size_mb:.1f} MB")
    print(f"train on it:  lift3d train lrm --data {args.pack} --out DIR")
    return 0
