"""`lift3d evaluate object_reconstruction`: measure a reconstructor on a folder of meshes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lift3d_ros.evaluation.object_reconstruction import ObjectEvaluation
    from lift3d_ros.pipelines.object_reconstruction import ObjectReconstructor

DESCRIPTION = """\
Measure a reconstructor on meshes: each is rendered once, reconstructed from that picture, and compared with the truth.

  lift3d evaluate object_reconstruction --data meshes --out results                     the shipped model
  lift3d evaluate object_reconstruction --data meshes --weights run/weights.safetensors --out results
  lift3d evaluate object_reconstruction --data meshes --model triposr --split all --out results

--data is a folder with manifest.json: a list of entries with name and file (.glb), and where known class and split.
DIR receives metrics.json (PSNR and SSIM of unseen views, Chamfer distance and F-scores before and after alignment, the
same of two guesses without a network), objects.png and report.html. How it is measured: docs/lrm.md.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the task."""
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of meshes with manifest.json")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for metrics, sheet and report")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", metavar="NAME", help="a name of 'lift3d weights list' (default: the shipped one)")
    which.add_argument("--weights", type=Path, metavar="FILE", help="weights of a training")
    parser.add_argument("--split", metavar="S", help="train, val or all (default: val where the manifest has it)")
    parser.add_argument("--limit", type=int, metavar="N", help="only N meshes, evenly from the list")
    parser.add_argument("--views", type=int, default=4, metavar="N", help="unseen views (default %(default)s)")
    parser.add_argument("--side", type=int, default=128, metavar="PX", help="side of the views (default %(default)s)")
    parser.add_argument("--resolution", type=int, default=128, metavar="N", help="cells of the mesh (default 128)")
    parser.add_argument(
        "--lpips", nargs=2, type=Path, metavar=("ALEXNET", "LINEAR"), help="weights for LPIPS; see docs/lrm.md"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0 (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of cameras and points (default %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace the results in DIR")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate, write and print."""
    from tqdm import tqdm

    from lift3d_ros.datasets.object_meshes import read_mesh_folder
    from lift3d_ros.errors import DatasetError
    from lift3d_ros.evaluation.metrics_file import write_metrics
    from lift3d_ros.evaluation.object_cases import spread_out
    from lift3d_ros.evaluation.object_lpips import LpipsFiles
    from lift3d_ros.evaluation.object_reconstruction import evaluate_objects
    from lift3d_ros.evaluation.object_report import write_object_report, write_sheet

    _check(args)
    entries = read_mesh_folder(args.data, args.split)
    names = {entry.name for entry in entries}
    try:
        known = [entry for entry in read_mesh_folder(args.data, "train") if entry.name not in names]
    except DatasetError:
        known = []
    if args.limit is not None:
        entries = spread_out(entries, args.limit)
    reconstructor = _reconstructor(args)
    lpips_files = None if args.lpips is None else LpipsFiles(*args.lpips)
    with tqdm(desc="objects", unit="object", disable=None, file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = evaluate_objects(
            reconstructor,
            entries,
            known,
            num_views=args.views,
            side=args.side,
            seed=args.seed,
            lpips_files=lpips_files,
            on_object=show,
        )
    command = ["lift3d", *sys.argv[1:]]
    data = args.data.resolve().name
    path = write_metrics(
        args.out,
        result.to_json(),
        command=command,
        configuration={
            "data": data,
            "split": args.split,
            "objects": [entry.name for entry in entries],
            "views": args.views,
            "side": args.side,
            "reconstruction": reconstructor.config,
        },
        seed=args.seed,
        model=result.model.description,
        weights_sha256=result.model.weights_sha256,
    )
    sheet = write_sheet(result, args.out)
    report = write_object_report(
        result, args.out, title=f"Object reconstruction on {data}", command=command, facts={"data": data}
    )
    _print(result)
    print(f"metrics: {path}\nsheet: {sheet}\nreport: {report}")
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be done before anything is computed."""
    from lift3d_ros.cli.output_places import check_folder_place
    from lift3d_ros.errors import ConfigError, Lift3dError
    from lift3d_ros.evaluation.metrics_file import METRICS_FILE

    check_folder_place("--out", args.out)
    if (args.out / METRICS_FILE).exists() and not args.overwrite:
        raise Lift3dError(f"{args.out}: already holds results; replace them with --overwrite, or choose another folder")
    for name, value, lowest, highest in (
        ("limit", args.limit, 1, 1_000_000),
        ("views", args.views, 1, 64),
        ("side", args.side, 16, 2048),
        ("seed", args.seed, 0, 2**32),
    ):
        if value is not None and not lowest <= value <= highest:
            raise ConfigError(f"--{name} {value}: expected {lowest} to {highest}")


def _reconstructor(args: argparse.Namespace) -> ObjectReconstructor:
    from lift3d_ros.pipelines.bev_engine import EngineConfig
    from lift3d_ros.pipelines.object_engine import open_lrm_source
    from lift3d_ros.pipelines.object_reconstruction import (
        ObjectReconstructionConfig,
        ObjectReconstructor,
        open_object_reconstructor,
    )
    from lift3d_ros.pipelines.object_surface import SurfaceConfig
    from lift3d_ros.pipelines.object_weights import source_of_file

    changes: dict[str, Any] = {} if args.model is None else {"model": args.model}
    if args.weights is not None:
        changes = {"model": str(args.weights)}
    surface, engine = SurfaceConfig(resolution=args.resolution), EngineConfig(device=args.device)
    config = ObjectReconstructionConfig(**changes, surface=surface, engine=engine)
    if args.weights is None:
        return open_object_reconstructor(config)
    return ObjectReconstructor(open_lrm_source(source_of_file(args.weights), engine), config)


def _print(result: ObjectEvaluation) -> None:
    columns = (
        ("psnr", "PSNR dB", 2), ("ssim", "SSIM", 3), ("lpips", "LPIPS", 3), ("chamfer_aligned", "Chamfer", 4),
        ("f_score_0.02_aligned", "F 0.02", 3), ("f_score_0.05_aligned", "F 0.05", 3), ("empty", "empty", 0),
    )  # fmt: skip
    print(f"{'':12}" + "".join(f"{label:>10}" for _, label, _ in columns))
    for method, row in result.summary().items():
        values = (row[key] for key, _, _ in columns)
        cells = (
            "-" if value is None else f"{value:.{digits}f}"
            for value, (_, _, digits) in zip(values, columns, strict=True)
        )
        print(f"{method:12}" + "".join(f"{cell:>10}" for cell in cells))
    print(f"model: {result.model.description}; {len(result.objects)} objects; mean shape of {result.known}")
    if result.lpips_problem:
        print(f"no LPIPS: {result.lpips_problem}")
