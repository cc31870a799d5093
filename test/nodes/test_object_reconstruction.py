"""The object_reconstruction node on real rclpy: triggers, service, action, cancelling, queue, bad input, files."""

from __future__ import annotations

import io
import itertools
import re
import threading
import time
from array import array
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import State, Transition
from rclpy.action import ActionClient
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_system import NodeProcess, Observer, running_node
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, RegionOfInterest
from tabletop import (
    CAMERA,
    IMAGE_TOPIC,
    INFO_TOPIC,
    OPTICAL,
    RADIUS_M,
    SIZE,
    START_NS,
    ball_pixels,
    picture,
)
from tabletop_robot import Robot, header
from untrained_lrm import NAME, add_untrained_lrm, usual_density
from visualization_msgs.msg import Marker, MarkerArray

from lift3d_ros.action import ReconstructObject as ReconstructAction
from lift3d_ros.msg import BevDetectionArray, StageTiming
from lift3d_ros.nodes.messages import image_msg
from lift3d_ros.nodes.object_messages import HAS_SHAPE_MSGS
from lift3d_ros.nodes.object_reconstruction_config import OUTPUT_TOPICS
from lift3d_ros.srv import ReconstructObject

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("torch")
pytest.importorskip("skimage")
pytestmark = pytest.mark.ros

NODE = "/object_reconstruction"
POINTS, MARKERS, TIMING = (f"{NODE}/{name}" for name in ("points", "markers", "timing"))
READY = r"small \(untrained weights\) on torch; objects on /boxes"
BOX = RegionOfInterest(
    x_offset=ball_pixels().left, y_offset=ball_pixels().top, width=ball_pixels().width, height=ball_pixels().height
)
# Takes minutes.
ENDLESS = 1024
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_untrained_lrm(tmp_path, monkeypatch)


@pytest.fixture
def parameters(tmp_path: Path) -> dict[str, Any]:
    """Parameters of a node that needs a fraction of a second for an object; random weights have some surface."""
    return {
        "model": NAME,
        "topics.image": IMAGE_TOPIC,
        "topics.camera_info": INFO_TOPIC,
        "surface.resolution": 16,
        "surface.threshold": usual_density(),
        "trigger.min_interval_s": 0.0,
        "output.folder": tmp_path / "meshes",
        "engine.threads": 1,
    }


@pytest.fixture
def observer(observer: Observer) -> Observer:
    observer.listen(TIMING, StageTiming)
    return observer


def running(parameters: dict[str, Any], observer: Observer) -> AbstractContextManager[NodeProcess]:
    return running_node(parameters, observer, "object_reconstruction", READY)


def ready_robot(observer: Observer, boxes: type[Any] = BevDetectionArray) -> Robot:
    """Return a robot whose camera is calibrated and mounted."""
    robot = Robot(observer, boxes)
    robot.calibrate()
    robot.mount()
    return robot


def request(**changes: Any) -> ReconstructObject.Request:
    values = {"image": image_msg(picture(), START_NS, OPTICAL), "box": BOX}
    return ReconstructObject.Request(**values | changes)


def ask(observer: Observer, **changes: Any) -> ReconstructObject.Response:
    return observer.call(ReconstructObject, f"{NODE}/reconstruct", request(**changes), timeout_s=60.0)


class Goal:
    """One goal of the action, from sending it to its result."""

    def __init__(self, observer: Observer, **changes: Any) -> None:
        self.feedback: list[tuple[str, float]] = []
        self._changed = threading.Condition()
        # In the thread that spins: rclpy's executor looks at a client that is only half made.
        name = f"{NODE}/reconstruct"
        made = observer.node.executor.create_task(lambda: ActionClient(observer.node, ReconstructAction, name))
        self._client = self._wait(made)
        assert self._client.wait_for_server(30.0)
        wanted = request(**changes)
        goal = ReconstructAction.Goal(image=wanted.image, box=wanted.box, resolution=wanted.resolution)
        self.handle = self._wait(self._client.send_goal_async(goal, feedback_callback=self._take))
        self._result = self.handle.get_result_async()

    def _take(self, message: Any) -> None:
        with self._changed:
            self.feedback.append((message.feedback.stage, message.feedback.progress))
            self._changed.notify_all()

    def _wait(self, future: Any, timeout_s: float = 60.0) -> Any:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        assert done.wait(timeout_s), "no answer"
        return future.result()

    def wait_for_stage(self, stage: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: any(name == stage for name, _ in self.feedback), 60.0), self.feedback

    def cancel(self) -> None:
        self._wait(self.handle.cancel_goal_async())

    def result(self, timeout_s: float = 60.0) -> Any:
        return self._wait(self._result, timeout_s)


