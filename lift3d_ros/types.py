"""The nouns of the package: frozen, validated data that rooms hand to each other.

Conventions. Frames follow REP-103/105: base frame x forward, y left, z up; optical frames x right,
y down, z forward. ``T_a_b`` is a 4x4 float64 matrix that maps points of frame b into frame a. Stamps
are integer nanoseconds. Lengths are metres, angles radians. Pixel (0, 0) is the centre of the first
pixel. Shape letters: M boxes, J joints, E edges, H hypotheses, N points, T tokens, C and D channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.errors import CalibrationError, ConfigError, Lift3dError

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
UInt8Array = NDArray[np.uint8]

DistortionModel = Literal["none", "plumb_bob", "rational_polynomial", "equidistant"]

_DISTORTION_LENGTHS: dict[str, tuple[int, ...]] = {
    "none": (0,),
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array


def as_transform(matrix: Any, name: str) -> Float64Array:
    """Return `matrix` as a read-only (4, 4) float64 rigid transform.

    Raises:
        CalibrationError: wrong shape, not finite, or the rotation part is not a rotation (1e-3).
    """
    array = np.array(matrix, dtype=np.float64)
    if array.shape != (4, 4):
        raise CalibrationError(f"{name} must be a 4x4 matrix, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise CalibrationError(f"{name} contains values that are not finite; check the calibration")
    rotation = array[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise CalibrationError(
            f"{name} is not a rigid transform: its upper-left 3x3 block is not a rotation; "
            "check for a scaled, mirrored or transposed matrix"
        )
    return _read_only(array)


@dataclass(frozen=True, eq=False)
class CameraModel:
    """Intrinsics of one camera, for the image size `width` x `height`.

    Args:
        name: camera name inside the rig, for example ``front_left``.
        frame_id: optical frame (z forward), taken from the image header.
        intrinsics: (3, 3) float64 pinhole matrix K.
        distortion: (n,) float64 coefficients in OpenCV order; n fits `distortion_model`.
    """

    name: str
    frame_id: str
    width: int
    height: int
    intrinsics: Float64Array
    distortion_model: DistortionModel = "none"
    distortion: Float64Array = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        where = f"camera '{self.name}'"
        if self.width <= 0 or self.height <= 0:
            raise CalibrationError(
                f"{where}: image size is {self.width}x{self.height}; expected positive width and height. "
                "Fill in width and height of the CameraInfo or the rig file"
            )
        intrinsics = np.array(self.intrinsics, dtype=np.float64)
        if intrinsics.shape != (3, 3) or not np.isfinite(intrinsics).all():
            raise CalibrationError(f"{where}: intrinsics must be a finite 3x3 matrix, got shape {intrinsics.shape}")
        if intrinsics[0, 0] <= 0 or intrinsics[1, 1] <= 0:
            raise CalibrationError(
                f"{where}: focal length is fx={intrinsics[0, 0]:g}, fy={intrinsics[1, 1]:g}; expected positive pixels. "
                "The camera is uncalibrated: calibrate it, or give its intrinsics in a rig file"
            )
        if intrinsics[1, 0] != 0 or intrinsics[2].tolist() != [0.0, 0.0, 1.0]:
            raise CalibrationError(
                f"{where}: intrinsics have the rows {intrinsics[1].tolist()} and {intrinsics[2].tolist()}; expected "
                "[0, fy, cy] and [0, 0, 1]. Give K in row-major order, not transposed, and complete"
            )
        if self.distortion_model not in get_args(DistortionModel):
            raise CalibrationError(
                f"{where}: distortion model '{self.distortion_model}' is not known; known: "
                f"{', '.join(get_args(DistortionModel))}. Rectify upstream and publish the rectified image"
            )
        distortion = np.array(self.distortion, dtype=np.float64).reshape(-1)
        if not np.isfinite(distortion).all():
            raise CalibrationError(f"{where}: distortion coefficients are not finite")
        expected = _DISTORTION_LENGTHS[self.distortion_model]
        if distortion.size not in expected:
            raise CalibrationError(
                f"{where}: distortion model '{self.distortion_model}' takes "
                f"{' or '.join(map(str, expected))} coefficients, got {distortion.size}"
            )
        object.__setattr__(self, "intrinsics", _read_only(intrinsics))
        object.__setattr__(self, "distortion", _read_only(distortion))

    @property
    def is_distorted(self) -> bool:
        """Whether pixels deviate from the pinhole projection."""
        return bool(np.any(self.distortion != 0.0)) or self.distortion_model == "equidistant"


@dataclass(frozen=True, eq=False)
class CameraImage:
    """One picture as it came from a topic, a bag or a file: bytes, not yet decoded.

    Args:
        camera: camera name inside the rig (also the stream name in the collector).
        stamp_ns: capture time of the header.
        frame_id: optical frame of the header.
        encoding: ROS encoding name (``rgb8``, ``bayer_rggb8``, ...) or ``jpeg`` / ``png`` for compressed data.
        data: the raw buffer, one-dimensional uint8; not copied.
        width, height, step: pixels, pixels and bytes per row; all zero for compressed data.
        source: topic or file, for error messages.
    """

    camera: str
    stamp_ns: int
    frame_id: str
    encoding: str
    data: UInt8Array
    width: int = 0
    height: int = 0
    step: int = 0
    is_bigendian: bool = False
    source: str = ""

    @property
    def is_compressed(self) -> bool:
        """Whether `data` is a JPEG or PNG stream."""
        return self.encoding in ("jpeg", "png")

    @property
    def label(self) -> str:
        """Name of the picture in error messages."""
        is_topic = self.source.startswith("/") and "." not in self.source  # a file has an ending
        return f"topic '{self.source}'" if is_topic else (self.source or f"camera '{self.camera}'")


@dataclass(frozen=True, eq=False)
class EgoMotion:
    """Pose and motion of the vehicle at one time.

    Args:
        T_world_base: (4, 4) pose of the base frame in a frame that does not jump (``odom``).
        linear_velocity, angular_velocity: (3,) in the base frame, m/s and rad/s; None where unknown.
    """

    stamp_ns: int
    T_world_base: Float64Array
    world_frame: str = "odom"
    linear_velocity: Float64Array | None = None
    angular_velocity: Float64Array | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "T_world_base", as_transform(self.T_world_base, "ego pose T_world_base"))


@dataclass(frozen=True, eq=False)
class CameraView:
    """One camera's part of a frame set: the picture and how to project into it.

    Args:
        T_base_cam: (4, 4) static mounting; maps optical-frame points to the base frame.
        T_reference_capture: (4, 4) motion of the base frame between the capture of this picture and the
            reference stamp; maps base-frame points at capture time to the base frame at the reference stamp.
            Identity where ego motion is not known or compensation is switched off.
        offset_ns: the stamp of the picture is late by this much.
    """

    image: CameraImage
    model: CameraModel
    T_base_cam: Float64Array
    T_reference_capture: Float64Array = field(default_factory=lambda: np.eye(4))
    offset_ns: int = 0

    def __post_init__(self) -> None:
        name = self.model.name
        object.__setattr__(self, "T_base_cam", as_transform(self.T_base_cam, f"camera '{name}': T_base_cam"))
        object.__setattr__(
            self,
            "T_reference_capture",
            as_transform(self.T_reference_capture, f"camera '{name}': T_reference_capture"),
        )

    @property
    def capture_ns(self) -> int:
        """When the picture was taken."""
        return self.image.stamp_ns - self.offset_ns

    @property
    def T_cam_reference(self) -> Float64Array:
        """Map base-frame points at the reference stamp into the optical frame at capture time."""
        return np.asarray(np.linalg.inv(self.T_reference_capture @ self.T_base_cam))


@dataclass(frozen=True, eq=False)
class FrameSet:
    """One assembly of surround cameras around a reference stamp, ready for a pipeline.

    Args:
        stamp_ns: reference stamp; results carry it.
        views: camera name -> view, in rig order.
        missing: cameras of the rig that are not in this set.
        base_frame: frame in which results are given.
        ego: ego motion at `stamp_ns`; None switches temporal fusion off for this frame.
        cameras: every camera of the rig in rig order; `views` and then `missing` where not given.
        problems: one sentence for each thing that is wrong with this set, for logs and diagnostics.
    """

    stamp_ns: int
    views: Mapping[str, CameraView]
    missing: tuple[str, ...] = ()
    base_frame: str = "base_link"
    ego: EgoMotion | None = None
    problems: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.views:
            raise Lift3dError(f"frame set at {self.stamp_ns} ns has no camera; expected at least one")
        object.__setattr__(self, "cameras", self.cameras or (*self.views, *self.missing))
        object.__setattr__(self, "views", MappingProxyType(dict(self.views)))


@dataclass(frozen=True, eq=False)
class Boxes3D:
    """Oriented boxes in one frame.

    Args:
        centers: (M, 3) float64 geometric centres, metres.
        sizes: (M, 3) float64 length (along heading), width, height, metres.
        yaws: (M,) float64 about +z, 0 along x.
        velocities: (M, 2) float64 over ground along the axes of `frame_id`, m/s; NaN where unknown.
        scores: (M,) float64 in 0..1.
        labels: (M,) int64 index into `class_names`.
        track_ids: (M,) int64, -1 where not tracked.
    """

    frame_id: str
    class_names: tuple[str, ...]
    centers: Float64Array
    sizes: Float64Array
    yaws: Float64Array
    velocities: Float64Array
    scores: Float64Array
    labels: NDArray[np.int64]
    track_ids: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count = np.asarray(self.yaws).shape[0]
        track_ids = np.full(count, -1) if self.track_ids is None else self.track_ids
        fields: tuple[tuple[str, Any, tuple[int, ...], type], ...] = (
            ("centers", self.centers, (count, 3), np.float64),
            ("sizes", self.sizes, (count, 3), np.float64),
            ("yaws", self.yaws, (count,), np.float64),
            ("velocities", self.velocities, (count, 2), np.float64),
            ("scores", self.scores, (count,), np.float64),
            ("labels", self.labels, (count,), np.int64),
            ("track_ids", track_ids, (count,), np.int64),
        )
        for name, value, shape, dtype in fields:
            array: NDArray[Any] = np.array(value, dtype=dtype)
            if array.shape != shape:
                raise Lift3dError(f"boxes: {name} must have shape {shape}, got {array.shape}")
            object.__setattr__(self, name, _read_only(array))
        labels = np.asarray(self.labels)
        if count and (labels.min() < 0 or labels.max() >= len(self.class_names)):
            raise Lift3dError(
                f"boxes: labels must index the {len(self.class_names)} class names, got {labels.min()}..{labels.max()}"
            )

    def __len__(self) -> int:
        return int(self.yaws.shape[0])

    def select(self, index: NDArray[Any]) -> Boxes3D:
        """Return the boxes at `index` (boolean mask or integer positions)."""
        assert self.track_ids is not None
        return Boxes3D(
            frame_id=self.frame_id,
            class_names=self.class_names,
            centers=self.centers[index],
            sizes=self.sizes[index],
            yaws=self.yaws[index],
            velocities=self.velocities[index],
            scores=self.scores[index],
            labels=self.labels[index],
            track_ids=self.track_ids[index],
        )

    @classmethod
    def empty(cls, frame_id: str, class_names: tuple[str, ...]) -> Boxes3D:
        """Return no boxes."""
        none = np.zeros((0, 3))
        return cls(
            frame_id=frame_id,
            class_names=class_names,
            centers=none,
            sizes=none,
            yaws=np.zeros(0),
            velocities=np.zeros((0, 2)),
            scores=np.zeros(0),
            labels=np.zeros(0, dtype=np.int64),
        )


@dataclass(frozen=True)
class ModelIdentity:
    """Which weights made a result; `is_trained` is False for random weights, which every output must say."""

    name: str
    weights_sha256: str
    is_trained: bool
    backend: str = ""

    @property
    def description(self) -> str:
        """One phrase for log lines and pictures, for example ``tiny (untrained weights)``."""
        return self.name if self.is_trained else f"{self.name} (untrained weights)"


@dataclass(frozen=True)
class CameraUse:
    """How one camera took part in a result: the stamp of its picture, and reference stamp minus time of capture."""

    name: str
    is_used: bool
    stamp_ns: int = 0
    age_s: float = 0.0


TemporalState = Literal["fused", "first_frame", "no_ego_motion", "gap"]


@dataclass(frozen=True, eq=False)
class BevDetections:
    """Result of the BEV detector for one frame set.

    Args:
        temporal_state: ``fused`` when BEV memory was used; otherwise why it was not.
        timings_s: stage name -> seconds (``prepare``, ``inference``, ``decoding``, ...).
        problems: one sentence for each thing that was wrong with the input, for logs and diagnostics.
    """

    stamp_ns: int
    boxes: Boxes3D
    cameras: tuple[CameraUse, ...]
    model: ModelIdentity
    temporal_state: TemporalState
    timings_s: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Joints and edges of one kind of object.

    Args:
        name: for example ``coco17``.
        joint_names: J different names.
        edges: (E, 2) int64 pairs of different joints; each pair once, in either order.
        side: (J,) int8, +1 the object's own left, -1 its right, 0 middle or not known; zeros where not given.

    Raises:
        ConfigError: no joint, names that repeat, an edge out of range or from a joint to itself, an unknown side.
    """

    name: str
    joint_names: tuple[str, ...]
    edges: NDArray[np.int64]
    side: NDArray[np.int8] | None = None

    def __post_init__(self) -> None:
        where, count = f"skeleton '{self.name}'", len(self.joint_names)
        if not count:
            raise ConfigError(f"{where}: has no joints; expected at least one joint name")
        repeated = sorted({name for name in self.joint_names if self.joint_names.count(name) > 1})
        if repeated:
            raise ConfigError(f"{where}: joint name '{repeated[0]}' is given twice; give each joint its own name")
        edges: NDArray[Any] = np.array(self.edges) if np.size(self.edges) else np.zeros((0, 2), np.int64)
        if edges.dtype.kind not in "iu" or edges.ndim != 2 or edges.shape[1] != 2:
            raise ConfigError(
                f"{where}: edges have shape {edges.shape} and type {edges.dtype}; expected pairs of joint indices"
            )
        is_bad = ((edges < 0) | (edges >= count)).any(axis=1)
        if is_bad.any():
            first = int(np.argmax(is_bad))
            raise ConfigError(
                f"{where}: edge {first} joins {edges[first].tolist()}, but there are {count} joints; "
                f"expected indices 0 to {count - 1}"
            )
        is_loop = edges[:, 0] == edges[:, 1]
        if is_loop.any():
            first = int(np.argmax(is_loop))
            raise ConfigError(f"{where}: edge {first} joins joint {edges[first, 0]} to itself; remove it")
        side: NDArray[Any] = np.zeros(count) if self.side is None else np.array(self.side)
        if side.shape != (count,) or not np.isin(side, (-1, 0, 1)).all():
            raise ConfigError(
                f"{where}: side must hold {count} values, each -1 (right), 0 (middle or not known) or 1 (left); "
                f"got shape {side.shape}"
            )
        _, first_of = np.unique(np.sort(edges, axis=1), axis=0, return_index=True)
        object.__setattr__(self, "edges", _read_only(edges[np.sort(first_of)].astype(np.int64)))
        object.__setattr__(self, "side", _read_only(side.astype(np.int8)))

    def __len__(self) -> int:
        return len(self.joint_names)

    @property
    def sides(self) -> NDArray[np.int8]:
        """(J,) `side`, also where it was not given."""
        assert self.side is not None
        return self.side

    @property
    def adjacency(self) -> NDArray[np.bool_]:
        """(J, J) symmetric, False on the diagonal."""
        matrix = np.zeros((len(self), len(self)), dtype=bool)
        matrix[self.edges[:, 0], self.edges[:, 1]] = True
        return np.asarray(matrix | matrix.T)


