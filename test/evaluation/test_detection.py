"""Detection figures are those of nuscenes-devkit, and say what they rest on."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")

from lift3d_ros.errors import Lift3dError
from lift3d_ros.evaluation.detection import detection_metrics, evaluate_detections
from lift3d_ros.evaluation.matching import match_frames
from lift3d_ros.models.dfa3d.config import NUSCENES_CLASSES
from lift3d_ros.types import BevDetections, Boxes3D, Float64Array, ModelIdentity

NAMES = (*NUSCENES_CLASSES, "other")
STEP_NS = 500_000_000
MODEL = ModelIdentity("dfa3d_tiny", "ab" * 32, is_trained=False)


def boxes(
    labels: Sequence[str],
    at: Sequence[Sequence[float]] | Float64Array,
    scores: Sequence[float] | None = None,
    **changes: object,
) -> Boxes3D:
    count = len(labels)
    values: dict[str, object] = {
        "centers": np.array(at, dtype=float).reshape(-1, 3),
        "sizes": np.tile([4.0, 2.0, 1.5], (count, 1)),
        "yaws": np.zeros(count),
        "velocities": np.zeros((count, 2)),
        "scores": np.ones(count) if scores is None else np.array(scores),
        "labels": np.array([NAMES.index(label) for label in labels], dtype=np.int64),
    }
    return Boxes3D("base_link", NAMES, **{**values, **changes})  # type: ignore[arg-type]


def one_of_each_class() -> dict[int, Boxes3D]:
    """Two frames with one object of every class, 5 to 25 m away."""
    centers = [[5.0 + 2 * i, -4.0, 1.0] for i in range(len(NUSCENES_CLASSES))]
    return {stamp_ns: boxes(NUSCENES_CLASSES, centers) for stamp_ns in (0, STEP_NS)}


def shifted(frames: dict[int, Boxes3D], dx: float) -> dict[int, Boxes3D]:
    result = {}
    for stamp_ns, frame in frames.items():
        names = [NAMES[label] for label in frame.labels]
        result[stamp_ns] = boxes(names, frame.centers + np.array([dx, 0, 0]), frame.scores)
    return result


def test_predictions_equal_to_the_labels_are_perfect() -> None:
    labels = one_of_each_class()
    metrics = evaluate_detections(labels, labels)
    assert metrics.mean_ap == pytest.approx(1.0)
    assert metrics.tp_errors == pytest.approx({"ATE": 0.0, "ASE": 0.0, "AOE": 0.0, "AVE": 0.0})
    # Nine of ten points: the attribute error counts as 1, and that is said.
    assert metrics.nds == pytest.approx(0.9)
    assert any("AAE is not reported" in note and "AAE = 1" in note for note in metrics.notes)
    assert (metrics.devkit_mean_ap, metrics.devkit_nds) == pytest.approx((metrics.mean_ap, metrics.nds))
    assert (metrics.num_frames, metrics.num_ground_truth, metrics.num_predictions) == (2, 20, 20)


def test_a_shift_counts_at_the_thresholds_that_it_exceeds() -> None:
    labels = one_of_each_class()
    metrics = evaluate_detections(shifted(labels, 0.7), labels)
    for entry in metrics.classes.values():
        assert entry.ap_at == pytest.approx({0.5: 0.0, 1.0: 1.0, 2.0: 1.0, 4.0: 1.0})
    assert metrics.mean_ap == pytest.approx(0.75)
    assert metrics.tp_errors["ATE"] == pytest.approx(0.7)


def test_each_error_measures_its_own_quantity() -> None:
    labels = {0: boxes(["car"], [[10, 0, 0]])}
    predictions = {
        0: boxes(
            ["car"], [[10, 0, 0]], sizes=np.array([[2.0, 2.0, 1.5]]), yaws=np.array([0.25]),
            velocities=np.array([[0.3, 0.4]]),
        )
    }  # fmt: skip
    metrics = evaluate_detections(predictions, labels)
    assert metrics.tp_errors == pytest.approx({"ATE": 0.0, "ASE": 0.5, "AOE": 0.25, "AVE": 0.5})


def test_average_precision_of_a_case_computed_by_hand() -> None:
    """Two cars, one found. Recall bins 0.11 .. 1.00 are averaged, precision counts above 0.1."""
    labels = {0: boxes(["car", "car"], [[10, 0, 0], [20, 0, 0]])}
    found = {0: boxes(["car"], [[10, 0, 0]], [0.6])}
    assert evaluate_detections(found, labels).mean_ap == pytest.approx(40 / 90)
    # A more confident false positive: precision then rises with recall r as r, up to 0.5 at r = 0.5.
    with_ghost = {0: boxes(["car", "car"], [[10, 0, 0], [40, 0, 0]], [0.6, 0.9])}
    by_hand = sum((k / 100 - 0.1) / 0.9 for k in range(11, 51)) / 90
    assert evaluate_detections(with_ghost, labels).mean_ap == pytest.approx(by_hand)


def test_false_positives_lower_precision_only_where_they_are_confident() -> None:
    labels = one_of_each_class()
    ghosts = {}
    for stamp_ns, frame in labels.items():
        centers = np.concatenate([frame.centers, frame.centers + np.array([0, 12, 0])])
        ghosts[stamp_ns] = boxes(NUSCENES_CLASSES * 2, centers, [0.5] * 10 + [0.9] * 10)
    quiet = {stamp_ns: boxes(NUSCENES_CLASSES * 2, frame.centers, [0.5] * 10 + [0.1] * 10)
             for stamp_ns, frame in ghosts.items()}  # fmt: skip
    assert evaluate_detections(ghosts, labels).mean_ap < 0.6
    # They come after everything is found: only the last recall bin sees them.
    assert 0.99 < evaluate_detections(quiet, labels).mean_ap < 1.0


def test_classes_without_labels_are_left_out_of_the_means_and_named() -> None:
    labels = {0: boxes(["car", "pedestrian"], [[10, 0, 0], [0, 5, 0]])}
    predictions = {0: boxes(["car", "pedestrian", "bus"], [[10, 0, 0], [0, 5, 0], [0, 20, 0]])}
    metrics = evaluate_detections(predictions, labels)
    assert metrics.mean_ap == pytest.approx(1.0)
    # The devkit counts each of the eight absent classes as AP 0 and errors 1.
    assert metrics.devkit_mean_ap == pytest.approx(0.2)
    assert metrics.devkit_nds < metrics.nds == pytest.approx(0.9)
    bus = metrics.classes["bus"]
    assert (bus.average_precision, bus.ap_at, set(bus.tp_errors.values())) == (None, {}, {None})
    assert (bus.num_ground_truth, bus.num_predictions) == (0, 1)
    assert any("No labels within range: truck, bus" in note for note in metrics.notes)


def test_errors_that_no_labelled_class_defines_are_none() -> None:
    """Cones look alike from all sides and stand still, as the benchmark has it."""
    labels = {0: boxes(["traffic_cone"], [[10, 0, 0]])}
    metrics = evaluate_detections(labels, labels)
    assert metrics.tp_errors == {"ATE": 0.0, "ASE": 0.0, "AOE": None, "AVE": None}
    assert metrics.to_json()["tp_errors"]["AVE"] is None


def test_unknown_velocities_in_the_labels_do_not_count() -> None:
    still, unknown = [0.0, 0.0], [np.nan, np.nan]
    centers = [[10.0, 0, 0], [20, 0, 0]]
    labels = {0: boxes(["car", "car"], centers, velocities=np.array([still, unknown]))}
    predictions = {0: boxes(["car", "car"], centers, [0.9, 0.8], velocities=np.array([[2.0, 0.0], [50.0, 0.0]]))}
    assert evaluate_detections(predictions, labels).tp_errors["AVE"] == pytest.approx(2.0)


def test_a_class_whose_labels_have_no_velocity_has_no_velocity_error() -> None:
    """Cars have one, people none: the error of the cars alone is the mean."""
    unknown = [np.nan, np.nan]
    # Out of range a velocity does not help.
    names, centers = ["car", "pedestrian", "pedestrian"], [[10.0, 0, 0], [0, 5, 0], [0, 45, 0]]
    labels = {0: boxes(names, centers, velocities=np.array([[0.0, 0.0], unknown, [0.0, 0.0]]))}
    predictions = {0: boxes(names, centers, velocities=np.tile([0.4, 0.0], (3, 1)))}
    metrics = evaluate_detections(predictions, labels)
    assert metrics.classes["pedestrian"].tp_errors == {"ATE": 0.0, "ASE": 0.0, "AOE": 0.0, "AVE": None}
    assert metrics.tp_errors["AVE"] == metrics.classes["car"].tp_errors["AVE"] == pytest.approx(0.4)
    assert metrics.nds == pytest.approx((5 + 3 + 0.6) / 10)
    assert any("No label within range has a velocity: pedestrian." in note for note in metrics.notes)
    assert not any("NDS counts a velocity error of 1" in note for note in metrics.notes)


def test_the_figures_of_the_devkit_stay_its_own_where_a_class_has_no_velocity() -> None:
    centers = [[5.0 + 2 * i, -4.0, 1.0] for i in range(len(NUSCENES_CLASSES))]
    velocities = np.zeros((len(centers), 2))
    velocities[NUSCENES_CLASSES.index("pedestrian")] = np.nan
    labels = {0: boxes(NUSCENES_CLASSES, centers, velocities=velocities)}
    metrics = evaluate_detections({0: boxes(NUSCENES_CLASSES, centers)}, labels)
    # One of the eight classes that move has an error of 1 there.
    assert (metrics.nds, metrics.devkit_nds) == pytest.approx((0.9, 0.9 - 1 / 8 / 10))


def test_without_any_velocity_the_error_is_null_and_counts_in_the_score_as_every_undefined_one() -> None:
    centers = [[5.0 + 2 * i, -4.0, 1.0] for i in range(len(NUSCENES_CLASSES))]
    labels = {0: boxes(NUSCENES_CLASSES, centers, velocities=np.full((len(centers), 2), np.nan))}
    metrics = evaluate_detections({0: boxes(NUSCENES_CLASSES, centers)}, labels)
    assert (metrics.tp_errors["AVE"], metrics.to_json()["tp_errors"]["AVE"]) == (None, None)
    assert dict(metrics.summary_table())["mAVE"] == "-"
    assert (metrics.nds, metrics.nds_without_aae) == pytest.approx((8 / 10, 8 / 9))
    assert metrics.devkit_nds == pytest.approx(metrics.nds)
    (note,) = (note for note in metrics.notes if "has a velocity" in note)
    assert "car, truck" in note
    assert "cone" not in note
    assert "NDS counts a velocity error of 1" in note


def test_boxes_out_of_range_and_other_classes_do_not_count() -> None:
    """Cars count up to 50 m, cones up to 30 m; `other` is not part of the benchmark."""
    labels = {0: boxes(["car", "car", "traffic_cone", "other"], [[49, 0, 0], [51, 0, 0], [0, 31, 0], [5, 0, 0]])}
    predictions = {0: boxes(["car", "car", "other"], [[49, 0, 0], [0, 51, 0], [5, 0, 0]])}
    metrics = evaluate_detections(predictions, labels)
    assert (metrics.num_ground_truth, metrics.num_predictions) == (1, 1)
    assert metrics.mean_ap == pytest.approx(1.0)
    assert any("outside of the benchmark are ignored: other (2)" in note for note in metrics.notes)


def test_finding_nothing_scores_zero() -> None:
    labels = one_of_each_class()
    nothing = {stamp_ns: Boxes3D.empty("base_link", NUSCENES_CLASSES) for stamp_ns in labels}
    metrics = evaluate_detections(nothing, labels)
    assert (metrics.mean_ap, metrics.nds) == (0.0, 0.0)
    assert set(metrics.tp_errors.values()) == {1.0}


def test_labels_without_any_box_in_range_are_refused() -> None:
    labels = {0: boxes(["other", "car"], [[5, 0, 0], [90, 0, 0]])}
    with pytest.raises(Lift3dError, match=r"hold no box of the classes car, truck.*30 to 50 m"):
        evaluate_detections(labels, labels)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"centers": np.array([[np.nan, 0, 0]])}, "center .nan, 0.0, 0.0", id="not finite"),
        pytest.param({"sizes": np.array([[4.0, 0.0, 1.5]])}, "size .4.0, 0.0, 1.5", id="flat"),
    ],
)
def test_boxes_that_cannot_be_scored_are_named(changes: dict[str, Float64Array], expected: str) -> None:
    labels = {7: boxes(["car"], [[10, 0, 0]])}
    with pytest.raises(Lift3dError, match=rf"predicted box 0 of the frame at 7 ns has .*{expected}"):
        evaluate_detections({7: boxes(["car"], [[10, 0, 0]], **changes)}, labels)


def test_only_the_best_boxes_of_a_crowded_frame_count() -> None:
    labels = {0: boxes(["car"], [[10, 0, 0]])}
    crowd = {0: boxes(["car"] * 501, [[10, 0, 0]] + [[0, 20, 0]] * 500, [0.1] + [0.9] * 500)}
    metrics = evaluate_detections(crowd, labels)
    assert (metrics.num_predictions, metrics.mean_ap) == (500, 0.0)
    assert any("1 boxes beyond the best 500" in note for note in metrics.notes)


def test_recordings_are_scored_together_even_where_their_stamps_coincide() -> None:
    labels = {0: boxes(["car"], [[10, 0, 0]])}
    missed = {0: Boxes3D.empty("base_link", NAMES)}
    metrics = detection_metrics([match_frames(labels, labels), match_frames(missed, labels)])
    assert (metrics.num_frames, metrics.num_ground_truth) == (2, 2)
    assert metrics.classes["car"].ap_at[2.0] == pytest.approx(40 / 90)


def test_results_of_the_pipeline_can_be_given_as_they_are() -> None:
    labels = one_of_each_class()
    results = [BevDetections(stamp_ns + 1, frame, (), MODEL, "fused") for stamp_ns, frame in labels.items()]
    assert evaluate_detections(results, labels).mean_ap == pytest.approx(1.0)


def test_figures_agree_with_the_devkit_run_end_to_end_in_its_own_world_frame() -> None:
    """The devkit scores in the world frame; a vehicle that drives and turns must not change the figures."""
    generator = np.random.default_rng(3)
    labels, predictions, poses = {}, {}, {}
    for k in range(6):
        stamp_ns, count = k * STEP_NS, 40
        names = generator.choice(NUSCENES_CLASSES, count)
        centers = generator.uniform(-45, 45, (count, 3))
        yaws = generator.uniform(-3, 3, count)
        velocities = generator.normal(size=(count, 2))
        labels[stamp_ns] = boxes(names, centers, yaws=yaws, velocities=velocities)
        noisy = generator.permutation(count)[:30]
        predictions[stamp_ns] = boxes(
            names[noisy],
            centers[noisy] + generator.normal(scale=0.8, size=(30, 3)),
            generator.uniform(size=30),
            sizes=generator.uniform(1, 5, (30, 3)),
            yaws=yaws[noisy] + generator.normal(scale=0.3, size=30),
            velocities=velocities[noisy] + generator.normal(scale=0.3, size=(30, 2)),
        )
        poses[stamp_ns] = (generator.uniform(-3, 3), generator.uniform(-1000, 1000, 3))
    metrics = evaluate_detections(predictions, labels)
    expected = devkit_summary(labels, predictions, poses)
    assert 0.1 < metrics.mean_ap < 0.9
    assert metrics.mean_ap == pytest.approx(expected["mean_ap"], abs=1e-9)
    assert metrics.nds == pytest.approx(expected["nd_score"], abs=1e-9)
    assert expected["tp_errors"]["attr_err"] == 1.0
    for short, name in (("ATE", "trans_err"), ("ASE", "scale_err"), ("AOE", "orient_err"), ("AVE", "vel_err")):
        assert metrics.tp_errors[short] == pytest.approx(expected["tp_errors"][name], abs=1e-9)
    for name, entry in metrics.classes.items():
        assert entry.ap_at == pytest.approx(expected["label_aps"][name], abs=1e-9)


def devkit_summary(
    labels: dict[int, Boxes3D], predictions: dict[int, Boxes3D], poses: dict[int, tuple[float, Float64Array]]
) -> dict[str, dict[str, dict[float, float]]]:
    """Run the devkit's own evaluation class on boxes in the world frame, without its data set."""
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.common.data_classes import EvalBoxes
    from nuscenes.eval.detection.data_classes import DetectionBox
    from nuscenes.eval.detection.evaluate import DetectionEval
    from pyquaternion import Quaternion

    config = config_factory("detection_cvpr_2019")

    def in_world(frames: dict[int, Boxes3D]) -> EvalBoxes:
        result = EvalBoxes()
        for stamp_ns, frame in frames.items():
            angle, position = poses[stamp_ns]
            turn = Quaternion(axis=[0, 0, 1], angle=angle)
            entries = []
            for i in range(len(frame)):
                center = turn.rotate(frame.centers[i]) + position
                velocity = turn.rotate([*frame.velocities[i], 0.0])[:2]
                rotation = turn * Quaternion(axis=[0, 0, 1], angle=frame.yaws[i])
                box = DetectionBox(
                    str(stamp_ns), tuple(center), tuple(frame.sizes[i][[1, 0, 2]]), tuple(rotation.elements),
                    tuple(velocity), tuple(center - position), 5, frame.class_names[frame.labels[i]],
                    float(frame.scores[i]), "",
                )  # fmt: skip
                if box.ego_dist < config.class_range[box.detection_name]:
                    entries.append(box)
            result.add_boxes(str(stamp_ns), entries)
        return result

    evaluation = DetectionEval.__new__(DetectionEval)
    evaluation.cfg, evaluation.verbose = config, False
    evaluation.gt_boxes, evaluation.pred_boxes = in_world(labels), in_world(predictions)
    summary: dict[str, dict[str, dict[float, float]]] = evaluation.evaluate()[0].serialize()
    return summary


