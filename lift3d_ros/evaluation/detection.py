"""The nuScenes detection metrics of predicted boxes, computed by nuscenes-devkit itself.

Matching, precision, recall and errors are the devkit's (configuration ``detection_cvpr_2019``); this file only
turns boxes into its types and its figures into ours. Boxes are in the base frame, so the distance to the
vehicle that bounds each class is the distance to the origin.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from lift3d_ros.errors import Lift3dError
from lift3d_ros.evaluation.detection_figures import (
    TP_ERRORS,
    ClassMetrics,
    Curves,
    DetectionMetrics,
    PrecisionCurve,
)
from lift3d_ros.evaluation.matching import FrameMatches, match_frames
from lift3d_ros.types import BevDetections, Boxes3D

DEVKIT_CONFIG = "detection_cvpr_2019"

_TP_METRICS = dict(zip(TP_ERRORS, ("trans_err", "scale_err", "orient_err", "vel_err"), strict=True))
_DEVKIT_ERRORS = (*_TP_METRICS.values(), "attr_err")
# Errors that the devkit leaves undefined: cones look alike from all sides, neither of the two moves.
_UNDEFINED = {"traffic_cone": ("orient_err", "vel_err", "attr_err"), "barrier": ("vel_err", "attr_err")}


def evaluate_detections(
    predictions: Iterable[BevDetections] | Mapping[int, Boxes3D],
    ground_truth: Mapping[int, Boxes3D],
    tolerance_s: float | None = None,
) -> DetectionMetrics:
    """Compare the predictions of one recording with its labels.

    Args:
        predictions: results in any order, or stamp_ns -> boxes; boxes in the base frame at that stamp.
        ground_truth: stamp_ns -> labelled boxes in the base frame at that stamp.
        tolerance_s: largest distance in time between a prediction and its labels; None takes that of
            :func:`~lift3d_ros.evaluation.matching.match_frames`.

    Raises:
        Lift3dError: nuscenes-devkit is missing, stamps do not match, or boxes cannot be scored.
    """
    return detection_metrics([match_frames(predictions, ground_truth, tolerance_s)])


def class_ranges() -> dict[str, float]:
    """Return how far from the vehicle, in metres, the boxes of each class count.

    Raises:
        Lift3dError: nuscenes-devkit is missing.
    """
    return dict(_import_devkit().config_factory(DEVKIT_CONFIG).class_range)


def detection_metrics(recordings: Sequence[FrameMatches]) -> DetectionMetrics:
    """Score the matched frames of any number of recordings together.

    Raises:
        Lift3dError: nuscenes-devkit is missing, no labelled box lies within range, or a box is not finite.
    """
    return score_detections(recordings)[0]


def score_detections(recordings: Sequence[FrameMatches]) -> tuple[DetectionMetrics, Curves]:
    """Return the metrics, and the curves of precision over recall that they rest on; see :func:`detection_metrics`."""
    devkit = _import_devkit()
    config = devkit.config_factory(DEVKIT_CONFIG)
    predicted, labelled = devkit.EvalBoxes(), devkit.EvalBoxes()
    notes = _Notes()
    for number, recording in enumerate(recordings):
        notes.add_recording(recording)
        for frame in recording.frames:
            token = f"{number}/{frame.stamp_ns}"
            kept = _best(frame.predictions, config.max_boxes_per_sample)
            notes.num_surplus += len(frame.predictions) - len(kept)
            predicted.add_boxes(token, _devkit_boxes(devkit, config, kept, token, "predicted", notes))
            labelled.add_boxes(token, _devkit_boxes(devkit, config, frame.ground_truth, token, "labelled", notes))
    if not labelled.all:
        raise Lift3dError(
            f"the {len(labelled)} labelled frames hold no box of the classes {', '.join(config.class_names)} within "
            f"their range ({min(config.class_range.values())} to {max(config.class_range.values())} m); expected at "
            "least one. Check class names and frame of the labels"
        )
    num_labels = Counter(box.detection_name for box in labelled.all)
    num_predictions = Counter(box.detection_name for box in predicted.all)
    with_labels = copy.copy(config)
    with_labels.class_names = [name for name in config.class_names if num_labels[name]]
    every_class, curves = _score(devkit, config, labelled, predicted)
    without_velocity = _classes_without_velocity(labelled, with_labels.class_names)
    metrics = _restricted(devkit, every_class, with_labels, without_velocity)
    with warnings.catch_warnings():
        # The devkit averages over classes; of cones and barriers alone, or without velocities, no error is defined.
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        tp_errors, nds = metrics.tp_errors, metrics.nd_score
    figures = DetectionMetrics(
        mean_ap=metrics.mean_ap,
        nds=nds,
        tp_errors={name: _defined(tp_errors[key]) for name, key in _TP_METRICS.items()},
        classes={
            name: _class_metrics(metrics, config, name, num_labels[name], num_predictions[name])
            for name in config.class_names
        },
        devkit_mean_ap=every_class.mean_ap,
        devkit_nds=every_class.nd_score,
        num_frames=len(labelled),
        num_ground_truth=num_labels.total(),
        num_predictions=num_predictions.total(),
        notes=notes.sentences(
            [name for name in config.class_names if not num_labels[name]],
            without_velocity,
            config.max_boxes_per_sample,
            is_velocity_scored=not math.isnan(tp_errors["vel_err"]),
        ),
    )
    return figures, {name: curve for name, curve in curves.items() if num_labels[name]}


def _import_devkit() -> SimpleNamespace:
    try:
        from nuscenes.eval.common.config import config_factory
        from nuscenes.eval.common.data_classes import EvalBoxes
        from nuscenes.eval.detection.algo import accumulate, calc_ap, calc_tp
        from nuscenes.eval.detection.data_classes import DetectionBox, DetectionMetrics
    except ImportError as error:
        raise Lift3dError(
            f"the detection metrics need nuscenes-devkit, which cannot be imported ({error}); install it with "
            "'pip install nuscenes-devkit'"
        ) from None
    return SimpleNamespace(
        config_factory=config_factory,
        EvalBoxes=EvalBoxes,
        DetectionBox=DetectionBox,
        DetectionMetrics=DetectionMetrics,
        accumulate=accumulate,
        calc_ap=calc_ap,
        calc_tp=calc_tp,
    )


def _score(devkit: SimpleNamespace, config: Any, labelled: Any, predicted: Any) -> tuple[Any, Curves]:
    """Return the devkit's metrics over ``config.class_names``; the loop is that of its ``DetectionEval``."""
    metrics = devkit.DetectionMetrics(config)
    curves: dict[str, dict[float, PrecisionCurve]] = {}
    for name in config.class_names:
        curves[name] = {}
        for threshold in config.dist_ths:
            data = devkit.accumulate(labelled, predicted, name, config.dist_fcn_callable, threshold)
            metrics.add_label_ap(name, threshold, devkit.calc_ap(data, config.min_recall, config.min_precision))
            curves[name][threshold] = PrecisionCurve(data.recall, data.precision, data.confidence)
            if threshold != config.dist_th_tp:
                continue
            for key in _DEVKIT_ERRORS:
                is_defined = key not in _UNDEFINED.get(name, ())
                # Labels carry no attribute here, for which the devkit's own rule is an attribute error of 1.
                metrics.add_label_tp(name, key, devkit.calc_tp(data, config.min_recall, key) if is_defined else np.nan)
    return metrics, curves


