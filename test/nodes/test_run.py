"""How the process of a node ends: what nobody expected is told, and an interrupt is no fault at any moment."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
import rclpy
from doubling_node import Doubling, DoublingNode, log_of_the_package_kept
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from lift3d_ros.launching import BUILD_ONLY
from lift3d_ros.nodes import bag_player, detection_recorder, perception, run
from lift3d_ros.nodes.run import run_nodes, run_process

pytestmark = pytest.mark.ros


class BrokenNode(DoublingNode):
    def check(self) -> None:
        raise KeyError("camera")


class SlowlyOpenedNode(DoublingNode):
    """Counts how many of them are being opened at once; the second one interrupts the process."""

    now, most, opened = 0, 0, 0

    def open_pipeline(self) -> Doubling:
        kind = SlowlyOpenedNode
        kind.now += 1
        kind.most = max(kind.most, kind.now)
        time.sleep(0.2)
        kind.now -= 1
        kind.opened += 1
        if kind.opened == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return Doubling()


class UnendingNode(DoublingNode):
    """Is in native code, as it were, when the process is interrupted."""

    is_released = threading.Event()
    interrupted_s = 0.0

    def open_pipeline(self) -> Doubling:
        UnendingNode.interrupted_s = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)
        self.is_released.wait(30.0)
        return Doubling()


class LateNode(DoublingNode):
    """Has its pipeline open after it was asked to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.is_opening, self.is_asked_to_stop = threading.Event(), threading.Event()

    def open_pipeline(self) -> Doubling:
        self.is_opening.set()
        assert self.is_asked_to_stop.wait(10.0)
        return Doubling()


class InterruptedNode(DoublingNode):
    """Is interrupted in the middle of a callback, which notes what became of it."""

    number = signal.SIGINT
    ended_callbacks: ClassVar[list[bool]] = []

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.create_timer(0.01, self._work_long)
        return super().on_activate(state)

    def _work_long(self) -> None:
        os.kill(os.getpid(), self.number)
        for _ in range(100):
            time.sleep(0.001)
        self.ended_callbacks.append(rclpy.ok())


def interrupted_node() -> DoublingNode:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
    return SlowlyOpenedNode()


@pytest.fixture(autouse=True)
def arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["doubling"])


