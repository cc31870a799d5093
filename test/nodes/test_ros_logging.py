"""What the core logs goes to the node that it works for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from doubling_node import log_of_the_package_kept

from lift3d_ros.nodes import ros_logging
from lift3d_ros.nodes.ros_logging import NodeLog


class Log(NodeLog):
    """The log of a node that keeps what it receives."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        logger = SimpleNamespace(info=self.lines.append)
        node: Any = SimpleNamespace(get_logger=lambda: logger)
        self.progress: list[str] = []
        super().__init__(node, self.progress.append)


@pytest.fixture(autouse=True)
def kept() -> Iterator[None]:
    with log_of_the_package_kept():
        logging.getLogger("lift3d_ros").handlers.clear()
        yield


def say(text: str, log: Log | None = None) -> None:
    """Log a line in a thread that works for a node, or for none."""

    def work() -> None:
        if log is not None:
            log.receive_this_thread()
        logging.getLogger("lift3d_ros.engines").info(text)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_each_of_two_nodes_receives_what_its_own_threads_log(monkeypatch: pytest.MonkeyPatch) -> None:
    of_all: list[str] = []
    monkeypatch.setattr(ros_logging, "get_logger", lambda name: SimpleNamespace(info=of_all.append))
    first, second = Log(), Log()
    say("exported", first)
    say("opened", second)
    say("read")
    assert (first.lines, second.lines, of_all) == (["exported"], ["opened"], ["read"])
    assert (first.progress, second.progress) == (["exported"], ["opened"])


def test_the_only_node_receives_everything() -> None:
    first, second = Log(), Log()
    first.close()
    first.close()
    say("read")
    say("opened", second)
    say("late", first)
    assert first.lines == []
    assert second.lines == ["read", "opened", "late"]
