"""`lift3d train`: train a method on packs, labelled recordings, folders or the simulator."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lift3d_ros.replay.labelled_data import LabelledChoice

DESCRIPTION = """\
Train the BEV detector (dfa3d), the skeleton lifter (lfm), the object reconstructor (lrm) or the point encoder
(i2p_mae).

  lift3d train dfa3d --data simulator --seeds 0:400 --pack packs/train         render and prepare scenes, once
  lift3d train dfa3d --data my_bags --pack packs/mine                          the same with own labelled recordings
  lift3d train dfa3d --config config/training/dfa3d_cpu.yaml --data packs/train --init-from LITE0.pth --out run
  lift3d train dfa3d --config config/training/dfa3d_cpu.yaml --data packs/train --out run --resume
  lift3d train dfa3d --config config/training/dfa3d_cpu.yaml --data packs/mine --init-from my-detector --out tuned
  lift3d train dfa3d --config config/training/dfa3d_gpu.yaml --data simulator --init-from LITE0.pth --out streets
  lift3d train dfa3d --data nuscenes --split mini_train --val nuscenes --val-split mini_val --init-from ... --out mini
  torchrun --nproc-per-node 2 -m lift3d_ros.cli.main train dfa3d --data packs/train --init-from LITE0.pth --out two
  lift3d train lfm --config config/training/lfm_cpu.yaml --data keypoints --out lifter  folders of .npz point sets
  lift3d train lrm --data meshes --pack packs/objects                          render meshes, once; also posed pictures
  lift3d train lrm --data packs/objects --val packs/held_out --out objects
  lift3d train i2p_mae --stage teacher --data clouds --out teacher                      files or folders of clouds
  lift3d train i2p_mae --data clouds --teacher teacher/weights.safetensors --out points
  lift3d train i2p_mae --stage finetune --data clouds --init-from points/encoder.safetensors --out classifier
  lift3d train i2p_mae --stage parts --data made --init-from points/encoder.safetensors --out parts

--data of dfa3d takes packs (several), one folder or recording with labels, or the word 'simulator': then scenes are
rendered while the network trains, by run.workers processes, in an order that cannot be repeated. A run writes
losses.csv, losses.png and checkpoints into DIR, and at its end weights.safetensors and (but for --stage parts), of the
best validation, best.safetensors; that of dfa3d also pictures of the validation and, where its network is that of the
preset, manifest_entry.yaml. It can be cut off at any time and goes on with --resume; Ctrl-C stops it after a step,
saves, and gives the exit status 130. An option that would have no effect is refused.