@pytest.fixture
def kept_handlers() -> Iterator[None]:
    """What a command does to the signals of this process is taken back."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("kept_handlers")
@pytest.mark.parametrize("module", [bag_player, detection_recorder, perception], ids=lambda one: one.__name__)
def test_ros_arguments_that_cannot_be_used_are_told_in_a_sentence(
    module: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    main: Callable[[], int] = module.main  # type: ignore[attr-defined]
    given = [] if module is perception else [str(tmp_path / "some_path")]
    monkeypatch.setattr(sys, "argv", ["command", *given, "--ros-args", "-p", "topics.image:={camera}/image"])
    with pytest.raises(SystemExit) as ended:
        sys.exit(main())
    assert ended.value.code == 2
    told = capfd.readouterr().err
    assert "error: the ROS arguments cannot be used" in told
    assert "needs quotes that reach the program" in told


@pytest.mark.usefixtures("kept_handlers")
def test_a_recorder_refuses_a_folder_that_cannot_be(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert detection_recorder.main([str(tmp_path / "file" / "results")]) == 2
    assert "cannot be made (Not a directory); name a folder that can be written" in capfd.readouterr().err
    assert not rclpy.ok()


def test_an_unexpected_error_of_the_configuration_is_told_and_ends_the_process(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with log_of_the_package_kept():
        assert run_nodes([BrokenNode]) == 2
    assert "doubling: error: cannot be configured: KeyError: 'camera'" in capfd.readouterr().err
    assert not rclpy.ok()


def test_an_interrupt_while_the_node_is_made_ends_without_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    SlowlyOpenedNode.opened = SlowlyOpenedNode.now = 0
    with log_of_the_package_kept():
        assert run_nodes([interrupted_node]) == 0
    assert "Traceback" not in capfd.readouterr().err
    assert (SlowlyOpenedNode.opened, SlowlyOpenedNode.now) == (0, 0), "no model is opened any more"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_process_after_the_callback_that_runs(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = signal.getsignal(number)
    monkeypatch.setattr(InterruptedNode, "number", number)
    InterruptedNode.ended_callbacks.clear()
    with log_of_the_package_kept():
        assert run_nodes([InterruptedNode]) == 0
    assert InterruptedNode.ended_callbacks == [True], "the middleware is there until the callback ends"
    assert signal.getsignal(number) is handler


def test_a_second_interrupt_ends_a_callback_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InterruptedNode, "_work_long", hang_until_interrupted_twice)
    monkeypatch.setattr(run, "_PATIENCE_S", 0.0)
    with log_of_the_package_kept():
        assert run_nodes([InterruptedNode]) == run.INTERRUPTED
    assert not rclpy.ok()


def test_an_interrupt_that_a_launcher_passes_on_does_not_cut_the_end_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LAST_RESULT_S", 0.5)
    UnendingNode.is_released.clear()
    passed_on = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    with log_of_the_package_kept():
        passed_on.start()
        assert run_nodes([UnendingNode]) == 0
        passed_on.join()
    UnendingNode.is_released.set()
    assert not rclpy.ok()


def hang_until_interrupted_twice(_: InterruptedNode) -> None:
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30.0)


def test_an_error_that_is_no_interrupt_is_raised() -> None:
    def broken() -> DoublingNode:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_nodes([broken])
    assert not rclpy.ok()


def test_a_process_that_fails_tells_why_and_is_not_wound_up(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken() -> DoublingNode:
        raise ZeroDivisionError("by nobody expected")

    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    run_process([broken])
    assert statuses == [1]
    assert "ZeroDivisionError: by nobody expected" in capfd.readouterr().err


def test_a_process_whose_output_nobody_reads_any_more_ends_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unread:
        def write(self, text: str) -> int:
            return len(text)

        def flush(self) -> None:
            raise BrokenPipeError

    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    monkeypatch.setattr(sys, "stdout", Unread())
    with log_of_the_package_kept():
        run_process([interrupted_node])
    assert statuses == [0]


def test_a_model_that_is_open_after_its_node_was_asked_to_stop_is_not_kept() -> None:
    rclpy.init(args=[])
    with log_of_the_package_kept():
        node = LateNode()
        node.trigger_configure()
        node.trigger_activate()
        assert node.is_opening.wait(10.0)
        node.ask_to_stop()
        node.is_asked_to_stop.set()
        node.stop(10.0)
        try:
            assert node.pipeline is None
        finally:
            node.destroy_node()
            rclpy.try_shutdown()


def test_several_nodes_are_opened_one_after_the_other() -> None:
    SlowlyOpenedNode.opened = SlowlyOpenedNode.most = 0
    with log_of_the_package_kept():
        assert run_nodes([partial(SlowlyOpenedNode, name) for name in ("one", "two")]) == 0
    assert (SlowlyOpenedNode.opened, SlowlyOpenedNode.most) == (2, 1)


def test_nodes_of_the_same_name_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with log_of_the_package_kept():
        assert run_nodes([DoublingNode, DoublingNode]) == 2
    assert "2 nodes of one process are called /doubling; rename one alone" in capfd.readouterr().err
    assert not rclpy.ok()


def test_no_node_is_active_where_one_refuses_its_configuration(capfd: pytest.CaptureFixture[str]) -> None:
    SlowlyOpenedNode.opened = 0
    with log_of_the_package_kept():
        assert run_nodes([partial(SlowlyOpenedNode, "one"), partial(BrokenNode, "two")]) == 2
    assert "two: error: cannot be configured: KeyError: 'camera'" in capfd.readouterr().err
    assert SlowlyOpenedNode.opened == 0


def test_the_first_nodes_are_ended_where_the_next_one_cannot_be_made() -> None:
    def broken() -> DoublingNode:
        raise ZeroDivisionError

    with log_of_the_package_kept(), pytest.raises(ZeroDivisionError):
        run_nodes([DoublingNode, broken])
    assert not rclpy.ok()


def test_build_only_goes_on_after_a_node_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["perception", BUILD_ONLY])
    built: list[str] = []

    def build(node: DoublingNode) -> int:
        built.append(node.get_name())
        return int(node.get_name() == "one")

    monkeypatch.setattr(run, "build_engines", build)
    with log_of_the_package_kept():
        assert run_nodes([partial(DoublingNode, name) for name in ("one", "two")]) == 1
    assert built == ["one", "two"]


def test_workers_that_do_not_end_are_waited_for_together_and_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LAST_RESULT_S", 1.5)
    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    UnendingNode.is_released.clear()
    with log_of_the_package_kept():
        run_process([partial(UnendingNode, name) for name in ("one", "two", "three")])
    took_s = time.monotonic() - UnendingNode.interrupted_s
    UnendingNode.is_released.set()
    assert statuses == [0]
    assert took_s < 4.0, "one after the other they would take 4.5 s"