def test_tables_and_json_hold_every_class_and_no_nan() -> None:
    labels = {0: boxes(["car"], [[10, 0, 0]])}
    metrics = evaluate_detections(labels, labels)
    header, *rows = metrics.class_table()
    assert header == (
        "class", "labels", "predictions", "AP", "AP 0.5 m", "AP 1 m", "AP 2 m", "AP 4 m", "ATE", "ASE", "AOE", "AVE"
    )  # fmt: skip
    assert {len(row) for row in rows} == {len(header)}
    by_name = {row[0]: row for row in rows}
    assert set(by_name) == set(NUSCENES_CLASSES)
    assert by_name["car"][3] == "1.0000"
    assert set(by_name["bus"][3:]) == {"-"}
    assert dict(metrics.summary_table())["NDS (AAE = 1)"] == "0.9000"
    document = json.loads(json.dumps(metrics.to_json(), allow_nan=False))
    assert document["classes"]["car"]["ap_at"] == pytest.approx({"0.5": 1.0, "1": 1.0, "2": 1.0, "4": 1.0})


def test_without_the_devkit_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nuscenes", "nuscenes.eval.common.config"):
        monkeypatch.setitem(sys.modules, name, None)
    labels = one_of_each_class()
    with pytest.raises(Lift3dError, match="pip install nuscenes-devkit"):
        evaluate_detections(labels, labels)
