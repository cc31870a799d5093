"""What the point_features node does when its input, encoder or files misbehave: it goes on, says so, and recovers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import Transition
from ros_clouds import cloud_msg
from ros_system import NodeProcess, Observer
from sensor_msgs.msg import PointCloud2

from lift3d_ros.bags.messages import stamp_ns
from lift3d_ros.msg import PointFeaturesArray, StageTiming
from lift3d_ros.pipelines.point_classifier import PointFeatureClassifier, save_classifier
from lift3d_ros.pipelines.point_network import find_points, load_point_network
from lift3d_ros.weights.manifest import sha256_of

pytest.importorskip("torch")
from scans import CLOUD_TOPIC, SOURCE, Scan, write_small_weights, write_untrained_manifest

pytestmark = pytest.mark.ros

FEATURES, TIMING = "/point_features/features", "/point_features/timing"


@pytest.fixture
def parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    write_untrained_manifest(tmp_path)
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path))
    weights = write_small_weights(tmp_path / "small.safetensors")
    return {"model": str(weights), "topics.cloud": CLOUD_TOPIC, "engine.backend": "torch", "engine.threads": 1}


def classifier(path: Path, encoder_sha256: str, width: int) -> Path:
    """Write a classifier of descriptors of `width` values; the second class is the most probable one."""
    weight, bias = np.zeros((2, width), np.float32), np.array([0.0, 2.0], np.float32)
    save_classifier(path, PointFeatureClassifier(weight, bias, ("chair", "table"), encoder_sha256))
    return path


def publisher(observer: Observer) -> Any:
    result = observer.node.create_publisher(PointCloud2, CLOUD_TOPIC, 10)
    observer.wait_for_listener(result, "clouds")
    return result


def replaced_clouds(observer: Observer) -> int:
    """Return how many clouds gave way to newer ones, as the newest diagnostics say."""
    values = (value for status in observer.received["/diagnostics"][-1].status for value in status.values)
    return next((int(value.value) for value in values if value.key == "clouds replaced by newer ones"), 0)


def test_the_newest_cloud_wins_while_the_encoder_is_slower_than_the_sensor(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    scan = Scan(frames=30, has_boxes=False)
    observer.listen(FEATURES, PointFeaturesArray)
    observer.listen(TIMING, StageTiming)
    with (
        NodeProcess("point_features", parameters=parameters | {"model": "untrained", "qos.depth": 100}) as node,
        NodeProcess("bag_player", str(scan.write(tmp_path / "scan")), "--rate", "0"),
    ):
        node.wait_for(r"on torch; clouds on /lidar/points")
        observer.wait_until(
            lambda: any(stamp_ns(result.header) == scan.stamp_ns(29) for result in observer.received[FEATURES]),
            "the result of the last cloud",
        )
        count = len(observer.received[FEATURES])
        timing = observer.wait_for_messages(TIMING, count)[-1]
        assert 0 < timing.dropped_sets == 30 - count
        observer.wait_until(lambda: replaced_clouds(observer) == 30 - count, "the count in the diagnostics")
        observer.wait_for_status("pipeline", "untrained weights")


def test_clouds_that_stop_are_reported_and_their_return_too(parameters: dict[str, Any], observer: Observer) -> None:
    observer.listen(FEATURES, PointFeaturesArray)
    with NodeProcess("point_features", parameters=parameters) as node:
        node.wait_for(r"on torch; clouds on")
        observer.wait_for_status("clouds", "no cloud on /lidar/points: nothing arrived yet, nobody publishes it")
        clouds = publisher(observer)
        clouds.publish(cloud_msg(Scan().points(0)))
        observer.wait_for_messages(FEATURES, 1)
        status = observer.wait_for_status("clouds", r"no cloud on /lidar/points: silent for [2-9]\.\d s")
        assert "nobody" not in status.message
        assert status.level == b"\x02"
        waiting = observer.wait_for_status("pipeline", r"no result for \d+ s; waiting for: cloud on /lidar/points")
        assert waiting.level == b"\x01"
        clouds.publish(cloud_msg(Scan().points(0), 9000))
        observer.wait_for_status("clouds", "clouds arrive")
        observer.node.destroy_publisher(clouds)
        observer.wait_for_status("clouds", r"silent for [2-9]\.\d s, nobody publishes it any more")


def test_clouds_with_stamp_0_are_named(parameters: dict[str, Any], observer: Observer) -> None:
    observer.listen(FEATURES, PointFeaturesArray)
    with NodeProcess("point_features", parameters=parameters) as node:
        node.wait_for(r"on torch; clouds on")
        clouds, message = publisher(observer), cloud_msg(Scan().points(0))
        message.header.stamp = Time()
        clouds.publish(message)
        observer.wait_for_messages(FEATURES, 1)
        clouds.publish(message)
        observer.wait_for_status("clouds", "messages with stamp 0 are dropped; set header.stamp in their publisher")


def test_classes_are_published_and_a_classifier_of_other_weights_is_refused(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    observer.listen(FEATURES, PointFeaturesArray)
    sha256, width = sha256_of(Path(parameters["model"])), SOURCE.config.descriptor_dims
    good = classifier(tmp_path / "good.safetensors", sha256, width)
    with NodeProcess("point_features", parameters=parameters | {"encoder.classifier": str(good)}) as node:
        node.wait_for("classes chair, table")
        publisher(observer).publish(cloud_msg(Scan().points(0)))
        (message,) = observer.wait_for_messages(FEATURES, 1)
    assert message.features[0].label == "table"
    assert message.features[0].score == pytest.approx(1.0 / (1.0 + np.exp(-2.0)), abs=1e-5)
    bad = classifier(tmp_path / "bad.safetensors", "ab" * 32, width)
    with NodeProcess("point_features", parameters=parameters | {"encoder.classifier": str(bad)}) as node:
        node.wait_for(r"bad.safetensors: was fitted to the features of weights abababababab")
        assert node.wait() == 2


def test_an_encoder_that_cannot_be_opened_is_named_and_opened_once_that_is_corrected(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    """The weights of an untrained model are known, and compared with those of the classifier, when it is opened."""

    source = find_points("untrained")
    width = source.config.descriptor_dims
    path = classifier(tmp_path / "classes.safetensors", "ab" * 32, width)
    changes = {"model": "untrained", "encoder.classifier": str(path)}
    with NodeProcess("point_features", parameters=parameters | changes) as node:
        status = observer.wait_for_status("pipeline", r"the engine cannot be opened: .* was fitted to the features of")
        assert status.level == b"\x02"
        _, identity = load_point_network(source)
        assert f"has {identity.weights_sha256[:12]}" in status.message
        assert observer.transition("point_features", Transition.TRANSITION_DEACTIVATE)
        classifier(path, identity.weights_sha256, width)
        assert observer.transition("point_features", Transition.TRANSITION_ACTIVATE)
        node.wait_for("classes chair, table")