@dataclass(frozen=True, eq=False)
class Keypoints2D:
    """2D keypoints of one object.

    Args:
        points: (J, 2) float64 pixels; anything where the joint was not seen.
        confidence: (J,) float64 in 0..1; NaN counts as 0, ones where not given.
        is_visible: (J,) bool, the place of the joint is known; a joint whose point is not finite is never visible.
            Not given: every joint with a finite point and a confidence above 0.
        skeleton: name of the skeleton.
        category: for example ``person``; empty where not known.
        instance_id: number of the object within its picture.
        track_id: stays with the object over time; -1 where not tracked.

    Raises:
        Lift3dError: arrays of different lengths.
    """

    points: Float64Array
    confidence: Float64Array | None = None
    is_visible: NDArray[np.bool_] | None = None
    skeleton: str = ""
    category: str = ""
    instance_id: int = 0
    track_id: int = -1

    def __post_init__(self) -> None:
        points = np.array(self.points, dtype=np.float64)
        where = f"keypoints of instance {self.instance_id}"
        if points.ndim != 2 or points.shape[1] != 2:
            raise Lift3dError(f"{where}: points must have shape (joints, 2), got {points.shape}")
        count = len(points)
        confidence = np.ones(count) if self.confidence is None else np.array(self.confidence, dtype=np.float64)
        confidence = np.clip(np.nan_to_num(confidence, nan=0.0), 0.0, 1.0)
        is_visible = confidence > 0.0 if self.is_visible is None else np.array(self.is_visible, dtype=bool)
        for name, array in (("confidence", confidence), ("is_visible", is_visible)):
            if array.shape != (count,):
                raise Lift3dError(f"{where}: {name} must have shape ({count},), one for each point, got {array.shape}")
        object.__setattr__(self, "points", _read_only(points))
        object.__setattr__(self, "confidence", _read_only(confidence))
        object.__setattr__(self, "is_visible", _read_only(is_visible & np.isfinite(points).all(axis=1)))

    def __len__(self) -> int:
        return int(self.points.shape[0])

    def seen(self, min_confidence: float = 0.0) -> NDArray[np.bool_]:
        """Return (J,) whether the joint is visible with at least this confidence."""
        assert self.confidence is not None
        assert self.is_visible is not None
        return np.asarray(self.is_visible & (self.confidence >= min_confidence))


