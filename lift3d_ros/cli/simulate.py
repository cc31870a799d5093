"""`lift3d simulate`: make labelled street scenes."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

DESCRIPTION = """\
Render street scenes with labels: pictures of a surround rig, LiDAR points, 3D boxes of the ten nuScenes classes.

  lift3d simulate --scenes 10 --seed 0 --out scenes                       scene folders (meta.json, images/, lidar/)
  lift3d simulate --scenes 3 --format bag --out bags                      rosbag2 recordings with /ground_truth/boxes
  lift3d simulate --scenes 50 --meshes DIR --split train --out scenes     road users from a folder of meshes as well
  lift3d simulate --rig my_car.yaml --out scenes                          the cameras of my own vehicle
  lift3d simulate --config config/simulation/eval.yaml --meshes DIR --split val --out eval_val     the fixed protocol

The same seed and settings give the same scene. Scenes that are finished are kept: give the same command again after an
interruption. DIR receives a contact sheet of the scenes, contact_sheet.png.

Settings are those of config/simulation/*.yaml; a folder of meshes has a manifest.json with name, file, class, licence
and split (train or val) of each .glb. Needs OpenGL 3.3 through EGL; without a GPU: apt-get install libegl1 libgl1
libgl1-mesa-dri.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = subparsers.add_parser(
        "simulate",
        help="make labelled street scenes",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the scenes")
    parser.add_argument("--scenes", type=int, metavar="N", help="number of scenes (default: the configuration's, 10)")
    parser.add_argument(
        "--seed", type=int, metavar="N", help="seed of the first scene (default: the configuration's, 0)"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings of the simulator")
    parser.add_argument("--format", choices=["frames", "bag"], default="frames", help="scene folders or recordings")
    parser.add_argument("--meshes", type=Path, metavar="DIR", help="folder of meshes with manifest.json")
    parser.add_argument("--split", choices=["train", "val", "any"], help="meshes to use of --meshes (default train)")
    parser.add_argument("--rig", type=Path, metavar="FILE", help="rig file (default: six cameras like nuScenes)")
    parser.add_argument("--frames", type=int, metavar="N", help="frames of each scene")
    parser.add_argument("--width", type=int, metavar="PX", help="width of the pictures")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Simulate, and say what was made."""
    from tqdm import tqdm

    from lift3d_ros.config import iterate_settings
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.simulation.run import RunOptions, dark_or_wet, run_statistics, seeds_to_do, simulate, write_sheet
    from lift3d_ros.simulation.settings import SimulationSettings, load_settings

    settings = SimulationSettings() if args.config is None else load_settings(args.config)
    given = {name: getattr(args, name) for name in ("scenes", "seed", "frames", "width")}
    for known in iterate_settings(SimulationSettings):
        if (value := given.get(known.name)) is None:
            continue
        low, high = known.minimum or 0, known.maximum
        if value < low or (high is not None and value > high):
            raise ConfigError(
                f"--{known.name} {value}: expected {low:g} " + ("or more" if high is None else f"to {high:.0f}")
            )
        settings = replace(settings, **{known.name: value})
    if args.rig is not None:
        settings = replace(settings, rig=str(args.rig), random_rigs=0.0)
    if not 1 <= args.workers <= 256:
        raise ConfigError(f"--workers {args.workers}: expected 1 to 256")
    if args.split is not None and args.meshes is None:
        raise ConfigError(
            f"--split {args.split}: is of a folder of meshes; give it with --meshes, or leave --split out"
        )
    options = RunOptions(settings, args.out, args.format, args.meshes, args.split or "train")
    todo = len(seeds_to_do(options))
    with tqdm(total=len(options.seeds), initial=len(options.seeds) - todo, desc="simulating", unit="scene") as progress:
        for seed in simulate(options, args.workers):
            progress.update()
            progress.set_postfix(seed=seed)
    sheet = write_sheet(options)
    statistics = run_statistics(options)
    if statistics is not None:
        print("\n".join(statistics.lines()))
    print(f"at night or in rain: {dark_or_wet(options)} of {len(options.seeds)} scenes")
    print(f"wrote {args.out}" + ("" if sheet is None else f"; look at {sheet}"))
    return 0
