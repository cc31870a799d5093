"""Trains the object reconstructor on one mesh, and says how well it shows views that it was never trained on.

  python tools/overfit_object.py --data meshes --object scan_yellow_cup --out runs --score benchmarks/lrm_overfit.json

Renders the mesh, trains with config/training/lrm_overfit.yaml, and renders all of the views that the recipe holds out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.types import Float64Array, UInt8Array

RECIPE = Path(__file__).resolve().parents[1] / "config" / "training" / "lrm_overfit.yaml"
# Of the trained views, every eighth is compared.
_TRAINED_STEP = 8


def main() -> int:
    """Train, compare and write; return the exit status."""
    args = parse(sys.argv[1:])
    try:
        document = overfit(args)
    except Lift3dError as error:
        print(f"overfit_object: error: {error}", file=sys.stderr)
        return 2
    if args.score is not None:
        args.score.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    figures = document["figures"]
    print(f"unseen views: {figures['psnr_unseen']:.2f} dB, worst {min(figures['psnr_unseen_each']):.2f} dB")
    print(f"trained views: {figures['psnr_trained']:.2f} dB; squared error by where it lies: {figures['error_share']}")
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="MESHES", help="folder with manifest.json")
    parser.add_argument("--object", required=True, metavar="NAME", help="mesh of the manifest")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run")
    parser.add_argument("--config", type=Path, default=RECIPE, metavar="FILE", help="recipe (default %(default)s)")
    parser.add_argument("--init-from", type=Path, metavar="FILE", help="weights to start from (default: random)")
    parser.add_argument("--set", nargs="+", action="extend", default=[], dest="changes", metavar="NAME=VALUE")
    parser.add_argument("--score", type=Path, metavar="FILE", help="write the result into a JSON file")
    return parser.parse_args(arguments)


def overfit(args: argparse.Namespace) -> dict[str, Any]:
    """Render, train and compare; return what is stored."""
    from lift3d_ros.bench.machine import describe_machine
    from lift3d_ros.datasets.object_meshes import read_mesh_folder
    from lift3d_ros.datasets.object_pack import ObjectPack
    from lift3d_ros.datasets.object_packing import pack_meshes
    from lift3d_ros.evaluation.metrics_file import git_revision
    from lift3d_ros.training.lrm.settings import load_recipe
    from lift3d_ros.training.lrm.train import train

    recipe = load_recipe(args.config, args.changes)
    found = [entry for entry in read_mesh_folder(args.data, "all") if entry.name == args.object]
    if not found:
        raise ConfigError(f"{args.data}: no mesh is called '{args.object}'; expected a name of manifest.json")
    pack = args.out / "pack"
    pack_meshes(found, pack, recipe.network, recipe.render)
    began, cpu = time.monotonic(), time.process_time()
    result = train(recipe, [pack], [pack], args.out / "run", init_from=args.init_from)
    minutes, cpu_minutes = (time.monotonic() - began) / 60.0, (time.process_time() - cpu) / 60.0
    assert result.weights is not None
    figures = compare(recipe, ObjectPack(pack), result.weights, args.out)
    return {
        "command": shlex.join(["python", *sys.argv]),
        "machine": describe_machine("cpu"),
        "git_revision": git_revision(RECIPE.parents[2]),
        "object": {"name": found[0].name, "licence": found[0].licence},
        "starts_from": "random weights" if args.init_from is None else args.init_from.name,
        "minutes": minutes,
        "cpu_minutes": cpu_minutes,
        "figures": figures,
        "recipe": dataclasses.asdict(recipe),
    }


def compare(recipe: Any, pack: Any, weights: Path, out: Path) -> dict[str, Any]:
    """Return figures of views that are trained and held out, and draw the latter, each beside the truth."""
    import cv2
    import torch

    from lift3d_ros.datasets.object_views import held_out_views
    from lift3d_ros.models.lrm.object_image import composite
    from lift3d_ros.training.lrm.module import build_network
    from lift3d_ros.training.lrm.train import start_from

    network = build_network(recipe).eval()
    start_from(network, weights)
    views = pack[0]
    picture = 255.0 * composite(views.rgba[0], recipe.network.image.background).transpose(2, 0, 1)
    with torch.inference_mode():
        planes = network(torch.from_numpy(picture[None]).float(), torch.zeros(1, 16))
    unseen = held_out_views(len(views), recipe.data.held_out_views)
    trained = [number for number in range(len(views)) if number not in unseen][::_TRAINED_STEP]
    psnr: dict[int, float] = {}
    errors = {"background": 0.0, "outline": 0.0, "object": 0.0}
    rows = []
    for number in (*trained, *unseen):
        drawn = rendered(recipe, network, planes, views, number)
        truth = composite(views.rgba[number], 1.0)
        squared = np.square(drawn - truth).mean(axis=2)
        psnr[number] = float(-10.0 * np.log10(squared.mean()))
        if number in unseen:
            rows.append(np.concatenate([truth, drawn], axis=0))
            for name, part in zip(errors, parts_of(views.rgba[number][..., 3]), strict=True):
                errors[name] += float(squared[part].sum())
    sheet = np.rint(255.0 * np.concatenate(rows, axis=1)).astype(np.uint8)
    cv2.imwrite(str(out / "unseen.png"), sheet[..., ::-1])
    each = [psnr[number] for number in unseen]
    total = sum(errors.values())
    return {
        "psnr_unseen": float(np.mean(each)),
        "psnr_unseen_each": each,
        "psnr_trained": float(np.mean([psnr[number] for number in trained])),
        "error_share": {name: round(value / total, 3) for name, value in errors.items()},
    }


def rendered(recipe: Any, network: Any, planes: Any, views: Any, number: int) -> Float64Array:
    """Return one view over white, (S, S, 3) 0..1."""
    import torch

    from lift3d_ros.datasets.object_views import model_frame
    from lift3d_ros.models.lrm.renderer import render_view

    T = model_frame(views.T_object_cameras[0], views.intrinsics[0], views.distances[0], recipe.network.view)
    pose = T @ views.T_object_cameras[number]
    pose[:3, :3] /= np.cbrt(np.linalg.det(pose[:3, :3]))
    side = views.rgba.shape[1]
    drawn = render_view(
        network.field,
        planes,
        torch.from_numpy(pose).float(),
        torch.from_numpy(np.array(views.intrinsics[number])).float(),
        (side, side),
        recipe.network.render,
    )
    return np.clip(drawn.color.double().numpy(), 0.0, 1.0)


def parts_of(alpha: UInt8Array) -> tuple[Any, Any, Any]:
    """Return masks of background, outline (3 px wide) and object."""
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    inner, outer = cv2.erode(alpha, kernel) == 255, cv2.dilate(alpha, kernel) > 0
    return ~outer, outer & ~inner, inner


if __name__ == "__main__":
    sys.exit(main())
