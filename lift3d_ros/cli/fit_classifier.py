"""`lift3d fit-classifier`: teach a point encoder the user's own classes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lift3d_ros.cli.features import add_encoder_options, open_encoder

DESCRIPTION = """\
Fit a linear classifier to the descriptors of labelled clouds, for 'lift3d features', the node and replay.

  lift3d fit-classifier --train train_0.npz train_1.npz --out classifier.safetensors
  lift3d features scan.pcd --boxes boxes.json --classifier classifier.safetensors --out features

Files: .npz with points (N, P, 3) and labels (N,), and classes.json beside it; ModelNet40 as .h5, .dat or as list;
ScanObjectNN as .h5. A few clouds of each class are enough to begin with. They should come from the sensor of the robot:
the accuracy that is printed is that of a cross-validation on these clouds, and holds for clouds like them.

The classifier belongs to the weights of its encoder; others refuse it.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command."""
    parser = subparsers.add_parser(
        "fit-classifier",
        help="teach a point encoder own classes",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--train", type=Path, nargs="+", required=True, metavar="PATH", help="labelled files, folders")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.safetensors", help="file to write")
    add_encoder_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the cross-validation (default %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Encode, fit, write and print."""
    from tqdm import tqdm

    from lift3d_ros.datasets.point_clouds import find_cloud_files, read_clouds
    from lift3d_ros.errors import ConfigError
    from lift3d_ros.evaluation.classifier_fit import check_classes, describe_set, fit_classifier
    from lift3d_ros.evaluation.linear_probe import check_scikit_learn
    from lift3d_ros.pipelines.point_classifier import save_classifier

    if args.out.suffix != ".safetensors":
        raise ConfigError(f"--out '{args.out}': expected a file name that ends in .safetensors")
    if args.out.is_dir():
        raise ConfigError(f"--out {args.out}: is a folder; give a file name")
    if not 0 <= args.seed < 2**32:
        raise ConfigError(f"--seed {args.seed}: expected 0 to {2**32 - 1}")
    check_scikit_learn()
    clouds = read_clouds([path for place in args.train for path in find_cloud_files(place, "train")])
    check_classes(clouds)
    encoder = open_encoder(args)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(clouds), desc="encoding", unit="cloud", disable=None) as progress:
        descriptors = describe_set(encoder, clouds, progress.update)
    fitted = fit_classifier(descriptors, clouds, encoder.identity.weights_sha256, seed=args.seed)
    save_classifier(args.out, fitted.classifier)
    names = fitted.classifier.class_names
    print(f"{len(names)} classes, {len(clouds)} clouds, features of {encoder.identity.description}")
    if fitted.accuracy is None:
        print("accuracy: not measured, because a class has a single cloud; give two or more of each")
    else:
        print(
            f"cross-validated accuracy {fitted.accuracy:.1%} ({fitted.folds} folds), mean negative log probability of "
            f"the true class {fitted.log_loss:.3f}"
        )
    print(f"wrote {args.out}")
    return 0
