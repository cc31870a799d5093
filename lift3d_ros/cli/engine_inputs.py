"""What a recording gives to a network: the inputs of its pipeline, frame after frame."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from lift3d_ros.bags.discover import discover
from lift3d_ros.bags.reader import open_bag
from lift3d_ros.config import from_mapping
from lift3d_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from lift3d_ros.engines.recording import record
from lift3d_ros.errors import CloudError, ConfigError, ImageError
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.models.i2p_mae.config import I2pMaeConfig
from lift3d_ros.pipelines.bev_detection import BevDetector, DetectorConfig
from lift3d_ros.pipelines.bev_engine import BevEngine
from lift3d_ros.pipelines.cloud_sets import CloudSetEncoder, CloudSyncConfig
from lift3d_ros.pipelines.engine_subjects import EngineSubject
from lift3d_ros.pipelines.frame_sets import SyncConfig
from lift3d_ros.pipelines.keypoint_sets import KeypointInputConfig, KeypointSetLifter, KeypointSyncConfig
from lift3d_ros.pipelines.point_encoder import PointEncoder, PointEncoderConfig
from lift3d_ros.pipelines.point_engine import PointEngine
from lift3d_ros.pipelines.recorded_inputs import InputTape
from lift3d_ros.pipelines.skeleton_engine import LfmEngine
from lift3d_ros.pipelines.skeleton_lifting import SkeletonLifter, SkeletonLiftingConfig
from lift3d_ros.replay.bag_clouds import BagClouds, RecordedClouds
from lift3d_ros.replay.bag_frames import BagFrames
from lift3d_ros.replay.bag_keypoints import BagKeypoints, RecordedTopics
from lift3d_ros.replay.folder_frames import SceneFrames
from lift3d_ros.replay.run import FrameRange
from lift3d_ros.replay.source import FrameSource
from lift3d_ros.types import ModelIdentity

_IDENTITY = ModelIdentity("inputs of a recording", "", is_trained=True)

ItemT = TypeVar("ItemT")


def record_inputs(subject: EngineSubject, data: Path | None, frames: FrameRange) -> InputTape:
    """Run a model with ONNX Runtime in float32 and return what its network was given.

    Args:
        data: recording or scene folder; None for the scenes of this package.
        frames: of the recording.

    Raises:
        ConfigError: the recording gave nothing to this model, or the model takes no recordings.
        Lift3dError: the recording cannot be read.
    """
    engine = OnnxRuntimeEngine(subject.graph, 0)
    tape = InputTape(engine)
    if data is None:
        if subject.recorded is None:
            raise ConfigError(f"{subject.name}: this package has no scenes for it; give a recording with --bag")
        record(tape, "", subject.recorded())
        return tape
    names = engine.signature.input_names
    where = f"{subject.graph}: facts of the model"
    if "images" in names and "cameras" not in names:
        _detect(tape, from_mapping(Dfa3dConfig, engine.facts["config"], where), data, frames)
    elif "adjacency" in names:
        _lift(tape, data, frames)
    elif "neighbours" in names:
        _encode(tape, from_mapping(I2pMaeConfig, engine.facts["config"], where), data, frames)
    else:
        raise ConfigError(f"{subject.name}: its inputs are not taken from recordings; leave out --bag")
    if not tape.runs:
        raise ConfigError(
            f"{data}: gave no inputs to {subject.name}; see --frames, and 'lift3d bag info' for the topics"
        )
    return tape


def _detect(tape: InputTape, config: Dfa3dConfig, data: Path, frames: FrameRange) -> None:
    detector = BevDetector(BevEngine(tape, config, _IDENTITY), DetectorConfig())

    def run(source: FrameSource) -> None:
        _each(source.frame_sets(), frames, lambda item: detector.infer(detector.prepare(item)))

    if (data / "meta.json").is_file():
        run(SceneFrames(data))
        return
    with open_bag(data) as reader:
        run(BagFrames(reader, discover(reader, None), SyncConfig(), None, None))


def _lift(tape: InputTape, data: Path, frames: FrameRange) -> None:
    settings = SkeletonLiftingConfig()
    lifter = KeypointSetLifter(SkeletonLifter(LfmEngine(tape, _IDENTITY), settings))
    with open_bag(data) as reader:
        topics = RecordedTopics(), KeypointInputConfig(), KeypointSyncConfig()
        source = BagKeypoints(reader, *topics, settings.lifter.max_joints)
        _each(source.sets(), frames, lambda item: lifter.infer(lifter.prepare(item)))


def _encode(tape: InputTape, config: I2pMaeConfig, data: Path, frames: FrameRange) -> None:
    encoder = CloudSetEncoder(PointEncoder(PointEngine(tape, config, _IDENTITY), PointEncoderConfig()))
    with open_bag(data) as reader:
        source = BagClouds(reader, RecordedClouds(), CloudSyncConfig(), "")
        _each(source.sets(), frames, lambda item: encoder.infer(encoder.prepare(item)))


def _each(items: Iterable[ItemT], frames: FrameRange, run: Callable[[ItemT], object]) -> None:
    """Run every frame of a range; one that cannot be used is left out."""
    total = None if frames.stop is None else frames.stop - frames.start
    for item in tqdm(
        itertools.islice(items, frames.start, frames.stop), "recording inputs", total, unit="frame", disable=None
    ):
        try:
            run(item)
        except (CloudError, ImageError) as error:
            tqdm.write(f"warning: left out: {error}")
