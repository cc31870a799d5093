"""`lift3d features`: descriptors, tokens and classes of point clouds, and how alike clouds are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lift3d_ros.cli.pictures import PICTURES_FOLDER, write_picture
from lift3d_ros.pipelines.backends import BACKENDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lift3d_ros.datasets.cloud_files import NamedCloud
    from lift3d_ros.pipelines.point_encoder import PointEncoder
    from lift3d_ros.types import PointFeatures, PointFeatureSet

ARRAYS_FILE = "features.npz"
SUMMARY_FILE = "features.json"

DESCRIPTION = """\
Describe point clouds, or the objects in them, by features of a point encoder.

CLOUD is .pcd, .ply, .npy, .bin (float32 x y z intensity, as KITTI has it), .pcd.bin (nuScenes), or .npz with points
(N, 3), organised (H, W, 3), or with labels beside them (clouds, N, 3).

  lift3d features scan.pcd --out features --pictures
  lift3d features scan.ply --boxes boxes.json --classifier classifier.safetensors --out features
  lift3d features cup_left.npy cup_right.npy box.npy --compare --out features

boxes.json is a list of {"center": [x, y, z], "size": [length, width, height], "yaw": 0.0, "id": 1}, metres and radians
in the frame of the cloud; each box is described by the points inside of it.

DIR receives features.npz (descriptors, tokens, token_centers and more, one row for each object), features.json (which
row is what), and with --pictures each cloud coloured by its features: equal colours are alike to the encoder.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = subparsers.add_parser(
        "features",
        help="describe point clouds and the objects in them",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clouds", type=Path, nargs="+", metavar="CLOUD", help="files of clouds")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for results and pictures")
    parser.add_argument("--boxes", type=Path, metavar="FILE.json", help="objects to describe, in every cloud")
    add_encoder_options(parser)
    parser.add_argument("--classifier", type=Path, metavar="FILE", help="made by 'lift3d fit-classifier'")
    parser.add_argument("--compare", action="store_true", help="print the cosine similarity of all descriptors")
    parser.add_argument("--pictures", action="store_true", help="draw each cloud coloured by its features")
    parser.set_defaults(run=run)


def add_encoder_options(parser: argparse.ArgumentParser) -> None:
    """Add what decides which encoder runs, and where."""
    parser.add_argument("--model", help="a name of 'lift3d weights list', a .safetensors or an .onnx file")
    parser.add_argument("--backend", choices=BACKENDS, help="runtime of the network")
    parser.add_argument("--device", help="of the torch backend, for example cpu or cuda:0")
    parser.add_argument("--threads", type=int, dest="num_threads", help="CPU threads; 0 lets the runtime choose")


def open_encoder(args: argparse.Namespace) -> PointEncoder:
    """Return the encoder that the options name.

    Raises:
        ConfigError, WeightsError, EngineError: it cannot be opened.
    """
    from lift3d_ros.config import from_mapping
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.pipelines.point_encoder import MOST_THREADS, PointEncoderConfig, open_point_encoder
    from lift3d_ros.pipelines.point_settings import check_point_model

    if args.num_threads is not None and not 0 <= args.num_threads <= MOST_THREADS:
        raise ConfigError(f"--threads {args.num_threads}: expected 0 to {MOST_THREADS}")
    names = ("model", "backend", "device", "num_threads", "classifier")
    given = {name: getattr(args, name, None) for name in names}
    values = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
    config = from_mapping(
        PointEncoderConfig, {name: value for name, value in values.items() if value is not None}, "options"
    )
    check_point_model(config)  # opening may begin with an export, which takes minutes
    return open_point_encoder(config)


