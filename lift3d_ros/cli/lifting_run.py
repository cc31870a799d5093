"""What `replay --task skeleton_lifting` does: the lifter over a recording, with a progress bar."""

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
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.keypoint_sets import KeypointInputConfig, KeypointSet, KeypointSetLifter, KeypointSyncConfig
from lift3d_ros.pipelines.skeleton_batches import LifterConfig
from lift3d_ros.pipelines.skeleton_lifting import SkeletonLiftingConfig, open_skeleton_lifter
from lift3d_ros.pipelines.skeleton_mirror import MirrorConfig
from lift3d_ros.pipelines.skeleton_smoothing import SmoothingConfig
from lift3d_ros.replay.bag_keypoints import BagKeypoints, RecordedTopics
from lift3d_ros.replay.skeleton_run import check_unused, run_lifter
from lift3d_ros.types import Skeletons3D


@dataclass(frozen=True)
class RunConfig:
    """Settings of a run; a file for --params holds any of them, with the names that the node has."""

    model: str = setting(
        "lift3d-lfm", "a name of 'lift3d weights list', weights.safetensors of a training, or an exported .onnx file"
    )
    topics: RecordedTopics = group(RecordedTopics)
    input: KeypointInputConfig = group(KeypointInputConfig)
    sync: KeypointSyncConfig = group(KeypointSyncConfig)
    lifter: LifterConfig = group(LifterConfig)
    mirror: MirrorConfig = group(MirrorConfig)
    smoothing: SmoothingConfig = group(SmoothingConfig)
    engine: EngineConfig = group(EngineConfig)


def run_lifting(args: argparse.Namespace) -> int:
    """Lift the keypoints of a recording and print where the results are.

    Raises:
        ConfigError: an option of another task.
    """
    check_options(args, OF_DETECTION)
    check_unused(args.out, overwrite=args.overwrite)
    config = settings_of(RunConfig, args, args.task)
    with open_bag(args.bag) as reader:
        source = BagKeypoints(reader, config.topics, config.input, config.sync, config.lifter.max_joints)
        lifting = SkeletonLiftingConfig(config.model, config.lifter, config.mirror, config.smoothing, config.engine)
        lifter = KeypointSetLifter(open_skeleton_lifter(lifting))
        say_model(lifter.identity)
        if args.overwrite:  # not before bag, settings and model are known to be usable
            remove_files(args.out / PICTURES_FOLDER, "*.jpg")
        total = expected_results(source.expected_sets, args.frames)
        lifted = 0
        with tqdm(total=total, desc="lifting", unit="set", disable=None) as progress:

            def on_result(item: KeypointSet, result: Skeletons3D) -> None:
                nonlocal lifted
                lifted += len(result.skeletons)
                progress.update()
                if not args.no_pictures and result.skeletons:
                    _write_picture(args, item, result)

            facts = facts_of(args, config, source.topics, lifter.identity)
            count = run_lifter(source.sets(), lifter, args.out, facts, args.frames, on_result)
    if not count:
        raise Lift3dError(f"{args.bag}: no keypoints were lifted; see the warnings above and --frames")
    print(f"{lifted} skeletons of {count} messages ({lifter.identity.description}); results in {args.out}")
    return 0


def _write_picture(args: argparse.Namespace, item: KeypointSet, result: Skeletons3D) -> None:
    """Write keypoints and skeletons of one set as a picture that is named by its stamp."""
    from lift3d_ros.viz.skeletons import skeleton_sheet

    sheet = skeleton_sheet(None, item.keypoints.instances, result)
    write_picture(args.out / PICTURES_FOLDER / f"{result.stamp_ns}.jpg", sheet)
