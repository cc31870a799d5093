"""What `lift3d bench all` measures: each method's pipeline with a stated workload. A method is one function here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from lift3d_ros.bench.encoder import scene_of
from lift3d_ros.bench.feeding import BenchPipeline, FrameAt
from lift3d_ros.bench.lifter import frame_of
from lift3d_ros.bench.reconstructor import reconstructor_of, round_object
from lift3d_ros.errors import EngineError
from lift3d_ros.geometry.rig import load_rig
from lift3d_ros.pipelines.bev_detection import BevDetector, DetectorConfig
from lift3d_ros.pipelines.bev_engine import EngineConfig, open_bev_engine
from lift3d_ros.pipelines.object_engine import open_lrm_engine
from lift3d_ros.pipelines.object_surface import SurfaceConfig
from lift3d_ros.pipelines.point_encoder import PointEncoder, PointEncoderConfig
from lift3d_ros.pipelines.point_engine import open_point_engine
from lift3d_ros.pipelines.skeleton_engine import open_lfm_engine
from lift3d_ros.pipelines.skeleton_lifting import SkeletonLifter, SkeletonLiftingConfig
from lift3d_ros.pipelines.tracking import TrackingConfig
from lift3d_ros.resources import find_resource
from lift3d_ros.types import CameraImage, CameraView, EgoMotion, FrameSet, UInt8Array
from lift3d_ros.weights.manifest import find_model

_RIG = "config/rigs/nuscenes_like.yaml"
_SPEED_M_S = 10.0
_PEOPLE, _JOINTS = 5, 17
_OBJECTS, _POINTS = 10, 2048


@dataclass(frozen=True, eq=False)
class Subject:
    """A pipeline that is ready, the frames for it, and a phrase that says what each frame holds."""

    pipeline: BenchPipeline
    frame_at: FrameAt
    workload: str


def open_subject(model: str, config: EngineConfig) -> Subject:
    """Open the pipeline of a model of a manifest.

    Raises:
        WeightsError: unknown model, missing or damaged weights.
        EngineError: a backend is not there, or nothing is known of how to feed the method.
    """
    method = find_model(model).method
    if method not in _SUBJECT_OF_METHOD:
        raise EngineError(f"model '{model}': 'lift3d bench all' has no workload for method '{method}'; leave it out")
    return _SUBJECT_OF_METHOD[method](model, config)


def measured_methods() -> tuple[str, ...]:
    """Return the methods that have a workload."""
    return tuple(_SUBJECT_OF_METHOD)


def detector_subject(model: str, config: EngineConfig) -> Subject:
    """Return the detector with tracking, on compressed pictures of the nuScenes-like rig while driving straight on."""
    rig = load_rig(find_resource(_RIG))
    engine = open_bev_engine(model, config, len(rig.cameras))
    models = {name: camera.model(name) for name, camera in rig.cameras.items()}
    sizes = {name: (model.width, model.height) for name, model in models.items() if model is not None}
    jpegs = {name: _picture(*size, seed) for seed, (name, size) in enumerate(sizes.items())}

    def frame_at(stamp_ns: int) -> FrameSet:
        views = {}
        for name, camera in models.items():
            mounting = rig.cameras[name].T_base_cam
            assert camera is not None
            assert mounting is not None
            picture = CameraImage(name, stamp_ns, camera.frame_id, "jpeg", jpegs[name], source="bench")
            views[name] = CameraView(picture, camera, mounting)
        pose = np.eye(4)
        pose[0, 3] = _SPEED_M_S * stamp_ns * 1e-9
        return FrameSet(stamp_ns, views, base_frame=rig.base_frame, ego=EgoMotion(stamp_ns, pose))

    width, height = next(iter(sizes.values()))
    kilobytes = round(sum(map(len, jpegs.values())) / 1e3)
    workload = f"{len(models)} JPEG pictures of {width}x{height}, {kilobytes} kB, with ego motion and tracking"
    return Subject(BevDetector(engine, DetectorConfig(), rig, TrackingConfig()), frame_at, workload)


def lifter_subject(model: str, config: EngineConfig) -> Subject:
    """Return the lifter on a few instances of one skeleton before a calibrated camera."""
    lifter = SkeletonLifter(open_lfm_engine(model, config), SkeletonLiftingConfig())
    frame = frame_of(_PEOPLE, _JOINTS)
    workload = f"{_PEOPLE} instances of {_JOINTS} joints, calibrated camera"
    return Subject(lifter, lambda stamp_ns: dataclasses.replace(frame, stamp_ns=stamp_ns), workload)


def encoder_subject(model: str, config: EngineConfig) -> Subject:
    """Return the encoder on a cloud with boxes."""
    encoder = PointEncoder(open_point_engine(model, config), PointEncoderConfig())
    cloud = scene_of(_OBJECTS, _POINTS)
    workload = f"{_OBJECTS} boxes with {_POINTS} points each"
    return Subject(encoder, lambda stamp_ns: dataclasses.replace(cloud, stamp_ns=stamp_ns), workload)


def reconstructor_subject(model: str, config: EngineConfig) -> Subject:
    """Return the reconstructor on one picture; the surface is that of a known shape, so that every mesh is as large."""
    surface, frame = SurfaceConfig(), round_object()
    reconstructor = reconstructor_of(open_lrm_engine(model, config), surface)
    height, width = frame.picture.shape[:2]
    workload = f"a picture of {width}x{height} with a mask, mesh of {surface.resolution} cells"
    return Subject(reconstructor, lambda stamp_ns: dataclasses.replace(frame, stamp_ns=stamp_ns), workload)


def _picture(width: int, height: int, seed: int) -> UInt8Array:
    """Return a JPEG of coarse noise: fine noise would take far longer to decode than a picture of a street."""
    coarse = np.random.default_rng(seed).integers(0, 256, (-(-height // 16), -(-width // 16), 3), dtype=np.uint8)
    _, encoded = cv2.imencode(".jpg", cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return np.asarray(encoded, dtype=np.uint8).reshape(-1)


_SUBJECT_OF_METHOD: dict[str, Callable[[str, EngineConfig], Subject]] = {
    "dfa3d": detector_subject,
    "lfm": lifter_subject,
    "i2p_mae": encoder_subject,
    "lrm": reconstructor_subject,
}