def _classes_without_velocity(labelled: Any, class_names: Sequence[str]) -> list[str]:
    """Return the classes that move, of which not one label within range has a velocity."""
    known = {box.detection_name for box in labelled.all if np.isfinite(box.velocity).all()}
    return [name for name in class_names if name not in known and "vel_err" not in _UNDEFINED.get(name, ())]


def _restricted(devkit: SimpleNamespace, metrics: Any, config: Any, without_velocity: Collection[str]) -> Any:
    """Return the same figures of each class, with means over ``config.class_names`` only.

    Args:
        without_velocity: classes of which the velocity error is not defined; the devkit gives them an error of 1.
    """
    result = devkit.DetectionMetrics(config)
    for name in config.class_names:
        for threshold in config.dist_ths:
            result.add_label_ap(name, threshold, metrics.get_label_ap(name, threshold))
        for key in _DEVKIT_ERRORS:
            is_defined = key != "vel_err" or name not in without_velocity
            result.add_label_tp(name, key, metrics.get_label_tp(name, key) if is_defined else np.nan)
    return result


def _class_metrics(metrics: Any, config: Any, name: str, num_labels: int, num_predictions: int) -> ClassMetrics:
    if not num_labels:
        return ClassMetrics(None, {}, dict.fromkeys(_TP_METRICS), 0, num_predictions)
    return ClassMetrics(
        average_precision=metrics.mean_dist_aps[name],
        ap_at={threshold: metrics.get_label_ap(name, threshold) for threshold in config.dist_ths},
        tp_errors={short: _defined(metrics.get_label_tp(name, key)) for short, key in _TP_METRICS.items()},
        num_ground_truth=num_labels,
        num_predictions=num_predictions,
    )


