"""What the object_reconstruction node does when inputs, files or the model misbehave: it says so, and recovers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_system import NodeProcess, Observer
from sensor_msgs.msg import Image, RegionOfInterest
from tabletop import BOXES_TOPIC, IMAGE_TOPIC, INFO_TOPIC, OPTICAL, START_NS, ball_pixels, picture
from tabletop_robot import Robot
from untrained_lrm import MANIFEST, NAME, add_untrained_lrm, usual_density

from lift3d_ros.msg import StageTiming
from lift3d_ros.nodes.messages import image_msg
from lift3d_ros.srv import ReconstructObject

for package in ("torch", "trimesh", "skimage"):
    pytest.importorskip(package)
pytestmark = pytest.mark.ros

NODE, READY = "/object_reconstruction", r"small \(untrained weights\) on torch"
TIMING = f"{NODE}/timing"


@pytest.fixture
def parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    add_untrained_lrm(tmp_path, monkeypatch)
    return {
        "model": NAME,
        "topics.image": IMAGE_TOPIC,
        "topics.camera_info": INFO_TOPIC,
        "topics.boxes": BOXES_TOPIC,
        "qos.reliability": "reliable",
        "qos.depth": 20,
        "surface.resolution": 16,
        "surface.threshold": usual_density(),
        "trigger.min_interval_s": 0.0,
        "engine.threads": 1,
    }


def ask(observer: Observer) -> ReconstructObject.Response:
    pixels = ball_pixels()
    box = RegionOfInterest(x_offset=pixels.left, y_offset=pixels.top, width=pixels.width, height=pixels.height)
    request = ReconstructObject.Request(image=image_msg(picture(), START_NS, OPTICAL), box=box)
    return observer.call(ReconstructObject, f"{NODE}/reconstruct", request, timeout_s=60.0)


def test_objects_are_reconstructed_once_calibration_and_mounting_are_known(
    parameters: dict[str, Any], observer: Observer
) -> None:
    observer.listen(TIMING, StageTiming)
    with NodeProcess("object_reconstruction", parameters=parameters) as node:
        node.wait_for(READY)
        robot = Robot(observer)

        robot.repeat_until(
            lambda: "its calibration is not known yet" in node.output, robot.see, "a word on calibration"
        )
        robot.calibrate()
        robot.repeat_until(
            lambda: "frame 'front_optical' is not known" in node.output, robot.see, "a word on transforms"
        )
        assert observer.received[TIMING] == []
        robot.mount()
        robot.repeat_until(lambda: observer.received[TIMING], robot.see, "an object")
        robot.wait_for_diagnostics("objects left out: not placed in the picture")


def test_a_recording_that_starts_again_is_reconstructed_again(parameters: dict[str, Any], observer: Observer) -> None:
    observer.listen(TIMING, StageTiming)
    with NodeProcess("object_reconstruction", parameters=parameters | {"trigger.min_interval_s": 3600.0}) as node:
        node.wait_for(READY)
        robot = Robot(observer)
        robot.calibrate()
        robot.mount()
        for count, ms in ((1, 50_000), (2, 0)):
            robot.repeat_until(
                lambda count=count: len(observer.received[TIMING]) >= count,
                lambda more, ms=ms: robot.see(ms + more),
                f"object {count}",
            )
        node.wait_for("stamps of the pictures jump back: starting afresh")


def test_a_folder_that_cannot_be_written_costs_the_file_alone(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    folder = tmp_path / "meshes"
    with NodeProcess("object_reconstruction", parameters=parameters | {"output.folder": folder}) as node:
        node.wait_for(READY)
        folder.write_text("in the place of the folder")
        answer = ask(observer)
        node.wait_for(r"/meshes/object_asked_\d+.glb: the mesh cannot be written")
        folder.unlink()
        again = ask(observer)
    assert answer.success
    assert "the mesh cannot be written" in answer.message
    assert len(answer.mesh) > 1000
    assert "written to" in again.message
    assert [path.read_bytes() for path in folder.iterdir()] == [bytes(again.mesh)]


def test_a_model_that_cannot_be_opened_refuses_requests_until_that_is_corrected(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    manifest = tmp_path / "models" / "manifest.yaml"
    with NodeProcess("object_reconstruction", parameters=parameters | {"autostart": False}) as node:
        assert observer.transition("object_reconstruction", Transition.TRANSITION_CONFIGURE)
        manifest.write_text("models: {}\n")
        assert observer.transition("object_reconstruction", Transition.TRANSITION_ACTIVATE)
        status = observer.wait_for_status("pipeline", r"the engine cannot be opened: model 'small'")
        answer = ask(observer)
        manifest.write_text(MANIFEST)
        assert observer.transition("object_reconstruction", Transition.TRANSITION_DEACTIVATE)
        assert observer.transition("object_reconstruction", Transition.TRANSITION_ACTIVATE)
        node.wait_for(READY)
        assert ask(observer).success
    assert status.level == b"\x02"
    assert not answer.success
    assert "its model could not be opened" in answer.message


def test_pictures_of_a_publisher_that_does_not_fit_are_missed_with_the_remedy(
    parameters: dict[str, Any], observer: Observer
) -> None:
    profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    observer.node.create_publisher(Image, IMAGE_TOPIC, profile)
    with NodeProcess("object_reconstruction", parameters=parameters):
        status = observer.wait_for_status("inputs", "offers another reliability than this node requests")
    assert status.level == b"\x02"
    assert "set qos.reliability to best_effort" in status.message


def test_while_nothing_is_asked_for_the_node_is_idle_and_not_late(
    parameters: dict[str, Any], observer: Observer
) -> None:
    with NodeProcess("object_reconstruction", parameters=parameters | {"topics.image": "", "topics.boxes": ""}) as node:
        node.wait_for(READY)
        status = observer.wait_for_status("pipeline", "idle; last: no object so far")
        observer.wait_until(lambda: len(observer.received["/diagnostics"]) > 7, "seven seconds")
        last = observer.wait_for_status("pipeline", "")
    assert status.level == last.level == b"\x00"
    opened = re.split(READY, node.output)[-1]  # until then it waits for its engine
    assert "waiting for" not in opened
