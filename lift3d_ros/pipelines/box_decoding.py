"""Where network outputs become boxes: class logits and box codes in, typed boxes out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lift3d_ros.geometry.rigid import make_transform
from lift3d_ros.geometry.rotations import rpy_matrix
from lift3d_ros.models.dfa3d.config import Dfa3dConfig
from lift3d_ros.models.dfa3d.yaw_code import heading_from_code_yaw
from lift3d_ros.types import Boxes3D, Float64Array

MODEL_FRAME = "model"
_LARGEST_LOG_SIZE = 5.0
_CANDIDATES = 3  # times as many boxes as are wanted are looked at where some are left out


def base_from_model(facts: Dfa3dConfig) -> Float64Array:
    """Return the pose of the model frame in the base frame, (4, 4)."""
    return make_transform(rpy_matrix(0.0, 0.0, np.deg2rad(facts.frame_yaw_deg)), facts.frame_origin)


def decode_boxes(outputs: Mapping[str, NDArray[Any]], facts: Dfa3dConfig, base_frame: str) -> Boxes3D:
    """Return the boxes in the base frame, best score first.

    Args:
        outputs: ``class_logits`` (1, Q, classes) and ``box_codes`` (1, Q, 10).
    """
    boxes = decode_model_boxes(outputs["class_logits"][0], outputs["box_codes"][0], facts)
    T_base_model = base_from_model(facts)
    rotation = T_base_model[:3, :3]
    yaws = boxes.yaws + np.deg2rad(facts.frame_yaw_deg)
    return Boxes3D(
        frame_id=base_frame,
        class_names=boxes.class_names,
        centers=boxes.centers @ rotation.T + T_base_model[:3, 3],
        sizes=boxes.sizes,
        yaws=_arctan2(np.sin(yaws), np.cos(yaws)),
        velocities=boxes.velocities @ rotation[:2, :2].T,
        scores=boxes.scores,
        labels=boxes.labels,
    )


def decode_model_boxes(class_logits: NDArray[Any], box_codes: NDArray[Any], facts: Dfa3dConfig) -> Boxes3D:
    """Return the best class scores over all queries as boxes in the model frame, best first.

    One query may appear with several classes. Boxes whose centre lies outside of the configured range are left out, and
    those that repeat a better one where the configuration says so. With a motion head, boxes point where they move.

    Args:
        class_logits: (Q, classes).
        box_codes: (Q, 10) cx, cy, log width, log length, cz, log height, sin yaw, cos yaw, vx, vy; metres.

    Source: fact sheet DFA3D, section 16; suppression by distance: CenterPoint (arXiv 2006.11275), section 4.
    """
    scores = 1.0 / (1.0 + np.exp(-class_logits.astype(np.float64)))
    num_candidates = facts.max_detections * (_CANDIDATES if facts.suppression_m else 1)
    order = np.argsort(-scores.reshape(-1), kind="stable")[:num_candidates]
    query, label = np.divmod(order, class_logits.shape[1])
    code = box_codes.astype(np.float64)[query]
    centers = code[:, [0, 1, 4]]
    boxes = Boxes3D(
        frame_id=MODEL_FRAME,
        class_names=facts.class_names,
        centers=centers,
        sizes=np.exp(np.clip(code[:, [3, 2, 5]], -_LARGEST_LOG_SIZE, _LARGEST_LOG_SIZE)),
        yaws=heading_from_code_yaw(_arctan2(code[:, 6], code[:, 7]), facts.yaw_code),
        velocities=code[:, 8:10],
        scores=scores.reshape(-1)[order],
        labels=label,
    )
    if facts.motion.channels and facts.motion.forward_mps:
        boxes = dataclasses.replace(boxes, yaws=_forward(boxes.yaws, boxes.velocities, facts.motion.forward_mps))
    low, high = np.array(facts.center_range[:3]), np.array(facts.center_range[3:])
    boxes = boxes.select(((centers >= low) & (centers <= high)).all(axis=1))
    if facts.suppression_m:
        boxes = boxes.select(_unrepeated(boxes, facts.suppression_m)[: facts.max_detections])
    return boxes


def _forward(yaws: Float64Array, velocities: Float64Array, least_mps: float) -> Float64Array:
    """Return headings (M,), turned round where the object moves backwards faster than `least_mps`."""
    along = velocities[:, 0] * np.cos(yaws) + velocities[:, 1] * np.sin(yaws)
    return np.where(along < -least_mps, yaws - np.copysign(np.pi, yaws), yaws)


def _unrepeated(boxes: Boxes3D, distance_m: float) -> NDArray[np.int64]:
    """Return the boxes, best first, that no better one of the same class is too near to."""
    places = boxes.centers[:, :2]
    reach = distance_m + 0.5 * boxes.sizes[:, 1]
    is_near = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) < reach[:, None]
    is_near &= boxes.labels[:, None] == boxes.labels[None]
    is_left = np.ones(len(boxes), dtype=bool)
    for index in range(len(boxes)):
        if is_left[index]:
            is_left[index + 1 :] &= ~is_near[index, index + 1 :]
    return np.flatnonzero(is_left)


def _arctan2(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the angles; the last digit of numpy's own depends on where strided arrays lie in memory."""
    return np.array([math.atan2(*pair) for pair in zip(y.tolist(), x.tolist(), strict=True)], dtype=np.float64)
