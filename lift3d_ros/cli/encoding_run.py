"""What `replay --task point_features` does: the point encoder over a recording, with a progress bar."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

import lift3d_ros
from lift3d_ros.bags.reader import open_bag
from lift3d_ros.config import group, load_yaml, setting
from lift3d_ros.errors import ConfigError, Lift3dError
from lift3d_ros.pipelines.cloud_sets import CloudSetEncoder, CloudSyncConfig, PreparedCloudSet
from lift3d_ros.pipelines.point_encoder import PointEncoderConfig, open_point_encoder
from lift3d_ros.pipelines.point_settings import EncoderConfig, RuntimeConfig, check_point_model, point_encoder_config
from lift3d_ros.pipelines.stream_colors import StreamColors
from lift3d_ros.replay.bag_clouds import BagClouds, RecordedClouds
from lift3d_ros.replay.point_run import check_unused, run_encoder
from lift3d_ros.types import Float32Array, PointFeatureSet

PICTURES_FOLDER = "pictures"

_OF_OTHER_TASKS = ("rig", "mount_height", "score_threshold", "sets", "resume")


@dataclass(frozen=True)
class RunConfig:
    """Settings of a run; a file for --params holds any of them, with the names that the node has."""

    model: str = setting(
        PointEncoderConfig.model,
        "model name of models/manifest.yaml, weights.safetensors of a training, or exported .onnx file",
    )
    output_frame: str = setting(
        "", "frame of the results, and without boxes that in which clouds are encoded; empty takes that of each cloud"
    )
    topics: RecordedClouds = group(RecordedClouds)
    sync: CloudSyncConfig = group(CloudSyncConfig)
    encoder: EncoderConfig = group(EncoderConfig)
    engine: RuntimeConfig = group(RuntimeConfig)


def run_encoding(args: argparse.Namespace) -> int:
    """Encode the clouds of a recording and print where the results are.

    Raises:
        ConfigError: an option of another task.
    """
    for name in _OF_OTHER_TASKS:
        if getattr(args, name) not in (None, False):
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{option}: is not an option of --task point_features; leave it out")
    if args.out.exists() and not args.out.is_dir():
        raise ConfigError(f"--out {args.out}: is a file; give a folder")
    check_unused(args.out, overwrite=args.overwrite)
    for picture in (args.out / PICTURES_FOLDER).glob("*.jpg") if args.overwrite else ():
        picture.unlink()
    config = _config_of(args)
    encoding = point_encoder_config(config.model, config.encoder, config.engine)
    check_point_model(encoding)
    with open_bag(args.bag) as reader:
        source = BagClouds(reader, config.topics, config.sync, config.output_frame)
        encoder = CloudSetEncoder(open_point_encoder(encoding))
        print(f"model {encoder.identity.description} on {encoder.identity.backend}", file=sys.stderr)
        expected = max(source.expected_sets - args.frames.start, 0)
        if args.frames.stop is not None:
            expected = min(expected, args.frames.stop - args.frames.start)
        encoded, colors = 0, StreamColors()
        with tqdm(total=expected, desc="encoding", unit="cloud", disable=None) as progress:

            def on_result(prepared: PreparedCloudSet, result: PointFeatureSet) -> None:
                nonlocal encoded
                encoded += len(result.features)
                progress.update()
                if not args.no_pictures and result.features:
                    _write_picture(args, prepared.output_points, colors, result)

            count = run_encoder(
                source.sets(), encoder, args.out, _facts(config, args, source, encoder), args.frames, on_result
            )
    if not count:
        raise Lift3dError(f"{args.bag}: no cloud was encoded; see the warnings above and --frames")
    print(f"{encoded} features of {count} clouds ({encoder.identity.description}); results in {args.out}")
    return 0


def _config_of(args: argparse.Namespace) -> RunConfig:
    config = RunConfig() if args.params is None else load_yaml(RunConfig, args.params)
    changes: dict[str, Any] = {}
    if args.model is not None:
        changes["model"] = args.model
    if args.backend is not None:
        changes["engine"] = dataclasses.replace(config.engine, backend=args.backend)
    return dataclasses.replace(config, **changes)


def _facts(config: RunConfig, args: argparse.Namespace, source: BagClouds, encoder: CloudSetEncoder) -> dict[str, Any]:
    """Return everything that decides the results."""
    return {
        "version": lift3d_ros.__version__,
        "task": args.task,
        "input": args.bag.name,
        "topics": source.topics,
        "weights": encoder.identity.weights_sha256,
        "backend": encoder.identity.backend,
        "settings": dataclasses.asdict(config),
        "first frame": args.frames.start,
    }


def _write_picture(
    args: argparse.Namespace, points: Float32Array, colors: StreamColors, result: PointFeatureSet
) -> None:
    """Write a cloud in the colours of its features as a picture that is named by its stamp."""
    import cv2
    import numpy as np

    from lift3d_ros.viz.clouds import cloud_sheet

    folder = args.out / PICTURES_FOLDER
    folder.mkdir(exist_ok=True)
    is_whole = result.features[0].instance_id < 0
    caption = f"{result.model.description}: {'whole cloud' if is_whole else f'{len(result.features)} boxes'}"
    sheet = cloud_sheet(points, colors.color(points, result), caption)
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(sheet[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 90])
    (folder / f"{result.stamp_ns}.jpg").write_bytes(data.tobytes())