The recipes of dfa3d keep the first stages of the backbone as they are, so a run starts from trained weights: LITE0.pth
is a published EfficientNet-Lite0, see docs/training.md; --set loss.frozen_stages=0 trains all from random weights.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a model",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("method", choices=["dfa3d", "lfm", "lrm", "i2p_mae"], help="what to train")
    parser.add_argument("--config", type=Path, metavar="FILE", help="recipe (default config/training/METHOD_cpu.yaml)")
    parser.add_argument("--data", nargs="+", required=True, metavar="PATH", help="training data, see above")
    parser.add_argument("--val", nargs="+", type=Path, default=[], metavar="PATH", help="data for the validation")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the run")
    parser.add_argument(
        "--init-from", metavar="NAME|FILE", help="model, .safetensors, checkpoint or published backbone (.pth)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in DIR")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], dest="changes", metavar="NAME=VALUE",
        help="replace settings of the recipe, for example run.max_steps=1000 network.depth.source=none",
    )  # fmt: skip
    parser.add_argument("--classes", type=Path, metavar="FILE", help="table: class of the data -> class of the model")
    parser.add_argument("--half", action="store_true", help="write the weights as float16")
    parser.add_argument(
        "--non-commercial", action="store_true", help="lfm: also train on sets whose name starts with nc_"
    )
    labelled = parser.add_argument_group("dfa3d: labelled data, for --data, --val and --pack")
    labelled.add_argument("--nuscenes-version", metavar="V", help="tables of a nuScenes folder; for example v1.0-mini")
    labelled.add_argument(
        "--split",
        metavar="S",
        help="of --data: split of nuScenes, for example mini_train (default: all scenes); train, val or any of the "
        "simulator's --meshes, train, val or all of the meshes of 'lrm --pack' (default of both: train)",
    )
    labelled.add_argument("--val-split", metavar="S", help="of --val: split of nuScenes; for example mini_val")
    labelled.add_argument(
        "--rig",
        type=Path,
        metavar="FILE",
        help="calibration and mounting that override a recording's, and masks of the own vehicle",
    )
    points = parser.add_argument_group("i2p_mae")
    points.add_argument(
        "--stage",
        choices=["pretrain", "teacher", "finetune", "parts"],
        help="what is trained (default: as the recipe says)",
    )
    points.add_argument(
        "--teacher", metavar="NAME|FILE", help="model or weights of a 2D teacher, or of CLIP, DINO, DINOv2"
    )
    packing = parser.add_argument_group("only prepare data")
    packing.add_argument("--pack", type=Path, metavar="DIR", help="prepare --data into a pack, then end")
    packing.add_argument("--quality", type=int, help="WebP quality of packed pictures (default 80; 0: as they are)")
    packing.add_argument("--workers", type=int, help="processes that prepare (default 1)")
    simulating = parser.add_argument_group("the simulator as data")
    simulating.add_argument(
        "--seeds", metavar="A:B", help="scenes A to B-1 (default 0:100 with --pack, else 0:9000, which come again)"
    )
    simulating.add_argument("--simulation", type=Path, metavar="FILE", help="settings of the simulator")
    simulating.add_argument("--meshes", type=Path, metavar="DIR", help="folder of meshes for the simulator")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prepare data, or train and say what to do next."""
    from lift3d_ros.cli.train_options import check_options
    from lift3d_ros.errors import Lift3dError

    absent = [name for name in ("torch", "safetensors", "lightning", "scipy") if importlib.util.find_spec(name) is None]
    if absent:
        raise Lift3dError(
            f"'lift3d train' needs {', '.join(absent)}, not installed for this Python; pip install {' '.join(absent)}"
        )
    check_options(args)
    if args.method == "lfm":
        from lift3d_ros.cli.train_lfm import run_lfm

        return run_lfm(args)
    if args.method == "i2p_mae":
        from lift3d_ros.cli.train_i2p_mae import run_i2p_mae

        return run_i2p_mae(args)
    if args.method == "lrm":
        from lift3d_ros.cli.train_lrm import run_lrm

        return run_lrm(args)
    return _run_dfa3d(args)


def _run_dfa3d(args: argparse.Namespace) -> int:
    from lift3d_ros.cli.train_options import SIMULATOR, data_choices, how_to_go_on
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.resources import find_resource
    from lift3d_ros.training.dfa3d.settings import load_recipe

    if args.stage is not None or args.teacher is not None:
        raise ConfigError("--stage and --teacher are for i2p_mae; leave them out")
    if SIMULATOR not in args.data:
        for name in ("seeds", "simulation", "meshes"):
            if getattr(args, name) is not None:
                raise ConfigError(f"--{name} is for --data {SIMULATOR}; leave it out, or name the simulator as data")
    config = args.config or find_resource("config/training/dfa3d_cpu.yaml")
    recipe = load_recipe(config, args.changes)
    choice, validation_choice = data_choices(args)
    if args.pack is not None:
        return _pack(args, recipe, choice)
    if args.out is None:
        raise ConfigError("--out is missing; name the folder of the run (or prepare data with --pack)")
    if SIMULATOR in args.data and len(args.data) > 1:
        raise ConfigError(
            f"--data {' '.join(args.data)}: the simulator cannot be mixed with other data; prepare its scenes first, "
            "with --pack DIR, and give --data DIR"
        )
    from lift3d_ros.training.dfa3d.train import train

    result = train(
        recipe,
        _simulator(args, "0:9000") if SIMULATOR in args.data else [Path(path) for path in args.data],
        args.val,
        args.out,
        init_from=args.init_from,
        resume=args.resume,
        is_half=args.half,
        class_map=_class_map(args, recipe),
        choice=choice,
        validation_choice=validation_choice,
    )
    if not result.run.is_first_process:
        return 130 if result.run.reason == "interrupted" else 0
    if result.start is not None:
        print(result.start.describe())
    assert result.weights is not None
    print(f"weights: {result.weights}" + (f"; of the best validation: {result.best}" if result.best else ""))
    if result.run.reason != "finished":
        print(f"stopped at step {result.run.step} ({result.run.reason}); {how_to_go_on(args)}")
        return 130 if result.run.reason == "interrupted" else 0
    print(f"finished at step {result.run.step}")
    if recipe.is_plain_preset:
        _write_entry(args.out / "manifest_entry.yaml", recipe.preset, result.weights)
        print(f"use it:  lift3d weights add {result.weights} --as {recipe.preset} --name my-detector")
        print("         lift3d replay BAG --model my-detector --out results")
        print("         ros2 launch lift3d_ros bev_detection.launch.py model:=my-detector")
    else:
        print(f"its network differs from the preset '{recipe.preset}', so models cannot name it yet")
    return 0


def _write_entry(path: Path, preset: str, weights: Path) -> None:
    """Write what a manifest of models would say of the weights."""
    import yaml

    from lift3d_ros.weights.manifest import sha256_of

    entry = {"method": "dfa3d", "preset": preset, "weights": weights.name, "sha256": sha256_of(weights)}
    entry |= {"licence": "own weights", "source": "lift3d train"}
    path.write_text(yaml.safe_dump({"models": {"my-detector": entry}}, sort_keys=False), encoding="utf-8")


def _class_map(args: argparse.Namespace, recipe: Any) -> Any:
    from lift3d_ros.datasets.class_map import ClassMap, load_class_map

    if args.classes is None:
        return ClassMap(recipe.network.class_names)
    return load_class_map(args.classes, recipe.network.class_names)


def _pack(args: argparse.Namespace, recipe: Any, choice: LabelledChoice) -> int:
    from tqdm import tqdm

    from lift3d_ros.cli.train_options import SIMULATOR
    from lift3d_ros.datasets.pack import PackFacts, PackReader
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.training.packing import RecordedSource, Source, pack_scenes
    from lift3d_ros.weights.manifest import sha256_of

    if len(args.data) != 1:
        raise ConfigError(f"--data {' '.join(args.data)}: one source is prepared at a time; call once for each")
    quality = 80 if args.quality is None else args.quality
    if not 0 <= quality <= 100:
        raise ConfigError(f"--quality {quality}: expected 1 to 100, or 0 to keep pictures as they are")
    source: Source = RecordedSource(Path(args.data[0]), args.classes, choice)
    if args.data[0] == SIMULATOR:
        source = _simulator(args, "0:100")
    network = recipe.network
    size = (network.image_width, network.image_height)
    rig = None if args.rig is None else f"{args.rig.name} {sha256_of(args.rig)}"
    # Without a seed: more may be added.
    facts = PackFacts(
        *size,
        network.class_names,
        source.description,
        rig=rig,
        made_with=source.made_with,
        scenes_version=source.scenes_version,
    )
    with tqdm(desc=f"preparing {args.pack}", unit="scene", disable=None, file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        written = pack_scenes(
            source,
            args.pack,
            facts,
            quality=quality or None,
            workers=1 if args.workers is None else args.workers,
            on_scene=show,
        )
    scenes = PackReader(args.pack).scenes
    size_mb = sum(path.stat().st_size for path in args.pack.iterdir()) / 1e6
    print(f"{args.pack}: {len(scenes)} scenes ({written} new), {size_mb:.1f} MB")
    if written < len(scenes):
        print("scenes that were there are kept as they are; where their labels have changed, remove the folder first")
    print(f"train on it:  lift3d train {args.method} --data {args.pack} --out DIR")
    return 0


def _simulator(args: argparse.Namespace, seeds: str) -> Any:
    from lift3d_ros.resources import find_resource
    from lift3d_ros.training.packing import SimulatorSource

    settings = args.simulation or find_resource("config/simulation/train.yaml")
    return SimulatorSource(settings, _seeds(args.seeds or seeds), args.meshes, args.split or "train")


def _seeds(text: str) -> range:
    from lift3d_ros.errors import ConfigError

    first, sign, last = text.partition(":")
    if not (sign and first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise ConfigError(f"--seeds '{text}': expected A:B with 0 <= A < B, for example 0:400")
    return range(int(first), int(last))
