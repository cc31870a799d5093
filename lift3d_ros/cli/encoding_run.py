"""What `replay --task point_features` does: the point encoder over a recording, with a progress bar."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from tqdm import tqdm

from lift3d_ros.bags.reader import open_bag
from lift3d_ros.cli.pictures import PICTURES_FOLDER, write_picture
from lift3d_ros.cli.task_run import (
    OF_DETECTION,
    check_options,
    expected_results,
    facts_of,
    remove_files,
    say_model,
    settings_of,
)
from lift3d_ros.config import group, setting
from lift3d_ros.errors import Lift3dError
from lift3d_ros.pipelines.cloud_sets import CloudSetEncoder, CloudSyncConfig, PreparedCloudSet
from lift3d_ros.pipelines.point_encoder import PointEncoderConfig, open_point_encoder
from lift3d_ros.pipelines.point_settings import EncoderConfig, RuntimeConfig, check_point_model, point_encoder_config
from lift3d_ros.pipelines.stream_colors import StreamColors
from lift3d_ros.replay.bag_clouds import BagClouds, RecordedClouds
from lift3d_ros.replay.point_run import check_unused, run_encoder
from lift3d_ros.types import Float32Array, PointFeatureSet


@dataclass(frozen=True)
class RunConfig:
    """Settings of a run; a file for --params holds any of them, with the names that the node has."""

    model: str = setting(
        PointEncoderConfig.model,
        "a name of 'lift3d weights list', encoder.safetensors of a training, or an exported .onnx file",
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
    check_options(args, OF_DETECTION)
    check_unused(args.out, overwrite=args.overwrite)
    config = settings_of(RunConfig, args, args.task)
    encoding = point_encoder_config(config.model, config.encoder, config.engine)
    check_point_model(encoding)
    with open_bag(args.bag) as reader:
        source = BagClouds(reader, config.topics, config.sync, config.output_frame)
        encoder = CloudSetEncoder(open_point_encoder(encoding))
        say_model(encoder.identity)
        total = expected_results(source.expected_sets, args.frames)
        if args.overwrite:  # not before bag, settings and model are known to be usable
            remove_files(args.out / PICTURES_FOLDER, "*.jpg")
        encoded, colors = 0, StreamColors()
        with tqdm(total=total, desc="encoding", unit="cloud", disable=None) as progress:

            def on_result(prepared: PreparedCloudSet, result: PointFeatureSet) -> None:
                nonlocal encoded
                encoded += len(result.features)
                progress.update()
                if not args.no_pictures and result.features:
                    _write_picture(args, prepared.output_points, colors, result)

            facts = facts_of(args, config, source.topics, encoder.identity)
            count = run_encoder(source.sets(), encoder, args.out, facts, args.frames, on_result)
    if not count:
        raise Lift3dError(f"{args.bag}: no cloud was encoded; see the warnings above and --frames")
    print(f"{encoded} features of {count} clouds ({encoder.identity.description}); results in {args.out}")
    return 0


def _write_picture(
    args: argparse.Namespace, points: Float32Array, colors: StreamColors, result: PointFeatureSet
) -> None:
    """Write a cloud in the colours of its features as a picture that is named by its stamp."""
    from lift3d_ros.viz.clouds import cloud_sheet

    is_whole = result.features[0].instance_id < 0
    caption = f"{result.model.description}: {'whole cloud' if is_whole else f'{len(result.features)} boxes'}"
    sheet = cloud_sheet(points, colors.color(points, result), caption)
    write_picture(args.out / PICTURES_FOLDER / f"{result.stamp_ns}.jpg", sheet)