MirrorCue = Literal["model", "perspective", "gravity", "track", "undecided"]
ScaleSource = Literal["none", "category_size", "bone_length", "depth", "box"]


@dataclass(frozen=True, eq=False)
class Skeleton3D:
    """One lifted skeleton.

    Args:
        hypotheses: (H, J, 3) float64, best first; metres in the optical frame where `is_metric`, else with the axes of
            the picture (x right, y down, z away), centred on the visible joints, largest of their |x|, |y| = 1.
        probabilities: (H,) float64, falling, sum 1.
        is_observed: (J,) bool; False where the joint was not seen and is only completed.
        uncertainty: (J,) float64 standard deviation of the place within the skeleton, in the unit of `hypotheses`.
        mirror_cue: what decided between a shape and its depth-reversed copy; ``undecided``: nothing did.
        scale_source: where metres come from; ``none`` where not metric.
        scale_std: relative standard deviation of the scale, and so of the distance; NaN where not metric.
        residual: root mean square of the placed model against the keypoints, in units of half the extent in 2D.
        score: confidence of the lifting in 0..1.
    """

    skeleton: Skeleton
    hypotheses: Float64Array
    probabilities: Float64Array
    is_observed: NDArray[np.bool_]
    uncertainty: Float64Array
    is_metric: bool = False
    mirror_cue: MirrorCue = "undecided"
    scale_source: ScaleSource = "none"
    scale_std: float = float("nan")
    residual: float = 0.0
    score: float = 1.0
    category: str = ""
    instance_id: int = 0
    track_id: int = -1

    def __post_init__(self) -> None:
        joints, count = len(self.skeleton), np.asarray(self.probabilities).shape[0]
        fields: tuple[tuple[str, tuple[int, ...], type], ...] = (
            ("hypotheses", (count, joints, 3), np.float64),
            ("probabilities", (count,), np.float64),
            ("is_observed", (joints,), np.bool_),
            ("uncertainty", (joints,), np.float64),
        )
        for name, shape, dtype in fields:
            array: NDArray[Any] = np.array(getattr(self, name), dtype=dtype)
            if array.shape != shape or not count:
                raise Lift3dError(
                    f"3D skeleton of instance {self.instance_id}: {name} must have shape {shape}, got {array.shape}"
                )
            object.__setattr__(self, name, _read_only(array))
        if self.is_metric == (self.scale_source == "none"):
            raise Lift3dError(f"3D skeleton of instance {self.instance_id}: metric joints need a source of scale")

    @property
    def joints(self) -> Float64Array:
        """(J, 3) the best hypothesis."""
        return np.asarray(self.hypotheses[0])