def _best(boxes: Boxes3D, count: int) -> Boxes3D:
    """Return the `count` boxes with the highest scores, in their order."""
    if len(boxes) <= count:
        return boxes
    return boxes.select(np.sort(np.argsort(-boxes.scores, kind="stable")[:count]))


def _devkit_boxes(
    devkit: SimpleNamespace, config: Any, boxes: Boxes3D, token: str, kind: str, notes: _Notes
) -> list[Any]:
    """Return the boxes of known classes within their range as devkit boxes, centred on the vehicle."""
    _check_finite(boxes, token, kind)
    result = []
    for i in range(len(boxes)):
        name = boxes.class_names[boxes.labels[i]]
        if name not in config.class_range:
            notes.other_classes[name] += 1
            continue
        center, yaw = tuple(map(float, boxes.centers[i])), float(boxes.yaws[i])
        length, width, height = map(float, boxes.sizes[i])
        box = devkit.DetectionBox(
            sample_token=token,
            translation=center,
            size=(width, length, height),
            rotation=(math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)),
            velocity=tuple(map(float, boxes.velocities[i])),
            ego_translation=center,
            detection_name=name,
            detection_score=float(boxes.scores[i]),
            attribute_name="",
        )
        if box.ego_dist < config.class_range[name]:
            result.append(box)
    return result


def _check_finite(boxes: Boxes3D, token: str, kind: str) -> None:
    values = np.concatenate([boxes.centers, boxes.sizes, boxes.yaws[:, None], boxes.scores[:, None]], axis=1)
    is_bad = ~np.isfinite(values).all(axis=1) | (boxes.sizes <= 0).any(axis=1)
    if is_bad.any():
        index = int(np.argmax(is_bad))
        center, size = boxes.centers[index].tolist(), boxes.sizes[index].tolist()
        raise Lift3dError(
            f"{kind} box {index} of the frame at {token.partition('/')[2]} ns has center {center}, size {size}, "
            f"yaw {boxes.yaws[index]:g} and score {boxes.scores[index]:g}; expected finite numbers and positive sizes"
        )


class _Notes:
    """Counts what was left out, and says so."""

    def __init__(self) -> None:
        self.other_classes: Counter[str] = Counter()
        self.num_surplus = self._num_unlabelled = self._num_unpredicted = 0
        self._num_without_points: int | None = None

    def add_recording(self, recording: FrameMatches) -> None:
        self._num_unlabelled += recording.num_unlabelled
        self._num_unpredicted += recording.num_unpredicted
        if recording.num_without_points is not None:
            self._num_without_points = (self._num_without_points or 0) + recording.num_without_points

    def sentences(
        self,
        absent_classes: Sequence[str],
        without_velocity: Sequence[str],
        max_boxes: int,
        *,
        is_velocity_scored: bool,
    ) -> tuple[str, ...]:
        notes = [
            "Attributes are not predicted: AAE is not reported, and NDS is the devkit's value with AAE = 1.",
            "Labels without lidar points and bicycles in racks are not filtered, unlike on the nuScenes data set."
            if self._num_without_points is None
            else f"{self._num_without_points} labels without a lidar point are left out, as on the nuScenes data set; "
            "bicycles in racks are not filtered.",
        ]
        if absent_classes:
            notes.append(
                f"No labels within range: {', '.join(absent_classes)}. These classes are left out of the means; the "
                "devkit counts them with AP 0 and errors 1 (devkit_mean_ap, devkit_nds)."
            )
        if without_velocity:
            scored = "" if is_velocity_scored else " No class is left, and NDS counts a velocity error of 1."
            notes.append(
                f"No label within range has a velocity: {', '.join(without_velocity)}. The velocity error of these "
                f"classes is not defined and left out of mAVE; the devkit counts it as 1 (devkit_nds).{scored}"
            )
        if self.other_classes:
            listed = ", ".join(f"{name} ({count})" for name, count in sorted(self.other_classes.items()))
            notes.append(f"Boxes of classes outside of the benchmark are ignored: {listed}.")
        if self._num_unlabelled:
            notes.append(f"{self._num_unlabelled} predicted frames lie at no labelled stamp and do not count.")
        if self._num_unpredicted:
            notes.append(f"{self._num_unpredicted} labelled frames have no prediction and do not count.")
        if self.num_surplus:
            notes.append(f"{self.num_surplus} boxes beyond the best {max_boxes} of their frame are ignored.")
        return tuple(notes)


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
