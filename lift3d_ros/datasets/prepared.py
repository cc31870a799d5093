"""Labelled frame sets as arrays for training: pictures and projections exactly as inference prepares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.datasets.cell_depths import cell_depths_of_map, cell_depths_of_points, grid_shape
from lift3d_ros.datasets.label_checks import check_labels
from lift3d_ros.datasets.labelled import LabelledSet
from lift3d_ros.errors import DatasetError, ImageError, nearest_name_hint
from lift3d_ros.geometry.project import image_from_base
from lift3d_ros.images.preprocess import ImagePreprocessor, InputSpec
from lift3d_ros.types import Boxes3D, Float32Array, Float64Array, UInt8Array


@dataclass(frozen=True, eq=False)
class PreparedSample:
    """One frame set ready for a network; N cameras and M boxes differ from sample to sample.

    Args:
        scene, index: where the sample comes from; samples of a scene are in order of time.
        has_pose: whether `T_world_base` is known; without it the sample shares no memory with others.
        T_world_base: (4, 4) float64 pose of the base frame at `stamp_ns`, in a frame that does not jump in a scene.
        linear_velocity, angular_velocity: (3,) float64 of the base frame along its axes, m/s and rad/s; NaN where
            unknown.
        cameras: names of the N cameras.
        images: (N, 3, H, W) uint8 RGB.
        image_from_base: (N, 4, 4) float32; maps points of the base frame at `stamp_ns`, metres, to
            (u*depth, v*depth, depth, 1) of the prepared pixels. The motion between the captures is compensated.
        cell_depths: (N, ceil(H/16), ceil(W/16)) float16 metres, see :mod:`lift3d_ros.datasets.cell_depths`; inf where
            unknown.
        centers, sizes: (M, 3) float32 metres in the base frame: x y z of the middle; length, width, height.
        yaws: (M,) float32 radians about +z.
        velocities: (M, 2) float32 m/s over ground; NaN where unknown.
        labels: (M,) int64 index into the class names of the network.
        visibility: (M,) float32 share of each object that the pictures show, NaN where unknown.
        num_points: (M,) int64 LiDAR points on each object, -1 where unknown.
    """

    scene: str
    index: int
    stamp_ns: int
    has_pose: bool
    T_world_base: Float64Array
    linear_velocity: Float64Array
    angular_velocity: Float64Array
    cameras: tuple[str, ...]
    images: UInt8Array
    image_from_base: Float32Array
    cell_depths: NDArray[np.float16]
    centers: Float32Array
    sizes: Float32Array
    yaws: Float32Array
    velocities: Float32Array
    labels: NDArray[np.int64]
    visibility: Float32Array
    num_points: NDArray[np.int64]


def prepare_sample(
    labelled: LabelledSet, spec: InputSpec, class_names: Sequence[str], *, index: int = 0
) -> PreparedSample:
    """Decode, rectify, resize and crop the pictures of a set, and bring its labels into arrays.

    Args:
        spec: size of the network input.
        class_names: classes of the network, in its order.
        index: place of the set in its scene.

    Raises:
        DatasetError: a picture is damaged, a label has no class of the network, is not finite or has no size.
        CalibrationError: a picture or depth map has another shape than its calibration.
    """
    frame_set = labelled.frame_set
    where = f"scene '{labelled.scene}', frame {index} ({frame_set.stamp_ns} ns)"
    boxes = labelled.boxes
    check_labels(boxes, where)
    labels = labels_for(boxes, class_names, where)
    preprocessor = _preprocessor(spec)
    count = len(frame_set.views)
    images = np.empty((count, 3, spec.height, spec.width), dtype=np.uint8)
    projections = np.empty((count, 4, 4), dtype=np.float32)
    depths = np.full((count, *grid_shape(spec)), np.inf, dtype=np.float16)
    depth_maps: Mapping[str, Float32Array] = labelled.depth_maps or {}
    for i, (name, view) in enumerate(frame_set.views.items()):
        try:
            prepared = preprocessor.to_array(view.image, view.model, labelled.own_vehicle.get(name, ()))
        except ImageError as error:
            raise DatasetError(f"{where}, camera '{name}': {error}") from None
        images[i] = prepared.pixels
        projection = image_from_base(prepared.intrinsics, view.T_cam_reference)
        projections[i] = projection
        if name in depth_maps:
            label = f"{where}, camera '{name}'"
            depths[i] = cell_depths_of_map(depth_maps[name], view.model, spec, label)
        elif labelled.points is not None:
            depths[i] = cell_depths_of_points(labelled.points, view, projection, spec)
    ego = frame_set.ego
    return PreparedSample(
        scene=labelled.scene,
        index=index,
        stamp_ns=frame_set.stamp_ns,
        has_pose=ego is not None,
        T_world_base=np.eye(4) if ego is None else ego.T_world_base,
        linear_velocity=_known(None if ego is None else ego.linear_velocity),
        angular_velocity=_known(None if ego is None else ego.angular_velocity),
        cameras=tuple(frame_set.views),
        images=images,
        image_from_base=projections,
        cell_depths=depths,
        centers=boxes.centers.astype(np.float32),
        sizes=boxes.sizes.astype(np.float32),
        yaws=boxes.yaws.astype(np.float32),
        velocities=boxes.velocities.astype(np.float32),
        labels=labels,
        visibility=_or_unknown(labelled.visibility, len(boxes), np.nan).astype(np.float32),
        num_points=_or_unknown(labelled.num_points, len(boxes), -1).astype(np.int64),
    )


def labels_for(boxes: Boxes3D, class_names: Sequence[str], where: str) -> NDArray[np.int64]:
    """Return the label of each box as an index into `class_names`.

    Raises:
        DatasetError: a box has another class; names it and the nearest known one.
    """
    index_of = {name: i for i, name in enumerate(class_names)}
    for i in np.unique(boxes.labels):
        if (name := boxes.class_names[i]) not in index_of:
            raise DatasetError(
                f"{where}: {np.count_nonzero(boxes.labels == i)} boxes of class '{name}', which the network does not "
                f"know{nearest_name_hint(name, class_names)} (known: {', '.join(class_names)}). Map it to one of "
                "these, or to 'ignore', in a table of classes"
            )
    table = np.array([index_of.get(name, -1) for name in boxes.class_names], dtype=np.int64)
    return np.asarray(table[boxes.labels], dtype=np.int64)


def _known(velocity: Float64Array | None) -> Float64Array:
    return np.full(3, np.nan) if velocity is None else np.asarray(velocity, dtype=np.float64)


def _or_unknown(values: NDArray[np.float64] | NDArray[np.int64] | None, count: int, unknown: float) -> Float64Array:
    return np.full(count, unknown) if values is None else np.asarray(values, dtype=np.float64)


@lru_cache(maxsize=4)
def _preprocessor(spec: InputSpec) -> ImagePreprocessor:
    """Return one preprocessor for each size, so that the maps of a camera are made once."""
    return ImagePreprocessor(spec)
