"""Starts nodes of the package in processes of their own and observes what they publish."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile
from shared_files import held_by

from lift3d_ros.launching import node_environment
from lift3d_ros.msg import BevDetectionArray

READY = r" on (torch|onnxruntime); cameras "
DETECTIONS = "/bev_detection/detections"
# Parameters of a node that takes every message of a recording that is played at its own rate, and costs little.
PACED = {
    "sync.drop": False,
    "qos.reliability": "reliable",
    "qos.depth": 100,
    "engine.backend": "torch",
    "engine.threads": 1,
}
EXECUTABLES = Path(sys.prefix) / "lib" / "lift3d_ros"

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["RCUTILS_COLORIZED_OUTPUT"] = "0"
os.environ.update(node_environment())


class NodeProcess:
    """One executable of the package; use it as a context manager, it is interrupted at the end."""

    def __init__(self, name: str, *arguments: str, parameters: dict[str, Any] | None = None) -> None:
        command = [str(EXECUTABLES / name), *arguments]
        if parameters:
            command.append("--ros-args")
            for key, value in parameters.items():
                command += ["-p", f"{key}:={_parameter(value)}"]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}"},
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._is_finished = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = self.interrupt()
        assert "Traceback" not in self.output, self.output
        if kind is None:
            # An interrupt while Python ends by itself counts as one: its handler is gone by then.
            assert status in (0, 2, 130, -signal.SIGINT), f"exit status {status}:\n{self.output}"

    @property
    def pid(self) -> int:
        """Its number in the system."""
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything printed so far."""
        with self._changed:
            return "".join(self._lines)

    def wait_for(self, pattern: str, timeout_s: float = 60.0) -> str:
        """Wait for a line that matches and return it."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: self._is_finished or any(re.search(pattern, line) for line in self._lines), timeout_s
            )
            for line in self._lines:
                if re.search(pattern, line):
                    return line
        raise AssertionError(f"no line matches '{pattern}' ({'ended' if found else 'time is over'}):\n{self.output}")

    def wait(self, timeout_s: float = 60.0) -> int:
        """Wait for the end and return the exit status."""
        status = self._process.wait(timeout_s)
        self._reader.join(10.0)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def interrupt(self) -> int:
        """Send what Ctrl-C sends and return the exit status."""
        if self._process.poll() is None:
            self.send_signal(signal.SIGINT)
        try:
            return self.wait(30.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"does not end after an interrupt:\n{self.output}") from None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._is_finished = True
            self._changed.notify_all()


def segments(process: NodeProcess) -> set[Path]:
    """Return the segments of shared memory that a process has mapped, without the small files beside them."""
    return {path for path in held_by(Path(f"/proc/{process.pid}")) if path.stat().st_size > 100_000}


def wait_for_segments(process: NodeProcess, timeout_s: float = 60.0) -> set[Path]:
    """Wait until a process has segments and return them."""
    end_s = time.monotonic() + timeout_s
    while not (found := segments(process)) and time.monotonic() < end_s:
        time.sleep(0.05)
    assert found, process.output
    return found


class Observer:
    """A node of the test that keeps what arrives; spins in a thread of its own."""

    def __init__(self) -> None:
        rclpy.init()
        self.node = rclpy.create_node("observer")
        self._changed = threading.Condition()
        self.received: dict[str, list[Any]] = {}
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def close(self) -> None:
        rclpy.try_shutdown()
        self._thread.join(5.0)

    def listen(self, topic: str, kind: Any, depth: int = 200) -> None:
        """Keep every message of `topic`."""
        received = self.received.setdefault(topic, [])

        def take(message: Any) -> None:
            with self._changed:
                received.append(message)
                self._changed.notify_all()

        self.node.create_subscription(kind, topic, take, QoSProfile(depth=depth))

    def listen_to_detections(self) -> None:
        self.listen(DETECTIONS, BevDetectionArray)
        self.listen("/diagnostics", DiagnosticArray)

    def detections(self) -> list[Any]:
        with self._changed:
            return list(self.received[DETECTIONS])

    def wait_until(self, condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
        """Wait until `condition` is true, looking at it whenever a message arrives, and return its value."""
        end_s = time.monotonic() + timeout_s
        with self._changed:
            while not (value := condition()):
                left_s = end_s - time.monotonic()
                if left_s <= 0 or not self._changed.wait(left_s):
                    if not (value := condition()):
                        raise AssertionError(f"{what}: not within {timeout_s:g} s; received {self._counts()}")
                    return value
        return value

    def wait_for_messages(self, topic: str, count: int, timeout_s: float = 60.0) -> list[Any]:
        """Wait until `count` messages of `topic` have arrived and return all of them."""
        received = self.received[topic]
        self.wait_until(lambda: len(received) >= count, f"{count} messages on {topic}", timeout_s)
        return list(received)

    def wait_for_status(self, part: str, pattern: str, timeout_s: float = 60.0) -> Any:
        """Wait for a diagnostics status of `part` whose message matches and return it."""

        def find() -> Any:
            for message in reversed(self.received["/diagnostics"]):
                for status in message.status:
                    if status.name.endswith(f": {part}") and re.search(pattern, status.message):
                        return status
            return None

        return self.wait_until(find, f"status of '{part}' that matches '{pattern}'", timeout_s)

    def wait_for_listener(self, publisher: Any, part: str) -> None:
        """Wait until publisher and node know each other; until then what is published may be lost.

        Args:
            part: of the diagnostics, which says so before the first message.
        """
        self.wait_until(publisher.get_subscription_count, f"a node that listens to {publisher.topic_name}", 30.0)
        self.wait_for_status(part, rf"on {publisher.topic_name}: nothing arrived yet from")

    def call(self, kind: Any, name: str, request: Any, timeout_s: float = 30.0) -> Any:
        """Call a service and return its response."""
        client = self.node.create_client(kind, name)
        assert client.wait_for_service(timeout_s), f"service {name} is not there"
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        assert done.wait(timeout_s), f"service {name} does not answer"
        return future.result()

    def transition(self, node: str, transition: int) -> bool:
        """Ask a node for a transition of its lifecycle and return whether it was made."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.call(ChangeState, f"/{node}/change_state", request).success)

    def state(self, node: str) -> int:
        """Return the state of the lifecycle of a node."""
        return int(self.call(GetState, f"/{node}/get_state", GetState.Request()).current_state.id)

    def _counts(self) -> dict[str, int]:
        return {topic: len(messages) for topic, messages in self.received.items()}


def play(bag: Path, *options: str, results: str = DETECTIONS) -> None:
    """Play a recording to its end, as fast as the node gives results."""
    player = NodeProcess("bag_player", str(bag), "--rate", "0", "--wait-for", results, *options)
    assert player.wait(120.0) == 0, player.output


def run_to_its_end(command: list[str], timeout_s: float) -> tuple[int, str]:
    """Run a program that starts nodes, and return exit status and output; it is interrupted, so that they end too."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            output = process.communicate(timeout=timeout_s)[0]
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
    return process.returncode, output


@contextlib.contextmanager
def running_node(
    parameters: dict[str, Any], observer: Observer, name: str = "bev_detection", ready: str = READY
) -> Iterator[NodeProcess]:
    """Run a node; it is ready, as the line that matches `ready` says, and the observer hears it."""
    with NodeProcess(name, parameters=parameters) as node:
        node.wait_for(ready)
        observer.wait_for_status("configuration", "accepted")
        yield node


def _parameter(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_parameter, value)) + "]"
    return str(value) if str(value) else '""'