def loaded(mesh: Any) -> Any:
    return trimesh.load(io.BytesIO(bytes(mesh)), file_type="glb", force="mesh", process=False)


def test_a_detected_object_becomes_a_mesh_in_metres_where_its_box_is(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    observer.listen(MARKERS, MarkerArray)
    observer.listen(POINTS, PointCloud2)
    with running(parameters | {"output_frame": "base_link"}, observer):
        camera = ready_robot(observer)
        camera.show(0)
        time.sleep(0.2)  # picture and boxes are on topics of their own
        camera.detect(0, 7)
        (cloud,) = observer.wait_for_messages(POINTS, 1)
        (markers,) = observer.wait_for_messages(MARKERS, 1)
        (timing,) = observer.wait_for_messages(TIMING, 1)
        status = observer.wait_for_status("pipeline", "untrained weights")
        offered = dict(observer.node.get_topic_names_and_types())
    documented = {f"{NODE}/{name}": [kind.replace("/", "/msg/")] for name, (kind, _) in OUTPUT_TOPICS.items()}
    if not HAS_SHAPE_MSGS:
        del documented[f"{NODE}/mesh"]
    assert documented.items() <= offered.items()
    assert cloud.header.frame_id == "base_link"
    points = np.frombuffer(cloud.data, np.dtype([("xyz", "<f4", 3), ("rgb", "<u4"), ("is_seen", "u1")]))["xyz"]
    # Random weights make any shape; it is as large as the box, and in front of the camera.
    assert RADIUS_M < np.ptp(points, axis=0).mean() < 4.0 * RADIUS_M
    assert points[:, 0].mean() > 0.5
    kinds = [marker.type for marker in markers.markers if marker.action == Marker.ADD]
    assert kinds == [Marker.TRIANGLE_LIST, Marker.TEXT_VIEW_FACING]
    triangles = next(marker for marker in markers.markers if marker.type == Marker.TRIANGLE_LIST and marker.points)
    assert len(triangles.points) == len(triangles.colors) % 2**31 > 0
    assert "untrained weights" in markers.markers[-1].text
    assert list(timing.stages) == ["prepare", "planes", "surface", "simplify", "colors", "visibility"]
    values = {value.key: value.value for value in status.values}
    assert (values["size from"], values["cut out by"]) == ("box", "grabcut")
    (path,) = (tmp_path / "meshes").iterdir()
    assert path.name == f"ball_7_{START_NS}.glb"
    assert len(loaded(path.read_bytes()).vertices) == len(points)


def test_an_object_that_a_2d_detector_found_becomes_a_mesh(
    tmp_path: Path, parameters: dict[str, Any], observer: Observer
) -> None:
    vision = pytest.importorskip("vision_msgs.msg", reason="vision_msgs is not installed")
    box = ball_pixels()
    found = vision.Detection2D(id="7")
    found.bbox.center.position.x, found.bbox.center.position.y = box.left + box.width / 2, box.top + box.height / 2
    found.bbox.size_x, found.bbox.size_y = float(box.width), float(box.height)
    for label, score in (("balloon", 0.2), ("ball", 0.9)):
        found.results.append(vision.ObjectHypothesisWithPose())
        found.results[-1].hypothesis.class_id, found.results[-1].hypothesis.score = label, score
    with running(parameters | {"topics.boxes_type": "vision_msgs"}, observer):
        robot = ready_robot(observer, vision.Detection2DArray)
        robot.show(0)
        time.sleep(0.2)  # picture and boxes are on topics of their own
        robot.publish_boxes(vision.Detection2DArray(header=header(0), detections=[found]))
        observer.wait_for_messages(TIMING, 1)
        status = observer.wait_for_status("pipeline", "untrained weights")
    values = {value.key: value.value for value in status.values}
    assert (values["size from"], values["cut out by"]) == ("unknown", "grabcut")
    assert [path.name for path in (tmp_path / "meshes").iterdir()] == [f"ball_7_{START_NS}.glb"]


def test_the_service_gives_a_mesh_of_side_1_where_nothing_tells_its_size(
    parameters: dict[str, Any], observer: Observer
) -> None:
    with running(parameters, observer):
        answer = ask(observer, resolution=32)
        coarse = ask(observer)
        whole = ask(observer, box=RegionOfInterest())
    for found in (answer, coarse, whole):
        assert found.success, found.message
        assert (found.model, found.is_trained, found.is_metric) == (NAME, False, False)
        assert len(found.weights_sha256) == 64
        assert found.pose.header.frame_id == OPTICAL
    assert np.abs(loaded(answer.mesh).vertices).max() <= 0.5 + 1e-6
    assert answer.mesh != coarse.mesh
    assert "untrained weights" in answer.message


def bad_requests() -> dict[str, dict[str, Any]]:
    """Return what the answer says of each."""
    image = image_msg(picture(), START_NS, OPTICAL)
    blank = image_msg(np.full_like(picture(), 90), START_NS, OPTICAL)
    empty = Image(header=image.header, width=SIZE[0], height=SIZE[1], step=SIZE[0], encoding="mono8")
    empty.data = array("B", bytes(SIZE[0] * SIZE[1]))
    small = Image(header=image.header, width=2, height=2, step=2, encoding="mono8", data=array("B", b"\1\1\1\1"))
    strange = image_msg(picture(), START_NS, OPTICAL)
    strange.encoding = "rgb9"
    short = image_msg(picture(), START_NS, OPTICAL)
    short.data = array("B", bytes(1000))
    pixel = RegionOfInterest(x_offset=160, y_offset=120, width=1, height=1)
    outside = RegionOfInterest(x_offset=4000, y_offset=4000, width=50, height=50)
    uncalibrated = CameraInfo(width=SIZE[0], height=SIZE[1], distortion_model="dragon", k=CAMERA.intrinsics.reshape(-1))
    return {
        "covers 1x1 px of it; expected at least 4 in both directions": {"box": pixel},
        "lies outside of the picture": {"box": outside},
        "shows one colour only": {"image": blank},
        "shows one colour only, so no object": {"image": blank, "box": RegionOfInterest()},
        "the mask is empty": {"mask": empty},
        r"the mask has 2x2 px, the picture 320x240": {"mask": small},
        "encoding 'rgb8' is no mask; expected mono8 or 8UC1": {"mask": image},
        "encoding 'rgb9' is not known; did you mean 'rgb8'": {"image": strange},
        "The message is truncated or its height is wrong": {"image": short},
        "holds no picture, and none has arrived": {"image": Image()},
        "distortion model 'dragon' is not known": {"camera_info": uncalibrated},
        "resolution is 30; expected a multiple of 4": {"resolution": 30},
        "'resolution' is 5000; expected 4 to 1024": {"resolution": 5000},
    }


def test_bad_requests_are_answered_with_a_sentence_and_the_next_one_is_served(
    parameters: dict[str, Any], observer: Observer
) -> None:
    with running(parameters, observer):
        answers = {pattern: ask(observer, **changes) for pattern, changes in bad_requests().items()}
        good = ask(observer)
    for pattern, answer in answers.items():
        assert not answer.success

        assert re.search(pattern, answer.message), (pattern, answer.message)
        assert len(answer.mesh) == 0
    assert good.success


def test_a_request_without_a_picture_takes_the_newest_one_of_the_topic(
    parameters: dict[str, Any], observer: Observer
) -> None:
    with running(parameters, observer):
        camera = ready_robot(observer)
        camera.show(0)
        camera.show(500)
        observer.wait_for_status("inputs", "pictures arrive")
        answer = ask(observer, image=Image())
    assert answer.success, answer.message
    assert answer.pose.header.stamp == header(500).stamp


def test_the_action_tells_its_progress_and_gives_the_mesh_of_the_service(
    parameters: dict[str, Any], observer: Observer
) -> None:
    with running(parameters, observer):
        goal = Goal(observer, resolution=64)
        found = goal.result()
        expected = ask(observer, resolution=64)
    assert found.status == 4  # succeeded
    assert found.result.mesh == expected.mesh
    shares = [share for _, share in goal.feedback]
    assert shares == sorted(shares)
    assert 0.0 == shares[0] < shares[-1] <= 1.0
    stages = [stage for stage, _ in itertools.groupby(stage for stage, _ in goal.feedback)]
    assert stages == ["segment", "lift", "extract", "texture"]


def test_long_work_is_cancelled_within_half_a_second_while_the_node_answers_everything_else(
    parameters: dict[str, Any], observer: Observer
) -> None:
    waits, answers = [], []
    with running(parameters, observer):
        for stage in ("lift", "extract"):
            goal = Goal(observer, resolution=ENDLESS)
            goal.wait_for_stage(stage)
            start_s = time.monotonic()
            assert observer.state("object_reconstruction")
            answers.append(time.monotonic() - start_s)
            start_s = time.monotonic()
            goal.cancel()
            found = goal.result(30.0)
            waits.append(time.monotonic() - start_s)
            assert found.status == 5, "cancelled"
            assert not found.result.success
            assert "stopped on request" in found.result.message
        observer.wait_for_status("pipeline", "idle; last: .*stopped on request")
        assert ask(observer).success
    assert min(waits) < 0.5, waits
    assert min(answers) < 0.5, answers


def test_a_goal_that_waits_is_cancelled_at_once_and_the_one_before_it_goes_on(
    parameters: dict[str, Any], observer: Observer
) -> None:
    with running(parameters, observer):
        first = Goal(observer, resolution=ENDLESS)
        first.wait_for_stage("extract")
        second, third = Goal(observer), Goal(observer)
        for goal in (third, second):
            goal.cancel()
            assert goal.result(5.0).status == 5
        stages = len(first.feedback)
        first.wait_for_stage("extract")
        observer.wait_for_status("pipeline", "extract")
        assert len(first.feedback) >= stages
        first.cancel()
        assert first.result(5.0).status == 5


def test_of_an_object_the_newest_picture_waits_and_requests_go_first(
    parameters: dict[str, Any], observer: Observer
) -> None:
    with running(parameters | {"qos.reliability": "reliable", "qos.depth": 20}, observer):
        camera = ready_robot(observer)
        busy = Goal(observer, resolution=ENDLESS)
        busy.wait_for_stage("extract")
        for ms in (1000, 2000, 3000):
            camera.show(ms)
            time.sleep(0.2)  # picture and boxes are on topics of their own
            camera.detect(ms, 7, 8)
        camera.wait_for_diagnostics("key='objects that gave way', value='4'")
        asked = Goal(observer)
        busy.cancel()
        assert asked.result().result.success
        times = observer.wait_for_messages(TIMING, 3)
        observer.wait_for_status("pipeline", "idle")
    seconds = [message.header.stamp.sec - START_NS // 10**9 for message in times]
    assert seconds == [0, 3, 3]


def test_requests_that_find_no_room_are_refused_and_objects_of_topics_give_way(
    parameters: dict[str, Any], observer: Observer
) -> None:
    with running(parameters | {"queue.length": 1}, observer):
        busy = Goal(observer, resolution=ENDLESS)
        busy.wait_for_stage("extract")
        waiting = [Goal(observer) for _ in range(3)]
        busy.cancel()
        found = [goal.result().result for goal in waiting]
    assert [one.success for one in found] == [True, False, False]
    assert all("1 requests wait already (queue.length)" in one.message for one in found[1:])


def test_a_node_that_stops_answers_everybody(parameters: dict[str, Any], observer: Observer) -> None:
    with NodeProcess("object_reconstruction", parameters=parameters | {"autostart": False}) as node:
        assert observer.transition("object_reconstruction", Transition.TRANSITION_CONFIGURE)
        early = ask(observer)
        assert observer.transition("object_reconstruction", Transition.TRANSITION_ACTIVATE)
        node.wait_for(READY)
        running, waiting = Goal(observer, resolution=ENDLESS), Goal(observer)
        running.wait_for_stage("lift")
        assert observer.transition("object_reconstruction", Transition.TRANSITION_DEACTIVATE)
        stopped = [goal.result(10.0) for goal in (running, waiting)]
        late = ask(observer)
        assert observer.transition("object_reconstruction", Transition.TRANSITION_ACTIVATE)
        assert ask(observer).success
        assert observer.transition("object_reconstruction", Transition.TRANSITION_DEACTIVATE)
        assert observer.transition("object_reconstruction", Transition.TRANSITION_CLEANUP)
        state = observer.state("object_reconstruction")
    assert state == State.PRIMARY_STATE_UNCONFIGURED
    assert not early.success
    assert "activate it and ask again" in early.message
    assert [one.status for one in stopped] == [6, 6], "aborted"
    assert not late.success


def test_a_label_cannot_lead_out_of_the_folder(tmp_path: Path, parameters: dict[str, Any], observer: Observer) -> None:
    with running(parameters, observer):
        camera = ready_robot(observer)
        camera.show(0)
        time.sleep(0.2)
        camera.detect(0, 3, label="../../../evil")
        observer.wait_for_messages(TIMING, 1)
        observer.wait_for_status("pipeline", "idle")
    assert [path.name for path in (tmp_path / "meshes").iterdir()] == [f"evil_3_{START_NS}.glb"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"surface.resolutio": 5},
            r"did you mean 'surface.resolution'\?; all names are in config/object_reconstruction.yaml",
            id="unknown name",
        ),
        pytest.param({"model": "triposs"}, r"model 'triposs'", id="unknown model"),
        pytest.param({"model": "triposr"}, r"lift3d weights import FILE --as triposr", id="no weights"),
        pytest.param({"topics.image": ""}, r"'topics.image' is empty, and 'topics.boxes' is not", id="no topic"),
        pytest.param({"topics.depth": "my depth"}, r"'topics.depth': 'my depth' is not a topic name", id="topic"),
        pytest.param({"topics.boxes_type": "vision"}, r"'topics.boxes_type' is 'vision'", id="boxes of no known type"),
        pytest.param({"output.file": "../{label}"}, r"'output.file' is '../\{label\}', which leads to", id="outside"),
        pytest.param({"output.file": "/tmp/x"}, r"'output.file' is '/tmp/x', which leads to /tmp/x.glb", id="absolute"),
        pytest.param({"output.file": '"{lable}"'}, r"expected a file name with the placeholders", id="placeholder"),
        pytest.param({"surface.resolution": 30}, r"surface.resolution is 30; expected a multiple of 4", id="cells"),
        pytest.param(
            {"engine.backend": "onnxruntime", "engine.precision": "float16"},
            r"engine.precision 'float16'",
            id="ignored",
        ),
        pytest.param({"model": "/nowhere/x.onnx"}, r"model '/nowhere/x.onnx': no file /nowhere/x.onnx", id="no graph"),
        pytest.param({"queue.length": 0}, r"'queue.length' is 0; expected 1 to 1000", id="out of range"),
    ],
)
def test_a_wrong_parameter_is_refused_with_the_remedy(
    changes: dict[str, Any], message: str, parameters: dict[str, Any]
) -> None:
    with NodeProcess("object_reconstruction", parameters=parameters | changes) as node:
        node.wait_for(message)
        assert node.wait() == 2