def run(args: argparse.Namespace) -> int:
    """Encode, write and print."""
    from lift3d_ros.datasets.cloud_files import read_cloud_file
    from lift3d_ros.datasets.crop_boxes import read_crop_boxes
    from lift3d_ros.errors import CloudError, ConfigError
    from lift3d_ros.pipelines.point_encoder import PointCloudFrame

    if args.out.exists() and not args.out.is_dir():
        raise ConfigError(f"--out {args.out}: is a file; give a folder")
    boxes, ids = (None, None) if args.boxes is None else read_crop_boxes(args.boxes)
    if boxes is not None and not len(boxes):
        raise ConfigError(f"--boxes {args.boxes}: holds no box; give at least one, or leave --boxes out")
    clouds = [cloud for path in args.clouds for cloud in read_cloud_file(path)]
    encoder = open_encoder(args)
    args.out.mkdir(parents=True, exist_ok=True)
    results = []
    for number, cloud in enumerate(clouds):
        result = encoder.infer(encoder.prepare(PointCloudFrame(cloud.points, stamp_ns=number, boxes=boxes, ids=ids)))
        results.append(result)
        for problem in result.problems:
            print(f"{cloud.name}: {problem}")
        for features in result.features:
            print(_describe(_name(cloud, features), features))
    if not any(result.features for result in results):
        raise CloudError("no cloud has an object with points; see above, and check clouds and boxes")
    _write(args.out, clouds, results)
    if args.compare:
        _print_similarities(clouds, results)
    if args.pictures:
        _draw(args.out / PICTURES_FOLDER, clouds, results)
    count = sum(len(result.features) for result in results)
    print(f"{count} objects of {len(clouds)} clouds ({encoder.identity.description}); results in {args.out}")
    return 0


def _name(cloud: NamedCloud, features: PointFeatures) -> str:
    return cloud.name if features.instance_id < 0 else f"{cloud.name}, box {features.instance_id}"


def _describe(name: str, features: PointFeatures) -> str:
    label = f", {features.label} ({features.score:.0%})" if features.label else ""
    return f"{name}: {features.num_points} points{label}"


def _write(folder: Path, clouds: Sequence[NamedCloud], results: Sequence[PointFeatureSet]) -> None:
    """Write the arrays of all clouds as one file, and which of its rows is what."""
    import dataclasses
    import json

    from lift3d_ros.replay.point_results import features_to_json, write_feature_arrays

    everything = dataclasses.replace(results[0], features=tuple(item for result in results for item in result.features))
    write_feature_arrays(everything, folder / ARRAYS_FILE)
    entries, first = [], 0
    for cloud, result in zip(clouds, results, strict=True):
        entry = features_to_json(result, Path(ARRAYS_FILE) if result.features else None)
        kept = {name: entry[name] for name in ("features", "problems")}
        entries.append({"cloud": cloud.name, "first_row": first, **kept})
        first += len(result.features)
    model = dataclasses.asdict(results[0].model)
    document = {"model": model, "arrays": ARRAYS_FILE, "clouds": entries}
    (folder / SUMMARY_FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _print_similarities(clouds: Sequence[NamedCloud], results: Sequence[PointFeatureSet]) -> None:
    from lift3d_ros.pipelines.point_similarity import cosine_similarity

    named = [
        (_name(cloud, features), features)
        for cloud, result in zip(clouds, results, strict=True)
        for features in result.features
    ]
    width = max(len(name) for name, _ in named)
    # Of two objects the mean lies in the middle, and tells nothing.
    for is_centred in (False, True) if len(named) > 2 else (False,):
        similarity = cosine_similarity([features for _, features in named], is_centred=is_centred)
        print(f"cosine similarity of the descriptors{', their mean taken away' if is_centred else ''}:")
        print(" " * (width + 5) + "".join(f"{number:>7}" for number in range(len(named))))
        for number, (name, _) in enumerate(named):
            print(f"{number:>3}  {name:<{width}}" + "".join(f"{value:7.3f}" for value in similarity[number]))


def _draw(folder: Path, clouds: Sequence[NamedCloud], results: Sequence[PointFeatureSet]) -> None:
    """Draw each cloud in the colours of one common basis."""
    from lift3d_ros.pipelines.point_colors import color_basis, feature_colors
    from lift3d_ros.viz.clouds import cloud_sheet

    basis = color_basis([features for result in results for features in result.features])
    for number, (cloud, result) in enumerate(zip(clouds, results, strict=True)):
        caption = f"{cloud.name}: features of {result.model.description}"
        if not result.model.is_trained:
            caption = f"{cloud.name}\n{result.model.description}: colours mean nothing"
        sheet = cloud_sheet(cloud.points, feature_colors(cloud.points, result.features, basis), caption)
        write_picture(folder / f"{number:03d}_{_safe(cloud.name)}.jpg", sheet)


def _safe(name: str) -> str:
    import re

    return re.sub(r"[^\w.-]+", "_", name) or "cloud"
