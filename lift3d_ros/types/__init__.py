"""The nouns of the package: frozen, validated data that rooms hand to each other.

Conventions. Frames follow REP-103/105: base frame x forward, y left, z up; optical frames x right,
y down, z forward. ``T_a_b`` is a 4x4 float64 matrix that maps points of frame b into frame a. Stamps
are integer nanoseconds. Lengths are metres, angles radians. Pixel (0, 0) is the centre of the first
pixel. Shape letters: M boxes, J joints, E edges, H hypotheses, N points, T tokens, C and D channels.
"""

from __future__ import annotations

from lift3d_ros.types.arrays import Float32Array, Float64Array, UInt8Array, as_transform
from lift3d_ros.types.boxes import Boxes3D
from lift3d_ros.types.detections import BevDetections, CameraUse, TemporalState
from lift3d_ros.types.frames import CameraImage, CameraModel, CameraView, DistortionModel, EgoMotion, FrameSet
from lift3d_ros.types.model_identity import ModelIdentity
from lift3d_ros.types.points import PointCrop, PointFeatures, PointFeatureSet
from lift3d_ros.types.skeletons import (
    Keypoints2D,
    MirrorCue,
    ScaleSource,
    Skeleton,
    Skeleton3D,
    Skeletons3D,
    TrackKey,
)

__all__ = [
    "BevDetections",
    "Boxes3D",
    "CameraImage",
    "CameraModel",
    "CameraUse",
    "CameraView",
    "DistortionModel",
    "EgoMotion",
    "Float32Array",
    "Float64Array",
    "FrameSet",
    "Keypoints2D",
    "MirrorCue",
    "ModelIdentity",
    "PointCrop",
    "PointFeatureSet",
    "PointFeatures",
    "ScaleSource",
    "Skeleton",
    "Skeleton3D",
    "Skeletons3D",
    "TemporalState",
    "TrackKey",
    "UInt8Array",
    "as_transform",
]
