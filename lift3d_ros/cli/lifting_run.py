"""What `replay --task skeleton_lifting` does: the lifter over a recording, with a progress bar."""

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
from lift3d_ros.pipelines.bev_engine import EngineConfig
from lift3d_ros.pipelines.keypoint_sets import KeypointInputConfig, KeypointSet, KeypointSetLifter, KeypointSyncConfig
from lift3d_ros.pipelines.skeleton_batches import LifterConfig
from lift3d_ros.pipelines.skeleton_lifting import SkeletonLiftingConfig, open_skeleton_lifter
from lift3d_ros.pipelines.skeleton_mirror import MirrorConfig
from lift3d_ros.pipelines.skeleton_smoothing import SmoothingConfig
from lift3d_ros.replay.bag_keypoints import BagKeypoints, RecordedTopics
from lift3d_ros.replay.skeleton_run import check_unused, run_lifter
from lift3d_ros.types import Skeletons3D

PICTURES_FOLDER = "pictures"

_OF_OTHER_TASKS = ("rig", "mount_height", "score_threshold", "sets", "resume")


@dataclass(frozen=True)
class RunConfig:
    """Settings of a run; a file for --params holds any of them, with the names that the node has."""

    model: str = setting(
        "lift3d-lfm", "model name of models/manifest.yaml, weights.safetensors of a training, or exported .onnx file"
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
    for name in _OF_OTHER_TASKS:
        if getattr(args, name) not in (None, False):
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{option}: is not an option of --task skeleton_lifting; leave it out")
    if args.out.exists() and not args.out.is_dir():
        raise ConfigError(f"--out {args.out}: is a file; give a folder")
    check_unused(args.out, overwrite=args.overwrite)
    for picture in (args.out / PICTURES_FOLDER).glob("*.jpg") if args.overwrite else ():
        picture.unlink()
    config = _config_of(args)
    with open_bag(args.bag) as reader:
        source = BagKeypoints(reader, config.topics, config.input, config.sync, config.lifter.max_joints)
        lifting = SkeletonLiftingConfig(config.model, config.lifter, config.mirror, config.smoothing, config.engine)
        lifter = KeypointSetLifter(open_skeleton_lifter(lifting))
        print(f"model {lifter.identity.description} on {lifter.identity.backend}", file=sys.stderr)
        expected = max(source.expected_sets - args.frames.start, 0)
        if args.frames.stop is not None:
            expected = min(expected, args.frames.stop - args.frames.start)
        lifted = 0
        with tqdm(total=expected, desc="lifting", unit="set", disable=None) as progress:

            def on_result(item: KeypointSet, result: Skeletons3D) -> None:
                nonlocal lifted
                lifted += len(result.skeletons)
                progress.update()
                if not args.no_pictures and result.skeletons:
                    _write_picture(args, item, result)

            facts = _facts(config, args, source, lifter)
            count = run_lifter(source.sets(), lifter, args.out, facts, args.frames, on_result)
    if not count:
        raise Lift3dError(f"{args.bag}: no keypoints were lifted; see the warnings above and --frames")
    print(f"{lifted} skeletons of {count} messages ({lifter.identity.description}); results in {args.out}")
    return 0


def _config_of(args: argparse.Namespace) -> RunConfig:
    config = RunConfig() if args.params is None else load_yaml(RunConfig, args.params)
    changes: dict[str, Any] = {}
    if args.model is not None:
        changes["model"] = args.model
    if args.backend is not None:
        changes["engine"] = dataclasses.replace(config.engine, backend=args.backend)
    return dataclasses.replace(config, **changes)


def _facts(
    config: RunConfig, args: argparse.Namespace, source: BagKeypoints, lifter: KeypointSetLifter
) -> dict[str, Any]:
    """Return everything that decides the results."""
    return {
        "version": lift3d_ros.__version__,
        "task": args.task,
        "input": args.bag.name,
        "topics": source.topics,
        "weights": lifter.identity.weights_sha256,
        "backend": lifter.identity.backend,
        "settings": dataclasses.asdict(config),
        "first frame": args.frames.start,
    }


def _write_picture(args: argparse.Namespace, item: KeypointSet, result: Skeletons3D) -> None:
    """Write keypoints and skeletons of one set as a picture that is named by its stamp."""
    import cv2
    import numpy as np

    from lift3d_ros.viz.skeletons import skeleton_sheet

    folder = args.out / PICTURES_FOLDER
    folder.mkdir(exist_ok=True)
    sheet = skeleton_sheet(None, item.keypoints.instances, result)
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(sheet[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 90])
    (folder / f"{result.stamp_ns}.jpg").write_bytes(data.tobytes())
