"""The executable perception: several nodes in one process, each with parameters and remappings of its own."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import State
from ros_system import PACED, NodeProcess, Observer, play, segments, wait_for_segments
from shared_files import held_by

from lift3d_ros.bags.messages import stamp_ns
from lift3d_ros.msg import PointFeaturesArray, Skeleton3DArray

pytest.importorskip("torch")
from scans import CLOUD_TOPIC, Scan, write_small_weights
from walk import INFO_TOPIC, KEYPOINTS_TOPIC, Walk

pytestmark = pytest.mark.ros

NODES = ("skeleton_lifting", "point_features")
MANIFEST = "models: {small: {method: lfm, preset: lift3d-lfm-small, licence: Apache-2.0, source: a test}}\n"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments for two light nodes, whose parameter files say ``/**`` as the installed ones do."""
    (tmp_path / "manifest.yaml").write_text(MANIFEST)
    monkeypatch.setenv("LIFT3D_MODELS_DIR", str(tmp_path))
    weights = write_small_weights(tmp_path / "small.safetensors")
    models = {"skeleton_lifting": "not this one", "point_features": str(weights)}
    arguments = ["--nodes", ",".join(NODES)]
    for name, model in models.items():
        file = tmp_path / f"{name}.yaml"
        file.write_text(f"/**: {{ros__parameters: {{model: {model}, engine: {{backend: torch}}}}}}\n")
        arguments += ["--params", f"{name}={file}"]
    return [*arguments, "--ros-args", "-p", "skeleton_lifting:model:=small"]


def options(parameters: dict[str, Any]) -> list[str]:
    return [part for name, value in parameters.items() for part in ("-p", f"{name}:={str(value).lower()}")]


def test_two_nodes_in_a_namespace_become_active_and_answer(
    command: list[str], tmp_path: Path, observer: Observer
) -> None:
    skeletons, features = "/car/skeleton_lifting/skeletons", "/car/point_features/features"
    observer.listen(skeletons, Skeleton3DArray)
    observer.listen(features, PointFeaturesArray)
    topics = {
        "skeleton_lifting:topics.camera_info": INFO_TOPIC,
        "skeleton_lifting:topics.keypoints": "seen",
        "point_features:topics.cloud": CLOUD_TOPIC,
    }
    remapped = ["-r", "__ns:=/car", "-r", f"skeleton_lifting:seen:={KEYPOINTS_TOPIC}"]
    with NodeProcess("perception", *command, *remapped, *options(PACED | topics)) as process:
        process.wait_for(rf"car.skeleton_lifting\]: small .* on torch; keypoints on {KEYPOINTS_TOPIC}")
        process.wait_for(rf"car.point_features\]: .* on torch; clouds on {CLOUD_TOPIC}")
        for name in NODES:
            assert observer.state(f"car/{name}") == State.PRIMARY_STATE_ACTIVE
        walk, scan = Walk(frames=3), Scan()
        play(walk.write(tmp_path / "walk"), "--rate", "1", results=skeletons)
        play(scan.write(tmp_path / "scan"), "--rate", "1", results=features)
        lifted = observer.wait_for_messages(skeletons, 3)
        encoded = observer.wait_for_messages(features, 3)
    assert [stamp_ns(message.header) for message in lifted] == [walk.stamp_ns(index) for index in range(3)]
    assert [stamp_ns(message.header) for message in encoded] == [scan.stamp_ns(index) for index in range(3)]


def test_a_node_that_refuses_its_configuration_ends_the_process_with_its_name(command: list[str]) -> None:
    refused = ["-p", "point_features:topics.cloud:=''", "-p", "point_features:encoder.min_poins:=3"]
    with NodeProcess("perception", *command, *refused) as process:
        made = wait_for_segments(process)
        assert process.wait() == 2, process.output
    assert "point_features: error: parameters of node 'point_features': unknown name" in process.output
    assert [path for path in made if path.exists()] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nodes", "point_feature"], r"--nodes names 'point_feature'; did you mean 'point_features'\?"),
        (["--params", "points=f.yaml"], r"--params points=f.yaml: expected NODE=FILE with a node of bev_detection, "),
        (["--params", "point_features=no.yaml"], r"--params point_features=no.yaml: there is no such file"),
    ],
)
def test_arguments_that_name_nothing_are_refused(arguments: list[str], message: str) -> None:
    with NodeProcess("perception", *arguments) as process:
        process.wait_for(f"^perception: error: {message}")
        assert process.wait() == 2


def test_a_parameter_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("a: [1")
    with NodeProcess("perception", "--nodes", "point_features", "--params", f"point_features={file}") as process:
        process.wait_for(f"^error: the ROS arguments cannot be used: .*{file.name}")
        assert process.wait() == 2


def test_an_interrupt_ends_all_nodes_and_leaves_no_shared_memory(command: list[str], observer: Observer) -> None:
    of_the_observer = held_by(Path("/proc/self"))
    with NodeProcess("perception", *command) as process:
        for name in NODES:
            observer.wait_until(
                lambda name=name: any(
                    status.name == f"{name}: configuration" and status.message == "accepted"
                    for message in observer.received["/diagnostics"]
                    for status in message.status
                ),
                f"{name} that is configured",
            )
        made = segments(process) - of_the_observer
        assert made
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0, process.output
    assert [path for path in made if path.exists()] == []