@dataclass(frozen=True, eq=False)
class Skeletons3D:
    """All skeletons lifted from the keypoints of one picture.

    Args:
        frame_id: optical frame of metric joints.
        skeletons: in the order of the input; instances that cannot be lifted are left out and named in `problems`.
        timings_s: stage name -> seconds.
        problems: one sentence for each thing that was wrong with the input, for logs and diagnostics.
    """

    stamp_ns: int
    frame_id: str
    skeletons: tuple[Skeleton3D, ...]
    model: ModelIdentity
    timings_s: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class PointCrop:
    """The points of one object, or of a whole cloud.

    Args:
        points: (N, 3) float32 in the frame of the cloud, metres.
        instance_id: number of the object; -1 for the whole cloud.

    Raises:
        Lift3dError: points of another shape.
    """

    points: Float32Array
    instance_id: int = -1

    def __post_init__(self) -> None:
        points = np.asarray(self.points, dtype=np.float32)
        if points.ndim != 2 or points.shape[1] != 3:
            raise Lift3dError(f"crop {self.instance_id}: points must have shape (points, 3), got {points.shape}")
        object.__setattr__(self, "points", points)

    def __len__(self) -> int:
        return int(self.points.shape[0])


@dataclass(frozen=True, eq=False)
class PointFeatures:
    """What the point encoder says of one crop.

    Args:
        descriptor: (C,) float32 of the whole crop.
        tokens: (T, D) float32 of its parts.
        token_centers: (T, 3) float32 points that the parts lie around, in the frame of the cloud, metres.
        label: class; empty where there is no classifier.
        score: probability of the class in 0..1; 0 where there is no classifier.
        instance_id: of the crop; -1 for the whole cloud.
        num_points: finite points of the crop, before it was reduced.

    Raises:
        Lift3dError: arrays whose shapes do not fit together.
    """

    descriptor: Float32Array
    tokens: Float32Array
    token_centers: Float32Array
    label: str = ""
    score: float = 0.0
    instance_id: int = -1
    num_points: int = 0

    def __post_init__(self) -> None:
        tokens: NDArray[Any] = np.array(self.tokens, dtype=np.float32)
        if tokens.ndim != 2:
            raise Lift3dError(
                f"features of crop {self.instance_id}: tokens must have shape (tokens, channels), got {tokens.shape}"
            )
        object.__setattr__(self, "tokens", _read_only(tokens))
        for name, shape in (("descriptor", np.shape(self.descriptor)[:1]), ("token_centers", (len(tokens), 3))):
            array: NDArray[Any] = np.array(getattr(self, name), dtype=np.float32)
            if array.shape != shape:
                raise Lift3dError(
                    f"features of crop {self.instance_id}: {name} must have shape {shape}, got {array.shape}"
                )
            object.__setattr__(self, name, _read_only(array))


@dataclass(frozen=True, eq=False)
class PointFeatureSet:
    """Features of all crops of one cloud.

    Args:
        frame_id: of the cloud.
        features: in the order of the boxes; boxes without points are left out and named in `problems`.
        timings_s: stage name -> seconds (``prepare``, ``inference``).
        problems: one sentence for each thing that was wrong with the input, for logs and diagnostics.
    """

    frame_id: str
    stamp_ns: int
    features: tuple[PointFeatures, ...]
    model: ModelIdentity
    timings_s: Mapping[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
