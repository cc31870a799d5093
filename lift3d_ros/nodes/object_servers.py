"""The service and the action of the object_reconstruction node: requests in, answers out when the worker has them.

A service callback of rclpy has to return the response, and one that awaits it makes the executor spin (rclpy 9.1, and
Humble's). So the service has a node, an executor and a thread of its own, in which it may wait. The action needs none
of that: its goals are executed when their results are there.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable
from typing import Any

import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from lift3d_ros.action import ReconstructObject as ReconstructObjectAction
from lift3d_ros.errors import Lift3dError
from lift3d_ros.nodes.callbacks import unexpected
from lift3d_ros.nodes.interrupts import end_spin_once
from lift3d_ros.nodes.messages import header_msg
from lift3d_ros.nodes.object_messages import pose_msg
from lift3d_ros.nodes.object_requests import OnDone, OnProgress, PendingRequest
from lift3d_ros.pipelines.object_requests import PlacedObject
from lift3d_ros.pipelines.object_sets import ObjectRequest
from lift3d_ros.srv import ReconstructObject as ReconstructObjectService
from lift3d_ros.types import ModelIdentity

# A result holds a mesh; who has sent a goal asks for it at once.
_KEEP_RESULT_S = 60

# Takes a message and where it came from, and returns what it asks for; raises Lift3dError.
ReadRequest = Callable[[Any, str], ObjectRequest]


class ObjectServers:
    """Service and action `~/reconstruct`.

    Args:
        read: turns a message into a request.
        submit: hands a request to the worker, which answers it.
        withdraw: takes a request back that waits, and answers it; stops it where it is worked on.
        identity: of the model, None while it is not opened.
    """

    def __init__(
        self,
        node: Node,
        read: ReadRequest,
        submit: Callable[[PendingRequest], None],
        withdraw: Callable[[PendingRequest], None],
        identity: Callable[[], ModelIdentity | None],
    ) -> None:
        self._read, self._submit, self._withdraw, self._identity = read, submit, withdraw, identity
        self._goals: dict[bytes, PendingRequest] = {}
        self._action = ActionServer(
            node,
            ReconstructObjectAction,
            "~/reconstruct",
            execute_callback=lambda goal: ReconstructObjectAction.Result(),
            handle_accepted_callback=self._take_goal,
            cancel_callback=self._cancel_goal,
            result_timeout=_KEEP_RESULT_S,
        )
        # Its name and remappings are those of the node, so those of the command line must not be applied again.
        self._service_node = rclpy.create_node(
            f"{node.get_name()}_service",
            namespace=node.get_namespace(),
            context=node.context,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
        )
        name = node.resolve_service_name("~/reconstruct")
        self._service_node.create_service(ReconstructObjectService, name, self._serve)
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(self._service_node)
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="service", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Stop serving; every request must have been answered before."""
        self._is_closed.set()
        end_spin_once(self._executor)
        self._thread.join(timeout_s)
        self._executor.shutdown(0.0)
        self._service_node.destroy_node()
        self._action.destroy()

    def _spin(self) -> None:
        while not self._is_closed.is_set():
            self._executor.spin_once()

    def _serve(self, request: Any, response: Any) -> Any:
        """Answer a call; waits for the worker, in the thread of the service."""
        is_done, answers = threading.Event(), list[tuple[PlacedObject | None, str]]()

        def on_done(placed: PlacedObject | None, sentence: str) -> None:
            answers.append((placed, sentence))
            is_done.set()

        self._ask(request, "service 'reconstruct'", on_done, lambda stage, share: None)
        is_done.wait()
        self._fill(response, *answers[0])
        return response

    def _take_goal(self, goal: ServerGoalHandle) -> None:
        """Hand a goal to the worker; it is executed, which takes no time, when its result is there."""
        key = bytes(goal.goal_id.uuid)

        def on_done(placed: PlacedObject | None, sentence: str) -> None:
            self._goals.pop(key, None)
            result = self._fill(ReconstructObjectAction.Result(), placed, sentence)

            def execute(handle: ServerGoalHandle) -> Any:
                if placed is not None:
                    handle.succeed()
                elif handle.is_cancel_requested:
                    handle.canceled()
                else:
                    handle.abort()
                return result

            if not self._is_closed.is_set():
                goal.execute(execute)

        def on_progress(stage: str, share: float) -> None:
            if goal.is_active and not self._is_closed.is_set():
                goal.publish_feedback(ReconstructObjectAction.Feedback(stage=stage, progress=share))

        self._ask(goal.request, "action 'reconstruct'", on_done, on_progress, key)

    def _cancel_goal(self, goal: ServerGoalHandle) -> CancelResponse:
        pending = self._goals.get(bytes(goal.goal_id.uuid))
        if pending is not None:
            self._withdraw(pending)
        return CancelResponse.ACCEPT

    def _ask(self, message: Any, source: str, on_done: OnDone, on_progress: OnProgress, key: bytes = b"") -> None:
        """Hand on what a message asks for; one that cannot be used is answered at once."""
        try:
            request = self._read(message, source)
        except Exception as error:  # the thread of the service must live on, and who asked be answered
            on_done(None, str(error) if isinstance(error, Lift3dError) else f"{source}: {unexpected(error)}")
            return
        pending = PendingRequest(request, on_done, on_progress)
        if key:
            self._goals[key] = pending
        self._submit(pending)

    def _fill(self, answer: Any, placed: PlacedObject | None, sentence: str) -> Any:
        """Fill in a response or a result, which have the same fields."""
        identity = self._identity() if placed is None else placed.mesh.identity
        if identity is not None:
            answer.model, answer.weights_sha256 = identity.name, identity.weights_sha256
            answer.is_trained = identity.is_trained
        answer.success, answer.message = placed is not None, sentence
        answer.pose = PoseStamped()
        answer.pose.pose.orientation.w = 1.0
        if placed is not None:
            image = placed.request.image
            answer.mesh, answer.is_metric = array("B", placed.glb()), placed.is_metric
            answer.pose.header = header_msg(image.stamp_ns, image.frame_id)
            answer.pose.pose = pose_msg(placed.T_cam_object)
        return answer
